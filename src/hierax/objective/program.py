"""Objectives as pure functions of parameters and data, for optimisers that run inside one compiled loop.

`programmed` chooses: partitions of unity have their points sorted by subdomain (`SortedProgram`), everything else is
evaluated point by point (`Program`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.fields.base import supports_local
from hierax.fields.partition_of_unity import PartitionOfUnity
from hierax.fields.sorted_points import Axes, Taylor, derivatives, jets, sorted_points
from hierax.objective.assembly import Layout
from hierax.objective.pointwise import AbstractPointTerm, Place
from hierax.objective.samples import BLOCK_POINTS, Samples

HIGHEST, EMPTY = 6, 2.5
"""Order of derivatives up to which a term is tried, and most slots of sorted points for each that is filled."""


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


@dataclass(frozen=True)
class SortedProgram:
    """The objective of a partition of unity as a pure function of `(theta, data)`, subdomain by subdomain.

    The field is replaced at every point by the quadratic polynomial with the same derivatives, which a term of second
    order cannot tell from it. Samples that are drawn are not sorted: they are evaluated point by point.

    Attributes
    ----------
    plain:
        The same objective point by point.
    wanted:
        For each term the derivatives that it looks at.
    """

    plain: Program
    wanted: tuple[tuple[Axes, ...], ...]

    def __call__(self, theta: Float[Array, " N"], data: tuple[Any, Any]) -> Float[Array, ""]:
        """Value; `data` are sorted points, places and weights of each term, and the data of `plain`."""
        inputs, plain = data
        if inputs is None:
            return self.plain(theta, plain)
        total, field = jnp.zeros(()), self.plain.layout.build(theta, plain[0])
        for term, wanted, (where, places, weights) in zip(self.plain.terms, self.wanted, inputs, strict=True):

            def density(parts: dict[Axes, Array], place: Place, term: AbstractPointTerm = term) -> Array:
                return term.value(lambda parts: Taylor(place.x, parts), parts, place)  # pyright: ignore

            total = total + weights @ jax.vmap(density)(jets(field.locals, where, wanted), places)
        return total

    def drawn(self, data: tuple[Any, Any], key: Array, count: int) -> tuple[Any, Any]:
        """See `Program.drawn`."""
        return None, self.plain.drawn(data[1], key, count)

    def value_and_gradient(self, theta: Float[Array, " N"], data: tuple[Any, Any]) -> tuple[Array, Array]:
        """Value and gradient."""
        return jax.value_and_grad(self)(theta, data)


@functools.singledispatch
def programmed(
    field: Any, samples: Sequence[Samples], layout: Layout, rest: Any
) -> tuple[Program | SortedProgram, Any]:
    """The objective of some samples as a program, and its data."""
    return pointwise(field, samples, layout, rest)


def pointwise(field: Any, samples: Sequence[Samples], layout: Layout, rest: Any) -> tuple[Program, Any]:
    """The same, point by point for fields of all kinds."""
    del field
    return Program(tuple(s.term for s in samples), layout), (rest, tuple(_stacked(s) for s in samples))


@programmed.register
def _(
    field: PartitionOfUnity, samples: Sequence[Samples], layout: Layout, rest: Any
) -> tuple[Program | SortedProgram, Any]:
    plain, data = pointwise(field, samples, layout, rest)
    # local fields with cells of their own gather at every point anyway
    if supports_local(field.locals) or field.place is not None:
        return plain, data
    wanted, inputs = [], []
    for s in samples:
        axes, where = felt(field, s), sorted_points(field.cover, s.points)
        if axes is None or where.slots.size > EMPTY * np.count_nonzero(np.asarray(where.slots) < s.count):
            return plain, data
        wanted.append(axes)
        places = jax.tree.map(jnp.asarray, Place(s.points, s.normals, s.targets))
        inputs.append((where, places, jnp.asarray(s.scale * s.weights)))
    return SortedProgram(plain, tuple(wanted)), (tuple(inputs), data)


def felt(field: PartitionOfUnity, samples: Samples) -> tuple[Axes, ...] | None:
    """Derivatives that a term looks at; nothing for one of higher order, or that looks away from its point.

    Found by trying at a few of its points: the field is a smooth function plus, with zero coefficients, monomials that
    touch one derivative at the point and nothing else, powers from the third on along an oblique direction, and what
    vanishes at the point with all derivatives.
    """
    dim = field.cover.dim
    shape = jax.eval_shape(field, jax.ShapeDtypeStruct((dim,), float)).shape
    pick = np.random.default_rng(0).integers(samples.count, size=4)
    places = jax.tree.map(jnp.asarray, Place(samples.points[pick], samples.normals[pick], samples.targets[pick]))
    known = derivatives(dim)
    slopes = np.nan_to_num(np.asarray(_slopes(samples.term, shape, len(known), places)))
    size = np.abs(slopes).max(axis=(0, 1))
    if np.any(size[len(known) :] > 0):
        return None
    return tuple(axes for axes, felt in zip(known, size, strict=False) if felt > 0)


@partial(jax.jit, static_argnames=("term", "shape", "count"))
def _slopes(term: AbstractPointTerm, shape: tuple[int, ...], count: int, places: Place) -> Array:
    """Derivatives `(places, r, count + HIGHEST - 1)` of what a term reports in the coefficients, see `felt`."""

    def at(place: Place) -> Array:
        x, dim = place.x, len(place.x)
        phase = jnp.arange(np.prod(shape, dtype=int), dtype=float).reshape(shape)
        direction = jnp.linspace(0.7, 1.3, dim)

        def residual(c: Array) -> Array:
            def field(z: Array) -> Array:
                apart = z - x
                smooth = 0.5 + 0.2 * jnp.exp(0.3 * direction @ apart + phase) + jnp.sin(jnp.sum(direction * z) + phase)
                here = jnp.all(jnp.abs(jax.lax.stop_gradient(apart)) < 1e-12)
                each = Taylor(x, {axes: c[k] for k, axes in enumerate(derivatives(dim))})(z)
                powers = sum(c[count + m - 2] * (direction @ apart) ** m for m in range(3, HIGHEST + 1))
                return smooth + jnp.where(here, each + powers, c[count])

            return term.residual(field, place)

        return jax.jacfwd(residual)(jnp.zeros(count + HIGHEST - 1))

    return jax.vmap(at)(places)


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
