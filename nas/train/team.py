"""Several processes that train one network, each on its share of every batch."""

import contextlib
import datetime
import warnings
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nas.measure.device import pick_device
from nas.system import torchrun
from nas.system.faults import MachineError
from nas.train.recipe.config import Recipe

T = TypeVar("T")

PATIENCE = datetime.timedelta(hours=4)  # for the first process, which validates for all


class Team:
    """The processes of one training; by itself one process, which asks nobody.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    def __init__(self, *, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def is_first(self) -> bool:
        """Whether this process writes, validates and speaks."""
        return self.rank == 0

    def average(self, values: Sequence[float]) -> list[float]:
        """Return the means of values over all processes."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return [float(value) / self.size for value in sums]

    def find_largest(self, value: int) -> int:
        """Return the largest of the values that the processes have."""
        if self.size == 1:
            return value
        largest = torch.tensor(value)
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return int(largest)

    def share(self, value: T) -> T:
        """Return the first process's value, whatever the others give."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def wait(self) -> None:
        """Return once all processes are here."""
        self.find_largest(0)

    def join_gradients(self, module: nn.Module, *inputs: Tensor) -> nn.Module:
        """Return a module whose gradients are the means over all processes.

        The first process's weights become those of all.

        Args:
            module: gives losses by name.
            inputs: that it can be tried on.
        """
        if self.size == 1:
            return module
        device = inputs[0].device
        return DistributedDataParallel(
            module,
            device_ids=[device] if device.type == "cuda" else None,
            broadcast_buffers=False,  # constants, some of which share memory
            find_unused_parameters=_has_unused(module, *inputs),
        )

    @contextlib.contextmanager
    def blaming_others(self) -> Iterator[None]:
        """Turn the error of a process that misses another into one line.

        Raises:
            MachineError: another process has ended.
        """
        try:
            yield
        except RuntimeError as error:
            # Gloo's errors have no class of their own.
            if isinstance(error, dist.DistError) or "gloo" in str(error):
                raise MachineError("another process of torchrun has ended") from error
            raise


SOLO = Team()


@contextlib.contextmanager
def joining_team(device: torch.device) -> Iterator[Team]:
    """Yield the team of the processes that torchrun started; without torchrun one process alone.

    Args:
        device: that this process trains on.
    Raises:
        MachineError: another process has ended, or the processes do not find one another.
    """
    size = torchrun.count_processes()
    if size == 1:
        yield SOLO
        return

    if device.type == "cuda":
        torch.cuda.set_device(device)
    # What the processes agree on lies on the CPU, gradients where the network does.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    team = Team(rank=torchrun.read_rank(), size=size)
    with team.blaming_others(), warnings.catch_warnings():
        # Of gradients of 1x1 kernels, whose layout has two names; and of what newer versions of
        # torch call otherwise, which older ones do not know.
        for words in ("Grad strides do not match", "`broadcast_buffers` is deprecated"):
            warnings.filterwarnings("ignore", message=words)
        dist.init_process_group(backend, timeout=PATIENCE)
        yield team
    # Not after an error: who says what it was does so before the others miss this process.
    dist.destroy_process_group()


def pick_own_device(text: str) -> torch.device:
    """Return the device of this process: of several processes on GPUs each has one of its own.

    Raises:
        ValueError: there is no such device.
    """
    if torchrun.count_processes() == 1:
        return pick_device(text)
    if text.startswith("cuda:"):
        raise ValueError(
            f"device={text}: each process of torchrun takes a GPU of its own; use device=cuda"
        )
    device = pick_device(text)
    if device.type != "cuda":
        return device
    if torchrun.read_local_rank() >= torch.cuda.device_count():
        raise ValueError(
            f"device={text}: there are {torch.cuda.device_count()} GPUs; start as many processes "
            f"by torchrun --nproc-per-node {torch.cuda.device_count()}"
        )
    return pick_device(f"cuda:{torchrun.read_local_rank()}")


def check_shares(recipe: Recipe, size: int) -> None:
    """Refuse a recipe whose batches cannot be shared by some processes alike.

    Raises:
        ValueError: the message names the stage.
    """
    for name, stage in recipe.segments():
        batch_size = stage.patches.batch_size
        if batch_size % size:
            raise ValueError(
                f"recipe.stages.{name}.patches.batch_size: {batch_size} patches cannot be shared "
                f"alike by {size} processes; give a multiple of {size}, or start another number"
            )


def _has_unused(module: nn.Module, *inputs: Tensor) -> bool:
    """Return whether some parameters that are trained have no gradient."""
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    losses = list(module(*inputs).values())
    gradients = torch.autograd.grad(sum(losses[1:], losses[0]), trained, allow_unused=True)
    return any(gradient is None for gradient in gradients)
