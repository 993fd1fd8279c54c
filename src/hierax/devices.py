"""Devices and processes between which a training is divided, and what processes tell each other.

All processes run one program on the same numbers and come to the same decisions; what they divide are sums, over points
and samples, and what does not know of each other: random starts, subdomains. Without `Devices` there is one device and
one process, and the functions below give back what they are given.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, TypeVar, final

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hierax import clock
from hierax._errors import InputError, ProcessesError

DEVICES, PROCESSES = "devices", "processes"
"""Names of the axes of meshes."""
POINTS, SAMPLES, SEEDS, PARTS = "points", "samples", "seeds", "parts"
"""What can be divided."""
DIVIDED = {
    POINTS: "the points of one problem (hx.train)",
    SAMPLES: "the samples of a step (hx.surrogate of hx.Samples, an operator)",
    SEEDS: "random starts (hx.materials.learn_network)",
    PARTS: "overlapping subdomains (hx.train with the solver Schwarz)",
}
GONE = "Another process of the training is gone, or cannot be reached."
THREADS = 16
"""Fewest threads of the pool in which XLA runs programs on a processor. Factorisations of many small matrices wait
there for tasks of the same pool: with two threads some residuals with an inverse of a matrix waited for ever. Programs
are as fast with more threads than cores."""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Cores that this process may use: of a machine that is shared not all."""
os.environ.setdefault("PJRT_NPROC", str(max(THREADS, CORES)))
LARGEST = 2**23
"""Bytes that are told at once: few lengths of messages, so that few programs are compiled for them."""

ARRAYS = (np.ndarray, jax.Array)

Tree = TypeVar("Tree")


@final
@dataclass(frozen=True)
class Devices:
    """Devices of a training, and what they divide: `hx.train(problem, devices=hx.Devices(points=4))`.

    One of these numbers is given: devices of all processes together, the same in each. Without any, all devices that
    there are divide what there is to divide. A processor counts as several where
    `jax.config.update("jax_num_cpu_devices", 4)` comes before anything else.

    Parameters
    ----------
    points:
        Devices between which the points of every term of a problem are divided.
    samples:
        Devices between which the samples of every step of an operator are divided.
    seeds:
        Devices that each train some of several random starts.
    parts:
        Devices that each see to some of the subdomains of a partition of unity, and of the points.

    Raises
    ------
    InputError
        When training begins, for more devices than there are, for a number that processes cannot share evenly, for
        several numbers, and for one of what this training has nothing of.
    """

    points: int | None = None
    samples: int | None = None
    seeds: int | None = None
    parts: int | None = None

    @property
    def axis(self) -> str | None:
        """What is divided, as it was asked for."""
        return next(iter(self._given), None)

    @property
    def _given(self) -> dict[str, int]:
        return {axis: count for axis, count in asdict(self).items() if count is not None}

    def division(self, axes: tuple[str, ...]) -> Division:
        """The devices of this process and of all, for what has something to divide along some axes."""
        given, found, processes = self._given, jax.devices(), jax.process_count()
        if len(given) > 1:
            raise InputError(
                f"{len(given)} axes are given.", _written(*given), "Devices divide along one axis: choose."
            )
        if (self.axis or next(iter(axes), None)) not in axes:
            meant = "; ".join(f"{axis}: {what}" for axis, what in DIVIDED.items() if self.axis in (axis, None))
            raise InputError(
                f"There is nothing here that devices could divide like that ({meant}).", _written(*given),
                f"Divide {' or '.join(axes)}." if axes else "Leave the devices out.",
            )  # fmt: skip
        count = next(iter(given.values()), len(found))
        if not 0 < count <= len(found) or count % processes:
            raise InputError(
                f"{count} devices are asked for; there are {len(found)}, of {processes} processes.",
                _written(*given),
                f"Give a multiple of {processes} up to {len(found)}; a processor is made several devices by "
                'jax.config.update("jax_num_cpu_devices", N) before anything else.',
            )
        own = [[d for d in found if d.process_index == p][: count // processes] for p in range(processes)]
        return Division(
            Mesh(np.array(own).ravel(), (DEVICES,)),
            Mesh(np.array(own[jax.process_index()]), (DEVICES,)),
            Mesh(np.array([devices[0] for devices in own]), (PROCESSES,)),
        )


def _written(*axes: str) -> str:
    return f"Devices({', '.join(f'{axis}=...' for axis in axes)})"


@final
@dataclass(frozen=True)
class Division:
    """Devices of all processes, devices of this one, and one of each process, as meshes with one axis."""

    every: Mesh
    own: Mesh
    processes: Mesh

    @property
    def count(self) -> int:
        """Number of processes."""
        return self.processes.size

    @property
    def process(self) -> int:
        """Number of this process."""
        return 0 if self.count == 1 else jax.process_index()

    @property
    def here(self) -> Division:
        """The devices of this process alone."""
        return Division(self.own, self.own, Mesh(self.own.devices[:1], (PROCESSES,)))


_DIVISION: ContextVar[Division | None] = ContextVar("_DIVISION", default=None)


def division() -> Division | None:
    """Between what work is divided at present; `None` where this process does all on one device."""
    return _DIVISION.get()


@contextlib.contextmanager
def dividing(devices: Devices | None, axes: tuple[str, ...] = (POINTS,)) -> Iterator[None]:
    """Divide between devices inside of the block, which has something to divide along some axes; the clock is that of
    the first process.

    Raises
    ------
    InputError
        For devices that are asked for along another axis.
    ProcessesError
        Where another process is gone, or the answers to sums that are known are wrong.
    """
    with _set(None if devices is None else devices.division(axes)):
        try:
            _probe()
            yield
        except jax.errors.JaxRuntimeError as error:
            own = division()
            if own is None or own.count == 1:
                raise
            raise _gone(error) from error


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Divide nothing inside of the block, which not every process enters."""
    with _set(None):
        yield


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Divide between the devices of this process alone inside of the block: it is this process' share of something."""
    own = division()
    with contextlib.nullcontext() if own is None or own.count == 1 else _set(own.here):
        yield


@contextlib.contextmanager
def _set(value: Division | None) -> Iterator[None]:
    told = None if value is None or value.count == 1 else lambda seconds: float(gathered(np.array(seconds))[0])
    token = _DIVISION.set(value)
    try:
        with clock.told(told):
            yield
    finally:
        _DIVISION.reset(token)


def leads() -> bool:
    """Whether this process is the one that tells others and writes; every process that is alone does."""
    own = division()
    return own is None or own.process == 0


Item = TypeVar("Item")
Found = TypeVar("Found")


def own_share(items: Sequence[Item]) -> Sequence[Item]:
    """Those of some items that this process sees to."""
    own = division()
    return items if own is None else items[own.process :: own.count]


def each(function: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
    """What a function makes of items that do not know of each other, in their order: processes take turns.

    Between processes results are told as `pickle` writes them.

    Raises
    ------
    ProcessesError
        Where the function has failed in another process.
    """
    own = division()
    found: list[Found] = []
    failure: Exception | None = None
    try:
        found = beside(function, own_share(items))
    except Exception as error:  # told before it is raised: the others wait for this process
        failure = error
    failed = gathered(np.array(failure is not None))
    if failure is not None:
        raise failure
    if any(map(bool, failed)):
        raise ProcessesError("Another process of the training has failed in its share.")
    out: list[Any] = [None] * len(items)
    for process, share in enumerate(_gathered_objects(found)):
        out[process :: 1 if own is None else own.count] = share
    return out


def beside(function: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
    """The same of items of this process alone: its devices take turns, with a thread for each; nothing is divided
    further."""
    own = division()
    devices = [] if own is None else list(own.own.devices.flat)

    def on(item: Item, number: int) -> Found:
        with jax.default_device(devices[number % len(devices)]) if devices else contextlib.nullcontext():
            return function(item)

    with alone():
        if len(devices) < 2:
            return [on(item, number) for number, item in enumerate(items)]
        with ThreadPoolExecutor(len(devices)) as threads:
            jobs = [threads.submit(copy_context().run, on, item, number) for number, item in enumerate(items)]
            return [job.result() for job in jobs]


def shares() -> int:
    """In how many shares work is divided at present: the number of devices."""
    own = division()
    return 1 if own is None else own.every.size


def _gathered_objects(value: Found) -> list[Found]:
    """What all processes have found, whatever it is, in the order of the processes."""
    own = division()
    if own is None or own.count == 1:
        return [value]
    sent = np.frombuffer(pickle.dumps(value), np.uint8)
    lengths = [int(length) for length in gathered(np.array(len(sent)))]
    told = gathered(np.pad(sent, (0, max(lengths) - len(sent))))
    return [pickle.loads(part[:length].tobytes()) for part, length in zip(told, lengths, strict=True)]


def _probe() -> None:
    """Compare what all processes are told with what it has to be."""
    own = division()
    if own is None or own.count == 1:
        return
    numbers = np.arange(1000.0)
    shares = gathered(own.process + numbers)
    right = all(np.array_equal(share, number + numbers) for number, share in enumerate(shares))
    total = own.count * numbers + own.count * (own.count - 1) / 2
    if not right or not np.array_equal(added(own.process + numbers), total):
        raise ProcessesError(
            "Numbers that processes tell each other do not arrive as they were: the network is at fault."
        )


def first(devices: Devices | None) -> bool:
    """Whether this process is the one that writes what a training with these devices comes to."""
    return devices is None or jax.process_index() == 0


def gathered(tree: Tree) -> list[Tree]:
    """What all processes have found, arrays of equal shapes, in the order of the processes."""
    own = division()
    if own is None or own.count == 1:
        return [tree]
    leaves, structure = jax.tree.flatten(tree)
    arrays = [np.asarray(leaf) for leaf in leaves]
    sent = np.concatenate([np.zeros(0, np.uint8), *(a.ravel().view(np.uint8) for a in arrays)])
    parts = [_told(jax.lax.all_gather, own, block)[:, : len(block)] for block in _blocks(sent)]
    told = np.concatenate(parts, axis=1) if parts else np.zeros((own.count, 0), np.uint8)
    out = []
    for row in told:
        ends = np.cumsum([0, *(a.nbytes for a in arrays)])
        pieces = [row[start:stop] for start, stop in pairwise(ends)]
        found = [p.copy().view(a.dtype).reshape(a.shape) for p, a in zip(pieces, arrays, strict=True)]
        out.append(jax.tree.unflatten(structure, found))
    return out


def agree_on(tree: Any) -> None:
    """See that all processes have come to the same numbers, without which they would take different ways.

    Raises
    ------
    ProcessesError
        Where they have not: hosts that are not alike round differently.
    """
    own = division()
    if own is None or own.count == 1:
        return
    sums = [zlib.crc32(np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(tree) if isinstance(leaf, ARRAYS)]
    if any(not np.array_equal(share, sums) for share in gathered(np.array(sums))):
        raise ProcessesError("Processes have come to different numbers: use hosts of one kind, with the same versions.")


def added(tree: Tree) -> Tree:
    """Sums over processes of arrays and numbers, to the same bits in all of them."""
    own = division()
    return tree if own is None or own.count == 1 else jax.tree.map(functools.partial(_added, own), tree)


def _added(own: Division, leaf: Any) -> Any:
    array = np.asarray(leaf, float)
    flat = array.ravel(order="K")
    total = np.concatenate([_told(jax.lax.psum, own, block)[: len(block)] for block in _blocks(flat)] or [flat])
    if array.ndim == 0:
        return float(total[0])
    # in the order of memory that the array has: factorisations count on it
    return total.reshape(array.shape, order="F" if array.flags.f_contiguous and array.ndim > 1 else "C")


def _gone(error: Exception) -> ProcessesError:
    return ProcessesError(f"{GONE} ({str(error).splitlines()[0]})")


def _blocks(flat: np.ndarray) -> Iterator[np.ndarray]:
    most = LARGEST // flat.itemsize
    for start in range(0, len(flat), most):
        yield flat[start : start + most]


def _told(collective: Callable[..., Any], own: Division, block: np.ndarray) -> np.ndarray:
    """What a collective operation of all processes makes of a block of each, filled up to a power of two."""
    sent = np.zeros((1, 1 << max(len(block) - 1, 1).bit_length()), block.dtype)
    sent[0, : len(block)] = block
    sharding = NamedSharding(own.processes, PartitionSpec(PROCESSES))
    here = jax.device_put(sent, own.own.devices.flat[0])
    rows = jax.make_array_from_single_device_arrays((own.count, sent.shape[1]), sharding, [here])
    try:
        return np.asarray(_program(collective, own.processes)(rows).addressable_data(0))
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # of a call or of its result: JAX has one for each
        raise _gone(error) from error


@functools.cache
def _program(collective: Callable[..., Any], mesh: Mesh) -> Any:
    own, every = PartitionSpec(PROCESSES), PartitionSpec()
    together = lambda part: collective(part[0], PROCESSES)  # noqa: E731
    return jax.jit(jax.shard_map(together, mesh=mesh, in_specs=own, out_specs=every, check_vma=False))
