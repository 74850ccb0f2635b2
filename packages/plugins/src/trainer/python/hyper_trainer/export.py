"""What a finished training hands over: one folder a kept checkpoint, loadable by transformers or peft, and result.json, last."""
import json
import shutil
from pathlib import Path

import torch

from . import checkpoint, durable
from .config import Config
from .errors import TrainerError

# small files that belong to a model and are not made by saving its weights
BESIDE = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
          "spiece.model", "chat_template.jinja", "chat_template.json", "generation_config.json")


def copy_tokenizer(source: Path, target: Path) -> None:
    """Byte for byte: the tokenizer is not trained, and saving it anew could change its file."""
    for name in BESIDE:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _sorted_adapter_config(path: Path) -> None:
    """peft writes sets, whose order changes from process to process, and the base's path on this machine."""
    given = json.loads(path.read_text())
    for key, value in given.items():
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            given[key] = sorted(value)
    given["base_model_name_or_path"] = None
    path.write_text(json.dumps(given, indent=2, sort_keys=True) + "\n")


def write_full(model, base: Path, dtype: torch.dtype, folder: Path) -> None:
    """All weights in `dtype`, config and tokenizer."""
    state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in model.state_dict().items()}
    before, model.config.dtype, model.config.use_cache = (model.config.dtype, model.config.use_cache), dtype, True
    try:
        model.save_pretrained(folder, state_dict=state)
    finally:
        model.config.dtype, model.config.use_cache = before
    copy_tokenizer(base, folder)


def _write(config: Config, model, dtype: torch.dtype, folder: Path) -> None:
    if config.method == "lora":
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        _sorted_adapter_config(folder / "adapter_config.json")
        copy_tokenizer(Path(config.model), folder)
    else:
        write_full(model, Path(config.model), dtype, folder)


def export(config: Config, model, dtype: torch.dtype, device: str) -> dict:
    """Rank 0 only. `path` of a checkpoint is below the result directory. Returns what result.json says."""
    source, target = Path(config.checkpointDirectory), Path(config.resultDirectory)
    durable.sweep(target)
    rows, state = [], checkpoint.State()
    try:
        for step in checkpoint.steps(source)[-config.keepCheckpoints :]:
            why = checkpoint.problem(source / checkpoint.name_of(step))
            if why is not None:
                print(f"warning: checkpoint {checkpoint.name_of(step)} is not handed over: {why}", flush=True)
                continue
            state = checkpoint.read_state(source, step)
            checkpoint.load_weights(source, step, model)
            folder = durable.begin(target, f"checkpoint-{step}")
            _write(config, model, dtype, folder)
            durable.commit(folder, f"checkpoint-{step}")
            row = {"step": step, "epoch": state.epoch, "loss": state.loss, "path": f"checkpoint-{step}"}
            rows.append(row if state.evalLoss is None else {**row, "evalLoss": state.evalLoss})
        result = {
            "steps": state.step,
            "tokens": state.tokens,
            "firstLoss": sum(state.firstLosses) / max(1, len(state.firstLosses)),
            "lastLoss": state.loss,
            "seconds": round(state.seconds, 3),
            "checkpoints": rows,
            "worldSize": config.worldSize,
            "deviceClass": device,
        }
        if state.evalLoss is not None:
            result["evalLoss"] = state.evalLoss
        durable.replace_json(target / "result.json", result)
    except OSError as error:
        durable.sweep(target)
        raise TrainerError(f"the result could not be written to {target} ({error.strerror}); make room, then resume: the checkpoints are kept") from None
    return result
