"""Devices and processes between which the samples of a training are divided, and what processes tell each other.

All processes run one program on the same numbers and come to the same decisions; what they divide are sums over
samples. Without `Devices` there is one device and one process, and the functions below give back what they are given.
"""

from __future__ import annotations

import contextlib
import functools
import zlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar, final

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hierax import clock
from hierax._errors import InputError, ProcessesError

POINTS, PROCESSES = "points", "processes"
"""Names of the axes of meshes of devices."""
GONE = "Another process of the training is gone, or cannot be reached."
LARGEST = 2**23
"""Bytes that are told at once: few lengths of messages, so that few programs are compiled for them."""

ARRAYS = (np.ndarray, jax.Array)

Tree = TypeVar("Tree")


@final
@dataclass(frozen=True)
class Devices:
    """Devices of a training: `hx.train(problem, devices=hx.Devices(points=4))`.

    Parameters
    ----------
    points:
        Number of devices, of all processes together and the same in each, between which the samples of every term are
        divided; all that there are if not given. A processor counts as several where
        `jax.config.update("jax_num_cpu_devices", 4)` comes before anything else.

    Raises
    ------
    InputError
        When training begins, for more devices than there are, and for a number that processes cannot share evenly.
    """

    points: int | None = None

    def division(self) -> Division:
        """The devices of this process and of all."""
        found, processes = jax.devices(), jax.process_count()
        count = len(found) if self.points is None else self.points
        if not 0 < count <= len(found) or count % processes:
            raise InputError(
                f"{count} devices are asked for; there are {len(found)}, of {processes} processes.",
                "Devices(points=...)",
                f"Give a multiple of {processes} up to {len(found)}; a processor is made several devices by "
                'jax.config.update("jax_num_cpu_devices", N) before anything else.',
            )
        own = [[d for d in found if d.process_index == p][: count // processes] for p in range(processes)]
        return Division(
            Mesh(np.array(own).ravel(), (POINTS,)),
            Mesh(np.array(own[jax.process_index()]), (POINTS,)),
            Mesh(np.array([devices[0] for devices in own]), (PROCESSES,)),
        )


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
    """Between what samples are divided at present; `None` where this process does all on one device."""
    return _DIVISION.get()


@contextlib.contextmanager
def dividing(devices: Devices | None) -> Iterator[None]:
    """Divide samples between devices inside of the block; the clock is that of the first process.

    Raises
    ------
    ProcessesError
        Where another process is gone, or the answers to sums that are known are wrong.
    """
    with _set(None if devices is None else devices.division()):
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
    parts = [_told(_all, own, block)[:, : len(block)] for block in _blocks(sent)]
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
    total = np.concatenate([_told(_sum, own, block)[: len(block)] for block in _blocks(flat)] or [flat])
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


def _told(program: Callable[[Mesh], Any], own: Division, block: np.ndarray) -> np.ndarray:
    """What a program of all processes makes of a block of each, filled up to a power of two."""
    sent = np.zeros((1, 1 << max(len(block) - 1, 1).bit_length()), block.dtype)
    sent[0, : len(block)] = block
    sharding = NamedSharding(own.processes, PartitionSpec(PROCESSES))
    here = jax.device_put(sent, own.own.devices.flat[0])
    rows = jax.make_array_from_single_device_arrays((own.count, sent.shape[1]), sharding, [here])
    try:
        return np.asarray(program(own.processes)(rows).addressable_data(0))
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # of a call or of its result: JAX has one for each
        raise _gone(error) from error


@functools.cache
def _all(mesh: Mesh) -> Any:
    return _collective(lambda part: jax.lax.all_gather(part[0], PROCESSES), mesh)


@functools.cache
def _sum(mesh: Mesh) -> Any:
    return _collective(lambda part: jax.lax.psum(part[0], PROCESSES), mesh)


def _collective(function: Callable[[Any], Any], mesh: Mesh) -> Any:
    own, every = PartitionSpec(PROCESSES), PartitionSpec()
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=own, out_specs=every, check_vma=False))
