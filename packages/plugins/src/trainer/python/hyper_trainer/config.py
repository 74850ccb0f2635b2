"""The job's config.json: read, checked, named where wrong. Unknown keys are refused, so that a misspelt option is never silently ignored."""
import difflib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .errors import TrainerError


@dataclass(frozen=True)
class Lora:
    rank: int
    alpha: float
    dropout: float
    targets: "str | tuple[str, ...]"


@dataclass(frozen=True)
class Segment:
    index: int
    path: str
    rows: int


@dataclass(frozen=True)
class Slot:
    slot: int
    segments: "tuple[Segment, ...]"


@dataclass(frozen=True)
class Config:
    """`batchSize` is rows per rank and micro-batch; `sequenceLength` tokens; `checkpointEvery`, `evalEvery`, `maxSteps`, `warmupSteps` optimizer steps."""

    version: int
    method: str
    model: str
    format: str
    epochs: float
    learningRate: float
    batchSize: int
    gradientAccumulation: int
    sequenceLength: int
    warmupSteps: int
    schedule: str
    weightDecay: float
    gradClip: float
    seed: int
    evalFraction: float
    checkpointEvery: int
    keepCheckpoints: int
    worldSize: int
    slots: "tuple[Slot, ...]"
    leaseSocket: str
    checkpointDirectory: str
    resultDirectory: str
    device: str
    maxSteps: "int | None" = None
    evalEvery: "int | None" = None
    lora: "Lora | None" = None


CHOICES = {"method": ("full", "lora"), "format": ("chat", "text"), "schedule": ("constant", "linear", "cosine"), "device": ("auto", "cpu", "cuda")}
# name: (lowest, highest); whole numbers unless the name stands in FRACTIONS
NUMBERS = {
    "version": (1, 1), "epochs": (0, 10_000), "maxSteps": (1, 10**9), "learningRate": (0, 10), "batchSize": (1, 65_536), "gradientAccumulation": (1, 65_536),
    "sequenceLength": (2, 1_048_576), "warmupSteps": (0, 10**9), "weightDecay": (0, 10), "gradClip": (0, 10**6), "seed": (0, 2**53), "evalFraction": (0, 0.5),
    "evalEvery": (1, 10**9), "checkpointEvery": (1, 10**9), "keepCheckpoints": (1, 10_000), "worldSize": (1, 1024),
}
FRACTIONS = {"epochs", "learningRate", "weightDecay", "gradClip", "evalFraction"}
PATHS = ("model", "leaseSocket", "checkpointDirectory", "resultDirectory")


def _keys(given: Any, known: "list[str]", required: "list[str]", where: str) -> dict:
    if not isinstance(given, dict):
        raise TrainerError(f"{where}: expected an object")
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise TrainerError(f'{where}: unknown option "{key}"' + (f', did you mean "{near[0]}"?' if near else f"; known are {', '.join(known)}"))
    for key in required:
        if key not in given:
            raise TrainerError(f'{where}: option "{key}" is missing')
    return given


def _number(value: Any, name: str, where: str, low: float, high: float, whole: bool) -> "int | float":
    wanted = "a whole number" if whole else "a number"
    right = isinstance(value, int) if whole else isinstance(value, (int, float))
    if not right or isinstance(value, bool) or not low <= value <= high:  # NaN fails the comparison too
        raise TrainerError(f'{where}: "{name}" must be {wanted} from {low:g} to {high:g}, got {json.dumps(value)}')
    return value


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise TrainerError(f'{where}: "{name}" must be text that is not empty, got {json.dumps(value)}')
    return value


def _list(value: Any, name: str, where: str) -> list:
    if not isinstance(value, list):
        raise TrainerError(f'{where}: "{name}" must be a list')
    return value


def _lora(given: Any, where: str) -> Lora:
    names = ["rank", "alpha", "dropout", "targets"]
    _keys(given, names, names, where)
    targets = given["targets"]
    if targets != "all-linear":
        if not isinstance(targets, list) or not targets:
            raise TrainerError(f'{where}: "targets" must be "all-linear" or a list of module names such as ["q_proj", "v_proj"]')
        targets = tuple(_text(name, "targets", where) for name in targets)
    return Lora(int(_number(given["rank"], "rank", where, 1, 4096, True)), _number(given["alpha"], "alpha", where, 0, 1e6, False), _number(given["dropout"], "dropout", where, 0, 0.95, False), targets)


def _slots(given: Any, world: int, where: str) -> "tuple[Slot, ...]":
    slots, seen = [], set()
    for position, raw in enumerate(_list(given, "slots", where)):
        place = f"{where}: slots[{position}]"
        _keys(raw, ["slot", "segments"], ["slot", "segments"], place)
        segments = []
        for number, segment in enumerate(_list(raw["segments"], "segments", place)):
            inner = f"{place}.segments[{number}]"
            _keys(segment, ["index", "path", "rows"], ["index", "path", "rows"], inner)
            index = int(_number(segment["index"], "index", inner, 0, 10**9, True))
            if index in seen:
                raise TrainerError(f"{inner}: segment {index} stands in two places")
            seen.add(index)
            segments.append(Segment(index, _text(segment["path"], "path", inner), int(_number(segment["rows"], "rows", inner, 0, 10**12, True))))
        slots.append(Slot(int(_number(raw["slot"], "slot", place, 0, world - 1, True)), tuple(segments)))
    if sorted(slot.slot for slot in slots) != list(range(world)):
        raise TrainerError(f'{where}: "slots" must name each slot from 0 to {world - 1} once ("worldSize" is {world})')
    return tuple(sorted(slots, key=lambda slot: slot.slot))


def parse(given: Any, where: str = "config.json") -> Config:
    """A checked Config, or TrainerError that names the option."""
    known = [field.name for field in fields(Config)]
    required = [name for name in known if name not in ("maxSteps", "evalEvery", "lora")]
    values = dict(_keys(given, known, required, where))
    for name, allowed in CHOICES.items():
        if values[name] not in allowed:
            raise TrainerError(f'{where}: "{name}" must be one of {", ".join(allowed)}, got {json.dumps(values[name])}')
    for name, (low, high) in NUMBERS.items():
        if values.get(name) is not None:
            _number(values[name], name, where, low, high, name not in FRACTIONS)
    if values["epochs"] <= 0:
        raise TrainerError(f'{where}: "epochs" must be more than 0')
    for name in PATHS:
        _text(values[name], name, where)
    if values["method"] == "lora" and values.get("lora") is None:
        raise TrainerError(f'{where}: method "lora" needs the option "lora" with rank, alpha, dropout and targets')
    if values["method"] == "full" and values.get("lora") is not None:
        raise TrainerError(f'{where}: option "lora" has no effect with method "full"; leave one of them out')
    values["lora"] = None if values.get("lora") is None else _lora(values["lora"], f"{where}: lora")
    values["slots"] = _slots(values["slots"], values["worldSize"], where)
    return Config(**values)


def load(path: str) -> Config:
    """Reads config.json at `path`; TrainerError where it is absent, not JSON, or wrong."""
    try:
        given = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise TrainerError(f"{path}: not found; --config takes the path of a job's config.json") from None
    except (ValueError, OSError) as error:
        raise TrainerError(f"{path}: cannot be read as JSON ({error})") from None
    return parse(given, path)
