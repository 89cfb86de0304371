"""The processes that train a network together, and the device of this one: one, or those `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from f2pnet.errors import ConfigError, MissingResource
from training.recipe import DeviceChoice, TrainingRecipe

LONGEST_WAIT = timedelta(minutes=30)
"""For another process, e.g. for the first one while it validates; then the run ends with an error."""

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process is number `rank` of `count`. Number 0, the leader, alone validates and writes files."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def summed(self, values: Tensor) -> Tensor:
        """The sum over all processes; each calls this at the same point."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def from_leader(self, value: T) -> T:
        """The leader's value, in every process; each calls this at the same point."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def together(self, module: nn.Module) -> nn.Module:
        """`module` with its gradients averaged over all processes."""
        if self.count == 1:
            return module
        return DistributedDataParallel(module, find_unused_parameters=True)  # a step without prompts leaves some unused

    def own_parts(self, recipe: TrainingRecipe) -> list[slice]:
        """Which of a step's images this process takes, part by part. Raises ConfigError where there are too few."""
        parts = self.count * recipe.accumulate
        if recipe.batch < parts:
            raise ConfigError(
                f"batch is {recipe.batch}, wanted at least {parts}: an image for each of {recipe.accumulate} parts in "
                f"each of {self.count} processes"
            )
        edges = [recipe.batch * part // parts for part in range(parts + 1)]
        first = self.rank * recipe.accumulate
        return [slice(edges[part], edges[part + 1]) for part in range(first, first + recipe.accumulate)]


@contextmanager
def joined(choice: DeviceChoice) -> Iterator[Processes]:
    """Join the other processes where `torchrun` started this one; leave them at the end.

    They talk over NCCL on GPUs, one GPU for each process, and over Gloo on CPUs. Raises MissingResource where the
    device is not there.
    """
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = find_device(choice, int(os.environ.get("LOCAL_RANK", "0")))
    if count == 1:
        yield Processes(device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    try:
        yield Processes(device, rank, count)
    finally:
        dist.destroy_process_group()


def find_device(choice: DeviceChoice, number: int = 0) -> torch.device:
    """The CPU, or GPU `number`; `auto` takes a GPU where torch sees one. Raises MissingResource without that GPU."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if choice == "cpu" or (choice == "auto" and not gpus):
        return torch.device("cpu")
    if number >= gpus:
        raise MissingResource(
            f"device is '{choice}' for process {number} of this machine, and torch {torch.__version__} sees {gpus} "
            "GPUs: install a torch with CUDA, start fewer processes, or say `device: cpu`"
        )
    return torch.device("cuda", number)
