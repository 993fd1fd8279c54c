"""Does the field predict values that it has not seen?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard

NOISE = 1.5
"""An error at data kept back up to so many times the noise is explained by it."""


@final
@dataclass(frozen=True)
class Explained(AbstractGuard):
    """Share of the variance of data kept back that the field leaves unexplained, where noise does not explain it.

    The mean of the values, which needs no field, leaves all of it.
    """

    limit: float = 0.5
    name: ClassVar[str] = "explained"
    result: ClassVar[RESULTS] = RESULTS.guard_validation

    def judge(self, evidence: Evidence) -> Guard | None:
        error = evidence.validation_error
        if error is None:
            return None
        # rapid changes look like noise to neighbours, but not beside a noise that is known
        noise = NOISE * (evidence.stated_noise or evidence.noise or 0.0)
        left = max(error**2 - noise**2, 0.0)
        sentence = (
            f"Of the variance of the values kept back {max(1.0 - error**2, 0.0):.2g} is explained; {left:.3g} is left "
            f"that noise does not explain (limit {self.limit:g})."
        )
        return Guard(left, self.limit, bool(left <= self.limit), sentence)
