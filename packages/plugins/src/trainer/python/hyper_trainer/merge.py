"""Merges a LoRA adapter into its base: `python -m hyper_trainer.merge --base <dir> --adapter <dir> --out <dir>`.

The result is a full model in the base's precision with the base's tokenizer, chat template and generation config; the same
input gives the same bytes. `--out` must be absent or empty; it appears whole or not at all. Exit status 65: wrong input.
"""
import argparse
import os
import sys
from pathlib import Path

from .errors import FATAL_STATUS, TrainerError
from .model_files import check_model_directory


def merge(base: Path, adapter: Path, out: Path) -> None:
    check_model_directory(str(base))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / name).is_file():
            raise TrainerError(f"{adapter}: no {name}; --adapter takes a peft adapter's folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainerError(f"{out}: is there already and not an empty folder")
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"})
    import torch
    from peft import PeftModel

    from . import durable, export
    from .model import load_base, make_deterministic, stored_dtype

    make_deterministic()
    # the sum is made in float32 and rounded once
    model = load_base(str(base), torch.float32)
    try:
        merged = PeftModel.from_pretrained(model, str(adapter), local_files_only=True).merge_and_unload(safe_merge=True)
    except Exception as error:  # noqa: BLE001 - a wrong adapter fails in many ways, all of them here
        raise TrainerError(f"{adapter}: does not merge into {base} ({type(error).__name__}: {str(error)[:300]}); was it trained on this base?") from None
    folder = durable.begin(out.resolve().parent, out.name)
    try:
        export.write_full(merged, base, stored_dtype(str(base)), folder)
        durable.commit(folder, out.name)
    finally:
        durable.discard(folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="hyper_trainer.merge", description="Merges a LoRA adapter into its base model.")
    for name, what in (("base", "folder of the base model"), ("adapter", "folder of the peft adapter"), ("out", "folder to make")):
        parser.add_argument(f"--{name}", type=Path, required=True, help=what)
    options = parser.parse_args()
    try:
        merge(options.base, options.adapter, options.out)
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(FATAL_STATUS)
    except OSError as error:
        print(f"error: {options.out}: {error.strerror or error}; make room or choose another --out", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
