"""A LoRA adapter with random weights for a base: `python makeAdapter.py <base> <out> <seed>`; and `check <base> <adapter> <merged>`."""
import json
import sys

import torch
from safetensors.torch import load_file

if sys.argv[1] == "check":
    base, adapter, merged = (load_file(f"{folder}/{name}") for folder, name in zip(sys.argv[2:], ("model.safetensors", "adapter_model.safetensors", "model.safetensors")))
    config = json.load(open(f"{sys.argv[3]}/adapter_config.json"))
    scale, changed = config["lora_alpha"] / config["r"], 0
    for name, value in merged.items():
        expected = base[name].float()
        down = adapter.get(f"base_model.model.{name.removesuffix('.weight')}.lora_A.weight")
        if down is not None:
            expected = expected + scale * adapter[f"base_model.model.{name.removesuffix('.weight')}.lora_B.weight"].float() @ down.float()
            changed += 1
        torch.testing.assert_close(value.float(), expected.to(value.dtype).float(), rtol=1e-5, atol=1e-6)
    print(json.dumps({"changed": changed, "tensors": sorted(merged) == sorted(base), "dtype": str(next(iter(merged.values())).dtype) == str(next(iter(base.values())).dtype)}))
else:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(int(sys.argv[3]))
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(sys.argv[1]), LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    model.save_pretrained(sys.argv[2])
