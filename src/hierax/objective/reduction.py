"""The one way from samples to what is known of all of them: chunks of one shape, each mapped by a compiled kernel.

A chunk that is not full repeats its last sample. Either its results are cut off (`evaluated`, where what follows is
NumPy's work: scatter, factorisation), or it weighs nothing (`chunked` with `scanned`, inside a compiled function). That
chunks do not know of each other is what lets them be divided between devices; objectives do not loop otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierax.objective.pointwise import Place
from hierax.objective.samples import Samples

CHUNK = 4096
"""Points in one call of a compiled kernel: small enough for the cache, large enough to hide the call."""


def fitting(count: int, most: int = CHUNK) -> int:
    """Size of the chunks of some samples: few powers of two, so that few kernels serve all counts."""
    return min(most, 1 << max(count - 1, 1).bit_length())


def evaluated(kernel: Callable[[np.ndarray], Any], count: int, size: int) -> Iterator[Any]:
    """Results of a kernel chunk by chunk, in NumPy's arrays, without those of padding.

    Parameters
    ----------
    kernel:
        From the numbers `(size,)` of some samples to arrays with their results along the leading axis.
    count, size:
        Number of samples, and of those in a chunk.
    """
    for start in range(0, count, size):
        real, pick = min(size, count - start), np.minimum(np.arange(start, start + size), count - 1)
        yield jax.tree.map(lambda part, real=real: np.asarray(part)[:real], kernel(pick))


def concatenated(kernel: Callable[[np.ndarray], Any], count: int, size: int) -> np.ndarray:
    """The results of `evaluated` for all samples, `(count, ...)`, of a kernel that gives one array."""
    return np.concatenate(list(evaluated(kernel, count, size)))


def chunked(samples: Samples) -> tuple[Place, np.ndarray]:
    """Places and weights `(chunks, size)` of a term's samples; weights times the term's scale, zero where padded."""
    size = fitting(samples.count)
    order = np.arange(-(-samples.count // size) * size).reshape(-1, size)
    pick = np.minimum(order, samples.count - 1)
    weights = np.where(order < samples.count, samples.scale * samples.weights[pick], 0.0)
    places = samples.places(pick)
    if samples.inputs is not None:
        # scans go along the leading axis of everything
        places = places._replace(inputs=np.broadcast_to(samples.inputs, (len(pick), len(samples.inputs))))
    return places, weights


def scanned(function: Callable[[Any], Any], chunks: Any, start: Any) -> Any:
    """`start` plus the sum over chunks (a leading axis of every array) of a traced function of a chunk."""
    return jax.lax.scan(lambda total, chunk: (jax.tree.map(jnp.add, total, function(chunk)), None), start, chunks)[0]
