"""The laws of fields, for the library's own and for users' new ones."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from hierax.fields.base import AbstractLocalField, has_fixed_cells, linear_in_parameters, mesh, partition, positions
from hierax.fields.initial import Key, generator_of


def check_field(
    field: PyTree,
    *,
    key: Key,
    points: Float[Array, "points dim"],
    lower: Sequence[float],
    upper: Sequence[float],
    periodic: Sequence[bool] | None = None,
    tolerance: float = 1e-10,
) -> None:
    """Verify what a field says of itself, with parameters that random numbers have moved.

    Values are linear in the parameters exactly if it says so. Along periodic coordinates values and first derivatives
    agree at both ends. There is one position for each parameter, in the box or none. For a local field: the piece of a
    cell has the value and the derivatives of the field, its parameters are those at the indices, `gather` is
    ``vmap(at . locate)``; for fixed cells: these do not depend on the parameters, and points have the same key exactly
    if they are in one cell.

    Parameters
    ----------
    field : callable pytree
    key : key or int
        For random parameters.
    points : array ``(points, dim)``
        Inside of the box and of cells.
    lower, upper : sequence of float
        Corners of the box.
    periodic : sequence of bool, optional
        Coordinates in which the field is to close; none by default.
    tolerance : float
        Allowed violation relative to the size of what is compared.

    Raises
    ------
    AssertionError
        Naming the broken law.
    """
    generator, rows = generator_of(key), np.asarray(points, dtype=float)
    params, rest = partition(field)
    flat, build = ravel_pytree(params)
    theta = np.asarray(flat) + generator.normal(size=flat.shape)
    moved = eqx.combine(build(jnp.asarray(theta)), rest)
    other = eqx.combine(build(jnp.asarray(theta + generator.normal(size=flat.shape))), rest)
    zero = eqx.combine(build(jnp.zeros(flat.shape)), rest)
    _linearity(moved, other, zero, rows, tolerance)
    _ends(moved, rows, np.asarray(lower), np.asarray(upper), periodic or (), tolerance)
    _positions(moved, rows.shape[1], np.asarray(lower), np.asarray(upper), flat.size)
    if isinstance(moved, AbstractLocalField) and moved.is_local:
        _pieces(moved, rows, theta, tolerance)
        if has_fixed_cells(moved):
            _cells(moved, other, rows)


def _linearity(one: Any, other: Any, zero: Any, points: np.ndarray, tolerance: float) -> None:
    params, rest = partition(one)
    middle = eqx.combine(jax.tree.map(lambda a, b: 0.5 * (a + b), params, partition(other)[0]), rest)
    a, b, m, z = (_values(field, jnp.asarray(points))[0] for field in (one, other, middle, zero))
    linear = all(
        _near(0.5 * (p + q), r, tolerance) and float(jnp.abs(s).max()) == 0.0
        for p, q, r, s in zip(*map(jax.tree.leaves, (a, b, m, z)), strict=True)
    )
    said = linear_in_parameters(one)
    _demand(linear == said, f"linear_in_parameters is {said}, but values are {'' if linear else 'not '}linear")


def _ends(
    field: Any, points: np.ndarray, lower: np.ndarray, upper: np.ndarray, periodic: Sequence[bool], tolerance: float
) -> None:
    for axis in np.flatnonzero(periodic):
        ends = []
        for end in (lower, upper):
            at = points.copy()
            at[:, axis] = end[axis]
            ends.append(_values(field, jnp.asarray(at))[:2])
        _demand(_same(ends[0], ends[1], tolerance), f"values or slopes differ at the ends of coordinate {axis}")


def _positions(field: Any, dim: int, lower: np.ndarray, upper: np.ndarray, count: int) -> None:
    where = positions(field, dim)
    _demand(where.shape == (count, dim), f"positions have shape {where.shape}, expected {(count, dim)}")
    slack = upper - lower
    inside = np.isnan(where) | ((where >= lower - slack) & (where <= upper + slack))
    _demand(bool(inside.all()), "positions are far outside of the box")


def _pieces(field: AbstractLocalField, points: np.ndarray, theta: np.ndarray, tolerance: float) -> None:
    cells, index, pieces, found = _local(field, jnp.asarray(points))
    _demand(
        all(np.issubdtype(np.asarray(leaf).dtype, np.integer) for leaf in jax.tree.leaves(cells)),
        "cells are not integers",
    )
    _demand(_same(found, _values(field, jnp.asarray(points)), tolerance), "field(x) is not at(locate(x))[1](x)")
    own = np.asarray(jax.vmap(lambda piece: ravel_pytree(partition(piece)[0])[0])(pieces))
    _demand(np.array_equal(own, theta[np.asarray(index)]), "the piece's parameters are not those at its indices")
    gathered, stacked = field.gather(points)
    _demand(np.array_equal(gathered, index), "gather has other indices than at")
    _demand(_same(jax.tree.leaves(stacked), jax.tree.leaves(pieces), tolerance), "gather has other pieces than at")


def _cells(field: AbstractLocalField, other: AbstractLocalField, points: np.ndarray) -> None:
    here, there = (jax.tree.leaves(_local(one, jnp.asarray(points))[0]) for one in (field, other))
    _demand(all(map(np.array_equal, here, there)), "cells depend on the parameters, but has_fixed_cells is true")
    rows = np.concatenate([np.asarray(cell).reshape(len(points), -1) for cell in here], axis=1)
    cells = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    pairs = np.unique(np.stack([cells, field.cell_keys(points)], axis=1), axis=0)
    alike = len(pairs) == len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1]))
    _demand(alike, "cell_keys are not equal exactly for points in one cell")
    for line in mesh(field) or ():
        _demand(bool(np.all(np.diff(line) > 0)), "the lines of the mesh do not increase")


@eqx.filter_jit
def _values(field: Any, points: Float[Array, "points dim"]) -> tuple[Any, Any, Any]:
    return jax.vmap(lambda x: _jet(field, x))(points)


@eqx.filter_jit
def _local(field: AbstractLocalField, points: Float[Array, "points dim"]) -> tuple[Any, Any, Any, Any]:
    def one(x: Float[Array, " dim"]) -> tuple[Any, Any, Any, Any]:
        cell = field.locate(x)
        index, piece = field.at(cell)
        return cell, index, piece, _jet(piece, x)

    return jax.vmap(one)(points)


def _jet(field: Any, x: Float[Array, " dim"]) -> tuple[Any, Any, Any]:
    return field(x), jax.jacfwd(field)(x), jax.jacfwd(jax.jacfwd(field))(x)


def _same(one: Any, other: Any, tolerance: float) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(_near(np.asarray(a), np.asarray(b), tolerance) for a, b in pairs)


def _near(a: Any, b: Any, tolerance: float) -> bool:
    size = float(np.abs(np.asarray([a, b])).max(initial=0.0))
    return a.shape == b.shape and bool(np.abs(np.asarray(a) - np.asarray(b)).max(initial=0.0) <= tolerance * size)


def _demand(holds: bool, law: str) -> None:
    if not holds:
        raise AssertionError(law)
