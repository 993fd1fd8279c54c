"""Does refinement settle?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.checks.limits import NEGLIGIBLE, SMALL_CHANGE, UNCHANGED, WITHIN
from hierax.events import Guard


@final
@dataclass(frozen=True)
class Levels(AbstractGuard):
    """Change of the solution at the last refinement over that at the one before.

    A refinement by more products of a tensor alone, or by finer knots alone, says nothing of what the other one leaves:
    the next one is compared with those before as well. Small changes that grow pass while three more that grow alike
    would make nothing that counts.
    """

    limit: float = 1.0
    name: ClassVar[str] = "levels"
    result: ClassVar[RESULTS] = RESULTS.guard_levels

    def judge(self, evidence: Evidence) -> Guard | None:
        changes = list(evidence.changes)
        if not evidence.governed or evidence.cut_short or not changes:
            return None
        if len(changes) < 2 or changes[-1] <= max(UNCHANGED, WITHIN * (evidence.noise or 0.0)):
            sentence = f"The last refinement changed the solution by {changes[-1]:.2g} of its size."
            return Guard(None, self.limit, True, sentence)
        # a level that is finer along one axis alone may change less than the next one, along another
        large = changes[-1] > SMALL_CHANGE
        others = max(2, evidence.problem.domain.dim)
        others = min(1 + evidence.partial if large else others, len(changes) - 1)
        ratio = changes[-1] / max(*changes[-1 - others : -1], 1e-300)
        grown = changes[-1] * (ratio + ratio**2 + ratio**3)
        if ratio > self.limit and grown <= NEGLIGIBLE:
            sentence = (
                f"The last refinement changed the solution by {changes[-1]:.2g} of its size, {ratio:.3g} times as much "
                f"as before; three more that grow like this make {grown:.2g}."
            )
            return Guard(None, self.limit, True, sentence)
        than = "the one before" if others == 1 else f"the largest of the {others} before"
        sentence = (
            f"The last refinement changed the solution {ratio:.3g} times as much as {than} (limit {self.limit:g})."
        )
        return Guard(ratio, self.limit, bool(ratio <= self.limit), sentence)
