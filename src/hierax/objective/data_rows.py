"""Measured values as levels see them: some to train on, fewer of them on coarse levels, and some kept back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hierax.objective.local_means import Measurements, local_means
from hierax.objective.noise import relative_noise
from hierax.problems.grouping import together
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.terms import Data

Misses = Callable[[Any, Data, Measurements], np.ndarray]
"""From a field, a data term and samples of it to the misfit of its values, `(n, m)`."""

MEANS = 3
"""Most coordinates in which coarse levels see local means. Above, cells of few samples are as wide as the domain."""
MEDIAN = 0.4549
"""Median of the square of a standard normal number."""


def shuffled(shared: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random order of rows `(n, k)` with equal ones side by side, and for each the first of its equals.

    The second result is the place in the order at which the equal ones begin.
    """
    order = rng.permutation(len(shared))
    _, first, group = np.unique(shared[order], axis=0, return_index=True, return_inverse=True)
    begins = first[group.ravel()]
    place = np.argsort(begins, kind="stable")
    return order[place], np.searchsorted(begins[place], begins[place])


def folds(shared: np.ndarray, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """At most `count` parts of rows `(n, k)` of about one size, in random order; equal ones are in one part."""
    order, place = shuffled(shared, rng)
    borders = place[np.linspace(0, len(order), count, endpoint=False).astype(int)]
    return np.split(order, np.unique(borders)[1:])


class DataRows:
    """Measured values of every data term: those to train on, as coarse or fine as a level wants them, and the others.

    Rows stand in one random order, those of a group or of copies of a point side by side, so that a group is kept back
    as a whole or not at all. In few dimensions a coarse level sees local means, in more the first of the rows.
    Objectives are means over the samples, so that losses of levels estimate the same number.

    Parameters
    ----------
    problem:
        With or without data.
    share:
        Share of the rows that is kept back.
    key:
        Of the order.
    """

    def __init__(self, problem: Problem, share: float, key: Key) -> None:
        self.problem = problem
        self.terms = tuple(term for term in problem.terms if isinstance(term, Data))
        self.train: dict[str, np.ndarray] = {}
        self.held: dict[str, Measurements] = {}
        rng = np.random.default_rng(seed_of(key, 0))
        for term in self.terms:
            order, place = shuffled(together(term), rng)
            kept = int(np.searchsorted(place, place[int(share * len(order))]))
            if kept == 0 < share and place[-1] > 0:
                kept = int(place[np.argmax(place > 0)])
            self._keep(term, order[kept:], order[:kept])

    def _keep(self, term: Data, train: np.ndarray, held: np.ndarray) -> None:
        self.train[term.name] = train
        self.held.pop(term.name, None)
        if len(held):
            rows = np.sort(held)
            self.held[term.name] = measured(term, rows)

    def folds(self, count: int, key: Key) -> Iterator[DataRows]:
        """The rows again and again, each time with another part kept back, until every row was kept back once."""
        rng = np.random.default_rng(seed_of(key, 0))
        parts = {term.name: folds(together(term), count, rng) for term in self.terms}
        for number in range(max(map(len, parts.values()), default=0)):
            fold = DataRows(self.problem, 0.0, key)
            for term in self.terms:
                held = parts[term.name][number] if number < len(parts[term.name]) else np.array([], int)
                fold._keep(term, np.setdiff1d(np.arange(len(term.points)), held), held)
            yield fold

    @property
    def total(self) -> int:
        """Number of rows to train on."""
        return sum(map(len, self.train.values()))

    @property
    def values(self) -> int:
        """Number of measured values, those kept back included."""
        return sum(term.values.size for term in self.terms)

    def seen(self, points: int | None) -> dict[str, Measurements]:
        """About as many samples to train on as `points`, in proportion from every term; all without a number."""
        total = max(self.total, 1)
        count = total if points is None else min(points, total)
        return {term.name: self._seen(term, -(-count * len(self.train[term.name]) // total)) for term in self.terms}

    def _seen(self, term: Data, count: int) -> Measurements:
        # what is given with a value cannot be averaged with it
        rows, means = self.train[term.name], self.problem.domain.dim <= MEANS and term.given is None
        rows = np.sort(rows if means else rows[:count])
        samples = measured(term, rows)
        return local_means(samples, count) if means and count < len(rows) else samples

    def misfit(self, field: Any, samples: Mapping[str, Measurements], misses_of: Misses) -> float:
        """Root mean square misfit at some samples over the spread of the values, root mean square over the terms."""
        squares = self._squares(field, samples, misses_of).values()
        return float(np.sqrt(np.mean([weights @ errors for weights, errors in squares])))

    def typical_misfit(self, field: Any, samples: Mapping[str, Measurements], misses_of: Misses) -> float:
        """What `misfit` would be without outliers: from the medians of the squares, as for normal noise."""
        squares = self._squares(field, samples, misses_of).values()
        return float(np.sqrt(np.mean([np.median(len(w) * w * e) / MEDIAN for w, e in squares])))

    def tells_apart(self, field: Any, better: Any, misses_of: Misses) -> bool:
        """Whether the data kept back show that one field is worse than a `better` one by more than a standard error.

        Both are compared at the same values, whose noise is in both misfits.
        """
        pairs = [self._squares(f, self.held, misses_of) for f in (field, better)]
        mean, variance = 0.0, 0.0
        for (weights, worse), (_, best) in zip(*(p.values() for p in pairs), strict=True):
            excess = worse - best
            mean += weights @ excess
            variance += np.sum((weights * (excess - weights @ excess)) ** 2)
        return bool(mean > np.sqrt(variance))

    def _squares(
        self, field: Any, samples: Mapping[str, Measurements], misses_of: Misses
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Weights of the samples and squared misfits over the variance of the values, for every term seen there."""
        out = {}
        for term in self.terms:
            if term.name in samples:
                misses = misses_of(field, term, samples[term.name])
                squares = np.mean((misses / spread(term)) ** 2, axis=1)
                out[term.name] = (samples[term.name].weights, squares)
        return out

    def columns(self, name: str) -> slice:
        """Where the values of an unknown function stand among those of all."""
        sizes = [function.components or 1 for function in self.problem.functions.values()]
        place = list(self.problem.functions).index(name)
        return slice(sum(sizes[:place]), sum(sizes[: place + 1]))

    @functools.cached_property
    def noise(self) -> float:
        """Relative noise of the data, from the misfit of each value to a plane through its nearest neighbours."""
        return relative_noise(self.terms) or 0.0

    @property
    def stated(self) -> float:
        """Relative noise of the data as their terms state it; 0 where none does."""
        each = [(term.typical_noise or 0.0) / spread(term) for term in self.terms]
        return float(np.sqrt(np.mean(np.square(each)))) if each else 0.0


def measured(term: Data, rows: np.ndarray | slice = slice(None)) -> Measurements:
    """Some rows of a term, with weights in proportion to one over the variances of their noise."""
    weights = 1.0 / term.unevenness[rows]
    values = term.values if term.given is None else term.targets
    return Measurements(term.points[rows], values[rows], weights / weights.sum())


def spread(term: Data) -> float:
    """Standard deviation of the values; equal ones have none, and rounding of their size then counts as nothing."""
    return max(float(np.std(term.values)), 1e-10 * float(np.max(np.abs(term.values))), 1e-300)
