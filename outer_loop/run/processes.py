"""The processes of one run, each with its share of the tasks: this one alone, or several that ``torchrun`` started."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others: longer than the slowest evaluation or download of data on one of them."""

Item = TypeVar("Item")


class OtherRankFailedError(Exception):
    """A rank has failed and says why; this one has nothing to add."""


class Ranks:
    """One process alone: its share is the whole. ``ProcessGroup`` is the same for several.

    What is on every rank must be called on every rank, in the same order; where one is gone ConnectionError is raised.
    """

    rank, count = 0, 1
    restarted = False
    """Whether torchrun started the processes anew because one of them had died."""

    @property
    def first(self) -> bool:
        """Whether this is rank 0, the only one that writes."""
        return self.rank == 0

    def own(self, items: Sequence[Item]) -> Sequence[Item]:
        """This rank's share of ``items``: neighbours, so that the shares in rank order are ``items`` again."""
        return items[self.rank * len(items) // self.count : (self.rank + 1) * len(items) // self.count]

    def device(self, name: str) -> torch.device:
        """The device that the setting ``name`` means on this rank. Raises ValueError where there is none."""
        if name.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"got device={name}, but PyTorch finds no CUDA device here; set device=cpu")
        return torch.device(name)

    def sharing(self, device: torch.device) -> int:
        """How many ranks share the memory of ``device``: those of this machine, but each has a GPU of its own."""
        return 1 if device.type == "cuda" else int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if self.count > 1 else 1

    def mean(self, values: Tensor, weight: int) -> tuple[Tensor, int]:
        """On every rank: the weighted mean of all ranks' ``values`` [n], float64 (NaN for no weight), and their sum."""
        return values, weight

    def highest(self, number: int) -> int:
        """On every rank: the highest ``number`` of any rank. No rank goes on before all have come."""
        return number

    def gather(self, items: Sequence[Item]) -> list[Item]:
        """On every rank: the ``items`` of all ranks, in rank order. Tensors in them must be on the CPU."""
        return list(items)

    def from_first(self, make: Callable[[], Item]) -> Item:
        """On every rank: what ``make`` returns on rank 0, the only one to call it. Tensors in it must be on the CPU."""
        return make()


ALONE = Ranks()


def share_of_cores(cores: set[int], rank: int, ranks: int) -> set[int]:
    """The cores of ``rank`` of ``ranks`` on one machine: neighbours, as many for each; all where there are too few."""
    each = len(cores) // ranks
    return set(sorted(cores)[rank * each : (rank + 1) * each]) if each else cores


class ProcessGroup(Ranks):
    """The ranks that torchrun started: gloo between CPUs, nccl between GPUs. ``torch.distributed`` is initialised."""

    def __init__(self) -> None:
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self.restarted = int(os.environ["TORCHELASTIC_RESTART_COUNT"]) > 0

    def device(self, name: str) -> torch.device:
        """For ``cuda`` the GPU whose number is this rank's on its machine; for ``cpu`` it moves to cores of its own.

        Ranks that wait for each other at every outer step lose a fifth of their speed where they swap cores.
        """
        device, local = super().device(name), int(os.environ["LOCAL_RANK"])
        if device.type == "cpu" and hasattr(os, "sched_setaffinity"):
            cores = share_of_cores(os.sched_getaffinity(0), local, int(os.environ["LOCAL_WORLD_SIZE"]))
            os.sched_setaffinity(0, cores)
        if device.type == "cuda":
            gpus = torch.cuda.device_count()
            if device.index is not None and self.count > 1:
                raise ValueError(f"got device={name} for {self.count} processes; set device=cuda, a GPU for each")
            if local >= gpus:
                raise ValueError(
                    f"got more than {gpus} processes on a machine with {gpus} GPUs, expected at most one a GPU; lower "
                    "torchrun's --nproc-per-node"
                )
            device = torch.device("cuda", local) if device.index is None else device
            torch.cuda.set_device(device)  # what `cuda` without a number means from now on, to nccl too
        return device

    def mean(self, values: Tensor, weight: int) -> tuple[Tensor, int]:
        """One all-reduce of [n + 1]."""
        weighted = values * weight if weight else torch.zeros_like(values)  # NaN times zero would spoil the others
        total = torch.cat([weighted, torch.full_like(values[:1], weight)])
        with _lost_ranks_named():
            dist.all_reduce(total)
        return total[:-1] / total[-1], int(total[-1])

    def highest(self, number: int) -> int:
        """One all-reduce of one number."""
        result = torch.tensor(number)
        with _lost_ranks_named():
            dist.all_reduce(result, dist.ReduceOp.MAX)
        return int(result)

    def gather(self, items: Sequence[Item]) -> list[Item]:
        """One all-gather of pickled objects."""
        shares: list[list[Item]] = [[]] * self.count
        with _lost_ranks_named():
            dist.all_gather_object(shares, list(items))
        return [item for share in shares for item in share]

    def from_first(self, make: Callable[[], Item]) -> Item:
        """One broadcast of a pickled object."""
        made = [make() if self.first else None]
        with _lost_ranks_named():
            dist.broadcast_object_list(made)
        return cast(Item, made[0])


@contextmanager
def open_ranks() -> Iterator[Ranks]:
    """All ranks of the run for as long as the context is open: those that torchrun started, else this process alone.

    Of ranks that fail, the first lets its error out and the others raise OtherRankFailedError. A ValueError is final:
    it would come again, so processes that torchrun restarts after it end at once.
    """
    if not dist.is_torchelastic_launched():
        yield ALONE
        return
    # The store outlives restarts, which is how they learn of a final error; each has names of its own for the rest.
    store, rank, count = next(dist.rendezvous("env://", timeout=TIMEOUT))
    attempt = dist.PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)
    if store.check(["final error"]):
        raise OtherRankFailedError
    try:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=attempt, rank=rank, world_size=count, timeout=TIMEOUT)
        yield ProcessGroup()
        _leave_after_the_first(rank, attempt)
    except Exception as error:
        with suppress(RuntimeError):  # without the store, each rank speaks for itself
            if isinstance(error, ValueError):
                store.set("final error", "")
            if attempt.add("failed ranks", 1) > 1:
                raise OtherRankFailedError from error
        raise
    dist.destroy_process_group()


def _leave_after_the_first(rank: int, store: dist.Store) -> None:
    """Return when rank 0 is done: where a machine leaves early, torchrun ends the others, rank 0's report included."""
    if rank == 0:
        store.set("done", "")
    while not store.check(["done"]):
        time.sleep(0.2)


@contextmanager
def _lost_ranks_named() -> Iterator[None]:
    """Turn what the backends raise when a rank is gone into a ConnectionError."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(
            "another process of this run is gone or did not answer; torchrun --max-restarts=N goes on from the last "
            "checkpoint by itself, and --resume does when the run is started again"
        ) from error
