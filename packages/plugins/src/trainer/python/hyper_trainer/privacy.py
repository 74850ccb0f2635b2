"""Keeps plaintext and keys in this process: no core dumps, no reading by a debugger, no living on after the launcher."""
import ctypes
import os
import resource
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4


def no_core_dumps() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def seal_process() -> None:
    """For workers. The launcher stays readable to its own user: its ranks open the tokens through /proc."""
    no_core_dumps()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def die_with(parent: int) -> None:
    """Ends this process when `parent` is gone, also when that was killed with SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    if sys.platform != "linux":
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
