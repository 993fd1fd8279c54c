"""The Gaussian process of a table: a candidate for its fit, and a witness for the guards of every fit."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import final
from weakref import WeakKeyDictionary

import numpy as np
from scipy.special import stdtrit
from scipy.stats import qmc
from threadpoolctl import threadpool_limits

from hierax.checks.evidence import NOISE, Known, Witness
from hierax.fields import Exponential, Kriging, kriging, on_scale
from hierax.objective.data_rows import folds
from hierax.objective.noise import neighbour_scatter
from hierax.planning.data import has_process
from hierax.problems.grouping import at_values, belonging, far_from, few_values
from hierax.problems.problem import Problem
from hierax.solvers.gaussian_process import SIZES, Over, Process, fit_process, given_process
from hierax.solvers.likely_scale import likely_scale
from hierax.solvers.outliers import APART, without_outliers
from hierax.solvers.value_scale import ValueScale
from hierax.training.state import FoundProcess

MOST, ALL = 2000, 6000
"""Most rows by which a process is found, and most that it is given in the end."""
FOLDS = 10
"""Parts of the rows, each left out once."""
EXACT, NOISY = 1e-3, 1.1
"""Relative error left out, and its square over that of the noise, below which nothing simpler is tried."""
MOST_STEPS = 25
"""Most steps with all rows."""
GRAIN = 2.0**33
"""One over the distance of the numbers that inputs and values are rounded to."""
SKEWED, BEYOND, BETTER = 0.5, 0.1, 0.6
"""Skewness of the values from which on logarithmic scales are tried, beside that of the largest likelihood one from so
far beyond their crowded end, over the spread; and part of the error left out that one has to reach."""
LARGER, CORNERS = 10.0, 10
"""Factor by which an exponential may exceed the largest value given in the box; inputs whose corners are asked."""
PROBES = 1000
"""Points between those of the table, and points of its box, at which it is asked how much is known."""
SURE, AT_ONCE = 1.12, 4096
"""Error over deviation that misfits tell of a process that is right, since the worst of many means counts; points of
intervals that are computed together."""
PATIENCE, LONGEST = 0.4, 0.9
"""Share of the seconds for the processes of a few rows, by counted work, and by the clock of a slow machine."""
STEP = 2.0
"""Likelihoods of a step of the optimiser."""


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one output of a table that a process is given.

    Attributes
    ----------
    corner, widths:
        Box of the inputs.
    points, shared, uneven:
        The points `(n, dim)`; what those that belong together share, `(n, 1)`; the variance `(n,)` of the noise of
        every value over that of their mean.
    scale, standard:
        The straight scale of the values, and the values on it.
    """

    corner: np.ndarray
    widths: np.ndarray
    points: np.ndarray
    shared: np.ndarray
    uneven: np.ndarray
    scale: ValueScale
    standard: np.ndarray

    @functools.cached_property
    def unit(self) -> np.ndarray:
        """The points in units of their box."""
        return _rounded((self.points - self.corner) / self.widths)

    @functools.cached_property
    def roughness(self) -> float:
        """How rough the values are to their neighbours, over the spread."""
        return neighbour_scatter(self.points, self.standard[:, None])

    @functools.cached_property
    def everywhere(self) -> np.ndarray:
        """Points `(m, dim)` of the unit box, evenly spread."""
        return qmc.Sobol(self.unit.shape[1], rng=0).random_base2(int(np.log2(PROBES)))

    @property
    def corners(self) -> np.ndarray:
        """Corners of the unit box, `(2^dim, dim)`; of the first ten inputs, at the middle of all others."""
        dim = self.unit.shape[1]
        axes = [(0.0, 1.0) if axis < CORNERS else (0.5,) for axis in range(dim)]
        return np.array(list(itertools.product(*axes)))

    @functools.cached_property
    def far(self) -> np.ndarray:
        """Which of these `(m,)` are much further from the table than its rows are from each other."""
        return self.far_from(self.everywhere)

    def far_from(self, places: np.ndarray) -> np.ndarray:
        """Which places `(m,)` of the unit box are."""
        return far_from(np.unique(self.unit, axis=0), places)

    def fitted(self, free: bool, scale: ValueScale, over: Over) -> TableProcess | None:
        """The process with values on a scale."""
        made = fit_process(self.unit, _rounded(scale.scaled(self.standard)), self.uneven, free, over)
        return made and TableProcess(self, made, scale)

    def given(self, found: FoundProcess) -> TableProcess | None:
        """A process that was found before."""
        uneven = self.uneven if found.outliers is None else np.where(found.outliers, APART * self.uneven, self.uneven)
        # a run is found in units of its own, in which level and spread are others
        scale = found.scale._replace(level=self.scale.level, spread=self.scale.spread)
        made = given_process(self.unit, _rounded(scale.scaled(self.standard)), uneven, found.free, found.kernel)
        others = tuple(other for one in found.others if (other := self.given(one)) is not None)
        return made and TableProcess(self, made, scale, found.steps, found.outliers, others)


@final
@dataclass(frozen=True, eq=False)
class TableProcess:
    """The process of one output of a table.

    Attributes
    ----------
    rows, process, scale:
        What it is given; the process, in inputs of the unit box and places on a scale of the values.
    steps, outliers:
        Steps of the optimiser that were tried with all values; which of these are outliers, `None` where none is.
    others:
        All other processes that were tried.
    """

    rows: Rows
    process: Process
    scale: ValueScale
    steps: int = 0
    outliers: np.ndarray | None = None
    others: tuple[TableProcess, ...] = ()

    def given_more(self, rows: Rows | None) -> TableProcess:
        """The process of the same kernel and scale given more rows; itself where it predicts no worse without them."""
        more = rows and self.outliers is None and rows.given(self.found)
        return more if more and more.left_out < self.left_out else self

    @property
    def found(self) -> FoundProcess:
        """What has to be kept of it."""
        others = tuple(other.found for other in self.others)
        return FoundProcess(self.process.kernel, self.process.free, self.steps, self.scale, self.outliers, others)

    @functools.cached_property
    def _missed(self) -> np.ndarray:
        """Misfits `(n,)` of the rows over the spread, each predicted without it and others of a tenth of the rows."""
        own = self.process.values
        seen = own - self.process.left_out(folds(self.rows.shared, FOLDS, np.random.default_rng(0)))
        return self.scale.standard(seen) - self.scale.standard(own)

    @functools.cached_property
    def left_out(self) -> float:
        """Relative error of the rows, each predicted without it and others of a tenth of the rows; of no outliers."""
        return float(np.sqrt(np.average(self._missed**2, weights=1.0 / self.process.spread)))

    def left_out_at(self, points: np.ndarray) -> float:
        """The same of the rows at some points `(m, dim)` alone; of all where it was given none of them."""
        asked = {point.tobytes() for point in np.ascontiguousarray(points)}
        own = np.array([point.tobytes() in asked for point in np.ascontiguousarray(self.rows.points)])
        some = own if own.any() else ~own
        return float(np.sqrt(np.average(self._missed[some] ** 2, weights=1.0 / self.process.spread[some])))

    @functools.cached_property
    def density(self) -> float:
        """Mean logarithm of the density of the standardised values, each given all others."""
        return self.process.density - float(np.mean(np.log(self.scale.slope(self.process.values))))

    @property
    def bounded(self) -> bool:
        """Whether, in the box and at its corners, its values are not many times as large as all that are given."""
        rows, process = self.rows, self.process
        places = np.concatenate([rows.everywhere, rows.corners])
        mean = process.mean + process.kernel.between(places, process.centres) @ process.weights
        return bool(np.max(np.abs(self.scale.standard(mean))) < LARGER * np.max(np.abs(rows.standard)))

    @property
    def noisy(self) -> bool:
        """Whether on its scale noise explains the misfits of values left out."""
        misfit = self.process.misfits**2 / self.process.spread
        return float(np.sqrt(np.mean(misfit))) < NOISE * self.process.noise

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
        return min(self.own_noise, self.rows.roughness)

    @property
    def field(self) -> Kriging | Exponential:
        """Its mean; on a logarithmic scale its median."""
        return on_scale(kriging(self.process, self.rows.corner, self.rows.widths), self.scale)

    def predict(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values `(n,)` of the field at points `(n, dim)`, and their standard deviations over the spread."""
        mean, deviation = self._standard((points - self.rows.corner) / self.rows.widths)
        return self.scale.level + self.scale.spread * mean, deviation

    def _standard(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, deviation = self.process.predict(unit)
        return self.scale.standard(mean), deviation * self.scale.slope(mean)

    def _doubted(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standardised values and errors that are to be expected of them, noise aside."""
        mean, deviation = self._standard(unit)
        return mean, self.process.overconfidence(unit) * deviation if len(unit) else deviation

    @functools.cached_property
    def error(self) -> float:
        """What rows left out are missed by, and what is not known near them in the box, over the spread."""
        doubt = self._doubted(self.rows.everywhere[~self.rows.far])[1]
        return float(np.hypot(self.left_out, np.sqrt(np.mean(doubt**2)) if len(doubt) else 0.0))

    def witness(self, name: str, fitted: Callable[[np.ndarray], np.ndarray], held: np.ndarray | None = None) -> Witness:
        """What it says of the fit of an output, `fitted` from points `(n, dim)` to values `(n,)`, rows `held` back.

        Points between those of the table are random convex combinations of two of them.
        """
        rng, rows = np.random.default_rng(1), self.rows
        one, other = rows.unit[rng.integers(len(rows.unit), size=(2, PROBES))]
        share = rng.uniform(size=(PROBES, 1))
        inside = share * one + (1.0 - share) * other
        kept = self.left_out if held is None else self.left_out_at(held)

        def of(between: np.ndarray, everywhere: np.ndarray) -> Witness:
            known, gaps, far = self._known(between, fitted), rows.far_from(between), rows.far_from(everywhere)
            return Witness(name, self.left_out, kept, self.noise, known, self._known(everywhere, fitted), gaps, far)

        whole, values = of(inside, rows.everywhere), few_values(rows.unit)
        if not values:
            return whole
        occurring = of(at_values(inside, values), at_values(rows.everywhere, values))
        return replace(whole, occurring=replace(occurring, inputs=tuple(values)))

    def band(self, points: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
        """Ends `(n,)` of intervals that hold the function, noise aside, with a probability, at points `(n, dim)`.

        Half their width is the doubt times the quantile of Student's t, on the scale of the values.
        """
        ends = []
        for part in np.array_split(points, -(-len(points) // AT_ONCE) or 1):
            unit = (part - self.rows.corner) / self.rows.widths
            mean, doubt = self._doubt(unit)
            place = self.scale.scaled(mean)
            reach = stdtrit(self.process.freedom(unit), 0.5 + 0.5 * share) * doubt / SURE / self.scale.slope(place)
            both = np.sort([self.scale.standard(place - reach), self.scale.standard(place + reach)], axis=0)
            ends.append(self.scale.level + self.scale.spread * both)
        low, high = np.concatenate(ends, axis=1)
        return low, high

    def _doubt(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standardised values and their doubt, by what other processes say as well.

        Two processes differ by the errors of both; the share of this one is as errors at rows left out are.
        """
        mean, doubt = self._doubted(unit)
        for other in self.others:
            share = self.left_out / max(np.hypot(self.left_out, other.left_out), 1e-300)
            doubt = np.maximum(doubt, share * np.abs(other._standard(unit)[0] - mean))
        return mean, doubt

    def _known(self, unit: np.ndarray, fitted: Callable[[np.ndarray], np.ndarray]) -> Known:
        """Its doubt at points, and what the fit differs from it by."""
        points = self.rows.corner + self.rows.widths * unit
        mean, doubt = self._doubt(unit)
        return Known(points, doubt, np.abs((fitted(points) - self.scale.level) / self.scale.spread - mean))


@final
@dataclass
class ProcessLimits:
    """Ends work that takes too long: by counted work, so that machines agree, or where the clock says so."""

    seconds: float
    clock: Callable[[], bool]
    spent: float = field(default=0.0, init=False)

    def over(self, rows: int) -> bool:
        """Whether it is over after one more step with so many rows."""
        self.spent += STEP * _nominal(rows)
        return self.spent > self.seconds or self.clock()


def table_process(
    problem: Problem,
    name: str,
    seconds: float = 0.0,
    patience: ProcessLimits | None = None,
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
    patience:
        For what is found with few rows; endless if not given. Where time is left, the process found is given more rows
        than it was found by, as many as one step with them takes `seconds`.
    found:
        What was found before, with as many steps.
    """
    patience = patience or ProcessLimits(np.inf, lambda: False)
    # small factorisations gain nothing by threads, and wait for each other where other programs run
    with threadpool_limits(limits=1, user_api="blas"):
        return _improved(problem, name, seconds, patience, found)


def _improved(
    problem: Problem, name: str, seconds: float, patience: ProcessLimits, found: FoundProcess | None
) -> TableProcess | None:
    known = _KNOWN.setdefault(problem, {})
    count = sum(len(t.points) for t in problem.data_of(name))
    steps = int(min(seconds / _nominal(min(count, MOST)), MOST_STEPS)) if count > SIZES[-1] else 0
    most = max((n for n in range(MOST, ALL + 1, MOST // 10) if _nominal(n) <= seconds), default=MOST)
    before = found if found is not None and found.steps == steps else None
    if before is not None or name not in known:
        rows = _rows(problem, name, MOST)
        known[name] = rows and (_best(rows, patience) if before is None else rows.given(before))
    own = known[name]
    if own is not None and steps > own.steps:
        better = replace(own, process=own.process.improved(steps, lambda rows: patience.clock()))
        own = replace(min(own, better, key=lambda one: one.left_out), steps=steps)
        known[name] = own.given_more(_rows(problem, name, most, own.rows.scale)) if count > MOST < most else own
    return known[name]


def given_table_process(problem: Problem, name: str, found: FoundProcess) -> TableProcess | None:
    """The process of an output that a run has found, from the rows that it was found with."""
    rows = _rows(problem, name, MOST)
    return rows and rows.given(found)


_KNOWN: WeakKeyDictionary[Problem, dict[str, TableProcess | None]] = WeakKeyDictionary()


def _nominal(rows: int) -> float:
    """Seconds of a likelihood with its gradient on one core."""
    return 1.2e-10 * rows**3 + 6e-8 * rows**2


def _rows(problem: Problem, name: str, most: int, scale: ValueScale | None = None) -> Rows | None:
    """The rows of an unknown, so many of them at `most`; `None` where there is nothing to be learned."""
    terms = problem.data_of(name)
    if not terms or not has_process(problem, name):
        return None
    points, values = np.concatenate([t.points for t in terms]), np.concatenate([t.values for t in terms]).ravel()
    shared, noises = belonging(terms), np.concatenate([t.unevenness for t in terms])
    few = np.sort(np.random.default_rng(0).permutation(len(points))[:most])
    scale = scale or ValueScale(float(np.mean(values[few])), float(np.std(values[few])))
    if len(few) < 3 or scale.spread <= 1e-10 * np.max(np.abs(values)):
        return None
    corner, upper = problem.domain.bounds()
    standard = _rounded((values[few] - scale.level) / scale.spread)
    return Rows(corner, upper - corner, points[few], shared[few], noises[few], scale, standard)


def _best(rows: Rows, patience: ProcessLimits) -> TableProcess | None:
    """The process with the least error, and those that come near it."""
    tried: list[TableProcess] = []

    def attempt(free: bool, scale: ValueScale) -> None:
        made = rows.fitted(free, scale, patience.over) if not tried or not patience.over(0) else None
        # beyond the last rows an exponential may grow without end, and nothing that is left out shows it
        tried.extend([] if made is None or (scale.sign and not made.bounded) else [made])

    attempt(True, rows.scale)
    if not _good(tried):
        # the larger likelihood belongs to what is stretched, also where it predicts less: a ridge that bends
        attempt(False, rows.scale)
    if not tried:
        return None
    best = min(tried, key=lambda one: one.left_out)
    free = best.process.free
    robust = without_outliers(best.process, lambda n: fit_process(rows.unit, rows.standard, n, free, patience.over))
    if abs(np.mean(rows.standard**3)) >= SKEWED and not _good(tried):
        fixed = rows.scale.logarithmic(rows.standard, BEYOND)
        likely = likely_scale(rows.unit, rows.standard, rows.uneven, rows.scale, patience.over)
        for free, scale in ((True, likely), (True, fixed), (False, fixed)):
            attempt(free, scale)
    kept = [] if robust is None else [replace(best, process=robust.process, outliers=robust.outliers)]
    best = min(tried, key=lambda one: one.error / (BETTER if one.scale.sign else 1.0))
    likely = max([*tried, *kept], key=lambda one: one.density)
    if likely.noisy:
        # of noise in proportion to the values the largest make errors, and look like outliers
        best = likely
    if best in kept:
        return best
    return replace(best, others=tuple(one for one in tried if one is not best))


def _good(tried: Sequence[TableProcess]) -> bool:
    return any(one.left_out**2 < EXACT**2 + NOISY * one.noise**2 for one in tried)


def _rounded(numbers: np.ndarray) -> np.ndarray:
    """Without the last digits, which the units of a table change, and with them where an optimiser stops."""
    return np.round(numbers * GRAIN) / GRAIN
