"""HTTP over a Unix socket or a loopback port, on the standard library: one thread a connection, one generation at a time."""

import errno
import json
import os
import select
import socket
import socketserver
import sys
import threading
import time
import uuid
from collections import deque
from http.server import BaseHTTPRequestHandler

from .faults import Fatal, Gone, RequestError
from .generate import Result, Wish, generate
from .model import Loaded
from .wire import Shape, bad, chat_wish, completion_wish

BODY_LIMIT = 16 * 1024 * 1024


class Turn:
    """First come, first served; whoever goes away while waiting leaves the line."""

    def __init__(self):
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    def take(self, is_gone) -> object:
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            while self._line[0] is not ticket:
                self._changed.wait(0.25)
                if is_gone():
                    self._line.remove(ticket)
                    self._changed.notify_all()
                    raise Gone()
        return ticket

    def give(self, ticket: object) -> None:
        with self._changed:
            self._line.remove(ticket)
            self._changed.notify_all()


class Service:
    def __init__(self, loaded: Loaded, name: str, max_tokens: int):
        self.loaded, self.name, self.max_tokens = loaded, name, max_tokens
        self.turn = Turn()
        self.leaving = False
        self._open = 0
        self._idle = threading.Condition()

    def __enter__(self):
        with self._idle:
            self._open += 1

    def __exit__(self, *_):
        with self._idle:
            self._open -= 1
            self._idle.notify_all()

    def drain(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        with self._idle:
            while self._open > 0 and time.monotonic() < end:
                self._idle.wait(0.1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service
    timeout = 600

    def address_string(self) -> str:
        return "local"

    def log_message(self, *_) -> None:
        """Requests are logged by what they cost, never by what they hold."""

    def _is_gone(self) -> bool:
        try:
            readable, _, _ = select.select([self.connection], [], [], 0)
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            return True

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        service = self.service
        if self.path == "/health":
            return self._send(200, json.dumps({"status": "ok", "device": service.loaded.device, "chat": service.loaded.chats, "context": service.loaded.context}).encode())
        if self.path == "/v1/models":
            return self._send(200, json.dumps({"object": "list", "data": [{"id": service.name, "object": "model", "created": 0, "owned_by": "hyper"}]}).encode())
        self._send(404, RequestError(404, "unknown_url", f"GET {self.path} is not served here.").body())

    def do_POST(self) -> None:
        with self.service:
            if self.service.leaving:
                self.close_connection = True
            try:
                self._answer()
            except RequestError as error:
                self._send(error.status, error.body())
            except (Gone, BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            except Exception as error:
                print(f"hyper-serve failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                self.close_connection = True
                try:
                    self._send(500, RequestError(500, "internal_error", "The model server failed; its log says why.").body())
                except OSError:
                    pass

    def _body(self) -> dict:
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > BODY_LIMIT:
            self.close_connection = True
            raise RequestError(413, "request_too_large", f"A request needs a content-length of at most {BODY_LIMIT} bytes.")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError as error:
            raise bad("The body is not JSON.") from error
        if not isinstance(body, dict):
            raise bad("The body is not a JSON object.")
        return body

    def _answer(self) -> None:
        service, started = self.service, time.monotonic()
        body = self._body()
        if self.path not in ("/v1/chat/completions", "/v1/completions"):
            raise RequestError(404, "unknown_url", f"POST {self.path} is not served here.")
        chat = self.path == "/v1/chat/completions"
        wish = (chat_wish if chat else completion_wish)(service.loaded, body, service.max_tokens)
        shape = Shape(chat, uuid.uuid4().hex, service.name)
        ticket = service.turn.take(self._is_gone)
        try:
            if body.get("stream") is True:
                options = body.get("stream_options")
                result = self._stream(shape, wish, isinstance(options, dict) and options.get("include_usage") is True)
            else:
                result = generate(service.loaded, wish, is_gone=self._is_gone)
        except Gone:
            print(f"hyper-serve left: {wish.max_tokens} tokens asked, {time.monotonic() - started:.2f} s", flush=True)
            raise
        finally:
            service.turn.give(ticket)
        if body.get("stream") is not True:
            self._send(200, shape.whole(result))
        print(f"hyper-serve answered: {result.prompt_tokens} + {result.completion_tokens} tokens, {time.monotonic() - started:.2f} s", flush=True)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _stream(self, shape: Shape, wish: Wish, with_usage: bool) -> Result:
        begun = False

        def begin() -> None:
            nonlocal begun
            if begun:
                return
            begun = True
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("cache-control", "no-cache")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            if shape.chat:
                self._chunk(shape.event({"role": "assistant", "content": ""}))

        def emit(piece: str) -> None:
            begin()
            self._chunk(shape.event({"content": piece} if shape.chat else piece))

        try:
            result = generate(self.service.loaded, wish, emit, self._is_gone)
            begin()
            self._chunk(shape.event({} if shape.chat else "", result.finish_reason) + (shape.usage_event(result) if with_usage else b"") + b"data: [DONE]\n\n")
        except RequestError as error:
            if not begun:
                raise
            self._chunk(b"data: " + error.body() + b"\n\n")
            self.close_connection = True
            raise Gone() from error
        self.wfile.write(b"0\r\n\r\n")
        return result


class _Threads(socketserver.ThreadingMixIn):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


class _UnixServer(_Threads, socketserver.UnixStreamServer):
    pass


class _TcpServer(_Threads, socketserver.TCPServer):
    allow_reuse_address = True


def bind(service: Service, path: str | None, port: int | None, host: str = "127.0.0.1") -> socketserver.BaseServer:
    handler = type("BoundHandler", (Handler,), {"service": service})
    try:
        if path is not None:
            # what lies there was left by an earlier life of this very server: the name is this job's own
            if os.path.lexists(path):
                os.unlink(path)
            os.umask(0o077)
            return _UnixServer(path, handler)
        return _TcpServer((host, port), handler)
    except OSError as error:
        where = path if path is not None else f"port {port}"
        code = "address_in_use" if error.errno == errno.EADDRINUSE else "no_address"
        raise Fatal(code, f"{where} cannot be listened on: {error.strerror}") from error
