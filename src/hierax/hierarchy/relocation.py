"""Knots that move: as many as before, where equal parts of the estimated error lie between neighbours.

Halving intervals can only add knots; after several levels a layer is followed by many graded intervals. Moving them
costs no parameters. The moved space does not contain the old one, so the function is carried over by least squares and
not kept exactly: whether it pays is decided by training on it, see `hierax.training.train`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.fields.axis import SplineAxis, collocation
from hierax.fields.spline_grid import SplineGrid
from hierax.fields.stretched import StretchedGrid
from hierax.fields.unknowns import Scalar, Unknowns
from hierax.hierarchy.axis_transfer import AxisMap, LeafTransfer
from hierax.hierarchy.level import Level
from hierax.hierarchy.marking import MarkedKnots, interval_errors
from hierax.hierarchy.refinement import AbstractRefinement, grown, unchanged
from hierax.hierarchy.transfer import LINEAR, AbstractTransfer

FLAT = 0.2
"""Share of the mean density of knots that every place keeps: errors are estimates, and layers move a little."""
SMOOTHINGS = 2


class MovingKnots(AbstractRefinement):
    """Refine by a rule; after a level is trained, move its knots as long as its objective falls.

    Parameters
    ----------
    rule : AbstractRefinement
        How finer levels are made.
    moves : int
        Most moves on one level; each is trained, and taken back where it did not lower the objective.

    References
    ----------
    de Boor, Lecture Notes in Mathematics 363 (1974) 12-20, for knots at equal parts of the error.
    """

    rule: AbstractRefinement = MarkedKnots()
    moves: int = 3

    @property
    def wants(self) -> type | None:
        return self.rule.wants

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        return self.rule.refine(level, key=key, evidence=evidence)

    def move(self, level: Level) -> tuple[Level, AbstractTransfer]:
        """The level on as many intervals that share the error equally, and the least-squares transfer to it.

        Raises
        ------
        ValueError
            For fields other than spline grids, stretched or not, and unknowns made of them on the same knots.
        """
        grids = _grids(level.field)
        worst = [functools.reduce(np.maximum, errors) for errors in zip(*map(interval_errors, grids), strict=True)]
        pairs = zip(grids[0].axes, worst, strict=True)
        breaks = [equidistributed(axis.breakpoints(), errors, axis.degree) for axis, errors in pairs]
        field, leaves = _on(level.field, breaks)
        return grown(level, field, leaves, tags=frozenset({LINEAR}))


def equidistributed(
    breakpoints: Float[np.ndarray, " n+1"], errors: Float[np.ndarray, " n"], degree: int
) -> Float[np.ndarray, " n+1"]:
    r"""As many breakpoints, with equal parts of the density :math:`e_i^{1/(p+1)} / h_i` between neighbours.

    An interval of length :math:`h` has an error of about :math:`h^{p+1} |u^{(p+1)}|`, so the root of its error grows
    in proportion to its length, and equal roots are equal errors. The density is smoothed, and nowhere below a part of
    its mean.
    """
    lengths = np.diff(breakpoints)
    if not np.any(errors > 0) or np.any(lengths <= 0):
        return np.asarray(breakpoints)
    density = errors ** (1.0 / (degree + 1)) / lengths
    for _ in range(SMOOTHINGS):
        padded = np.r_[density[0], density, density[-1]]
        density = np.maximum(density, 0.25 * padded[:-2] + 0.5 * density + 0.25 * padded[2:])
    density = density + FLAT * float(density @ lengths) / float(lengths.sum())
    total = np.r_[0.0, np.cumsum(density * lengths)]
    moved = np.interp(np.linspace(0.0, total[-1], len(breakpoints)), total, breakpoints)
    return np.r_[breakpoints[0], moved[1:-1], breakpoints[-1]]


def nearest_map(number: int, old: SplineAxis, new: SplineAxis) -> AxisMap:
    """The map along array axis `number` to the nearest spline on other knots of the same interval, in the mean square.

    Back it is the same: injection after prolongation is near the identity where the function is resolved, and not more.
    """
    points = np.union1d(old.breakpoints(), new.breakpoints())
    nodes, weights = np.polynomial.legendre.leggauss(max(old.degree, new.degree) + 1)
    half = 0.5 * np.diff(points)
    x = (0.5 * (points[1:] + points[:-1])[:, None] + half[:, None] * nodes).ravel()
    root = np.sqrt((half[:, None] * weights).ravel())[:, None]
    here, there = root * collocation(old, x), root * collocation(new, x)
    matrix, back = np.linalg.lstsq(there, here)[0], np.linalg.lstsq(here, there)[0]
    return AxisMap(number, jnp.asarray(matrix, dtype=float), jnp.asarray(back, dtype=float))


def _grids(field: Any) -> list[SplineGrid]:
    """The grids of a field, all on the same knots."""
    parts = list(field.parts.values()) if isinstance(field, Unknowns) else [field]
    grids = [part.grid if isinstance(part, StretchedGrid) else part for part in parts if not isinstance(part, Scalar)]
    if not all(isinstance(grid, SplineGrid) for grid in grids):
        raise ValueError(f"MovingKnots: {type(field).__name__} is not made of spline grids")
    first = [grids[0].breakpoints()] * len(grids)
    if not all(
        len(a) == len(b) and np.array_equal(a, b)
        for grid, axes in zip(grids, first, strict=True)
        for a, b in zip(grid.breakpoints(), axes, strict=True)
    ):
        raise ValueError("MovingKnots: the unknowns have different knots")
    return grids


def _on(field: Any, breakpoints: list[np.ndarray]) -> tuple[Any, tuple[LeafTransfer, ...]]:
    if isinstance(field, StretchedGrid):
        grid, leaves = _on(field.grid, breakpoints)
        return StretchedGrid(grid, field.maps), leaves
    if isinstance(field, Unknowns):
        made = {name: _on(part, breakpoints) for name, part in sorted(field.parts.items())}
        return Unknowns(**{name: part for name, (part, _) in made.items()}), sum((own for _, own in made.values()), ())
    if isinstance(field, Scalar):
        return field, unchanged(field)
    axes = tuple(axis.with_breakpoints(points) for axis, points in zip(field.axes, breakpoints, strict=True))
    pairs = zip(field.axes, axes, strict=True)
    leaf = LeafTransfer(tuple(nearest_map(number, *pair) for number, pair in enumerate(pairs)))
    return SplineGrid(axes, leaf.prolong(field.coefficients)), (leaf,)
