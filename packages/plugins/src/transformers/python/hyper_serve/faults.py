"""What can go wrong, in words that reach the user: at start-up as one line of the log, in a request as an OpenAI error."""

import json
import sys


class Fatal(Exception):
    """The server cannot serve. `code` is what the plugin decides by."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


class RequestError(Exception):
    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status = status
        self.code = code

    def body(self) -> bytes:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return json.dumps({"error": {"message": str(self), "type": kind, "param": None, "code": self.code}}).encode()


class Gone(Exception):
    """Whoever asked has closed the connection."""


def fatal_line(error: Fatal) -> None:
    """The plugin looks for this line; the supervisor's log is standard output and error together."""
    print("hyper-serve fatal " + json.dumps({"code": error.code, "message": str(error)}), file=sys.stderr, flush=True)


def is_out_of_memory(error: BaseException) -> bool:
    # torch.OutOfMemoryError on a GPU; a plain RuntimeError from the CPU allocator
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error) or "not enough memory" in str(error)
