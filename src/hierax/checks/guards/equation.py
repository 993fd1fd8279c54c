"""Do finer levels satisfy the equations better?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.checks.limits import SETTLED, UNCHANGED
from hierax.events import Guard


@final
@dataclass(frozen=True)
class Equation(AbstractGuard):
    """Residual of the last level over that of the first, or of the only level over that of the untrained field.

    A consistent equation is satisfied ever better on finer levels; one without a smooth solution is not. Where
    refinement no longer changes the solution the residual may be as small as it gets, and then it is tiny beside that
    of the untrained field. If it is not, training has settled at a minimum that is no solution. An equation that was
    solved in the weak sense, as that of a minimum, need not hold at points.
    """

    limit: float = 0.3
    single: float = 0.1
    """The limit of one level; several, which show more, may leave a larger part."""
    name: ClassVar[str] = "equation"
    result: ClassVar[RESULTS] = RESULTS.guard_levels

    def judge(self, evidence: Evidence) -> Guard | None:
        if not evidence.equations or evidence.measured or evidence.weak:
            return None
        if evidence.changes:
            return self._levels(evidence)
        return None if evidence.cut_short else self._single(evidence)

    def _levels(self, evidence: Evidence) -> Guard | None:
        last = max(evidence.losses[-1], 0.0)
        ratio = float(np.sqrt(last / max(evidence.losses[0], 1e-300)))
        if ratio > self.limit:
            # points of the first level may have missed a narrow source, and its loss says nothing then
            ratio = min(ratio, max(_on_same_points(evidence, k) for k in evidence.equations))
        how = "while refinement still changes the solution"
        if evidence.changes[-1] < UNCHANGED:
            share = float(np.sqrt(last / max(evidence.untrained_loss, 1e-300)))
            if share < SETTLED:
                return None
            how = f"{share:.2g} times that of the untrained field, and refinement no longer changes the solution"
        sentence = (
            f"The residual of the last level is {ratio:.3g} times that of the first (limit {self.limit:g}), {how}."
        )
        return Guard(ratio, self.limit, bool(ratio <= self.limit), sentence)

    def _single(self, evidence: Evidence) -> Guard:
        """One level has no coarser one to be compared with: its equations have to hold better than before training.

        A network that met the conditions at the cost of the equations, or fell to a state that leaves them as they
        were, has a small loss beside that of the untrained one, whose conditions weigh most.
        """
        limit, ratio = min(self.single, self.limit), 0.0
        for k in evidence.equations:
            own = evidence.samples[k]
            before = evidence.rms(k, evidence.untrained, own.points, own.normals)
            after = evidence.rms(k, evidence.field, own.points, own.normals)
            # nothing is said by a field that solves a homogeneous equation before any training
            ratio = max(ratio, after / before if before > 0 else 0.0)
        sentence = f"The residual of the only level is {ratio:.3g} times that of the untrained field (limit {limit:g})."
        return Guard(ratio, limit, bool(ratio <= limit), sentence)


def _on_same_points(evidence: Evidence, term: int) -> float:
    """Residual of the returned level over that of the first one, both at the points of the returned one."""
    own = evidence.samples[term]
    weights = own.weights[:, None]
    after, before = (
        float(np.sum(weights * evidence.residuals(term, field, own.points, own.normals) ** 2))
        for field in (evidence.field, evidence.coarsest)
    )
    return float(np.sqrt(after / before)) if before > 0 else np.inf
