"""The Gaussian process of a table: a candidate for its fit, and a witness for the guards of every fit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final
from weakref import WeakKeyDictionary

import numpy as np
from threadpoolctl import threadpool_limits

from hierax.checks.evidence import Witness
from hierax.fields import Exponential, Kriging, kriging, on_scale
from hierax.objective.data_rows import folds
from hierax.objective.noise import neighbour_scatter
from hierax.planning.data import has_process
from hierax.problems.grouping import belonging
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.solvers.gaussian_process import SIZES, Process, fit_process, given_process
from hierax.solvers.outliers import APART, without_outliers
from hierax.solvers.value_scale import ValueScale
from hierax.training.state import FoundProcess

MOST = 2000
"""Most rows of a process."""
FOLDS = 10
"""Parts of the rows, each left out once."""
EXACT, NOISY = 1e-3, 1.1
"""Relative error left out, and its square over that of the noise, below which nothing simpler is tried."""
MOST_STEPS = 25
"""Most steps with all rows."""
GRAIN = 2.0**33
"""One over the distance of the numbers that inputs and values are rounded to."""
SKEWED, BEYOND, BETTER = 0.5, (0.1, 0.3), 0.6
"""Skewness of the values from which on logarithmic scales are tried, from how far beyond their crowded end, over the
spread; and part of the error left out that one has to reach."""
PROBES = 1000
"""Points between those of the table at which it is asked how much is known."""


@final
@dataclass(frozen=True, eq=False)
class TableProcess:
    """The process of one output of a table.

    Attributes
    ----------
    process:
        In inputs `(x - corner) / widths` and places on the scale of the values.
    corner, widths, scale:
        Box of the inputs, and the scale of the values.
    steps, outliers:
        Steps of the optimiser that were tried with all values; which of these are outliers, `None` where none is.
    points, shared, roughness:
        The points `(n, dim)` that it is given; what those that belong together share, `(n, 1)`; how rough the values
        are to their neighbours, over the spread.
    """

    process: Process
    corner: np.ndarray
    widths: np.ndarray
    scale: ValueScale
    points: np.ndarray
    shared: np.ndarray
    roughness: float
    steps: int = 0
    outliers: np.ndarray | None = None

    @property
    def found(self) -> FoundProcess:
        """What has to be kept of it."""
        return FoundProcess(self.process.kernel, self.process.free, self.steps, self.scale, self.outliers)

    @functools.cached_property
    def left_out(self) -> float:
        """Relative error of the rows, each predicted without it and others of a tenth of the rows; of no outliers."""
        own = self.process.values
        seen = own - self.process.left_out(folds(self.shared, FOLDS, np.random.default_rng(0)))
        misfit = self.scale.standard(seen) - self.scale.standard(own)
        return float(np.sqrt(np.average(misfit**2, weights=1.0 / self.process.spread)))

    @property
    def loss(self) -> float:
        """Half the mean square of the misfits of its mean, in units of the spread."""
        process = self.process
        misfit = process.kernel.noise * process.spread * process.weights * self.scale.slope(process.values)
        return 0.5 * float(np.mean(misfit**2))

    @property
    def own_noise(self) -> float:
        """What the process takes for noise, over the spread."""
        return self.process.noise * float(np.sqrt(np.mean(self.scale.slope(self.process.values) ** 2)))

    @property
    def noise(self) -> float:
        """Noise over the spread: what the process takes for noise, if the values are as rough to their neighbours."""
        return min(self.own_noise, self.roughness)

    @property
    def field(self) -> Kriging | Exponential:
        """Its mean; on a logarithmic scale its median."""
        return on_scale(kriging(self.process, self.corner, self.widths), self.scale)

    def predict(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values `(n,)` of the field at points `(n, dim)`, and their standard deviations over the spread."""
        mean, deviation = self.process.predict((points - self.corner) / self.widths)
        values = self.scale.level + self.scale.spread * self.scale.standard(mean)
        return values, deviation * self.scale.slope(mean)

    def witness(self, name: str, fitted: Callable[[np.ndarray], np.ndarray]) -> Witness:
        """What it says of the fit of an output, `fitted` from points `(n, dim)` to values `(n,)`.

        Points between those of the table are random convex combinations of two of them.
        """
        rng = np.random.default_rng(1)
        one, other = self.points[rng.integers(len(self.points), size=(2, PROBES))]
        share = rng.uniform(size=(PROBES, 1))
        between = share * one + (1.0 - share) * other
        mean, doubt = self.predict(between)
        return Witness(name, self.left_out, self.noise, doubt, (fitted(between) - mean) / self.scale.spread, between)


def table_process(
    problem: Problem,
    name: str,
    seconds: float = 0.0,
    over: Callable[[], bool] = lambda: False,
    found: FoundProcess | None = None,
) -> TableProcess | None:
    """The process of a scalar unknown of a problem of data alone; `None` where it has none.

    Parameters
    ----------
    problem, name:
        The problem and the unknown.
    seconds:
        Seconds of a nominal machine for steps with all rows, where there are more than on the coarse levels. The best
        that was found is kept.
    over:
        Whether the time is over by the clock.
    found:
        What was found before, with as many steps.
    """
    # small factorisations gain nothing by threads, and wait for each other where other programs run
    with threadpool_limits(limits=1, user_api="blas"):
        return _improved(problem, name, seconds, over, found)


def _improved(
    problem: Problem, name: str, seconds: float, over: Callable[[], bool], found: FoundProcess | None
) -> TableProcess | None:
    known = _KNOWN.setdefault(problem, {})
    rows = sum(len(t.points) for t in problem.terms if isinstance(t, Data) and problem.data_unknown(t) == name)
    steps = int(min(seconds / _nominal(min(rows, MOST)), MOST_STEPS)) if rows > SIZES[-1] else 0
    if found is not None and found.steps == steps:
        known[name] = _process(problem, name, over, found)
    elif name not in known:
        known[name] = _process(problem, name, over)
    own = known[name]
    if own is not None and steps > own.steps:
        better = replace(own, process=own.process.improved(steps, over))
        known[name] = replace(min(own, better, key=lambda one: one.left_out), steps=steps)
    return known[name]


_KNOWN: WeakKeyDictionary[Problem, dict[str, TableProcess | None]] = WeakKeyDictionary()


def _nominal(rows: int) -> float:
    """Seconds of a likelihood with its gradient on one core."""
    return 1.2e-10 * rows**3 + 6e-8 * rows**2


def _process(
    problem: Problem, name: str, over: Callable[[], bool], before: FoundProcess | None = None
) -> TableProcess | None:
    terms = [t for t in problem.terms if isinstance(t, Data) and problem.data_unknown(t) == name]
    if not terms or not has_process(problem, name):
        return None
    points, values = np.concatenate([t.points for t in terms]), np.concatenate([t.values for t in terms]).ravel()
    shared, noises = belonging(terms), np.concatenate([t.unevenness for t in terms])
    few = np.sort(np.random.default_rng(0).permutation(len(points))[:MOST])
    points, values, shared, uneven = points[few], values[few], shared[few], noises[few]
    level, spread = float(np.mean(values)), float(np.std(values))
    if len(values) < 3 or spread <= 1e-10 * np.max(np.abs(values)):
        return None
    corner, upper = problem.domain.bounds()
    standard, unit = _rounded((values - level) / spread), _rounded((points - corner) / (upper - corner))
    roughness, straight = neighbour_scatter(points, standard[:, None]), ValueScale(level, spread)

    def of_table(
        process: Process | None,
        scale: ValueScale = straight,
        steps: int = 0,
        outliers: np.ndarray | None = None,
    ) -> TableProcess | None:
        return process and TableProcess(
            process, corner, upper - corner, scale, points, shared, roughness, steps, outliers
        )

    def fitted(free: bool, scale: ValueScale = straight) -> TableProcess | None:
        return of_table(fit_process(unit, _rounded(scale.scaled(standard)), uneven, free, over), scale)

    if before is not None:
        scaled = _rounded(before.scale.scaled(standard))
        uneven = uneven if before.outliers is None else np.where(before.outliers, APART * uneven, uneven)
        return of_table(
            given_process(unit, scaled, uneven, before.free, before.kernel), before.scale, before.steps, before.outliers
        )
    best = fitted(True)
    if best is None or best.left_out**2 > EXACT**2 + NOISY * best.noise**2:
        # the larger likelihood belongs to what is stretched, also where it predicts less: a ridge that bends
        both = [one for one in (best, fitted(False)) if one is not None]
        best = min(both, key=lambda one: one.left_out, default=None)
    if best is None:
        return None
    free = best.process.free
    robust = without_outliers(best.process, lambda noise: fit_process(unit, standard, noise, free, over))
    if robust is not None:
        return of_table(robust.process, outliers=robust.outliers)
    if abs(np.mean(standard**3)) < SKEWED or best.left_out**2 < EXACT**2 + NOISY * best.noise**2:
        return best
    logs = [fitted(True, straight.logarithmic(standard, beyond)) for beyond in BEYOND]
    clearly = [one for one in logs if one is not None and one.left_out < BETTER * best.left_out]
    return min(clearly, key=lambda one: one.left_out, default=best)


def _rounded(numbers: np.ndarray) -> np.ndarray:
    """Without the last digits, which the units of a table change, and with them where an optimiser stops."""
    return np.round(numbers * GRAIN) / GRAIN
