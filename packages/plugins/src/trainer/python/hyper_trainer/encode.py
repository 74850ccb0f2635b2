"""Rows -> token ids and labels. Chat rows carry loss on the assistant's tokens only, text rows on all."""
from dataclasses import dataclass

import torch

from .errors import TrainerError

IGNORED = -100  # label without loss


@dataclass(frozen=True)
class Example:
    ids: torch.Tensor
    labels: torch.Tensor


def _template(tokenizer, messages, add_generation_prompt: bool) -> "list[int]":
    ids = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=add_generation_prompt, return_dict=False)
    return list(ids)


def _common(left: "list[int]", right: "list[int]") -> int:
    length = 0
    for a, b in zip(left, right):
        if a != b:
            break
        length += 1
    return length


def encode_chat(tokenizer, messages: "list[dict[str, str]]", limit: int) -> "Example | None":
    """The whole conversation through the model's own template. An assistant turn's tokens are what the template adds to the
    generation prompt before it, its end mark included. None where no such token is left within `limit`."""
    ids = _template(tokenizer, messages, False)
    labels = [IGNORED] * len(ids)
    for position, message in enumerate(messages):
        # an opening line of the assistant answers nothing: it is context
        if message["role"] != "assistant" or position == 0:
            continue
        # a template may rewrite earlier turns: only the prefix that agrees counts as the prompt
        start = _common(_template(tokenizer, messages[:position], True), ids)
        end = _common(_template(tokenizer, messages[: position + 1], False), ids)
        labels[start:end] = ids[start:end]
    ids, labels = ids[:limit], labels[:limit]
    # the first token is predicted from nothing
    if not any(label != IGNORED for label in labels[1:]):
        return None
    return Example(torch.tensor(ids, dtype=torch.int32), torch.tensor(labels, dtype=torch.int32))


def encode_text(tokenizer, text: str, limit: int) -> "list[Example]":
    """The text and an end mark, cut into windows of `limit` tokens, so that nothing of a long text is lost."""
    ids = tokenizer(text, add_special_tokens=True, truncation=False, verbose=False)["input_ids"]
    if tokenizer.eos_token_id is not None and (not ids or ids[-1] != tokenizer.eos_token_id):
        ids = [*ids, tokenizer.eos_token_id]
    windows = [torch.tensor(ids[at : at + limit], dtype=torch.int32) for at in range(0, len(ids), limit)]
    return [Example(window, window) for window in windows if len(window) > 1]


def encode(tokenizer, row, form: str, limit: int, vocabulary: int, place: str) -> "list[Example]":
    """Examples of one row; [] where it is too long to leave a token to learn. No exception of the tokenizer gets out: it may quote the row."""
    try:
        if form == "chat":
            example = encode_chat(tokenizer, row, limit)
            examples = [] if example is None else [example]
        else:
            examples = encode_text(tokenizer, row, limit)
    except Exception as error:  # noqa: BLE001
        kind = type(error).__name__
    else:
        if any(int(example.ids.max()) >= vocabulary for example in examples):
            raise TrainerError(f"{place}: the tokenizer gives a token that the model does not have ({vocabulary} in its embedding); do they belong together?")
        return examples
    raise TrainerError(f"{place}: the model's tokenizer or chat template refuses it ({kind})")


def collate(examples: "list[Example]", pad: int) -> "dict[str, torch.Tensor]":
    """Right-padded to the longest of the batch."""
    width = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), width), pad, dtype=torch.long)
    labels = torch.full((len(examples), width), IGNORED, dtype=torch.long)
    mask = torch.zeros((len(examples), width), dtype=torch.long)
    for row, example in enumerate(examples):
        length = len(example.ids)
        ids[row, :length], labels[row, :length], mask[row, :length] = example.ids, example.labels, 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}
