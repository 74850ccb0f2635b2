"""Starts a training job: `python -m hyper_trainer.launch --config <job>/config.json`, lease tokens on standard input.

Working directory: the job's. Environment: HYPER_TELEMETRY names the file for telemetry lines. Exit status: 0 done, 65 wrong
input (one line on standard error says what), 143 ended by SIGTERM, 1 anything else.
"""
import argparse
import os
import shutil
import sys
import tempfile

from . import config as configuration
from .errors import FATAL_STATUS, TrainerError
from .model_files import check_model_directory
from .privacy import no_core_dumps
from .telemetry import emit
from .tokens import TokenHolder, read_tokens


def environment(tokens: TokenHolder) -> None:
    """For the ranks. Nothing may reach a network beyond loopback, and nothing is cached at home."""
    loopback = "lo" if sys.platform == "linux" else "lo0"
    fixed = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
             "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONDONTWRITEBYTECODE": "1",
             "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TRANSFORMERS_VERBOSITY": "error", "TORCH_CPP_LOG_LEVEL": "ERROR", "LOGLEVEL": "ERROR",
             "HYPER_LAUNCHER": str(os.getpid()), "HYPER_TOKENS": tokens.address}
    os.environ.update(fixed)
    # a sandboxed user may have no name and no home
    os.environ.setdefault("USER", "hyper")
    os.environ.setdefault("HF_HOME", os.path.join(os.getcwd(), "hf"))


def launch(path: str) -> int:
    config = configuration.load(path)
    tokens = TokenHolder(read_tokens(sys.stdin.read(), config.worldSize))
    logs = tempfile.mkdtemp(prefix="elastic-", dir=os.getcwd())
    try:
        check_model_directory(config.model)
        emit(0, "phase", 0, text="loading")
        environment(tokens)
        from torch.distributed.elastic.multiprocessing.api import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

        from .agent import run_ranks

        try:
            run_ranks(config.worldSize, os.path.abspath(path), logs)
        except SignalException as ended:
            return 128 + int(ended.sigval)
        except ChildFailedError as failed:
            statuses = {failure.exitcode for failure in failed.failures.values()}
            if FATAL_STATUS in statuses:
                return FATAL_STATUS  # the rank has said why
            print(f"error: the ranks ended with status {sorted(statuses)} and are not started again; their last lines are above", file=sys.stderr)
            return 1
        return 0
    finally:
        tokens.close()
        shutil.rmtree(logs, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="hyper_trainer.launch", description="Starts a training job; lease tokens come on standard input.")
    parser.add_argument("--config", required=True, help="path of the job's config.json")
    options = parser.parse_args()
    no_core_dumps()
    try:
        status = launch(options.config)
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)
        status = FATAL_STATUS
    sys.exit(status)


if __name__ == "__main__":
    main()
