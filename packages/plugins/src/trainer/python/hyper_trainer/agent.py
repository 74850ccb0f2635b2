"""torchrun's agent with three changes: a wrong input ends the job instead of being tried five more times, a restart is told in
one line, and the rendezvous listens on loopback only (torch's own store listens on every interface, without authentication)."""
import logging
import os
import socket
import sys

import torch.distributed as dist
import torch.distributed.elastic.rendezvous.c10d_rendezvous_backend as c10d
import torch.distributed.elastic.rendezvous.dynamic_rendezvous as rendezvous
import torch.distributed.launcher.api as launcher
from torch.distributed.elastic.agent.server.api import WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent

from .errors import FATAL_STATUS


class Agent(LocalElasticAgent):
    def _monitor_workers(self, worker_group):
        result = super()._monitor_workers(worker_group)
        if result.state == WorkerState.FAILED:
            statuses = {rank: failure.exitcode for rank, failure in result.failures.items()}
            if FATAL_STATUS in statuses.values():
                self._remaining_restarts = 0
            elif self._remaining_restarts > 0:
                # the rank that began it, not those that lost contact with it or that the agent then ended with SIGTERM
                rank, status = min(statuses.items(), key=lambda one: (one[1] == -15, one[1] >= 0, one[0]))
                how = f"signal {-status}" if status < 0 else f"status {status}"
                allowed = worker_group.spec.max_restarts
                print(f"rank {rank} ended with {how}; starting all ranks again from the last checkpoint (restart {allowed - self._remaining_restarts + 1} of {allowed})", file=sys.stderr, flush=True)
        return result


def _loopback_store(host_name: str, port: int, is_master: bool = False, **options):
    if not is_master:
        return dist.TCPStore(host_name, port, is_master=False, **options)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    chosen = listener.getsockname()[1]
    return dist.TCPStore("127.0.0.1", chosen, is_master=True, master_listen_fd=listener.detach(), **options)


def run_ranks(world: int, config_path: str, log_folder: str, restarts: int = 5) -> None:
    """torchrun of `hyper_trainer.train`. Raises ChildFailedError where the ranks fail for good, SignalException on a signal."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs

    # what its log says, `Agent` and the ranks say in words
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    launcher.LocalElasticAgent = Agent
    c10d.TCPStore = _loopback_store
    rendezvous.DynamicRendezvousHandler._create_tcp_store_server = lambda self, host, port: _loopback_store(host, port, True, multi_tenant=True)
    config = launcher.LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=world,
        run_id=f"hyper-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        rdzv_configs={"is_host": True},
        local_addr="127.0.0.1",
        max_restarts=restarts,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir=log_folder),
        shutdown_timeout=3,
    )
    launcher.elastic_launch(config, sys.executable)("-u", "-m", "hyper_trainer.train", config_path)
