"""Loads model and tokenizer from local directories: no network, no remote code, no pickled weights."""

import os
from dataclasses import dataclass

from .faults import Fatal, is_out_of_memory


@dataclass
class Loaded:
    model: object
    tokenizer: object
    device: str
    # tokens of prompt and answer together; None where the model states no limit
    context: int | None

    @property
    def chats(self) -> bool:
        return bool(self.tokenizer.chat_template)


def pick_device(wanted: str) -> str:
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise Fatal("no_device", f"device {wanted} was asked for, and torch {torch.__version__} sees no CUDA device")
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise Fatal("no_device", "device mps was asked for, and torch sees none")
    return wanted


def load(directory: str, tokenizer_directory: str | None = None, adapter: str | None = None, device: str = "auto") -> Loaded:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.set_grad_enabled(False)
    target = pick_device(device)
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_directory or directory, **local)
    except Exception as error:
        raise Fatal("no_tokenizer", f"the tokenizer cannot be loaded: {error}") from error
    try:
        model = AutoModelForCausalLM.from_pretrained(directory, dtype="auto", use_safetensors=True, **local)
        if adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, adapter, local_files_only=True).merge_and_unload()
        # half precision is slow or missing on CPUs; a model of this size has room for full
        if target == "cpu" and (model.dtype == torch.float16 or (model.dtype == torch.bfloat16 and model.num_parameters() < 1_500_000_000)):
            model = model.float()
        model = model.to(target).eval()
    except Exception as error:
        if is_out_of_memory(error):
            raise Fatal("out_of_memory", f"the model does not fit into the memory of {target}: {error}") from error
        raise Fatal("no_model", f"the model cannot be loaded: {error}") from error
    config = getattr(model.config, "get_text_config", lambda: model.config)()
    # a request says what it wants; sampling settings that came with the model would only warn beside it
    generation = model.generation_config
    generation.do_sample, generation.temperature, generation.top_p, generation.top_k = False, None, None, None
    generation.max_new_tokens, generation.max_length = None, None
    return Loaded(model, tokenizer, target, getattr(config, "max_position_embeddings", None))
