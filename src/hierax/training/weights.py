"""Factors of the terms of a problem: data by their spread, conditions by the equations, equations over data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hierax.objective.build import balance
from hierax.objective.prior import Prior
from hierax.problems.terms import Data, Energy

if TYPE_CHECKING:
    from hierax.training.discrete import DiscreteProblem


LEAST_NOISE = 1e-6
"""Noise of data over their spread, below which they are taken to carry some all the same."""


def term_scales(discrete: DiscreteProblem, objective: Any, theta: np.ndarray) -> np.ndarray:
    """Factor of every term: data by their spread or noise, conditions by the equations, equations over data."""
    terms, equations = discrete.sampled.terms, discrete.equations
    is_data = np.array([isinstance(t, Data) for t in terms])
    # the energy of a boundary is a part of the energy and no condition
    is_energy = np.array([isinstance(t, Energy) for t in terms])
    scales = _data_scales(discrete)
    if not equations.any():
        observed = np.array([isinstance(t, Data) and t.observe is not None for t in terms])
        factors = np.full(len(terms), discrete.plan.condition_factor)
        # what data of derivatives weigh on a parameter is of another size than what conditions do
        own = (
            balance(objective.diagonals(theta, is_data) * scales[:, None], is_data, factors)
            if observed.any()
            else factors
        )
        scales[~is_data] = own[~is_data]
        return scales
    if equations.all():
        return scales
    diagonals = _diagonals(discrete, objective, theta)
    between = np.array([t.cut is not None and t.regions is not None for t in discrete.sampled.point_terms])
    balanced = balance(diagonals, equations, np.full(len(terms), discrete.plan.condition_factor), between)
    conditions = ~equations & ~is_data & ~is_energy
    scales[conditions] = balanced[conditions]
    if is_data.any():
        own = discrete.equation_scale
        scales[equations | conditions | is_energy] *= _over_data(discrete, diagonals) if own is None else own
    return scales


def penalty_scales(discrete: DiscreteProblem) -> np.ndarray:
    """Factors of the penalties: one, which the solver replaces; of priors that of a datum in units of its noise."""
    rows, scales = discrete.rows, _data_scales(discrete)
    stated = [
        scale * max(t.typical_noise**2, LEAST_NOISE**2 / scale) / len(t.points)
        for scale, t in zip(scales, discrete.sampled.terms, strict=True)
        if isinstance(t, Data) and t.typical_noise
    ]
    noise = max(stated, default=max(rows.noise, LEAST_NOISE) ** 2 / max(rows.values, 1) * len(rows.terms))
    return np.array([noise if isinstance(p, Prior) else 1.0 for p in discrete.plan.penalties])


def equation_scale(discrete: DiscreteProblem, objective: Any, theta: np.ndarray) -> float:
    """Factor of the equations with which they outweigh the data as the plan says, by diagonals of the curvature."""
    return _over_data(discrete, _diagonals(discrete, objective, theta))


def _data_scales(discrete: DiscreteProblem) -> np.ndarray:
    """Factors of data by their spreads; where equations join several, by numbers and variances of all stated noises."""
    scales = np.ones(len(discrete.sampled.terms))
    data = {k: term for k, term in enumerate(discrete.sampled.terms) if isinstance(term, Data)}
    spreads = np.array([float(np.mean(np.var(term.values, axis=0))) or 1.0 for term in data.values()])
    scales[list(data)] = 1.0 / spreads
    if discrete.equations.any() and all(term.typical_noise for term in data.values()):
        noises = np.array([float(term.typical_noise or 0.0) for term in data.values()])
        likely = [len(t.points) for t in data.values()] / np.maximum(noises**2, LEAST_NOISE**2 * spreads)
        scales[list(data)] = likely * len(data) / (likely @ spreads)
    return scales


def _diagonals(discrete: DiscreteProblem, objective: Any, theta: np.ndarray) -> np.ndarray:
    """Diagonals of the curvature of every term; where equations vanish at `theta`, at a point beside it."""
    diagonals = objective.diagonals(theta, discrete.equations)
    if np.any(diagonals[discrete.equations] > 0):
        return diagonals
    shaken = theta + np.random.default_rng(0).normal(size=len(theta))
    return objective.diagonals(shaken, discrete.equations)


def _over_data(discrete: DiscreteProblem, diagonals: np.ndarray) -> float:
    is_data = np.array([isinstance(t, Data) for t in discrete.sampled.terms])
    data = (_data_scales(discrete)[is_data, None] * diagonals[is_data]).sum(axis=0)
    equation = diagonals[discrete.equations].sum(axis=0)
    touched = (data > 0.05 * data.max(initial=0.0)) & (equation > 0)
    ratio = np.median(data[touched] / equation[touched]) if touched.any() else 1.0
    return discrete.plan.equation_factor * float(ratio)
