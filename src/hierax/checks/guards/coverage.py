"""Did the points of training see what the terms do?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard
from hierax.objective.missed import Feature, Jump, Peak
from hierax.problems.terms import Residual


@final
@dataclass(frozen=True)
class Coverage(AbstractGuard):
    """Part of the integral of a term with a narrow peak that is not met; all of it where points do not see the peak.

    Peaks and jumps are those that were found before training in the terms alone, see `hierax.objective.missed`. The
    mean of squares, which training lowers, is small for an error that is spread out beside a high peak; integrals of
    absolute values are not.
    """

    limit: float = 1e-2
    least: int = 4
    """Points within two half-widths of a peak that see it."""
    name: ClassVar[str] = "coverage"
    result: ClassVar[RESULTS] = RESULTS.guard_coverage

    def judge(self, evidence: Evidence) -> Guard | None:
        if not evidence.missed:
            return None
        for feature in evidence.missed:
            if not self._seen(evidence, feature):
                return Guard(1.0, self.limit, False, _sentence(evidence, feature))
        value, number = max((_unmet(evidence, k), k) for k in {f.term for f in evidence.missed})
        name = evidence.sampled.terms[number].name
        sentence = f"Of the integral of {name!r}, which has a narrow peak, {value:.2g} is not met"
        return Guard(value, self.limit, bool(value <= self.limit), f"{sentence} (limit {self.limit:g}).")

    def _seen(self, evidence: Evidence, feature: Feature) -> bool:
        if isinstance(feature, Jump):
            return False
        near = np.abs(evidence.samples[feature.term].points - feature.place) <= 2.0 * feature.widths
        return int(np.sum(np.all(near, axis=1))) >= self.least


def _unmet(evidence: Evidence, term: int) -> float:
    """Integral of the absolute residual over that of the field without parameters."""
    if not isinstance(evidence.sampled.terms[term], Residual):
        return 0.0
    own = evidence.samples[term]
    both = evidence.left(term), evidence.residuals(term, evidence.nothing, own.points, own.normals)
    after, before = (float(own.weights @ np.sum(np.abs(rows), axis=1)) for rows in both)
    return after / before if before > 0 else 0.0


def _sentence(evidence: Evidence, feature: Feature) -> str:
    """What is not seen, where, and what helps."""
    names = evidence.problem.domain.names or ()
    term = evidence.sampled.terms[feature.term].name
    if isinstance(feature, Peak):
        narrow = np.isfinite(feature.widths)
        place = _place(names, feature.place, narrow)
        return (
            f"The term {term!r} has a peak about {np.min(feature.widths[narrow]):.1g} wide at {place}, which hardly a "
            "training point sees: write it as a condition there, or begin with knots (or points) around it."
        )
    surface = "across" if feature.flat else "across a curved surface through"
    only = np.arange(len(names)) == feature.axis if feature.flat else np.ones(len(names), bool)
    remedy = (
        "along an axis take the derivatives of hx and a spline grid, make the flux a second unknown with an equation "
        "of its own, or minimise the energy"
        if feature.flat
        else "name it, Problem(..., interfaces=[hx.Interface(shape)]) with hx.Disk, hx.LevelSet or another shape"
    )
    return (
        f"In the term {term!r} a coefficient jumps {surface} {_place(names, feature.place, only)} inside of a "
        f"derivative, which points do not see: {remedy}."
    )


def _place(names: Sequence[str], place: np.ndarray, shown: np.ndarray) -> str:
    return ", ".join(f"{n} = {c:.6g}" for n, c, s in zip(names, place, shown, strict=True) if s)
