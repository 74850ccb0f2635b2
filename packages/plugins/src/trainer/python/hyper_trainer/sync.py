"""What the ranks tell each other: gradients, sums, RNG states.

Gradients are added in buckets of a fixed layout. DistributedDataParallel rebuilds its buckets after the first step, so that a
resumed run would add in another order than an undisturbed one and differ in the last bits from three ranks on.
"""
import os
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist

BUCKET_ELEMENTS = 8 * 1024 * 1024


def join(device: torch.device) -> None:
    """Meets the other ranks (address from torchrun's environment). CPU tensors go by gloo, GPU tensors by nccl.

    The agent's store outlives a restart of the ranks. Each attempt has keys of its own in it: else a restarted rank finds the
    address of a dead one there and every restart fails with "connectFullMesh failed" (torch 2.13).
    """
    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    timeout = timedelta(minutes=30)
    shared = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=timeout)
    store = dist.PrefixStore(f"attempt-{os.environ['TORCHELASTIC_RESTART_COUNT']}", shared)
    dist.init_process_group(backend, store=store, rank=int(os.environ["RANK"]), world_size=int(os.environ["WORLD_SIZE"]), timeout=timeout,
                            device_id=device if device.type == "cuda" else None)


def leave() -> None:
    dist.destroy_process_group()


def total(values: "list[float]") -> "list[float]":
    """Sums over the ranks, in float64, on the CPU."""
    tensor = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(tensor)
    return tensor.tolist()


def largest(value: int) -> int:
    tensor = torch.tensor(value, dtype=torch.int64)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return int(tensor)


def from_rank_zero(value: int) -> int:
    tensor = torch.tensor(value, dtype=torch.int64)
    dist.broadcast(tensor, 0)
    return int(tensor)


def _buckets(parameters: "Iterable[torch.nn.Parameter]") -> "list[list[torch.nn.Parameter]]":
    buckets: "list[list[torch.nn.Parameter]]" = []
    size, dtype = 0, None
    for parameter in parameters:
        if not buckets or size + parameter.numel() > BUCKET_ELEMENTS or parameter.dtype != dtype:
            buckets.append([])
            size, dtype = 0, parameter.dtype
        buckets[-1].append(parameter)
        size += parameter.numel()
    return buckets


class GradientSum:
    """Adds each parameter's gradient over the ranks, in place. A rank without a gradient adds zero."""

    def __init__(self, parameters: "Iterable[torch.nn.Parameter]") -> None:
        self.buckets = _buckets(parameters)

    def __call__(self) -> None:
        for bucket in self.buckets:
            for parameter in bucket:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
        if dist.get_world_size() == 1:
            return
        flat = [torch.cat([parameter.grad.reshape(-1) for parameter in bucket]) for bucket in self.buckets]
        for work in [dist.all_reduce(one, async_op=True) for one in flat]:
            work.wait()
        for one, bucket in zip(flat, self.buckets):
            at = 0
            for parameter in bucket:
                parameter.grad.copy_(one[at : at + parameter.numel()].view_as(parameter))
                at += parameter.numel()


def rng_states(device: torch.device) -> "list[dict[str, torch.Tensor]] | None":
    """Every rank's generator states, on rank 0; None elsewhere. All ranks must call it."""
    mine = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        mine["cuda"] = torch.cuda.get_rng_state(device)
    rank, world = dist.get_rank(), dist.get_world_size()
    gathered: "list[dict[str, torch.Tensor]]" = [{} for _ in range(world)]
    for name, state in mine.items():
        parts = [torch.empty_like(state) for _ in range(world)] if rank == 0 else None
        dist.gather(state, parts)
        for number, part in enumerate(parts or []):
            gathered[number][name] = part
    return gathered if rank == 0 else None


def restore_rng(states: "dict[str, torch.Tensor]", device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
