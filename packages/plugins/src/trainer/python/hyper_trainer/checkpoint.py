"""The whole state of a run in `<directory>/step-00000100/`, so that a resumed run ends with the same bits as an undisturbed one.

- weights.safetensors: what is trained (all weights, or the adapter), in training precision
- optimizer.safetensors: AdamW's moments; rng-<rank>.safetensors: generator states
- state.json: step, tokens, seconds, losses so far, recipe digest
- manifest.json: size and sha-256 of each of these

There is no pointer file: the newest folder whose manifest holds is the latest. Nothing of the data is in it; the position in
the data follows from the step (data.py).
"""
import json
import re
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from . import durable
from .errors import TrainerError
from .model import trainable

NAME = re.compile(r"step-(\d{8,})$")


@dataclass
class State:
    """`seconds` is wall time in the training loop and `tokens` all ranks' input tokens, both over all attempts up to `step`."""

    step: int = 0
    epoch: float = 0.0
    recipe: str = ""
    worldSize: int = 1
    tokens: int = 0
    seconds: float = 0.0
    loss: "float | None" = None
    evalLoss: "float | None" = None
    firstLosses: "list[float]" = field(default_factory=list)
    lastLosses: "list[float]" = field(default_factory=list)


def name_of(step: int) -> str:
    return f"step-{step:08d}"


def _weights(model) -> "dict[str, torch.Tensor]":
    kept = set(model.state_dict())
    buffers = {name: value for name, value in model.named_buffers() if name in kept} if all(p.requires_grad for p in model.parameters()) else {}
    return {**{name: value.detach() for name, value in trainable(model).items()}, **buffers}


def save(directory: Path, model, optimizer, rng: "list[dict[str, torch.Tensor]]", state: State, keep: int) -> Path:
    """Rank 0 only. Prunes to the `keep` newest afterwards. TrainerError where the disk does not take it; nothing half-written stays."""
    folder = None
    try:
        folder = durable.begin(directory, name_of(state.step))
        save_file({name: value.cpu().contiguous() for name, value in _weights(model).items()}, folder / "weights.safetensors")
        moments = {f"{name}//{key}": value.cpu().contiguous() for name, parameter in trainable(model).items() for key, value in optimizer.state[parameter].items()}
        save_file(moments, folder / "optimizer.safetensors")
        for rank, states in enumerate(rng):
            save_file(states, folder / f"rng-{rank:05d}.safetensors")
        durable.write_json(folder / "state.json", asdict(state))
        files = {path.name: {"bytes": path.stat().st_size, "sha256": durable.sha256_of(path)} for path in sorted(folder.iterdir())}
        durable.write_json(folder / "manifest.json", {"version": 1, "step": state.step, "files": files})
        target = durable.commit(folder, name_of(state.step))
    except Exception as error:  # noqa: BLE001 - safetensors raises its own kind for a full disk
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise TrainerError(f"the checkpoint of step {state.step} could not be written to {directory} ({error}); make room or choose another home, then resume") from None
    for step in steps(directory)[:-keep]:
        shutil.rmtree(directory / name_of(step), ignore_errors=True)
    return target


def steps(directory: Path) -> "list[int]":
    """Steps of the folders there, oldest first, valid or not."""
    if not directory.is_dir():
        return []
    return sorted(int(match[1]) for path in directory.iterdir() if path.is_dir() and (match := NAME.match(path.name)))


def problem(folder: Path) -> "str | None":
    """Why the checkpoint cannot be used; None where every file has the size and digest that the manifest names."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        if name_of(manifest["step"]) != folder.name:
            return "its manifest is of another step"
        for name, expected in manifest["files"].items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != expected["bytes"]:
                return f"{name} is absent or has another size"
            if durable.sha256_of(path) != expected["sha256"]:
                return f"{name} has another digest"
        if {path.name for path in folder.iterdir()} - set(manifest["files"]) - {"manifest.json"}:
            return "it has files that its manifest does not name"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "its manifest.json is absent or not readable"
    return None


def latest(directory: Path) -> int:
    """Step of the newest valid checkpoint; 0 where there is none. Broken ones are skipped, with a line on standard error."""
    for step in reversed(steps(directory)):
        why = problem(directory / name_of(step))
        if why is None:
            return step
        print(f"warning: checkpoint {name_of(step)} is not used: {why}", file=sys.stderr, flush=True)
    return 0


def read_state(directory: Path, step: int) -> State:
    return State(**json.loads((directory / name_of(step) / "state.json").read_text()))


def load_weights(directory: Path, step: int, model) -> None:
    saved = load_file(directory / name_of(step) / "weights.safetensors")
    with torch.no_grad():
        targets = _weights(model)
        if set(saved) != set(targets):
            raise TrainerError(f"checkpoint {name_of(step)} holds other weights than this model has; was the base model changed?")
        for name, target in targets.items():
            target.copy_(saved[name])


def load(directory: Path, step: int, model, optimizer, rank: int) -> "dict[str, torch.Tensor]":
    """Puts weights and moments in place; returns this rank's generator states."""
    load_weights(directory, step, model)
    folder = directory / name_of(step)
    parameters = trainable(model)
    for name, value in load_file(folder / "optimizer.safetensors").items():
        owner, _, key = name.rpartition("//")
        parameter = parameters[owner]
        # AdamW keeps its step counter on the CPU
        optimizer.state[parameter][key] = value if key == "step" else value.to(parameter.device)
    return load_file(folder / f"rng-{rank:05d}.safetensors")
