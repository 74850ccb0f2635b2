"""`python -m hyper_serve.health`: exit status 0 when the server in this container is up. For a container's health check."""

import http.client
import os
import socket
import sys


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def main() -> int:
    path = os.environ.get("HYPER_SOCKET")
    connection = _UnixConnection(path, 5) if path else http.client.HTTPConnection("127.0.0.1", int(os.environ.get("HYPER_PORT", "8000")), timeout=5)
    try:
        connection.request("GET", "/health")
        return 0 if connection.getresponse().status == 200 else 1
    except OSError as error:
        print(f"no answer: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
