"""Is the last level fine enough?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.checks.limits import WITHIN
from hierax.events import Guard
from hierax.objective import flat_parameters

FASTEST, SLOWEST = 1.0 / 6.0, 0.8
"""Factors by which changes are taken to fall from level to level at best, and at worst."""
SMOOTHEST = 0.1
"""What the smoothest change of the size of the unknowns makes in the mean of an equation, of what waves make."""
LAST = 3
"""Refinements over which this factor is the geometric mean: one along another axis may change less."""


@final
@dataclass(frozen=True)
class Resolution(AbstractGuard):
    """What is left to change, if the changes go on to fall as they did at the last refinements.

    Changes `c_k` that fall by the factor `q` leave `c_n q / (1 - q)`, the sum of the geometric series that follows.
    Where there is one change, `q` is that of the residual; sweeps over time slabs are compared with each other, if
    there are two. A level that was left before its solver had ended also leaves the next step of that, in full.

    Levels that rounding has spoiled alike do not differ. In a curvature, the square of its rows, smooth changes are
    lost where others make rows larger than theirs by the inverse root of the precision, as behind a narrow load. What
    they leave shows in the balance of an equation, the integrals of its residual and of that times each coordinate, in
    which the smoothest change of the size of the unknowns makes a tenth of what waves do.
    """

    limit: float = 1e-2
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
        ahead = evidence.ahead or 0.0
        if ahead > self.limit:
            left = f"its next step, in full, would change the solution by {ahead:.2g} of its size"
            if not np.isfinite(ahead):
                left = "there the energy still curves downwards"
            sentence = f"Training ended before the last level was trained: {left} (limit {self.limit:g})."
            return Guard(ahead, self.limit, False, sentence)
        if not evidence.changes:
            return None
        last = evidence.changes[-1]
        # changes that follow the noise of the data need not fall
        losses = () if evidence.measured else evidence.losses
        factor = FASTEST if last <= WITHIN * (evidence.noise or 0.0) else pace(evidence.changes, losses)
        left = last * factor / (1.0 - factor)
        sentence = (
            f"The last refinement changed the solution by {last:.2g} of its size; at the pace of the last refinements "
            f"{left:.2g} are left (limit {self.limit:g})."
        )
        asked = [] if evidence.measured or evidence.weak else evidence.equations
        balances = ((unbalanced(evidence, k), evidence.sampled.terms[k].name) for k in asked)
        lost, name = max(balances, default=(0.0, ""))
        lost /= SMOOTHEST
        if lost > left:
            left, sentence = lost, f"{sentence[:-1]}, but the balance of the equation {name!r} leaves {lost:.2g}."
        return Guard(left, self.limit, bool(left <= self.limit), sentence)


def unbalanced(evidence: Evidence, term: int) -> float:
    """The largest mean of an equation's rows, times one or a coordinate of the unit box, where rounding is felt.

    That is where parameters changed by the root of the precision make more of it than smooth waves do: else zero.
    """
    own, (low, high) = evidence.samples[term], evidence.problem.domain.bounds()
    weights = own.weights / own.weights.sum()
    # the size of an equation is that of its integral over the domain
    scale = np.sqrt(own.weights.sum())
    shaken = scale * evidence.residuals(term, evidence.shaken, own.points, own.normals)
    rows = scale * evidence.left(term)
    # of what grows by orders the size is that at the end
    size = max(1.0, float(np.max(np.abs(flat_parameters(evidence.field)[0]))))
    if np.max(weights @ (shaken - rows) ** 2) < size**2:
        return 0.0
    tested = np.column_stack([np.ones(own.count), (own.points - low) / (high - low)])
    return float(np.max(np.abs((weights[:, None] * tested).T @ rows))) / size


def pace(changes: Sequence[float], losses: Sequence[float]) -> float:
    """Factor by which the last changes fell from level to level, in the geometric mean; of one the residual's.

    That holds of two levels: in a cycle the losses of coarse levels are those of corrected equations.
    """
    steps = min(LAST, len(changes) - 1)
    if steps < 1:
        return _limited(np.sqrt(max(losses[-1], 0.0) / max(losses[-2], 1e-300))) if len(losses) == 2 else FASTEST
    return _limited((changes[-1] / max(changes[-1 - steps], 1e-300)) ** (1.0 / steps))


def _limited(factor: float) -> float:
    return float(np.clip(factor, FASTEST, SLOWEST))
