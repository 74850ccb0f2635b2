"""From a checked request to pieces of text, token by token, so that a caller who has gone stops the work at the next token."""

from collections.abc import Callable
from dataclasses import dataclass, field

from .faults import Gone, RequestError, is_out_of_memory
from .model import Loaded


@dataclass
class Wish:
    """What a request asks for. `temperature` 0 is greedy: the same question has the same answer."""

    ids: list[int]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: list[str] = field(default_factory=list)


@dataclass
class Result:
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class _Pieces:
    """A transformers streamer: decodes what is whole, holds back what may become a stop sequence or is half a character."""

    def __init__(self, tokenizer, stop: list[str], emit: Callable[[str], None], is_gone: Callable[[], bool]):
        self._tokenizer, self._stop, self._emit, self._is_gone = tokenizer, stop, emit, is_gone
        self._ids: list[int] = []
        # decoding starts a few tokens back, because what a token reads as may depend on the one before
        self._from, self._read = 0, 0
        self._text, self._sent = "", 0
        self._is_prompt = True
        self.stopped = False

    @property
    def count(self) -> int:
        return len(self._ids)

    @property
    def text(self) -> str:
        return self._text

    def put(self, value) -> None:
        if self._is_prompt:
            self._is_prompt = False
            return
        if self._is_gone():
            raise Gone()
        self._ids.extend(value.flatten().tolist())
        before = self._decode(self._ids[self._from : self._read])
        now = self._decode(self._ids[self._from :])
        if len(now) > len(before) and not now.endswith("\ufffd"):
            self._from, self._read = self._read, len(self._ids)
            self._add(now[len(before) :])

    def end(self) -> None:
        if self.stopped:
            return
        rest = self._decode(self._ids[self._from :])[len(self._decode(self._ids[self._from : self._read])) :]
        self._add(rest)
        if not self.stopped:
            self._send(len(self._text))

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)

    def _add(self, piece: str) -> None:
        if self.stopped or piece == "":
            return
        self._text += piece
        found = [at for at in (self._text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self._text = self._text[: min(found)]
            self.stopped = True
            return self._send(len(self._text))
        held = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(self._text)), held, -1):
                if self._text.endswith(stop[:length]):
                    held = length
                    break
        self._send(len(self._text) - held)

    def _send(self, upto: int) -> None:
        if upto > self._sent:
            self._emit(self._text[self._sent : upto])
            self._sent = upto


def generate(loaded: Loaded, wish: Wish, emit: Callable[[str], None] = lambda piece: None, is_gone: Callable[[], bool] = lambda: False) -> Result:
    """One at a time: the caller holds the turn. Raises RequestError and Gone."""
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    room = None if loaded.context is None else loaded.context - len(wish.ids)
    if room is not None and room < 1:
        raise RequestError(400, "context_length_exceeded", f"The prompt has {len(wish.ids)} tokens; this model reads {loaded.context} with the answer. Shorten it.")
    limit = wish.max_tokens if room is None else min(wish.max_tokens, room)
    pieces = _Pieces(loaded.tokenizer, wish.stop, emit, is_gone)

    class Stopped(StoppingCriteria):
        def __call__(self, input_ids, scores, **_):
            return torch.full((input_ids.shape[0],), pieces.stopped, dtype=torch.bool, device=input_ids.device)

    if wish.seed is not None:
        torch.manual_seed(wish.seed)
    sampling = {"do_sample": True, "temperature": wish.temperature, "top_p": wish.top_p, "top_k": 0} if wish.temperature > 0 else {"do_sample": False}
    ids = torch.tensor([wish.ids], device=loaded.device)
    ends = loaded.model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    if loaded.tokenizer.eos_token_id is not None:
        ends.add(loaded.tokenizer.eos_token_id)
    ends.discard(None)
    try:
        with torch.inference_mode():
            out = loaded.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=limit,
                streamer=pieces,
                stopping_criteria=StoppingCriteriaList([Stopped()]),
                pad_token_id=loaded.tokenizer.pad_token_id if loaded.tokenizer.pad_token_id is not None else next(iter(ends), 0),
                eos_token_id=sorted(ends) or None,
                **sampling,
            )
    except (Gone, RequestError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            if loaded.device.startswith("cuda"):
                torch.cuda.empty_cache()
            raise RequestError(503, "out_of_memory", f"The answer needs more memory than {loaded.device} has left. Ask for fewer tokens, or send a shorter prompt.") from error
        raise
    count = out.shape[1] - ids.shape[1]
    ended = pieces.stopped or int(out[0, -1]) in ends
    return Result(pieces.text, "stop" if ended else "length", len(wish.ids), count)
