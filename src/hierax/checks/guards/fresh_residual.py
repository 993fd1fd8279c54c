"""Do the equations hold where they were not imposed?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard
from hierax.fields.base import mesh
from hierax.problems.domain import Box
from hierax.problems.keys import Key, seed_of
from hierax.problems.sampling import Sobol

FRESH = 4096
"""Points at which the equations are looked at."""


@final
@dataclass(frozen=True)
class FreshResidual(AbstractGuard):
    """Residual at fresh points, a quarter of them in the first cells at the faces, over that at the training points."""

    limit: float = 10.0
    name: ClassVar[str] = "fresh_residual"
    result: ClassVar[RESULTS] = RESULTS.guard_fresh_residual

    def judge(self, evidence: Evidence) -> Guard | None:
        cloud, box = evidence.sampled.cloud, evidence.problem.domain
        if not evidence.equations or (cloud is not None and not len(cloud.held)):
            return None
        if isinstance(box, Box):
            points = fresh_points(box, mesh(evidence.field), evidence.key)
            where = "fresh points, a quarter of them at the boundaries,"
        else:
            assert cloud is not None
            points, where = cloud.held, "points of the cloud that were kept back"
        worst, number = max((_ratio(evidence, k, points), k) for k in evidence.equations)
        name = evidence.sampled.terms[number].name
        sentence = (
            f"The residual of {name!r} at {where} is {worst:.3g} times that at the training points "
            f"(limit {self.limit:g})."
        )
        return Guard(worst, self.limit, bool(worst <= self.limit), sentence)


def _ratio(evidence: Evidence, term: int, points: np.ndarray) -> float:
    own, fresh = evidence.samples[term], evidence.rms(term, evidence.field, points)
    if not np.isfinite(fresh):
        return np.inf
    # zero solves a homogeneous equation, so the untrained field alone does not tell what size a residual can have
    untrained = max(evidence.rms(term, field, points) for field in (evidence.untrained, evidence.coarsest))
    weight = own.weights / own.weights.sum()
    values = evidence.residuals(term, evidence.field, own.points, own.normals)
    trained = float(np.sqrt(weight @ np.sum(values**2, axis=1) / max(1, values.shape[1])))
    return fresh / max(trained, 1e-6 * untrained, 1e-300) if fresh > 0 else 0.0


def fresh_points(box: Box, cells: Sequence[np.ndarray] | None, key: Key, count: int = FRESH) -> np.ndarray:
    """Sobol points, a quarter of them inside the first cell of each face of the box."""
    points = Sobol(box).sample(seed_of(key, 0), 0, count).points
    faces = box.faces()
    near = Sobol(box).sample(seed_of(key, 1), 0, max(1, count // 4)).points
    for k, face in enumerate(faces):
        axis = box.axis(face.name)
        low, high = box.lower[axis], box.upper[axis]
        breaks = np.array([low, low + 0.02 * (high - low), high]) if cells is None else np.asarray(cells[axis])
        first = breaks[1] - breaks[0] if face.side == "lower" else breaks[-1] - breaks[-2]
        own = slice(k, None, len(faces))
        unit = (near[own, axis] - low) / (high - low)
        near[own, axis] = low + first * unit if face.side == "lower" else high - first * unit
    return np.concatenate([points[: count - len(near)], near]) if faces else points
