"""Folders that are there whole or not at all."""
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp-"


def fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def begin(parent: Path, name: str) -> Path:
    """A temporary folder beside where `name` will stand."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"{TEMPORARY}{name}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def commit(folder: Path, name: str) -> Path:
    """Everything in `folder` to disk, then the rename, then the rename to disk. Replaces what stood there."""
    for path in sorted(folder.rglob("*")):
        fsync(path)
    fsync(folder)
    target = folder.parent / name
    if target.exists():
        shutil.rmtree(target)
    folder.rename(target)
    fsync(folder.parent)
    return target


def discard(folder: Path) -> None:
    """Removes an unfinished folder; nothing where it was committed."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Removes what killed writers left. Only when nobody writes below `parent`."""
    if parent.is_dir():
        for path in parent.glob(f"{TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def replace_json(path: Path, value: Any) -> None:
    """The file is the old one or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{path.name}-{os.getpid()}"
    write_json(temporary, value)
    fsync(temporary)
    temporary.rename(path)
    fsync(path.parent)
