"""JSON lines -> messages or text. Errors name segment and row, never what stands in them."""
import json
from collections.abc import Iterator

from .errors import TrainerError

# a chat as [(role, content)], or plain text
Row = "list[dict[str, str]] | str"


def _messages(row: dict, place: str) -> "list[dict[str, str]]":
    if "messages" in row:
        messages = row["messages"]
        if not isinstance(messages, list) or not messages:
            raise TrainerError(f'{place}: "messages" must be a list that is not empty')
        for number, message in enumerate(messages, 1):
            right = isinstance(message, dict) and isinstance(message.get("role"), str) and isinstance(message.get("content"), str)
            if not right:
                raise TrainerError(f'{place}: message {number} needs "role" and "content", both text')
        if not any(message["role"] == "assistant" and message["content"] for message in messages[1:]):
            raise TrainerError(f'{place}: no message of role "assistant" that answers another one')
        return [{"role": message["role"], "content": message["content"]} for message in messages]
    if "prompt" in row and "completion" in row:
        if not isinstance(row["prompt"], str) or not isinstance(row["completion"], str) or not row["completion"]:
            raise TrainerError(f'{place}: "prompt" and "completion" must be text, and "completion" not empty')
        return [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
    raise TrainerError(f'{place}: no "messages" and no "prompt"/"completion"')


def parse_row(line: bytes, form: str, place: str) -> "list[dict[str, str]] | str":
    """One line as `form` says ("chat" or "text")."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        # not `from`: the decoder's exception carries the line
        raise TrainerError(f"{place}: not a JSON object")
    if form == "chat":
        return _messages(row, place)
    if not isinstance(row.get("text"), str) or not row["text"]:
        raise TrainerError(f'{place}: no "text", or an empty one')
    return row["text"]


def rows_of(plaintext: bytes, form: str, segment: int) -> "Iterator[tuple[str, list[dict[str, str]] | str]]":
    """(place, row) for each line that is not blank; `place` is "segment 3 row 17", rows counted from 1."""
    for number, line in enumerate(plaintext.split(b"\n"), 1):
        if line.strip():
            place = f"segment {segment} row {number}"
            yield place, parse_row(line, form, place)
