"""Does the field follow the noise of the data?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard


@final
@dataclass(frozen=True)
class Validation(AbstractGuard):
    """Validation error of the returned level over that of the best."""

    limit: float = 1.1
    name: ClassVar[str] = "validation"
    result: ClassVar[RESULTS] = RESULTS.guard_validation

    def judge(self, evidence: Evidence) -> Guard | None:
        if evidence.validation_error is None or not evidence.validation_errors:
            return None
        ratio = evidence.validation_error / max(min(evidence.validation_errors), 1e-300)
        sentence = f"The validation error of the returned level is {ratio:.3g} times the best level's"
        return Guard(ratio, self.limit, bool(ratio <= self.limit), f"{sentence} (limit {self.limit:g}).")
