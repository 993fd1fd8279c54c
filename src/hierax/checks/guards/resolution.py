"""Is the last level fine enough?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard


@final
@dataclass(frozen=True)
class Resolution(AbstractGuard):
    """Relative change of the solution at the last refinement."""

    limit: float = 5e-2
    name: ClassVar[str] = "resolution"
    result: ClassVar[RESULTS] = RESULTS.guard_levels

    def judge(self, evidence: Evidence) -> Guard | None:
        if not evidence.governed:
            return None
        if evidence.cut_short:
            sentence = (
                "Only the first level was trained within the budget: nothing shows how well it resolves the solution."
            )
            return Guard(None, self.limit, False, sentence)
        if not evidence.changes:
            return None
        last = evidence.changes[-1]
        sentence = f"The last refinement changed the solution by {last:.2g} of its size (limit {self.limit:g})."
        return Guard(last, self.limit, bool(last <= self.limit), sentence)
