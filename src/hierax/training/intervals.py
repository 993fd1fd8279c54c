r"""Intervals of the constants that were inferred from data: what the noise of the data does to them.

At a minimum of the objective with Gauss-Newton matrix `A`, noise `e_i` of the data moves the parameters by

.. math:: \delta \theta = A^{-1} \sum_i c_i J_i' e_i,

with rows `J_i` of the data and weights `c_i`. Equations are in `A` alone: they carry no noise, and with their large
weight the state follows the constants along them, so that the block of `A^{-1}` that belongs to the constants, the
inverse of a Schur complement, is that of the sensitivities of the data to the constants. Penalties and priors count as
measurements with the noise that their weight stands for, which makes up for the bias of what is smoothed (Wahba, JRSS B
45, 1983). The variance of the noise is the stated one, or that of the residuals over the degrees of freedom that the
fit leaves; the quantile is then that of Student's t (Seber, Wild, Nonlinear Regression, 1989, chapter 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from scipy.special import ndtri, stdtrit

from hierax.fields import Unknowns
from hierax.objective import LocalObjective
from hierax.objective.curvature import BandCombination, BandGram
from hierax.objective.extension import ExtendedGram
from hierax.objective.view import bounded
from hierax.problems.terms import Data
from hierax.results.intervals import LEVEL, Interval
from hierax.solvers.linear.solve import Apply, NotPositive, factorise
from hierax.solvers.smoothing import rooted
from hierax.training.discrete import DiscreteProblem, Prepared

PROBES = 256
"""Random vectors for the number of parameters that the data determine."""
LARGEST = 2e10
"""Multiplications of a factorisation above which intervals are left out."""


def intervals(discrete: DiscreteProblem, field: Any, state: Any) -> dict[str, Interval]:
    """Intervals of the unknown constants at a trained field, in the units of the training.

    Parameters
    ----------
    discrete, field:
        The problem and its trained field.
    state:
        Of the solver at the end of its level, for the factors of penalties.

    Returns
    -------
    One interval for each constant, by name; without ends where no noisy data determine it.
    """
    constants = discrete.problem.constants
    if not constants or not isinstance(field, Unknowns):
        return {}
    values = {name: float(field.parts[name].value) for name in constants}
    deviations = _deviations(discrete, field, state, list(constants))
    out = {}
    for name, constant in constants.items():
        seen, value = bounded(constant.bounds), values[name]
        ends = () if deviations is None else (value - deviations[name], value + deviations[name])
        out[name] = Interval(*(float(seen(number)) for number in (value, *ends)))
    return out


def _deviations(discrete: DiscreteProblem, field: Any, state: Any, names: list[str]) -> dict[str, float] | None:
    """Half the width of the interval of each constant's parameter; `None` where it cannot be told."""
    terms = discrete.sampled.terms
    if not any(isinstance(t, Data) and t.typical_noise != 0.0 for t in terms):
        return None
    prepared = discrete.prepare(field, everything=discrete.refits(field))
    objective = prepared.objective
    if not isinstance(objective, LocalObjective) or objective.ordering.size * objective.ordering.band**2 > LARGEST:
        return None
    fit = _Fit.of(prepared, objective, _scales(objective, state))
    if fit is None:
        return None
    noises = [(k, *_noise(discrete, field, objective, fit, k)) for k, t in enumerate(terms) if isinstance(t, Data)]
    numbers = prepared.build(np.arange(objective.size, dtype=float)).parts
    columns = np.array([int(numbers[name].value) for name in names])
    widths = np.sqrt(np.maximum(fit.variances(columns, _temperatures(objective, noises)), 0.0))
    left = sum(freedom for _, _, freedom in noises)
    quantile = stdtrit(left, 0.5 + 0.5 * LEVEL) if np.isfinite(left) else ndtri(0.5 + 0.5 * LEVEL)
    return {name: float(quantile * width) for name, width in zip(names, widths, strict=True)}


def _scales(objective: LocalObjective, state: Any) -> np.ndarray:
    """Factors of the terms, with those of the penalties that the solver chose."""
    scales = objective.scales.copy()
    factors = getattr(state, "log_factors", None)
    if factors is not None:
        scales[len(objective.samples) :] = 10.0 ** np.asarray(factors)
    return scales


def _noise(
    discrete: DiscreteProblem, field: Any, objective: LocalObjective, fit: _Fit, number: int
) -> tuple[float, float]:
    """Variance of the noise of a data term, and the degrees of freedom that tell it; infinitely many if stated."""
    term: Any = discrete.sampled.terms[number]
    if term.noise is not None:
        return float(term.typical_noise) ** 2, np.inf
    samples = objective.samples[number]
    residuals = discrete.evaluate(field, samples)
    left = max(residuals.size - fit.freedom(number), 1.0)
    return float(samples.count * np.sum(samples.weights @ residuals**2) / left), left


def _temperatures(objective: LocalObjective, noises: list[tuple[int, float, float]]) -> np.ndarray:
    """Variance of each term's gradient over its curvature: that of the data; of penalties the mean; none of others."""
    out = np.zeros(len(objective.scales))
    for k, variance, _ in noises:
        out[k] = objective.samples[k].scale * variance / objective.samples[k].count
    out[len(objective.samples) :] = np.mean([out[k] for k, _, _ in noises])
    return out


@final
@dataclass(frozen=True, eq=False)
class _Fit:
    """The quadratic model of an objective at its minimum."""

    combination: BandCombination
    scales: np.ndarray
    solve: Apply

    @classmethod
    def of(cls, prepared: Prepared, objective: LocalObjective, scales: np.ndarray) -> _Fit | None:
        """The model at a trained field; `None` where its matrix has no factor."""
        combination = BandCombination([e.curvature for e in objective.linearise_each(prepared.theta)])
        band, bound = combination(scales), objective.extension
        whole = band if bound is None else ExtendedGram(band, bound)
        try:
            return cls(combination, scales, factorise(whole, 1e-14 * band.diagonal()))
        except NotPositive:
            return None

    def part(self, factors: np.ndarray) -> BandGram:
        """The sum of the curvatures times the scales and further factors."""
        return self.combination(self.scales * factors)

    def freedom(self, number: int) -> float:
        """How many parameters the data of a term determine: the trace of its influence matrix."""
        probes = rooted(self.part(np.arange(len(self.scales)) == number), PROBES)
        return float(np.sum(probes * self.solve(probes))) / PROBES

    def variances(self, columns: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
        """Variances of some parameters under gradients of these variances over their curvatures."""
        units = np.zeros((len(self.combination(self.scales).ordering.place), len(columns)))
        units[columns, np.arange(len(columns))] = 1.0
        moved, noisy = self.solve(units), self.part(temperatures)
        return np.array([noisy.quadratic(column) for column in moved.T])
