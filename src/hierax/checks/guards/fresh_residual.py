"""Do the equations hold where they were not imposed?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard
from hierax.fields.base import mesh
from hierax.geometry import AbstractShape, Part
from hierax.geometry.body import surface_rule
from hierax.problems.domain import Box
from hierax.problems.keys import Key, seed_of
from hierax.problems.sampling import Sobol, points_in, uniform_cells

FRESH = 4096
"""Points at which the equations are looked at."""


STRIPS = 32
"""Cells along an axis of a shape for fields without cells."""


@final
@dataclass(frozen=True)
class FreshResidual(AbstractGuard):
    """Residual at fresh points over that at the training points, both as root mean squares over the domain.

    A quarter of the fresh points is in the first cells at the faces, where a residual has room that few points see;
    they count by the volume of these cells.
    """

    limit: float = 10.0
    name: ClassVar[str] = "fresh_residual"
    result: ClassVar[RESULTS] = RESULTS.guard_fresh_residual

    def judge(self, evidence: Evidence) -> Guard | None:
        cloud, box = evidence.sampled.cloud, evidence.problem.domain
        if not evidence.equations or (cloud is not None and not len(cloud.held)):
            return None
        regions = evidence.problem.regions
        if regions is not None:
            parts = [fresh_in_shape(part, mesh(evidence.field), evidence.key) for part in regions.bodies]
            points, shares = np.concatenate([p for p, _ in parts]), [part.measure for part in regions.bodies]
            weights = np.concatenate([share / sum(shares) * w for (_, w), share in zip(parts, shares, strict=True)])
            where = "fresh points, a quarter of them beside boundaries and interfaces,"
        elif isinstance(box, Box):
            points, weights = fresh_points(box, mesh(evidence.field), evidence.key)
            where = "fresh points, a quarter of them at the boundaries,"
        elif isinstance(box, AbstractShape):
            points, weights = fresh_in_shape(box, mesh(evidence.field), evidence.key)
            where = "fresh points, a quarter of them beside the boundary,"
        else:
            assert cloud is not None
            points, where = cloud.held, "points of the cloud that were kept back"
            weights = np.full(len(points), 1.0 / len(points))
        worst, number = max((_ratio(evidence, k, points, weights), k) for k in evidence.equations)
        name = evidence.sampled.terms[number].name
        sentence = (
            f"The residual of {name!r} at {where} is {worst:.3g} times that at the training points "
            f"(limit {self.limit:g})."
        )
        return Guard(worst, self.limit, bool(worst <= self.limit), sentence)


def _ratio(evidence: Evidence, term: int, points: np.ndarray, weights: np.ndarray) -> float:
    def at_fresh(field: Any) -> float:
        return _size(evidence.residuals(term, field, points, np.zeros_like(points)), weights)

    own, fresh = evidence.samples[term], at_fresh(evidence.field)
    if not np.isfinite(fresh):
        return np.inf
    # zero solves a homogeneous equation, so the untrained field alone does not tell what size a residual can have
    untrained = max(map(at_fresh, (evidence.untrained, evidence.coarsest)))
    trained = _size(evidence.left(term), own.weights / own.weights.sum())
    return fresh / max(trained, 1e-6 * untrained, 1e-300) if fresh > 0 else 0.0


def _size(values: np.ndarray, weights: np.ndarray) -> float:
    """Root mean square of residuals `(n, r)`."""
    return float(np.sqrt(weights @ np.mean(values**2, axis=1)))


def fresh_points(
    box: Box, cells: Sequence[np.ndarray] | None, key: Key, count: int = FRESH
) -> tuple[np.ndarray, np.ndarray]:
    """Sobol points, a quarter of them inside the first cell of each face of the box, and the weights of a mean."""
    points = Sobol(box).sample(seed_of(key, 0), 0, count).points
    faces = box.faces()
    near = Sobol(box).sample(seed_of(key, 1), 0, max(1, count // 4)).points
    weights = np.zeros(len(near))
    for k, face in enumerate(faces):
        axis = box.axis(face.name)
        low, high = box.lower[axis], box.upper[axis]
        breaks = np.array([low, low + 0.02 * (high - low), high]) if cells is None else np.asarray(cells[axis])
        first = breaks[1] - breaks[0] if face.side == "lower" else breaks[-1] - breaks[-2]
        own = slice(k, None, len(faces))
        unit = (near[own, axis] - low) / (high - low)
        near[own, axis] = low + first * unit if face.side == "lower" else high - first * unit
        weights[own] = first / (high - low) / len(near[own])
    if not faces:
        return points, np.full(count, 1.0 / count)
    inner = points[: count - len(near)]
    weights = np.concatenate([np.full(len(inner), 1.0 / len(inner)), weights])
    return np.concatenate([inner, near]), weights / weights.sum()


def fresh_in_shape(
    shape: AbstractShape, cells: Sequence[np.ndarray] | None, key: Key, count: int = FRESH
) -> tuple[np.ndarray, np.ndarray]:
    """Points spread over a shape, a quarter of them within a cell's width of its boundary, with weights of a mean."""
    inner = points_in(shape, seed_of(key, 0), count - count // 4)
    breaks = uniform_cells(Box(*shape.bounds()), [STRIPS] * shape.dim) if cells is None else cells
    wall = surface_rule(shape, Part(), breaks, 2)
    assert wall.normals is not None
    rng = np.random.default_rng(seed_of(key, 1))
    pick = rng.choice(len(wall.points), size=max(1, count // 4), p=wall.weights / wall.weights.sum())
    width = float(min(np.max(np.diff(b)) for b in breaks))
    near = wall.points[pick] - width * rng.random((len(pick), 1)) * wall.normals[pick]
    near = near[shape.level(near) < 0.0]
    share = min(0.5, width * float(wall.weights.sum()) / shape.measure)
    weights = np.r_[np.full(len(inner), 1.0 / len(inner)), np.full(len(near), share / max(len(near), 1))]
    return np.concatenate([inner, near]), weights / weights.sum()
