"""What this Python can do, as one line of JSON: `python -m hyper_trainer.probe [--devices]`.

Versions come from package metadata, without importing anything heavy (tens of milliseconds); `--devices` imports torch (seconds)
and adds the GPUs: {"python", "platform", "torch", "transformers", "peft", ..., "missing": [...], "cuda": [{"name", "memoryBytes"}]}.
"""
import argparse
import json
import platform
import sys
from importlib import metadata

PACKAGES = ("torch", "transformers", "peft", "safetensors", "tokenizers", "accelerate", "pyrage")


def probe(devices: bool) -> dict:
    found: dict = {"python": platform.python_version(), "platform": f"{sys.platform}-{platform.machine()}"}
    missing = []
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    found["missing"] = missing
    if devices:
        found["cuda"] = []
        if "torch" not in missing:
            import torch

            for number in range(torch.cuda.device_count()):
                properties = torch.cuda.get_device_properties(number)
                found["cuda"].append({"name": properties.name, "memoryBytes": properties.total_memory})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="hyper_trainer.probe", description="Prints versions and devices as JSON.")
    parser.add_argument("--devices", action="store_true", help="also list GPUs (imports torch)")
    print(json.dumps(probe(parser.parse_args().devices)))


if __name__ == "__main__":
    main()
