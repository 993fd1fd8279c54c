"""Are the boundary and start conditions met?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard
from hierax.objective.samples import Samples
from hierax.problems.domain import Box
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem


@final
@dataclass(frozen=True)
class Boundary(AbstractGuard):
    """Misfit of the conditions, between their training points, over the size of the solution."""

    limit: float = 1e-2
    name: ClassVar[str] = "boundary"
    result: ClassVar[RESULTS] = RESULTS.guard_boundary

    def judge(self, evidence: Evidence) -> Guard | None:
        worst, name = 0.0, ""
        for k in evidence.conditions:
            points, normals = between(evidence.samples[k], evidence.problem, evidence.key)
            misfit = evidence.rms(k, evidence.field, points, normals) / max(evidence.solution_size, 1e-300)
            misfit = misfit if np.isfinite(misfit) else np.inf
            if misfit >= worst:
                worst, name = misfit, evidence.sampled.terms[k].name
        sentence = (
            f"The condition {name!r} is missed by {worst:.3g} of the size of the solution (limit {self.limit:g})."
        )
        return Guard(worst, self.limit, bool(worst <= self.limit), sentence) if evidence.conditions else None


def between(samples: Samples, problem: Problem, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """Points between the training points of each face: convex combinations of pairs with the same normal."""
    if problem.domain.dim == 1 or not isinstance(problem.domain, Box):
        return samples.points, samples.normals
    rng = np.random.default_rng(seed_of(key, 2))
    points, normals = samples.points, samples.normals
    order = np.lexsort(normals.T)
    groups = np.split(order, np.flatnonzero(np.any(np.diff(normals[order], axis=0) != 0, axis=1)) + 1)
    mixed, kept = [], []
    for group in groups:
        partner, share = rng.permutation(group), rng.random((len(group), 1))
        mixed.append(share * points[group] + (1 - share) * points[partner])
        kept.append(normals[group])
    return np.concatenate(mixed), np.concatenate(kept)
