"""The one way from samples to what is known of all of them: chunks of one shape, each mapped by a compiled kernel.

A chunk that is not full repeats its last sample. Either its results are cut off (`evaluated`, where what follows is
NumPy's work: scatter, factorisation), or it weighs nothing (`chunked` with `scanned`, inside a compiled function). That
chunks do not know of each other is what lets processes divide them, and devices their samples; objectives do not loop
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from hierax.devices import DEVICES, apart, division, gathered, own_share
from hierax.objective.pointwise import Place
from hierax.objective.samples import Samples

CHUNK = 4096
"""Points in one call of a compiled kernel: small enough for the cache, large enough to hide the call."""


def fitting(count: int, most: int = CHUNK) -> int:
    """Size of the chunks of some samples: few powers of two, so that few kernels serve all counts."""
    return min(most, 1 << max(count - 1, 1).bit_length())


def evaluated(kernel: Callable[[np.ndarray], Any], count: int, size: int, shared: bool = False) -> Iterator[Any]:
    """Results of a kernel chunk by chunk, in NumPy's arrays, without those of padding.

    Parameters
    ----------
    kernel:
        From the numbers `(size,)` of some samples to arrays with their results along the leading axis.
    count, size:
        Number of samples, and of those in a chunk.
    shared:
        Whether of several processes each gets chunks of its own alone, sums of which are to be `added`; otherwise each
        gets all chunks, in their order.
    """
    starts, devices = range(0, count, size), division()
    processes = 1 if devices is None or shared else devices.count
    # in rounds of one chunk for each process; what is left over every process does itself
    divided = len(starts) - len(starts) % processes if processes > 1 else 0
    for first in range(0, divided, processes):
        (own,) = own_share(starts[first : first + processes])
        with apart():
            found = jax.tree.map(np.asarray, kernel(_pick(own, count, size)))
        for start, part in zip(starts[first : first + processes], gathered(found), strict=True):
            yield _real(part, start, count, size)
    for start in own_share(starts) if shared else starts[divided:]:
        with apart():
            found = kernel(_pick(start, count, size))
        yield _real(found, start, count, size)


def _pick(start: int, count: int, size: int) -> np.ndarray:
    return np.minimum(np.arange(start, start + size), count - 1)


def _real(found: Any, start: int, count: int, size: int) -> Any:
    return jax.tree.map(lambda part: np.asarray(part)[: min(size, count - start)], found)


def concatenated(kernel: Callable[[np.ndarray], Any], count: int, size: int) -> np.ndarray:
    """The results of `evaluated` for all samples, `(count, ...)`, of a kernel that gives one array."""
    return np.concatenate(list(evaluated(kernel, count, size)))


def chunked(samples: Samples) -> tuple[Place, np.ndarray]:
    """Places and weights `(chunks, size)` of a term's samples; weights times the term's scale, zero where padded."""
    devices = division()
    parts = 1 if devices is None else devices.every.size
    size = fitting(-(-samples.count // parts))
    # as many chunks for each device
    order = np.arange(-(-samples.count // (parts * size)) * parts * size).reshape(-1, size)
    pick = np.minimum(order, samples.count - 1)
    weights = np.where(order < samples.count, samples.scale * samples.weights[pick], 0.0)
    places = samples.places(pick)
    if samples.inputs is not None:
        # scans go along the leading axis of everything
        places = places._replace(inputs=np.broadcast_to(samples.inputs, (len(pick), len(samples.inputs))))
    return places, weights


def scanned(function: Callable[[Any], Any], chunks: Any, start: Any) -> Any:
    """`start` plus the sum over chunks (a leading axis of every array) of a traced function of a chunk."""
    devices = division()

    def summed(first: Any, chunks: Any) -> Any:
        return jax.lax.scan(lambda total, chunk: (jax.tree.map(jnp.add, total, function(chunk)), None), first, chunks)[
            0
        ]

    if devices is None or len(jax.tree.leaves(chunks)[0]) % devices.every.size:
        return summed(start, chunks)
    zero = jax.tree.map(jnp.zeros_like, start)
    # each device goes through chunks of its own
    sums = jax.shard_map(
        lambda own: jax.lax.psum(summed(zero, own), DEVICES),
        mesh=devices.every, in_specs=PartitionSpec(DEVICES), out_specs=PartitionSpec(), check_vma=False,
    )(chunks)  # fmt: skip
    return jax.tree.map(jnp.add, start, sums)
