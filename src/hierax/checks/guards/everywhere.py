"""Do the errors at rows left out say what happens in the whole box?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import NOISE, OCCURRING, Evidence, Witness
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard

SHOWN = 0.02
"""Part of the box far from all rows that is worth a word."""
DEVIATIONS = 2.0
"""Standard errors of a mean of squares by which it may be larger than that of the points that were asked."""


@final
@dataclass(frozen=True)
class Everywhere(AbstractGuard):
    """Error to be expected in the box of a table beside that at rows left out, both over the spread.

    What a Gaussian process does not know, and what the returned field differs from it by, in the root mean square over
    the box and between any two rows, the worse of both. Where a few of the points that are asked make most of it, as
    beyond the last rows of a ridge, others may make more: what counts is an upper bound of the mean square. Where few
    rows see a corner in which the values are large, or rows crowd in clusters, rows left out are no sample of the
    points at which the fit will be asked. Places that are far from all rows are named, and no claim is made there; nor
    is one between the values of inputs that take a few alone, such as counts, where nothing is known of that. An error
    that would leave much of the variance open is no success, whatever rows left out say.
    """

    limit: float = 3.0
    least: float = 0.02
    """An error of this size is held against none at rows left out."""
    most: float = 0.02
    """Share of the variance that may be left and that noise does not explain."""
    name: ClassVar[str] = "everywhere"
    result: ClassVar[RESULTS] = RESULTS.guard_validation

    def judge(self, evidence: Evidence) -> Guard | None:
        own = [e for e in (evidence.validation_error, evidence.left_out) if e is not None]
        if not evidence.witnesses:
            return None
        told = [self._told(evidence, w, max(own, default=w.left_out)) for w in evidence.witnesses]
        value, limit, worst = max(told, key=lambda one: one[0] / one[1])
        empty = float(np.mean(worst.far))
        names = evidence.problem.domain.names or ()
        inputs = tuple(names[axis] for axis in worst.inputs)
        place = "In the whole box" if empty <= SHOWN else "Where rows are near"
        place = OCCURRING.format(" and ".join(inputs)) if inputs else place
        sentence = f"{place} {worst.output} is known to {value:.2g} of its spread (limit {limit:.2g})"
        most = np.argmax(worst.everywhere.unknown * ~worst.far)
        if value > limit:
            where = ", ".join(f"{n} = {c:.3g}" for n, c in zip(names, worst.everywhere.places[most], strict=True))
            sentence += f", which rows left out do not show; least at {where}"
        if empty > SHOWN:
            sentence += f"; {empty:.0%} of the box is far from all rows, and nothing is said of it"
        return Guard(value, limit, bool(value <= limit), sentence + ".", inputs)

    def _told(self, evidence: Evidence, witness: Witness, left_out: float) -> tuple[float, float, Witness]:
        """Error and limit of an output, with the witness who says so.

        A field that misses rows left out by less than the process does is taken to err as much less over the box.
        """
        near = witness.share(evidence) * witness.everywhere.unknown[~witness.far]
        squares = [upper_mean(part**2) for part in (near, witness.within(evidence)) if len(part)]
        limit = min(self.limit * left_out, float(np.hypot(np.sqrt(self.most), NOISE * witness.noise)))
        error, most = float(np.sqrt(max(squares))), max(self.least, limit, witness.noise)
        if error > most and witness.occurring is not None:
            return self._told(evidence, witness.occurring, left_out)
        return error, most, witness


def upper_mean(numbers: np.ndarray) -> float:
    """An upper bound of the mean of which numbers `(n,)` are a sample: `DEVIATIONS` standard errors above theirs."""
    return float(np.mean(numbers) + DEVIATIONS * np.std(numbers) / np.sqrt(len(numbers)))
