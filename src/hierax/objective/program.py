"""Objectives as pure functions of parameters and data, for optimisers that run inside one compiled loop."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hierax.objective.assembly import Layout
from hierax.objective.pointwise import PER_SAMPLE, AbstractPointTerm, SquaredResidual
from hierax.objective.reduction import chunked, scanned
from hierax.objective.samples import Samples


@dataclass(frozen=True)
class Program:
    """The objective as a pure function of `(theta, data)`, point by point.

    `data` are the untrained part and, for each term, chunks of places and weights. Its gradient is formed chunk by
    chunk beside the value: memory stays that of one chunk, and nothing is computed twice.
    """

    terms: tuple[AbstractPointTerm, ...]
    layout: Layout

    @property
    def keeper(self) -> AbstractPointTerm:
        """Keeps what is compiled for the program, see `compiled_for_each`."""
        return self.terms[0]

    def __call__(self, theta: Float[Array, " N"], data: tuple[Any, Any]) -> Float[Array, ""]:
        """Value."""
        # JAX keeps the rule of a derivative with the program that it is part of: it must not keep this in turn
        own = weakref.proxy(self)
        total = jax.custom_vjp(lambda z, given: own.summed(lambda density: density, z, given, jnp.zeros(())))
        total.defvjp(
            lambda z, given: own.value_and_gradient(z, given),
            lambda slope, factor: ((factor * slope).astype(slope.dtype), None),
        )
        return total(theta, data)

    def summed(self, function: Any, theta: Float[Array, " N"], data: tuple[Any, Any], start: Any) -> Any:
        """Sum over all chunks of `function(density)(theta)`, with `density` the weighted sum over one chunk."""
        rest, chunks = data
        build = lambda y: self.layout.build(y, rest)  # noqa: E731
        total = start
        for term, own in zip(self.terms, chunks, strict=True):

            def part(chunk: Any, term: AbstractPointTerm = term) -> Any:
                places, weights = chunk
                return function(_summed(term, build, places, weights))(theta)

            total = scanned(part, own, total)
        return total

    def product(self, theta: Float[Array, " N"], data: tuple[Any, Any], v: Float[Array, " N"]) -> Float[Array, " N"]:
        """Gauss-Newton matrix times a vector; of an energy the second derivative."""
        rest, chunks = data
        total = jnp.zeros_like(v)
        for term, own in zip(self.terms, chunks, strict=True):
            total = scanned(lambda chunk, t=term: _product(t, self.layout, theta, rest, chunk, v), own, total)
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
            # what fills up the last chunk has no weight, and would make the gradient noisier
            real = size - jnp.argmax(jnp.ravel(block[1])[::-1] != 0)
            pick = jnp.unravel_index(jax.random.randint(own, (1, share), 0, real), block[1].shape)
            places, weights = jax.tree.map(lambda a, pick=pick: jnp.asarray(a)[pick], block)
            out.append((places, weights * (real / share)))
        return rest, tuple(out)

    def value_and_gradient(self, theta: Float[Array, " N"], data: tuple[Any, Any]) -> tuple[Array, Array]:
        """Value and gradient."""
        return self.summed(jax.value_and_grad, theta, data, (jnp.zeros(()), jnp.zeros_like(theta)))


def _summed(term: AbstractPointTerm, build: Any, places: Any, weights: Array) -> Any:
    """The weighted sum of a term over samples, as a function of the parameters."""
    return lambda z: weights @ jax.vmap(lambda place: term.value(build, z, place), in_axes=(PER_SAMPLE,))(places)


def _product(term: AbstractPointTerm, layout: Layout, theta: Array, rest: Any, chunk: Any, v: Array) -> Array:
    places, weights = chunk
    build = lambda y: layout.build(y, rest)  # noqa: E731
    if not isinstance(term, SquaredResidual):
        return jax.jvp(jax.grad(_summed(term, build, places, weights)), (theta,), (v,))[1]

    def residuals(z: Array) -> Array:
        field = build(z)
        return jax.vmap(lambda place: term.residual(field, place), in_axes=(PER_SAMPLE,))(places)

    _, pushed = jax.jvp(residuals, (theta,), (v,))
    _, pull = jax.vjp(residuals, theta)
    return pull(pushed * weights[:, None])[0]


def pointwise(samples: Sequence[Samples], layout: Layout, rest: Any) -> tuple[Program, Any]:
    """The program of some terms, and its data."""
    return Program(tuple(s.term for s in samples), layout), (rest, tuple(chunked(s) for s in samples))
