"""Partitions of unity in the assembly: their pieces gathered in NumPy, cells, positions and sums of several levels.

Imported for what it registers with the functions of `gather` and `build`.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hierax.fields.base import parameter_count, supports_local
from hierax.fields.broken import BrokenPartition, LocalBroken
from hierax.fields.cover import Subdomains
from hierax.fields.finders import UniformFinder
from hierax.fields.partition_of_unity import LocalPartition, PartitionOfUnity, numbering, own_sizes
from hierax.fields.sums import Sum
from hierax.objective.gather import cell_keys, gather, has_fixed_cells, positions


@has_fixed_cells.register
def _(field: PartitionOfUnity) -> bool:
    return not supports_local(field.locals) or has_fixed_cells(field.locals)


@has_fixed_cells.register
def _(field: Sum) -> bool:
    return supports_local(field) and all(not supports_local(part) or has_fixed_cells(part) for part in field.parts)


@gather.register
def _(field: PartitionOfUnity, points: np.ndarray) -> tuple[np.ndarray, Any]:
    if supports_local(field.locals):
        return gather.dispatch(object)(field, points)
    ids = np.asarray(field.cover.locate(np.asarray(points)))
    cover, locals_ = (jax.tree.map(np.asarray, part) for part in (field.cover, field.locals))
    base, stride = numbering(field.locals)
    slots, bears = field.slots(ids)
    numbers = base + slots[:, :, None] * stride
    ends = np.cumsum([0, *own_sizes(field.locals)])
    parts = [numbers[:, :, start:stop].reshape(len(points), -1) for start, stop in itertools.pairwise(ends)]
    near = Subdomains(cover.centres[ids], cover.half_widths[ids], cover.window, cover.periods, cover.unity)
    return np.concatenate(parts, axis=1), LocalPartition(near, jax.tree.map(lambda leaf: leaf[slots], locals_), bears)


@gather.register
def _(field: Sum, points: np.ndarray) -> tuple[np.ndarray, Sum]:
    offset, indices, pieces, count = 0, [], [], len(points)
    for part in field.parts:
        size = parameter_count(part)
        if supports_local(part):
            index, piece = gather(part, points)
        else:
            index = np.broadcast_to(np.arange(size), (count, size))
            piece = jax.tree.map(lambda a: np.broadcast_to(np.asarray(a), (count, *np.shape(a))), part)
        indices.append(index + offset)
        pieces.append(piece)
        offset += size
    return np.concatenate(indices, axis=1), Sum(pieces)


@has_fixed_cells.register
def _(field: BrokenPartition) -> bool:
    return all(has_fixed_cells(side) for side in field.sides)


@gather.register
def _(field: BrokenPartition, points: np.ndarray) -> tuple[np.ndarray, LocalBroken]:
    (first, inside), (second, outside) = (gather(side, points) for side in field.sides)
    index = np.concatenate([first, second + parameter_count(field.inside)], axis=1)
    return index, LocalBroken(inside, outside, field.distance)


@cell_keys.register
def _(field: BrokenPartition, points: np.ndarray) -> np.ndarray:
    rows = [cell_keys(side, points) for side in field.sides]
    return np.unique(np.stack(rows, axis=1), axis=0, return_inverse=True)[1].ravel()


@positions.register
def _(field: BrokenPartition, dim: int) -> np.ndarray:
    return np.concatenate([positions(side, dim) for side in field.sides])


@cell_keys.register
def _(field: PartitionOfUnity, points: np.ndarray) -> np.ndarray:
    if supports_local(field.locals):
        cells = jax.tree.leaves(_cells(field, jnp.asarray(points)))
        rows = np.concatenate([np.asarray(cell).reshape(len(points), -1) for cell in cells], axis=1)
    else:
        rows = np.asarray(field.cover.locate(np.asarray(points)))
    if isinstance(field.cover.finder, UniformFinder) and not supports_local(field.locals):
        return rows[:, 0].astype(np.int64)  # the first of a full grid's members names the others
    return np.unique(rows, axis=0, return_inverse=True)[1].ravel()


@cell_keys.register
def _(field: Sum, points: np.ndarray) -> np.ndarray:
    rows = [cell_keys(part, points) for part in field.parts if supports_local(part)]
    return np.unique(np.stack(rows, axis=1), axis=0, return_inverse=True)[1].ravel()


@eqx.filter_jit
def _cells(field: PartitionOfUnity, points: jax.Array) -> Any:
    return jax.vmap(field.locate)(points)


@positions.register
def _(field: PartitionOfUnity, dim: int) -> np.ndarray:
    del dim
    centres = np.asarray(field.cover.centres)[field.owners]
    return np.concatenate([np.repeat(centres, size, axis=0) for size in own_sizes(field.locals)])


@positions.register
def _(field: Sum, dim: int) -> np.ndarray:
    return np.concatenate([_within_sum(part, dim) for part in field.parts])


def _within_sum(part: Any, dim: int) -> np.ndarray:
    """Parameters of levels so coarse that every point is in all subdomains act everywhere beside finer ones."""
    found = positions(part, dim)
    if not isinstance(part, PartitionOfUnity) or part.cover.members < part.cover.subdomains:
        return found
    finder = part.cover.finder
    alike = isinstance(finder, UniformFinder) and not any(finder.wraps)
    return np.full_like(found, np.nan) if alike else found


def cells_of_cover(field: PartitionOfUnity) -> tuple[np.ndarray, ...] | None:
    """Break points between the middles of a uniform cover, one array an axis; nothing for other covers."""
    finder = field.cover.finder
    if not isinstance(finder, UniformFinder):
        return None
    margin = field.cover.window.margin
    cells = [n if wraps else n - round(2 * margin) for n, wraps in zip(finder.counts, finder.wraps, strict=True)]
    ends = zip(np.asarray(finder.lower), np.asarray(finder.spacing), cells, strict=True)
    return tuple(lower + h * (margin + np.arange(n + 1)) for lower, h, n in ends)


def cells_of_sum(field: Sum) -> tuple[np.ndarray, ...] | None:
    """Break points of all uniform covers in a sum together, and of patches the middles and edges of their boxes."""
    covered = [part for part in field.parts if isinstance(part, PartitionOfUnity)]
    meshes = [cells for cells in map(cells_of_cover, covered) if cells is not None]
    if not meshes:
        return None
    whole = [functools.reduce(np.union1d, axis) for axis in zip(*meshes, strict=True)]
    for part in covered:
        if cells_of_cover(part) is None:
            lines = np.concatenate([*part.cover.bounds(), np.asarray(part.cover.centres)])
            inner = [line[(line > a[0]) & (line < a[-1])] for a, line in zip(whole, lines.T, strict=True)]
            whole = [np.union1d(a, line) for a, line in zip(whole, inner, strict=True)]
    return tuple(_distinct(axis) for axis in whole)


def _distinct(values: np.ndarray) -> np.ndarray:
    return values[np.r_[True, np.diff(values) > 1e-9 * (values[-1] - values[0])]]
