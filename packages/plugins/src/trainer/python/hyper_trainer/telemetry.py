"""Lines for the supervisor, as packages/engine/src/telemetry/Sample.ts describes them: counters, never data.

`work` lines alone carry `tokens` and `workMilliseconds` (each rank's own, since its last `work` line), so that adding up the
lines of a job counts every token once. `tokensPerSecond` on `step` lines is of all ranks together.
"""
import json
import math
import os
import resource
import sys
import time

STEP_SPACING = 0.2  # seconds: about five `step` lines a second at most
WORK_SPACING = 2.0


def emit(rank: int, kind: str, step: int, **values: "int | float | str | None") -> None:
    """One line, one O_APPEND write, so that lines of several ranks never mix. Without HYPER_TELEMETRY it does nothing."""
    path = os.environ.get("HYPER_TELEMETRY")
    if not path:
        return
    sample = {"at": int(time.time() * 1000), "rank": rank, "kind": kind, "step": step}
    # JSON has no NaN: a value that is not finite is left out
    sample.update({key: value for key, value in values.items() if value is not None and (not isinstance(value, float) or math.isfinite(value))})
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (json.dumps(sample) + "\n").encode())
    finally:
        os.close(descriptor)


def memory_bytes() -> int:
    """Peak resident memory of this process, or of its GPU."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Meter:
    """What one rank has done since its last `work` line."""

    def __init__(self, rank: int) -> None:
        self.rank, self.tokens, self.seconds, self.last = rank, 0, 0.0, time.monotonic()

    def add(self, tokens: int, seconds: float) -> None:
        self.tokens += tokens
        self.seconds += seconds

    def flush(self, step: int, force: bool = False) -> None:
        now = time.monotonic()
        if (force and (self.tokens or self.seconds)) or now - self.last >= WORK_SPACING:
            emit(self.rank, "work", step, tokens=self.tokens, workMilliseconds=round(self.seconds * 1000), memoryBytes=memory_bytes())
            self.tokens, self.seconds, self.last = 0, 0.0, now


class StepLines:
    """Rank 0's `step` lines, thinned out; the first and the last always stand."""

    def __init__(self) -> None:
        self.last, self.tokens, self.since = -math.inf, 0, time.monotonic()
        self.rate: "float | None" = None

    def step(self, step: int, total: int, tokens: int, **values: "float | None") -> None:
        self.tokens += tokens
        now = time.monotonic()
        if now - self.last < STEP_SPACING and step != total:
            return
        if now > self.since:
            rate = self.tokens / (now - self.since)
            self.rate = rate if self.rate is None else 0.7 * self.rate + 0.3 * rate
        emit(0, "step", step, totalSteps=total, tokensPerSecond=None if self.rate is None else round(self.rate, 1), memoryBytes=memory_bytes(), **values)
        self.last, self.tokens, self.since = now, 0, now
