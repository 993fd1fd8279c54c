"""Is the answer a minimum of its energy?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.checks.limits import DOWNWARDS
from hierax.events import Guard


@final
@dataclass(frozen=True)
class Stationary(AbstractGuard):
    """Gradient of the energy over the size of its parts, and the smallest eigenvalue of its second derivative.

    Both are those of the finest level that is small enough for a dense second derivative. At a saddle, such as the
    straight column under more than its critical load, the gradient vanishes and the energy curves downwards; an energy
    without a lower bound has no point where its gradient vanishes, or falls beyond a hill along the direction in which
    it curves least.
    """

    limit: float = 0.1
    name: ClassVar[str] = "stationary"
    result: ClassVar[RESULTS] = RESULTS.guard_stationary

    def judge(self, evidence: Evidence) -> Guard | None:
        if evidence.landscape is None:
            return None
        ratio = evidence.landscape.unbalanced()
        if not ratio <= self.limit:
            sentence = f"The parts of the energy's gradient do not balance: it is {ratio:.3g} times their size"
            return Guard(ratio, self.limit, False, f"{sentence} (limit {self.limit:g}).")
        lowest, direction = evidence.landscape.bend()
        if lowest < -DOWNWARDS:
            sentence = f"The energy curves downwards along a direction ({lowest:.2g} of the scaled second derivative)"
            return Guard(lowest, -DOWNWARDS, False, f"{sentence}: a saddle, no minimum (limit {-DOWNWARDS:g}).")
        if evidence.landscape.bottomless(direction):
            sentence = "The energy falls without an end along a direction: where training stopped is no lowest point"
            return Guard(np.inf, self.limit, False, f"{sentence}, and there is none.")
        sentence = f"The energy's gradient is {ratio:.2g} times the size of its parts (limit {self.limit:g}), and it"
        return Guard(ratio, self.limit, True, f"{sentence} curves downwards nowhere.")
