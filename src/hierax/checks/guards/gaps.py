"""Are the sides of notches and slits apart, as in the body?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard
from hierax.fields.base import mesh
from hierax.geometry import AbstractShape
from hierax.geometry.gaps import gaps


@final
@dataclass(frozen=True)
class Gaps(AbstractGuard):
    """Part of the faces of a body that face each other where both are in one cell, or in two beside each other.

    In one cell a spline is one polynomial, and in two neighbours nearly so: it is continuous across the gap, and a
    crack is as much shorter. Levels agree on that where refinement lengthens it slowly.

    References
    ----------
    A. Hansbo, P. Hansbo, Comput. Methods Appl. Mech. Engrg. 193 (2004) 3523-3540 (a cut cell with two parts of a body
    needs functions for each).
    """

    limit: float = 1e-2
    name: ClassVar[str] = "gaps"
    result: ClassVar[RESULTS] = RESULTS.guard_levels

    def judge(self, evidence: Evidence) -> Guard | None:
        problem, cells = evidence.problem, mesh(evidence.field)
        whole = (problem.domain,) if isinstance(problem.domain, AbstractShape) else ()
        bodies = whole if problem.regions is None else problem.regions.bodies
        found = [] if cells is None else [gaps(body, cells) for body in bodies]
        found = [gap for gap in found if len(gap.points)]
        if not found:
            return None
        closed = [gap.widths < gap.room for gap in found]
        shares = [float(gap.weights @ own / gap.weights.sum()) for gap, own in zip(found, closed, strict=True)]
        value, (gap, own) = max(zip(shares, zip(found, closed, strict=True), strict=True), key=lambda pair: pair[0])
        if value == 0.0:
            return Guard(value, self.limit, True, "Cells lie between the sides of all gaps in the body.")
        at = gap.points[own][np.argmax(gap.widths[own])]
        place = ", ".join(f"{name} = {c:.4g}" for name, c in zip(problem.domain.names or (), at, strict=True))
        sentence = (
            f"The body is on both sides of a gap narrower than its cells, {gap.widths[own].max():.2g} wide at {place}; "
            f"the field is continuous across {value:.2g} of such faces (limit {self.limit:g})."
        )
        return Guard(value, self.limit, bool(value <= self.limit), sentence)
