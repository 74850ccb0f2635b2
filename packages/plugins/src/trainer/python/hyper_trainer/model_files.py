"""Is this a base model's directory? Answered without importing torch."""
from pathlib import Path

from .errors import TrainerError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


def check_model_directory(path: str) -> None:
    """TrainerError where the directory lacks what a base model needs, before anything slow happens."""
    folder = Path(path)
    if not (folder / "config.json").is_file():
        raise TrainerError(f"{path}: no config.json; a model directory holds config.json, tokenizer files and *.safetensors")
    if not any(folder.glob("*.safetensors")):
        raise TrainerError(f"{path}: no *.safetensors; other weight formats are not loaded")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise TrainerError(f"{path}: no tokenizer ({', '.join(TOKENIZER_FILES)}); copy the tokenizer files of the model into its directory")
