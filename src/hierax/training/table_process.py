"""The Gaussian process of a table: a candidate for its fit, and a witness for the guards of every fit."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from scipy.special import stdtrit

from hierax.checks.evidence import NOISE, Known, Witness
from hierax.fields import Exponential, Kriging, kriging, on_scale
from hierax.objective.data_rows import folds
from hierax.objective.noise import neighbour_scatter
from hierax.problems.grouping import at_values, far_from, few_values
from hierax.problems.sampling import sobol
from hierax.solvers.gaussian_process import Over, Process, fit_process, given_process
from hierax.solvers.outliers import APART
from hierax.solvers.value_scale import ValueScale
from hierax.training.state import FoundProcess

FOLDS = 10
"""Parts of the rows, each left out once."""
GRAIN = 2.0**33
"""One over the distance of the numbers that inputs and values are rounded to."""
LARGER, CORNERS = 10.0, 10
"""Factor by which an exponential may exceed the largest value given in the box; inputs whose corners are asked."""
TOLD = 0.05
"""Part of the variance of the noise below which errors at noisy rows do not tell one fit from another."""
PROBES = 1000
"""Points between those of the table, and points of its box, at which it is asked how much is known."""
SURE, AT_ONCE = 1.12, 4096
"""Error over deviation that misfits tell of a process that is right, since the worst of many means counts; points of
intervals that are computed together."""


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
        return rounded((self.points - self.corner) / self.widths)

    @functools.cached_property
    def roughness(self) -> float:
        """How rough the values are to their neighbours, over the spread."""
        return neighbour_scatter(self.points, self.standard[:, None])

    @functools.cached_property
    def everywhere(self) -> np.ndarray:
        """Points `(m, dim)` of the unit box, evenly spread."""
        return sobol(self.unit.shape[1], np.random.default_rng(0)).random_base2(int(np.log2(PROBES)))

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
        made = fit_process(self.unit, rounded(scale.scaled(self.standard)), self.uneven, free, over)
        return made and TableProcess(self, made, scale)

    def given(self, found: FoundProcess) -> TableProcess | None:
        """A process that was found before, without the others that were tried."""
        uneven = self.uneven if found.outliers is None else np.where(found.outliers, APART * self.uneven, self.uneven)
        # a run is found in units of its own, in which level and spread are others
        scale = found.scale._replace(level=self.scale.level, spread=self.scale.spread)
        made = given_process(self.unit, rounded(scale.scaled(self.standard)), uneven, found.free, found.kernel)
        return made and TableProcess(self, made, scale, found.steps, found.outliers)


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
        return replace(more, others=self.others) if more and more.left_out < self.left_out else self

    @property
    def found(self) -> FoundProcess:
        """What has to be kept of it."""
        own, others = self.process, tuple(other.found for other in self.others)
        count = len(self.rows.points)
        return FoundProcess(own.kernel, own.free, self.steps, self.scale, self.outliers, others, count)

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

    def beyond_noise(self, error: float) -> float:
        """Square of an error at noisy rows beyond their noise, as far as that can be told."""
        return max(error**2 - self.own_noise**2, TOLD * self.own_noise**2)

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

        Two processes differ by the errors of both; the share of this one is as at rows left out, noise aside.
        """
        mean, doubt = self._doubted(unit)
        own, *squares = (self.beyond_noise(one.left_out) for one in (self, *self.others))
        for other, square in zip(self.others, squares, strict=True):
            share = np.sqrt(own / max(own + square, 1e-300))
            doubt = np.maximum(doubt, share * np.abs(other._standard(unit)[0] - mean))
        return mean, doubt

    def _known(self, unit: np.ndarray, fitted: Callable[[np.ndarray], np.ndarray]) -> Known:
        """Its doubt at points, and what the fit differs from it by."""
        points = self.rows.corner + self.rows.widths * unit
        mean, doubt = self._doubt(unit)
        return Known(points, doubt, np.abs((fitted(points) - self.scale.level) / self.scale.spread - mean))


def rounded(numbers: np.ndarray) -> np.ndarray:
    """Without the last digits, which the units of a table change, and with them where an optimiser stops."""
    return np.round(numbers * GRAIN) / GRAIN
