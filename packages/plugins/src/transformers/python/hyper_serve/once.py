"""`python -m hyper_serve.once --model DIR --tokenizer DIR`: one question (JSON on standard input) to one answer (JSON on standard output), greedy."""

import argparse
import json
import os
import sys

from .faults import Fatal, RequestError, fatal_line


def main() -> int:
    parser = argparse.ArgumentParser(prog="hyper_serve.once", allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokenizer", help="where the chat template comes from, so that both models are asked alike")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--max-tokens", type=int, default=64)
    options = parser.parse_args()
    asked = json.load(sys.stdin)
    try:
        from .generate import Wish, generate
        from .model import load
        from .wire import chat_ids

        loaded = load(options.model, options.tokenizer, None, options.device)
        question = asked["question"]
        ids = chat_ids(loaded, [{"role": "user", "content": question}]) if loaded.chats else loaded.tokenizer(question)["input_ids"]
        result = generate(loaded, Wish(ids=ids, max_tokens=options.max_tokens))
    except Fatal as error:
        fatal_line(error)
        return 1
    except RequestError as error:
        fatal_line(Fatal(error.code, str(error)))
        return 1
    print(json.dumps({"answer": result.text}), flush=True)
    return 0


if __name__ == "__main__":
    os._exit(main())
