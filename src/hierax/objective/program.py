"""Objectives as pure functions of parameters and data, for optimisers that run inside one compiled loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.objective.assembly import Layout
from hierax.objective.pointwise import AbstractPointTerm, Place
from hierax.objective.samples import BLOCK_POINTS, Samples


@dataclass(frozen=True)
class Program:
    """The objective as a pure function of `(theta, data)`, point by point.

    `data` are the untrained part and, for each term, blocks of places and weights. Its gradient is formed block by
    block beside the value: memory stays that of one block, and nothing is computed twice.
    """

    terms: tuple[AbstractPointTerm, ...]
    layout: Layout

    def __call__(self, theta: Float[Array, " N"], data: tuple[Any, Any]) -> Float[Array, ""]:
        """Value."""
        return _total(self, theta, data)

    def summed(self, function: Any, theta: Float[Array, " N"], data: tuple[Any, Any], start: Any) -> Any:
        """Sum over all blocks of `function(density)(theta)`, with `density` the weighted sum over one block."""
        rest, blocks = data
        total = start
        for term, inputs in zip(self.terms, blocks, strict=True):

            def block(sum_: Any, inputs: Any, term: AbstractPointTerm = term) -> tuple[Any, None]:
                def density(z: Array) -> Array:
                    build = lambda y: self.layout.build(y, rest)  # noqa: E731
                    return inputs[1] @ jax.vmap(lambda place: term.value(build, z, place))(inputs[0])

                return jax.tree.map(jnp.add, sum_, function(density)(theta)), None

            total, _ = jax.lax.scan(block, total, inputs)
        return total

    def drawn(self, data: tuple[Any, Any], key: Array, count: int) -> tuple[Any, Any]:
        """Data of about `count` samples, drawn with repetition: the expectation of the value is that of all samples.

        Each term gets its share of the samples, at least one.
        """
        rest, blocks = data
        sizes = [weights.size for _, weights in blocks]
        out = []
        for block, size, own in zip(blocks, sizes, jax.random.split(key, len(sizes)), strict=True):
            share = max(1, round(count * size / sum(sizes)))
            pick = jnp.unravel_index(jax.random.randint(own, (1, share), 0, size), block[1].shape)
            places, weights = jax.tree.map(lambda a, pick=pick: jnp.asarray(a)[pick], block)
            out.append((places, weights * (size / share)))
        return rest, tuple(out)

    def value_and_gradient(self, theta: Float[Array, " N"], data: tuple[Any, Any]) -> tuple[Array, Array]:
        """Value and gradient."""
        return self.summed(jax.value_and_grad, theta, data, (jnp.zeros(()), jnp.zeros_like(theta)))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _total(program: Program, theta: Array, data: Any) -> Array:
    return program.summed(lambda density: density, theta, data, jnp.zeros(()))


def _total_forward(program: Program, theta: Array, data: Any) -> tuple[Array, Array]:
    return program.value_and_gradient(theta, data)


def _total_backward(program: Program, gradient: Array, factor: Array) -> tuple[Array, None]:
    del program
    return (factor * gradient).astype(gradient.dtype), None


_total.defvjp(_total_forward, _total_backward)


def pointwise(field: Any, samples: Sequence[Samples], layout: Layout, rest: Any) -> tuple[Program, Any]:
    """The same, point by point for fields of all kinds."""
    del field
    return Program(tuple(s.term for s in samples), layout), (rest, tuple(_stacked(s) for s in samples))


def padded(s: Samples, width: int):
    """Blocks of fixed width: places, weights (zero where padded) and the number of real points."""
    width = min(width, 1 << max(s.count - 1, 1).bit_length())
    for start in range(0, s.count, width):
        pick = np.minimum(np.arange(start, start + width), s.count - 1)
        real = min(width, s.count - start)
        weights = np.where(np.arange(width) < real, s.weights[pick], 0.0)
        yield Place(s.points[pick], s.normals[pick], s.targets[pick]), weights, real


def _stacked(s: Samples) -> tuple[Place, np.ndarray]:
    """All blocks of a term along a leading axis, weights times the term's scale."""
    blocks = list(padded(s, BLOCK_POINTS))
    places = jax.tree.map(lambda *parts: np.stack(parts), *[b[0] for b in blocks])
    return places, s.scale * np.stack([b[1] for b in blocks])
