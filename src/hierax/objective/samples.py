"""Samples of a term, grouped into elements of points that share their local coefficients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hierax.objective.pointwise import AbstractPointTerm, Place


@dataclass(frozen=True, eq=False)
class Samples:
    """A term with its points: `weights` are quadrature weights, `scale` multiplies the whole term.

    `targets` has shape `(n, m)` for data and `(n, 0)` otherwise; `normals` are zero inside the domain. `inputs` `(k,)`
    tell which member of a family of problems the term is of; `None` where there is no family.
    """

    term: AbstractPointTerm
    points: np.ndarray
    weights: np.ndarray
    normals: np.ndarray
    targets: np.ndarray
    scale: float = 1.0
    on_boundary: bool = False
    inputs: np.ndarray | None = None

    @property
    def count(self) -> int:
        """Number of points."""
        return len(self.points)

    def places(self, pick: np.ndarray) -> Place:
        """Where a term is evaluated, for samples of some numbers, in the shape of these; see `PER_SAMPLE`."""
        inputs = () if self.inputs is None else self.inputs
        inside = () if self.inside is None else tuple(np.moveaxis(self.inside[pick], -1, 0))
        return Place(self.points[pick], self.normals[pick], self.targets[pick], inputs, inside)

    @functools.cached_property
    def inside(self) -> np.ndarray | None:
        """Whether the points lie inside of the shapes that divide the domain, `(n, shapes)`."""
        return None if self.term.regions is None else self.term.regions.flags(self.points)

    def scaled(self, scale: float) -> Samples:
        """The same samples with another scale."""
        return replace(self, scale=float(scale))

    def weighted(self, weights: np.ndarray) -> Samples:
        """The same samples with other quadrature weights."""
        return replace(self, weights=weights)

    def of_member(self, inputs: np.ndarray | None) -> Samples:
        """The same samples of another member of a family."""
        return replace(self, inputs=inputs)

    def take(self, index: np.ndarray) -> Samples:
        """A selection or repetition of the points."""
        parts = {name: getattr(self, name)[index] for name in ("points", "weights", "normals", "targets")}
        return replace(self, **parts)


def make_samples(
    term: AbstractPointTerm,
    points: np.ndarray,
    weights: np.ndarray,
    normals: np.ndarray | None = None,
    targets: np.ndarray | None = None,
    scale: float = 1.0,
) -> Samples:
    """Samples with the defaults for what a term does not use."""
    count = len(points)
    return Samples(
        term,
        points,
        weights,
        np.zeros_like(points) if normals is None else normals,
        np.zeros((count, 0)) if targets is None else np.reshape(targets, (count, -1)),
        scale,
        normals is not None,
    )


@dataclass(frozen=True, eq=False)
class Elements:
    """Samples sorted into elements of `width` points with the same local coefficients.

    Attributes
    ----------
    order:
        `(elements, width)` positions in the samples; padded places repeat a point of the element.
    padded:
        `(elements, width)`, true where a place is padding and weighs nothing.
    field:
        The field whose cells the elements are; what a block of them needs of it is gathered when it is evaluated, so
        that nothing of its size times the number of local coefficients is kept.
    memory:
        Where that is kept all the same: for few points, and for members of a family.
    """

    order: np.ndarray
    padded: np.ndarray
    field: Any
    memory: dict[Any, Any] | None = None

    def take(self, pick: np.ndarray) -> Elements:
        """A selection or repetition of the elements."""
        if self.memory is None:
            return Elements(self.order[pick], self.padded[pick], self.field)
        taken = lambda: Elements(self.order[pick], self.padded[pick], self.field, {})  # noqa: E731
        return self.remembered(("taken", pick.tobytes()), taken)

    def remembered(self, name: Any, found: Callable[[], Any]) -> Any:
        """What a function finds, or what it has found before under the same name."""
        if self.memory is None:
            return found()
        if name not in self.memory:
            self.memory[name] = found()
        return self.memory[name]


WIDTHS = (16, 4, 1)
"""Widths of elements where cells are filled unevenly."""
MOSTLY = 0.5
"""Share of cells with the same number of points from which on that number is the width."""


def group(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort samples with equal keys into elements of equal width.

    Parameters
    ----------
    keys:
        `(n,)` number of the cell of each sample. Where most cells hold the same number of points that is the width.

    Returns
    -------
    order, padded:
        See `Elements`.
    """
    sorting = _grouped_order(keys)
    ordered = keys[sorting]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    counts = np.diff(np.r_[starts, len(ordered)])
    common = int(np.bincount(counts).argmax())
    if common <= 512 and np.mean(counts == common) >= (MOSTLY if common >= WIDTHS[0] else 1.0):
        width = common
    else:
        width = next(w for w in WIDTHS if np.mean(counts) >= w / 2)
    pieces = -(-counts // width)
    cell = np.repeat(np.arange(len(starts)), pieces)
    piece = np.arange(len(cell)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    local = piece[:, None] * width + np.arange(width)
    padded = local >= counts[cell][:, None]
    order = sorting[starts[cell][:, None] + np.minimum(local, counts[cell][:, None] - 1)]
    return order, padded


def _grouped_order(keys: np.ndarray) -> np.ndarray:
    """An order in which equal keys stand together; points that come cell by cell keep theirs."""
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    if len(np.unique(keys[starts])) == len(starts):
        return np.arange(len(keys))
    return np.argsort(keys, kind="stable")
