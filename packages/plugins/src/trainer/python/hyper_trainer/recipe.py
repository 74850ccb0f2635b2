"""What a checkpoint belongs to: everything that changes the weights, nothing that only says where files lie or how often to save."""
import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path

from .config import Config

ELSEWHERE = ("model", "leaseSocket", "checkpointDirectory", "resultDirectory", "device", "keepCheckpoints", "checkpointEvery", "evalEvery")


def recipe_digest(config: Config) -> str:
    values = {name: value for name, value in asdict(config).items() if name not in ELSEWHERE}
    values["slots"] = [[slot.slot, [[segment.index, segment.rows] for segment in slot.segments]] for slot in config.slots]
    values["base"] = sorted((path.name, path.stat().st_size) for path in Path(config.model).glob("*.safetensors"))
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def total_steps(config: Config, steps_per_epoch: int) -> int:
    steps = math.ceil(config.epochs * steps_per_epoch)
    return steps if config.maxSteps is None else min(steps, config.maxSteps)


def learning_rate(config: Config, step: int, total: int) -> float:
    """Of the update after `step` updates (from 0): linear warm-up, then as `schedule` says, to zero at the end."""
    if step < config.warmupSteps:
        return config.learningRate * (step + 1) / config.warmupSteps
    if config.schedule == "constant":
        return config.learningRate
    share = (step - config.warmupSteps) / max(1, total - config.warmupSteps)
    return config.learningRate * (1 - share if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * share)))
