"""OpenAI's request and answer shapes. What we do not do is refused by name rather than left out in silence."""

import json
import time

from .faults import RequestError
from .generate import Result, Wish
from .model import Loaded

_REFUSED = {
    "n": lambda v: v not in (None, 1),
    "best_of": lambda v: v not in (None, 1),
    "logprobs": bool,
    "top_logprobs": bool,
    "logit_bias": bool,
    "tools": bool,
    "functions": bool,
    "suffix": bool,
    "echo": bool,
    "presence_penalty": bool,
    "frequency_penalty": bool,
    "response_format": lambda v: v is not None and v.get("type") != "text" if isinstance(v, dict) else bool(v),
}


def bad(message: str, code: str = "invalid_request") -> RequestError:
    return RequestError(400, code, message)


def _number(body: dict, name: str, low: float, high: float, default: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise bad(f'"{name}" must be a number from {low} to {high}.')
    return float(value)


def _stops(body: dict) -> list[str]:
    stop = body.get("stop")
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > 16 or not all(isinstance(s, str) and s for s in stops):
        raise bad('"stop" must be a text or a list of at most 16 texts, none empty.')
    return stops


def _wish(body: dict, ids: list[int], max_tokens: int) -> Wish:
    for name, refused in _REFUSED.items():
        if name in body and refused(body[name]):
            raise bad(f'"{name}" is not supported by this server. Leave it out.', "unsupported_parameter")
    asked = body.get("max_completion_tokens", body.get("max_tokens"))
    if asked is not None and (isinstance(asked, bool) or not isinstance(asked, int) or asked < 1):
        raise bad('"max_tokens" must be a whole number from 1.')
    seed = body.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise bad('"seed" must be a whole number.')
    return Wish(
        ids=ids,
        max_tokens=max_tokens if asked is None else min(asked, max_tokens),
        temperature=_number(body, "temperature", 0, 2, 0.0),
        top_p=_number(body, "top_p", 0, 1, 1.0) or 1e-6,
        seed=None if seed is None else seed % 2**63,
        stop=_stops(body),
    )


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list) and all(isinstance(p, dict) and p.get("type") == "text" and isinstance(p.get("text"), str) for p in content):
        return "".join(p["text"] for p in content)
    raise bad("A message's content must be text: this model reads nothing else.")


def chat_ids(loaded: Loaded, messages: list[dict]) -> list[int]:
    if not loaded.chats:
        raise bad("This model has no chat template, so it cannot chat. Use /v1/completions, or train on chat rows.", "no_chat_template")
    try:
        text = loaded.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    except Exception as error:
        raise bad(f"The model's chat template refuses these messages: {error}") from error
    return loaded.tokenizer(text, add_special_tokens=False)["input_ids"]


def chat_wish(loaded: Loaded, body: dict, max_tokens: int) -> Wish:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in messages):
        raise bad('"messages" must be a list of {"role": ..., "content": ...}, not empty.')
    return _wish(body, chat_ids(loaded, [{"role": m["role"], "content": _content(m.get("content"))} for m in messages]), max_tokens)


def completion_wish(loaded: Loaded, body: dict, max_tokens: int) -> Wish:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], (str, list)):
        prompt = prompt[0]
    if isinstance(prompt, str):
        ids = loaded.tokenizer(prompt)["input_ids"]
        if not ids and loaded.tokenizer.bos_token_id is not None:
            ids = [loaded.tokenizer.bos_token_id]
    elif isinstance(prompt, list) and all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < len(loaded.tokenizer) for i in prompt):
        ids = prompt
    else:
        raise bad('"prompt" must be one text, or one list of token numbers.')
    if not ids:
        raise bad('"prompt" is empty.')
    return _wish(body, ids, max_tokens)


def usage(result: Result) -> dict:
    return {"prompt_tokens": result.prompt_tokens, "completion_tokens": result.completion_tokens, "total_tokens": result.prompt_tokens + result.completion_tokens}


class Shape:
    """The two operations differ in a few words only."""

    def __init__(self, chat: bool, request_id: str, model: str):
        self.chat = chat
        self._head = {"id": ("chatcmpl-" if chat else "cmpl-") + request_id, "created": int(time.time()), "model": model}

    def whole(self, result: Result) -> bytes:
        said = {"message": {"role": "assistant", "content": result.text}} if self.chat else {"text": result.text}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": result.finish_reason}
        return json.dumps({**self._head, "object": "chat.completion" if self.chat else "text_completion", "choices": [choice], "usage": usage(result)}).encode()

    def event(self, delta: dict | str, finish_reason: str | None = None) -> bytes:
        said = {"delta": delta} if self.chat else {"text": delta}
        return self._event([{"index": 0, **said, "logprobs": None, "finish_reason": finish_reason}])

    def usage_event(self, result: Result) -> bytes:
        return self._event([], {"usage": usage(result)})

    def _event(self, choices: list, more: dict | None = None) -> bytes:
        chunk = {**self._head, "object": "chat.completion.chunk" if self.chat else "text_completion", "choices": choices, **(more or {})}
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"
