"""The interior of a point cloud: its region, and its points, of which some are kept back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hierax.problems.domain import PointCloud
from hierax.problems.problem import Problem
from hierax.problems.region import Region
from hierax.problems.sampling import Cells
from hierax.problems.terms import AbstractValues

SHARE = 0.1
"""Share of the points that is kept back."""
LEAST = 200
"""With no more points than these all are needed."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points `(n, dim)` with weights `(n,)` that add up to the measure of the domain, and points `(m, dim)` kept back.

    Equations that were imposed at all points of a cloud could be looked at nowhere else. Where its points show what
    lies between them, the equations of a field with cells are imposed there, at as many points as the cells need.
    """

    points: np.ndarray
    weights: np.ndarray
    held: np.ndarray
    region: Region | None

    def between(self, cells: Cells | None) -> np.ndarray:
        """Points of the region in every cell of a mesh that meets it; the points of the cloud where it has none."""
        return self.points if self.region is None or cells is None else self.region.sample(2, cells).points

    @classmethod
    def of(cls, problem: Problem) -> Cloud | None:
        """The split of the cloud of a problem; `None` for a box."""
        domain = problem.domain
        if not isinstance(domain, PointCloud):
            return None
        count, weights = len(domain.points), np.asarray(domain.weights)
        order = np.random.default_rng(0).permutation(count)
        kept = int(SHARE * count) if count > LEAST else 0
        train = np.sort(order[kept:])
        scale = weights.sum() / max(float(weights[train].sum()), 1e-300)
        region = Region.of(domain, [t.points for t in problem.terms if isinstance(t, AbstractValues)])
        return cls(domain.points[train], scale * weights[train], domain.points[np.sort(order[:kept])], region)
