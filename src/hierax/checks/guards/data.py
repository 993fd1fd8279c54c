"""Does the solution fit the data?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard

EXPLAINED = 0.02
"""A misfit below this part of the spread of the data is not held against three times less noise."""


@final
@dataclass(frozen=True)
class DataMisfit(AbstractGuard):
    """Misfit at measured values over their noise; without equations the typical one, where neighbours show a noise.

    What does not fit the data leaves a misfit far above the noise: equations, an untrue minimum, a coarse field.
    """

    limit: float = 3.0
    name: ClassVar[str] = "data"
    result: ClassVar[RESULTS] = RESULTS.guard_validation

    def judge(self, evidence: Evidence) -> Guard | None:
        if evidence.misfit is None or evidence.noise is None or not (evidence.equations or evidence.noise > 0.0):
            return None
        ratio = evidence.misfit / max(evidence.noise, EXPLAINED)
        sentence = f"The misfit at the data is {evidence.misfit:.3g} of their spread, {ratio:.3g} times their noise"
        return Guard(ratio, self.limit, bool(ratio <= self.limit), f"{sentence} (limit {self.limit:g}).")
