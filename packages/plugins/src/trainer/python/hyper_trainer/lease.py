"""Asks the job's lease socket for this slot's segment keys and opens the segments in memory.

The protocol is packages/engine/src/keys/Leases.ts: one line of JSON there, one line back. The key pair lives in this process
only and is new at every start; the answer holds age headers wrapped to it, the payload on disk stays as it is.
"""
import base64
import json
import socket
import time
from collections.abc import Iterator

from .config import Segment, Slot
from .errors import TrainerError

PATIENCE = 600.0  # seconds to wait for a daemon that is restarting
LONGEST_ANSWER = 256 * 1024 * 1024


def _ask(path: str, request: bytes) -> "dict | None":
    """One exchange. None where the connection ended before an answer, which a restart of the daemon looks like."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(60)
        connection.connect(path)
        connection.sendall(request)
        answer = bytearray()
        while not answer.endswith(b"\n"):
            piece = connection.recv(1 << 16)
            if not piece:
                return None
            answer += piece
            if len(answer) > LONGEST_ANSWER:
                raise TrainerError("the lease socket's answer is too long")
    try:
        parsed = json.loads(answer)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict) or parsed.get("v") != 1:
        raise TrainerError("the lease socket's answer is not of version 1 of the lease protocol")
    return parsed


def request_headers(path: str, token: str, slot: int, recipient: str, patience: float = PATIENCE) -> "dict[int, tuple[bytes, int]]":
    """Segment index -> (new age header, bytes to skip in the segment's file). Waits with back-off while nobody listens."""
    request = (json.dumps({"v": 1, "token": token, "slot": slot, "recipient": recipient}) + "\n").encode()
    deadline, pause = time.monotonic() + patience, 0.1
    while True:
        try:
            answer = _ask(path, request)
        except OSError:
            answer = None
        if answer is not None:
            break
        if time.monotonic() + pause > deadline:
            raise TrainerError(f"slot {slot}: no answer from the lease socket for {patience:.0f} seconds; is the hyper daemon running?")
        time.sleep(pause)
        pause = min(pause * 1.7, 5.0)
    if "error" in answer:
        raise TrainerError(f"slot {slot}: the lease was refused: {str(answer['error'])[:500]}")
    try:
        return {int(s["index"]): (base64.b64decode(s["header"], validate=True), int(s["payloadOffset"])) for s in answer["segments"]}
    except (KeyError, TypeError, ValueError):
        raise TrainerError(f"slot {slot}: the lease socket's answer is not understood") from None


def _open(segment: Segment, header: bytes, offset: int, identity) -> bytes:
    import pyrage

    try:
        with open(segment.path, "rb") as file:
            file.seek(offset)
            sealed = header + file.read()
    except OSError as error:
        raise TrainerError(f"segment {segment.index}: its file cannot be read ({error.strerror}: {segment.path})") from None
    try:
        return pyrage.decrypt(sealed, [identity])
    except Exception:  # noqa: BLE001 - whatever the library says about the bytes stays here
        pass
    raise TrainerError(f"segment {segment.index}: its bytes do not open with the leased key; the file was changed or belongs to another job")


def open_segments(path: str, token: str, slot: Slot) -> "Iterator[tuple[Segment, bytes]]":
    """Yields each of the slot's segments with its plaintext, one at a time."""
    from pyrage import x25519

    if not slot.segments:
        return
    identity = x25519.Identity.generate()
    headers = request_headers(path, token, slot.slot, str(identity.to_public()))
    for segment in slot.segments:
        if segment.index not in headers:
            raise TrainerError(f"segment {segment.index}: the lease of slot {slot.slot} does not release it")
        header, offset = headers[segment.index]
        yield segment, _open(segment, header, offset, identity)
