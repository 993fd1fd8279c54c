"""Interior points of a point cloud: most to train on, some kept back to look whether the equations hold there too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hierax.problems.domain import Domain, PointCloud

SHARE = 0.1
"""Share of the points that is kept back."""
LEAST = 200
"""With no more points than these all are needed."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points `(n, dim)` with weights `(n,)` that add up to the measure of the domain, and points `(m, dim)` kept back.

    A box can be sampled anywhere, a cloud has its points alone: equations that were imposed at all of them could be
    looked at nowhere else.
    """

    points: np.ndarray
    weights: np.ndarray
    held: np.ndarray

    @classmethod
    def of(cls, domain: Domain) -> Cloud | None:
        """The split of a cloud; `None` for a box."""
        if not isinstance(domain, PointCloud):
            return None
        count, weights = len(domain.points), np.asarray(domain.weights)
        order = np.random.default_rng(0).permutation(count)
        kept = int(SHARE * count) if count > LEAST else 0
        train = np.sort(order[kept:])
        scale = weights.sum() / max(float(weights[train].sum()), 1e-300)
        return cls(domain.points[train], scale * weights[train], domain.points[np.sort(order[:kept])])
