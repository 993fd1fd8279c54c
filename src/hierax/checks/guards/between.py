"""Is anything known between the data?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard

QUANTILE = 0.95
"""Part of the places between data at which as much has to be known."""


@final
@dataclass(frozen=True)
class Between(AbstractGuard):
    """How far a Gaussian process that explains the data leaves them open in between, over their spread.

    Its standard deviation and its distance from the returned field are asked at points between any two rows, so inside
    of their convex hull: a gap as wide as the values take to change leaves them free there, and no row that is left out
    tells. Elsewhere it counts in proportion where the field misses rows left out by less than the process does. What
    noise alone leaves is not held against them.
    """

    limit: float = 0.1
    least: float = 0.02
    """Share of the variance that a process may leave unexplained and still be asked."""
    name: ClassVar[str] = "between"
    result: ClassVar[RESULTS] = RESULTS.guard_validation

    def judge(self, evidence: Evidence) -> Guard | None:
        asked = [w for w in evidence.witnesses if w.left(w.left_out) <= self.least]
        if not asked:
            return None
        values = [float(np.quantile(w.within(evidence), QUANTILE)) for w in asked]
        limits = [max(self.limit, w.noise) for w in asked]
        value, limit, worst = max(zip(values, limits, asked, strict=True), key=lambda one: one[0] / one[1])
        names = evidence.problem.domain.names or ()
        place = worst.between.places[np.argmax(worst.between.unknown)]
        where = ", ".join(f"{n} = {c:.3g}" for n, c in zip(names, place, strict=True))
        sentence = f"Between the data {worst.output} is known to {value:.2g} of its spread (limit {limit:.2g})"
        most = f"; least at {where}, where rows are missing." if value > limit else "."
        return Guard(value, limit, value <= limit, sentence + most)
