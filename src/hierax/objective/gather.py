"""The local pieces of a field around many points at once.

`gather(field, points)` is `vmap(at . locate)`: for fields whose cells do not depend on their parameters it is done in
NumPy, so that no level-sized kernel has to be compiled, and once a level.
"""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hierax.fields.axis import SplineAxis
from hierax.fields.base import parameter_count
from hierax.fields.decoded_grid import DecodedGrid, LocalDecodedGrid
from hierax.fields.slabs import Slabs
from hierax.fields.spline_grid import LocalSplineGrid, SplineGrid
from hierax.fields.stretched import LocalStretchedGrid, StretchedGrid
from hierax.fields.unknowns import Scalar, ScalarValue, Unknowns


@functools.singledispatch
def gather(field: Any, points: np.ndarray) -> tuple[np.ndarray, Any]:
    """Indices `(n, k)` of the local parameters of every point, and the local fields stacked along the first axis."""
    indices, local = _traced(field, jnp.asarray(points))
    return np.asarray(indices), local


@eqx.filter_jit
def _traced(field: Any, points: jax.Array) -> tuple[jax.Array, Any]:
    return jax.vmap(lambda x: field.at(field.locate(x)))(points)


@functools.singledispatch
def has_fixed_cells(field: Any) -> bool:
    """Whether the cell of a point does not depend on the parameters, so that gathered pieces can be kept."""
    return False


@has_fixed_cells.register(SplineGrid)
@has_fixed_cells.register(DecodedGrid)
@has_fixed_cells.register(StretchedGrid)
@has_fixed_cells.register(Scalar)
@has_fixed_cells.register(Slabs)
def _(field: SplineGrid | DecodedGrid | StretchedGrid | Scalar | Slabs) -> bool:
    return True


@has_fixed_cells.register
def _(field: Unknowns) -> bool:
    return all(has_fixed_cells(part) for part in field.parts.values())


@gather.register
def _(field: SplineGrid, points: np.ndarray) -> tuple[np.ndarray, LocalSplineGrid]:
    nodes = np.zeros((len(points), 1), dtype=np.int64)
    pieces = []
    for axis, x in zip(field.axes, points.T, strict=True):
        interval = _intervals(axis, x)
        alive = (interval[:, None] + np.arange(axis.degree + 1)) % axis.size
        nodes = (nodes[:, :, None] * axis.size + alive[:, None, :]).reshape(len(points), -1)
        pieces.append(jax.tree.map(lambda a, i=interval: np.asarray(a)[i], axis.pieces))
    channels = int(np.prod(field.channels, dtype=int))
    indices = (nodes[:, :, None] * channels + np.arange(channels)).reshape(len(points), -1)
    shape = (len(points), *(axis.degree + 1 for axis in field.axes), *field.channels)
    coefficients = np.asarray(field.coefficients).ravel()[indices].reshape(shape)
    return indices, LocalSplineGrid(coefficients, tuple(pieces))  # pyright: ignore


@gather.register
def _(field: StretchedGrid, points: np.ndarray) -> tuple[np.ndarray, LocalStretchedGrid]:
    indices, pieces = gather(field.grid, _reference(field, points))
    return indices, LocalStretchedGrid(pieces, field.maps)


@gather.register
def _(field: DecodedGrid, points: np.ndarray) -> tuple[np.ndarray, LocalDecodedGrid]:
    nodes, pieces = gather(field.grid, points)
    count = len(points)
    shared = parameter_count(field.grid) + np.arange(parameter_count(field.decoder))
    indices = np.concatenate([nodes, np.broadcast_to(shared, (count, len(shared)))], axis=1)
    decoder = jax.tree.map(lambda a: np.broadcast_to(np.asarray(a), (count, *a.shape)), field.decoder)
    return indices, LocalDecodedGrid(pieces, decoder, field.scalar)


@gather.register
def _(field: Scalar, points: np.ndarray) -> tuple[np.ndarray, ScalarValue]:
    return np.zeros((len(points), 1), dtype=np.int64), ScalarValue(np.full(len(points), float(field.value)))  # pyright: ignore


@gather.register
def _(field: Slabs, points: np.ndarray) -> tuple[np.ndarray, LocalSplineGrid]:
    slab, offsets = field.slab_of(points), field.offsets()
    order = np.argsort(slab, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(slab[order])) + 1)
    gathered = [gather(field.parts[slab[run[0]]], points[run]) for run in runs]
    indices = np.concatenate([index + offsets[slab[run[0]]] for run, (index, _) in zip(runs, gathered, strict=True)])
    back = np.argsort(order, kind="stable")
    local = jax.tree.map(lambda *leaves: np.concatenate(leaves)[back], *(pieces for _, pieces in gathered))
    return indices[back], local


@gather.register
def _(field: Unknowns, points: np.ndarray) -> tuple[np.ndarray, Unknowns]:
    offset, indices, pieces = 0, [], {}
    for name, part in field.parts.items():
        index, pieces[name] = gather(part, points)
        indices.append(index + offset)
        offset += parameter_count(part)
    return np.concatenate(indices, axis=1), Unknowns(**pieces)


@functools.singledispatch
def cell_keys(field: Any, points: np.ndarray) -> np.ndarray:
    """One integer a point `(n,)`, equal for points in the same cell; for fields with fixed cells."""
    raise TypeError(f"{type(field).__name__} has no fixed cells")


@cell_keys.register
def _(field: SplineGrid, points: np.ndarray) -> np.ndarray:
    keys = np.zeros(len(points), dtype=np.int64)
    for axis, x in zip(field.axes, points.T, strict=True):
        keys = keys * axis.intervals + _intervals(axis, x)
    return keys


@cell_keys.register
def _(field: StretchedGrid, points: np.ndarray) -> np.ndarray:
    return cell_keys(field.grid, _reference(field, points))


@cell_keys.register
def _(field: DecodedGrid, points: np.ndarray) -> np.ndarray:
    return cell_keys(field.grid, points)


@cell_keys.register
def _(field: Scalar, points: np.ndarray) -> np.ndarray:
    del field
    return np.zeros(len(points), dtype=np.int64)


@cell_keys.register
def _(field: Slabs, points: np.ndarray) -> np.ndarray:
    slab, keys = field.slab_of(points), np.zeros(len(points), dtype=np.int64)
    cells = [int(np.prod(part.intervals, dtype=np.int64)) for part in field.parts]
    for k in np.unique(slab):
        own = slab == k
        keys[own] = sum(cells[:k]) + cell_keys(field.parts[k], points[own])
    return keys


@cell_keys.register
def _(field: Unknowns, points: np.ndarray) -> np.ndarray:
    keys = np.zeros(len(points), dtype=np.int64)
    for part in field.parts.values():
        own = cell_keys(part, points)
        # numbering the pairs anew keeps the numbers small whatever the number of unknowns
        pairs = keys * (int(own.max()) + 1) + own
        keys = pairs if pairs.max() < 2**31 else np.unique(pairs, return_inverse=True)[1]
    return keys


def _reference(field: StretchedGrid, points: np.ndarray) -> np.ndarray:
    pairs = zip(field.maps, points.T, strict=True)
    return np.stack([x if part is None else np.asarray(part(x)) for part, x in pairs], axis=1)


def _intervals(axis: SplineAxis, x: np.ndarray) -> np.ndarray:
    inner = np.asarray(axis.knots)[axis.degree + 1 : axis.degree + axis.intervals]
    return np.searchsorted(inner, x, side="right")


@functools.singledispatch
def positions(field: Any, dim: int) -> np.ndarray:
    """Where in the domain each parameter acts, `(parameters, dim)`; NaN for those that act everywhere."""
    return np.full((parameter_count(field), dim), np.nan)


@positions.register(SplineGrid)
@positions.register(StretchedGrid)
def _(field: SplineGrid | StretchedGrid, dim: int) -> np.ndarray:
    del dim
    return field.positions()


@positions.register
def _(field: DecodedGrid, dim: int) -> np.ndarray:
    return np.concatenate([positions(field.grid, dim), np.full((parameter_count(field.decoder), dim), np.nan)])


@positions.register
def _(field: Slabs, dim: int) -> np.ndarray:
    return np.concatenate([positions(part, dim) for part in field.parts])


@positions.register
def _(field: Unknowns, dim: int) -> np.ndarray:
    return np.concatenate([positions(part, dim) for part in field.parts.values()])
