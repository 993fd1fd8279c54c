r"""Derivatives of partitions of unity at many fixed points: windows known beforehand, points sorted by subdomain.

Read point by point, parameters are gathered for every pair of a point and a subdomain around it, and windows are
differentiated together with the local fields. Where the points stay, both can be done once: with the derivatives of
the windows stored, Leibniz' rule

.. math:: \partial_{ab} (w u) = w\,\partial_{ab} u + \partial_a w\,\partial_b u + \partial_b w\,\partial_a u
          + \partial_{ab} w\,u

needs derivatives of the local fields alone, in their own coordinates; and with points sorted by subdomain every
parameter is read once. A block of subdomains is computed after the other, so that what is needed stays in the cache,
and the backward pass computes each block again. Seconds against other layouts: the study `subdomain-layout`.
"""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from hierax.fields.base import AbstractField
from hierax.fields.cover import Cover
from hierax.fields.partition_of_unity import taken

Axes = tuple[int, ...]
"""A derivative up to the second: `()` for the value, `(a,)`, or `(a, b)` with `a <= b`."""

BLOCK = 3072
"""Most slots in a block."""


class WindowJets(NamedTuple):
    """Windows with their derivatives in the coordinates of the domain, one entry a derivative."""

    parts: tuple[Float[Array, "subdomains slots"], ...]

    def of(self, axes: Axes, dim: int) -> Float[Array, "subdomains slots"]:
        """A derivative."""
        return self.parts[derivatives(dim).index(axes)]


class SortedPoints(NamedTuple):
    """Points of a cover sorted by subdomain, padded to the same number in each; without the subdomains that have none.

    Attributes
    ----------
    owners:
        Numbers of the subdomains with points.
    slots:
        Number of the point in every slot; the number of points where a slot is empty.
    z:
        Local coordinates of the points in the slots.
    half_widths:
        Of the subdomains.
    windows:
        Zero where a slot is empty.
    points:
        ``(n, dim)``, as they came.
    """

    owners: Int[Array, " subdomains"]
    slots: Int[Array, "subdomains slots"]
    z: Float[Array, "subdomains dim slots"]
    half_widths: Float[Array, "subdomains dim"]
    windows: WindowJets
    points: Float[Array, "n dim"]


class Taylor(AbstractField):
    """A quadratic polynomial about a point, given by its derivatives there; those that are not given are zero.

    Parameters
    ----------
    x : array ``(dim,)``
    parts : dict
        Value of every derivative.
    """

    x: Float[Array, " dim"]
    parts: dict[Axes, Float[Array, "..."]]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        apart, total = x - self.x, jnp.zeros(())
        for axes, part in self.parts.items():
            power = functools.reduce(lambda a, axis: a * apart[axis], axes, 0.5 if len(set(axes)) < len(axes) else 1.0)
            total = total + power * part
        return total


def derivatives(dim: int) -> list[Axes]:
    """All derivatives up to the second."""
    return [(), *((a,) for a in range(dim)), *itertools.combinations_with_replacement(range(dim), 2)]


def sorted_points(cover: Cover, points: np.ndarray) -> SortedPoints:
    """Points ``(n, dim)`` sorted by the subdomains of a cover, with the windows there."""
    points = np.asarray(points, dtype=float)
    near = np.asarray(cover.locate(points))
    lower, upper = cover.bounds()
    if any(cover.periods):
        inside = np.asarray(jax.vmap(lambda x, ids: jnp.all(jnp.abs(cover.at(ids).coordinates(x)) < 1.0, axis=1))(
            jnp.asarray(points), jnp.asarray(near)
        ))  # fmt: skip
    else:
        inside = ((points[:, None] > lower[near]) & (points[:, None] < upper[near])).all(axis=2)
    owner, place = np.nonzero(inside)
    owners, ids, counts = np.unique(near[owner, place], return_inverse=True, return_counts=True)
    order = np.argsort(ids, kind="stable")
    slots = np.full((len(owners), counts.max()), len(points), dtype=np.int32)
    member = np.zeros_like(slots)
    column = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)
    slots[ids[order], column], member[ids[order], column] = owner[order], place[order]
    filled, at = slots < len(points), np.minimum(slots, len(points) - 1)
    z, windows = _window_jets(cover, jnp.asarray(points), jnp.asarray(near))
    chosen = [jnp.where(filled, part[at, member], 0.0) for part in windows]
    # empty slots stand in the middle of their subdomain, where every local field is defined
    local = jnp.where(filled[:, None], jnp.moveaxis(z[at, member], -1, 1), 0.0)
    own = jnp.asarray(owners, dtype=jnp.int32)
    numbers, half_widths = jnp.asarray(slots), cover.half_widths[own]
    return SortedPoints(own, numbers, local, half_widths, WindowJets(tuple(chosen)), jnp.asarray(points))


@jax.jit
def _window_jets(cover: Cover, points: Array, near: Array) -> tuple[Array, list[Array]]:
    """Local coordinates `(n, members, dim)` and, for each derivative, windows `(n, members)` of all pairs."""

    def at(x: Array, ids: Array) -> tuple[Array, list[Array]]:
        some = cover.at(ids)

        def weights(x: Array) -> Array:
            return some.weights(some.coordinates(x))

        slopes = jax.jacfwd(weights)
        first, second = slopes(x), jax.jacfwd(slopes)(x)
        parts = [weights(x), *(first[:, a] for a in range(len(x)))]
        pairs = itertools.combinations_with_replacement(range(len(x)), 2)
        return some.coordinates(x), parts + [second[:, a, b] for a, b in pairs]

    return jax.vmap(at)(points, near)


def jets(locals_: PyTree, where: SortedPoints, wanted: tuple[Axes, ...]) -> dict[Axes, Float[Array, "n ..."]]:
    """Derivatives of a partition of unity at all points.

    Parameters
    ----------
    locals_ : callable pytree
        As those of `hierax.fields.PartitionOfUnity`.
    where : SortedPoints
    wanted : tuple of tuples of int
        Which derivatives.
    """
    count, width = where.slots.shape
    size = max(1, min(count, BLOCK // width))
    inputs = (taken(locals_, where.owners), where.z, where.half_widths, where.windows)
    one = functools.partial(_of_subdomain, wanted=wanted)
    if size == count:
        parts = jax.vmap(one)(*inputs)
    else:
        blocks = -(-count // size)
        # the last block is filled up with subdomains whose values are thrown away
        pick = jnp.minimum(jnp.arange(blocks * size), count - 1).reshape(blocks, size)
        chosen = jax.tree.map(lambda leaf: leaf[pick], inputs)
        parts = jax.lax.map(jax.checkpoint(lambda block: jax.vmap(one)(*block)), chosen)
        parts = jax.tree.map(lambda part: part.reshape(blocks * size, *part.shape[2:])[:count], parts)
    return {axes: _summed(part, where) for axes, part in zip(wanted, parts, strict=True)}


def _of_subdomain(field: Any, z: Array, half_widths: Array, windows: WindowJets, wanted: tuple[Axes, ...]) -> list:
    """Derivatives `(..., slots)` of window times field in one subdomain."""
    dim = len(half_widths)

    def along(function: Any, axis: int) -> Any:
        unit = jnp.zeros_like(z).at[axis].set(1.0 / half_widths[axis])
        return lambda z: jax.jvp(function, (z,), (unit,))

    def values(z: Array) -> Array:
        return jax.vmap(field, in_axes=1, out_axes=-1)(z)

    out = []
    for axes in wanted:
        w = functools.partial(windows.of, dim=dim)
        if not axes:
            out.append(w(()) * values(z))
        elif len(axes) == 1:
            value, slope = along(values, axes[0])(z)
            out.append(w(()) * slope + w(axes) * value)
        else:
            a, b = axes
            (value, in_a), (in_b, second) = along(along(values, a), b)(z)
            out.append(w(()) * second + w((a,)) * in_b + w((b,)) * in_a + w(axes) * value)
    return out


def _summed(part: Array, where: SortedPoints) -> Array:
    """From `(subdomains, ..., slots)` to sums over the subdomains of every point, `(n, ...)`."""
    moved = jnp.moveaxis(part, -1, 1)
    total = jnp.zeros((len(where.points) + 1, *moved.shape[2:]), moved.dtype)
    return total.at[where.slots].add(moved)[:-1]
