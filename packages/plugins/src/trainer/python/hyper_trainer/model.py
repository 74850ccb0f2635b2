"""Base model, tokenizer and adapter. Imports only what the job needs: importing transformers and peft costs seconds."""
import os
from pathlib import Path

import torch

from .config import Config, Lora
from .errors import TrainerError
from .model_files import check_model_directory


def load_tokenizer(path: str, form: str):
    """The model's tokenizer. Chat rows need its chat template."""
    check_model_directory(path)
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - its causes are many, its place is one
        raise TrainerError(f"{path}: the tokenizer does not load ({type(error).__name__}: {str(error)[:300]})") from None
    if form == "chat" and not tokenizer.chat_template:
        raise TrainerError(f'{path}: the model has no chat template; choose a chat model, or give rows with "text" and format "text"')
    return tokenizer


def load_base(path: str, dtype: torch.dtype):
    """The model in `dtype` on the CPU, dropout as its config says."""
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(path, local_files_only=True, trust_remote_code=False, dtype=dtype, use_safetensors=True)
    except Exception as error:  # noqa: BLE001
        raise TrainerError(f"{path}: the model does not load ({type(error).__name__}: {str(error)[:300]})") from None
    model.config.use_cache = False
    return model


def add_adapter(model, lora: Lora, seed: int):
    """A fresh peft adapter; the base's weights are frozen. The same on every rank: it is initialised from `seed`."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, bias="none", task_type="CAUSAL_LM")
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise TrainerError(f"lora targets: {str(error)[:300]}") from None


def choose_device(config: Config, local_rank: int) -> torch.device:
    """TrainerError where a GPU is asked for and there is none for this rank."""
    count = torch.cuda.device_count() if config.device != "cpu" else 0
    if count == 0 and config.device == "cuda":
        raise TrainerError('device "cuda": this machine has no GPU that torch can use; use "auto" or "cpu"')
    if count == 0:
        return torch.device("cpu")
    if config.worldSize > count:
        if config.device == "cuda":
            raise TrainerError(f"{config.worldSize} ranks need as many GPUs, and there are {count}; lower worldSize")
        return torch.device("cpu")
    return torch.device("cuda", local_rank)


def device_class(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def make_deterministic() -> None:
    """Before the first CUDA call. One thread: sums in another order differ in their last bits."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def trainable(model) -> "dict[str, torch.nn.Parameter]":
    """Name -> parameter, in the model's order, which is the same on every rank and in every attempt."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def stored_dtype(path: str) -> torch.dtype:
    """The precision that the base was stored in: what is trained on it is handed over in the same."""
    from safetensors import safe_open

    with safe_open(sorted(Path(path).glob("*.safetensors"))[0], "pt") as file:
        stored = {file.get_slice(name).get_dtype() for name in file.keys()}
    return next((dtype for name, dtype in (("BF16", torch.bfloat16), ("F16", torch.float16)) if name in stored), torch.float32)
