"""Do single values that are wrong move what was inferred?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.checks.limits import OUTLYING
from hierax.events import Guard


@final
@dataclass(frozen=True)
class Outliers(AbstractGuard):
    """Part of the squared misfit at measured values that single ones make, which equations and all others contradict.

    Least squares follow such values. Training leaves them out where time allows, and none is left then.
    """

    limit: float = OUTLYING
    name: ClassVar[str] = "outliers"
    result: ClassVar[RESULTS] = RESULTS.guard_validation

    def judge(self, evidence: Evidence) -> Guard | None:
        share = evidence.outlying
        if share is None:
            return None
        sentence = "Of the squared misfit at the data {:.2g} is that of single values which equations and all others "
        sentence = sentence.format(share) + f"contradict (limit {self.limit:g})."
        return Guard(share, self.limit, bool(share <= self.limit), sentence)
