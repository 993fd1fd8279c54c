"""Is anything known between the data?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import OCCURRING, Evidence, Witness
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
    noise alone leaves is not held against them. Between the values of inputs that take a few alone, such as counts,
    nothing need be known: then the guard speaks of these values.
    """

    limit: float = 0.1
    least: float = 0.02
    """Share of the variance that a process may leave unexplained and still be asked."""
    name: ClassVar[str] = "between"
    result: ClassVar[RESULTS] = RESULTS.guard_validation

    def judge(self, evidence: Evidence) -> Guard | None:
        told = [self._told(evidence, w) for w in evidence.witnesses if w.left(w.left_out) <= self.least]
        if not told:
            return None
        value, limit, worst = max(told, key=lambda one: one[0] / one[1])
        names = evidence.problem.domain.names or ()
        inputs = tuple(names[axis] for axis in worst.inputs)
        place = worst.between.places[np.argmax(worst.between.unknown)]
        where = ", ".join(f"{n} = {c:.3g}" for n, c in zip(names, place, strict=True))
        sentence = f"{OCCURRING.format(' and '.join(inputs))}, between" if inputs else "Between"
        sentence += f" the data {worst.output} is known to {value:.2g} of its spread (limit {limit:.2g})"
        most = f"; least at {where}, where rows are missing." if value > limit else "."
        return Guard(value, limit, value <= limit, sentence + most, inputs)

    def _told(self, evidence: Evidence, witness: Witness) -> tuple[float, float, Witness]:
        """What is not known of an output and its limit, with the witness who says so."""
        value, limit = float(np.quantile(witness.within(evidence), QUANTILE)), max(self.limit, witness.noise)
        if value > limit and witness.occurring is not None:
            return self._told(evidence, witness.occurring)
        return value, limit, witness
