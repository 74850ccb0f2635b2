"""`python -m hyper_serve --model DIR (--socket PATH | --port N) ...`: serves until SIGTERM. See `once` for a single answer."""

import argparse
import os
import signal
import sys
import threading
import time

from .faults import Fatal, fatal_line


def main() -> int:
    parser = argparse.ArgumentParser(prog="hyper_serve", allow_abbrev=False)
    parser.add_argument("--model", required=True, help="directory with config.json and *.safetensors")
    parser.add_argument("--tokenizer", help="directory of the tokenizer, where it is not the model's")
    parser.add_argument("--adapter", help="directory of a LoRA adapter, merged into the model at load")
    parser.add_argument("--name", required=True, help="model name in answers")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--max-tokens", type=int, default=1024, help="most tokens of one answer")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket")
    where.add_argument("--port", type=int)
    parser.add_argument("--host", default="127.0.0.1", help="address of --port; in a container of its own: 0.0.0.0")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        from .model import load
        from .server import Service, bind

        loaded = load(options.model, options.tokenizer, options.adapter, options.device)
        service = Service(loaded, options.name, options.max_tokens)
        server = bind(service, options.socket, options.port, options.host)
    except Fatal as error:
        fatal_line(error)
        return 1

    def leave(*_) -> None:
        service.leaving = True
        # not from this thread: `serve_forever` runs in it, and `shutdown` waits for that
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    print(f"hyper-serve ready on {loaded.device} after {time.monotonic() - started:.1f} s", flush=True)
    server.serve_forever(poll_interval=0.2)
    server.server_close()
    service.drain(20)
    if options.socket is not None and os.path.lexists(options.socket):
        os.unlink(options.socket)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # connections that are kept open hold threads; they have nothing left to say
    os._exit(code)
