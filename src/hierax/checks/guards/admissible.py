"""Do the terms stay where what they are made of is known?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.events import Guard
from hierax.objective.marked import marked_values
from hierax.problems.terms import AbstractValues
from hierax.problems.watched import MARKS, AbstractMark, SeenInputs

MOST = 4000
"""Most points at which a term is asked."""


class _Found(NamedTuple):
    """Share of the body beyond, the mark, and of the first point beyond its place and value."""

    share: float
    mark: AbstractMark
    place: np.ndarray | None
    value: np.ndarray | None


@final
@dataclass(frozen=True)
class Admissible(AbstractGuard):
    """Share of the body where a learned law is asked for inputs that it has not seen, or where matter is inverted.

    A law that was learned elsewhere (`solution.function`) knows nothing beyond its data, and no residual shows that.
    """

    limit: float = 0.01
    inverted: float = 0.0
    """The limit of the share that is inverted."""
    name: ClassVar[str] = "admissible"
    result: ClassVar[RESULTS] = RESULTS.guard_admissible

    def judge(self, evidence: Evidence) -> Guard | None:
        if not MARKS:
            return None
        found = [one for k in range(len(evidence.samples)) for one in _of_term(evidence, k)]
        if not found:
            return None
        worst = max(found, key=lambda one: (one.share > self._limit(one), one.share))
        return Guard(
            worst.share, self._limit(worst), worst.share <= self._limit(worst), self._sentence(evidence, worst)
        )

    def _limit(self, found: _Found) -> float:
        return self.limit if isinstance(found.mark, SeenInputs) else self.inverted

    def _sentence(self, evidence: Evidence, found: _Found) -> str:
        law = isinstance(found.mark, SeenInputs)
        what = f"has inputs that {found.mark.name} has not seen" if law else "is turned inside out"  # pyright: ignore
        if found.value is None or found.place is None:
            return f"Nothing of the body {what} (limit {self._limit(found):g})."
        names = evidence.problem.domain.names or ()
        where = ", ".join(f"{n} = {x:.3g}" for n, x in zip(names, found.place, strict=True))
        sentence = f"Of the body {found.share:.2g} {what} (limit {self._limit(found):g}); at {where} "
        return f"{sentence}it is {found.mark.words(found.value)}."


def _of_term(evidence: Evidence, number: int) -> list[_Found]:
    """What the marks in a term say at the points that training used."""
    samples = evidence.samples[number]
    if isinstance(evidence.sampled.terms[number], AbstractValues) or not samples.count:
        return []
    pick = np.unique(np.linspace(0, samples.count - 1, min(samples.count, MOST)).astype(int))
    weights = samples.weights[pick] / np.sum(samples.weights[pick])
    by_mark: dict[str, list[np.ndarray]] = {}
    for key, values in marked_values(samples.term, evidence.field, samples.places(pick)):
        by_mark.setdefault(key, []).append(values)
    out = []
    for key, columns in by_mark.items():
        mark = MARKS[key]
        beyond = [mark.beyond(values) for values in columns]
        rows = np.flatnonzero(np.any(beyond, axis=0))
        if not len(rows):
            out.append(_Found(0.0, mark, None, None))
            continue
        column = next(values for values, own in zip(columns, beyond, strict=True) if own[rows[0]])
        out.append(_Found(float(weights[rows].sum()), mark, samples.points[pick[rows[0]]], column[rows[0]]))
    return out
