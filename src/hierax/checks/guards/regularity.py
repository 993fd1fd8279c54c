"""Is the solution smooth enough for its equation?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard


@final
@dataclass(frozen=True)
class Regularity(AbstractGuard):
    """Power of the mesh width with which the residual falls.

    That of a smooth solution grows with the degree. At a kink the residual stays what it is, on cells that become
    smaller: in the mean square it falls with the power 1/2. Solutions with kinks are many where `|grad u| = 1` is to
    hold almost everywhere, and at most one is meant.
    """

    limit: float = 0.6
    name: ClassVar[str] = "regularity"
    result: ClassVar[RESULTS] = RESULTS.guard_levels

    def judge(self, evidence: Evidence) -> Guard | None:
        if not evidence.equations or evidence.measured:
            return None
        widths, losses = evidence.mesh_widths[-4:], np.maximum(evidence.losses[-4:], 1e-300)
        if len(widths) < 3 or losses[-1] < 1e-6 * losses[0] or losses[-1] < 1e-12 * evidence.untrained_loss:
            return None
        finer = float(np.max(widths[0] / widths[-1]))
        if finer < 2.0:
            return None
        order = float(np.log(losses[0] / losses[-1]) / (2.0 * np.log(finer)))
        sentence = (
            f"The residual falls like the mesh width to the power {order:.2g} (limit {self.limit:g}); where the "
            "solution has a kink it does not vanish, and such solutions are many."
        )
        return Guard(order, self.limit, bool(order >= self.limit), sentence)
