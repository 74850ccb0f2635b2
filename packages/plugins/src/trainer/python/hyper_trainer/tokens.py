"""Hands each rank its lease token without disk, argv or environment.

On Linux an anonymous file in memory (memfd) that ranks open as /proc/<launcher>/fd/<n>; elsewhere a Unix socket in a 0700
directory. The environment carries only where to ask (`HYPER_TOKENS`), which is of no use to another user.
"""
import json
import os
import shutil
import socket
import sys
import tempfile
import threading

from .errors import TrainerError


class TokenHolder:
    """Lives in the launcher for as long as ranks may be restarted."""

    def __init__(self, tokens: "list[str]", force_socket: bool = False) -> None:
        self.folder: "str | None" = None
        data = json.dumps(tokens).encode()
        if sys.platform == "linux" and not force_socket:
            self.descriptor = os.memfd_create("hyper-tokens", os.MFD_CLOEXEC)
            os.write(self.descriptor, data)
            self.address = f"fd:{os.getpid()}:{self.descriptor}"
            return
        self.folder = tempfile.mkdtemp(prefix="hyper-")
        path = os.path.join(self.folder, "t")
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(path)
        os.chmod(path, 0o600)
        self.server.listen(64)
        self.address = f"socket:{path}"
        threading.Thread(target=self._serve, args=(tokens,), daemon=True).start()

    def _serve(self, tokens: "list[str]") -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                slot = int.from_bytes(connection.recv(4), "big")
                if slot < len(tokens):
                    connection.sendall(tokens[slot].encode())

    def close(self) -> None:
        if self.folder is None:
            os.close(self.descriptor)
        else:
            self.server.close()
            shutil.rmtree(self.folder, ignore_errors=True)


def token_of(slot: int) -> str:
    """This rank's token. TrainerError where the launcher holds none for the slot."""
    kind, _, rest = os.environ.get("HYPER_TOKENS", "").partition(":")
    if kind == "fd":
        process, number = rest.split(":")
        with open(f"/proc/{process}/fd/{number}", "rb") as file:
            file.seek(0)
            tokens = json.loads(file.read())
        found = tokens[slot] if slot < len(tokens) else ""
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(rest)
            connection.sendall(slot.to_bytes(4, "big"))
            found = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    else:
        raise TrainerError("HYPER_TOKENS is not set: start the trainer with `python -m hyper_trainer.launch`, not one rank by itself")
    if not found:
        raise TrainerError(f"no lease token for slot {slot}: standard input must give one token a slot")
    return found


def read_tokens(text: str, world: int) -> "list[str]":
    """The document on standard input: {"tokens": [...]}, one a slot."""
    try:
        tokens = json.loads(text)["tokens"]
        right = isinstance(tokens, list) and all(isinstance(token, str) and token for token in tokens)
    except (ValueError, KeyError, TypeError):
        right, tokens = False, []
    if not right:
        raise TrainerError('standard input must be one JSON document {"tokens": ["<lease token of slot 0>", ...]}')
    if len(tokens) != world:
        raise TrainerError(f"standard input has {len(tokens)} lease tokens, and worldSize is {world}")
    return tokens
