"""Does the field predict values that it has not seen?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from scipy.special import chdtri

from hierax._results import RESULTS
from hierax.checks.evidence import NOISE, Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard

CHANCE = 1e-3
"""Probability of what noise makes of few values, above which it is held for noise."""


@final
@dataclass(frozen=True)
class Explained(AbstractGuard):
    """Share of the variance of data kept back that the field leaves unexplained, where noise does not explain it.

    The mean of the values, which needs no field, leaves all of it. Where every value was left out of a fit once, the
    worse of both errors counts: few values kept back can be lucky. They can be unlucky as well: of a noise that is
    stated chance makes as much of their number as it does once in a thousand times.
    """

    limit: float = 0.02
    name: ClassVar[str] = "explained"
    result: ClassVar[RESULTS] = RESULTS.guard_validation

    def judge(self, evidence: Evidence) -> Guard | None:
        known = [e for e in (evidence.validation_error, evidence.left_out) if e is not None]
        if not known:
            return None
        error = max(known)
        chance = chdtri(evidence.kept, CHANCE) / evidence.kept if evidence.stated_noise and evidence.kept else 0.0
        parts = [(evidence.validation_error, max(NOISE**2, chance)), (evidence.left_out, NOISE**2)]
        left = max(0.0, *(e**2 - factor * _noise(evidence) ** 2 for e, factor in parts if e is not None))
        sentence = (
            f"Of the variance of the values kept back {max(1.0 - error**2, 0.0):.2g} is explained; {left:.3g} is left "
            f"that noise does not explain (limit {self.limit:g})."
        )
        return Guard(left, self.limit, bool(left <= self.limit), sentence)


def _noise(evidence: Evidence) -> float:
    """The noise that is known; else what witnesses call noise, as rapid changes look like noise to neighbours."""
    if evidence.stated_noise or not evidence.witnesses:
        return evidence.stated_noise or evidence.noise or 0.0
    return float(np.sqrt(np.mean([witness.noise**2 for witness in evidence.witnesses])))
