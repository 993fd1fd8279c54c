r"""Intervals of the constants that were inferred from data: what the noise of the data does to them.

At a minimum of the objective with Gauss-Newton matrix `A`, noise `e_i` of the data moves the parameters by

.. math:: \delta \theta = A^{-1} \sum_i c_i J_i' e_i,

with rows `J_i` of the data and weights `c_i`. Equations are in `A` alone: they carry no noise, and with their large
weight the state follows the constants along them, so that the block of `A^{-1}` that belongs to the constants, the
inverse of a Schur complement, is that of the sensitivities of the data to the constants. Penalties and priors count as
measurements with the noise that their weight stands for, which makes up for the bias of what is smoothed (Wahba, JRSS B
45, 1983). The variance of the noise is the stated one, unless the residuals contradict it, or that of the residuals
over the degrees of freedom that the fit leaves, as by Birge's ratio; the quantile is then that of Student's t (Seber,
Wild, Nonlinear Regression, 1989, chapter 5).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import chdtri, ndtri, stdtrit

from hierax.checks.guards.resolution import pace
from hierax.fields import Scalar, Unknowns
from hierax.objective import LocalObjective
from hierax.objective.curvature import BandCombination, BandGram
from hierax.objective.extension import ExtendedGram
from hierax.objective.roughness import Roughness
from hierax.objective.view import bounded
from hierax.problems.domain import Box
from hierax.problems.terms import Data
from hierax.results.intervals import LEVEL, Interval
from hierax.solvers.linear.solve import Apply, NotPositive, factorise
from hierax.solvers.smoothing import rooted
from hierax.training.discrete import DiscreteProblem, Prepared
from hierax.training.state import Visited

PROBES = 256
"""Random vectors for the number of parameters that the data determine."""
PLACES = 64
"""Points all over the domain at which intervals of a function are told."""
CHANCE = 1e-3
"""Probability of residuals as large as they are below which the noise that was stated is not believed."""
SETTLED = 1e-3
"""Change of a constant by finer levels, in its size or in powers of e, of which nothing need be said."""
LARGEST = 2e10
"""Multiplications of a factorisation above which intervals are left out."""


class Widths(NamedTuple):
    """Half the widths of intervals of what was inferred, and what is to be said of them."""

    halves: dict[str, float]
    """By the name of the unknown; empty where nothing tells them."""
    exceeded: dict[str, float]
    """Of the data whose residuals contradict their noise: root mean square of these over that noise."""
    moving: tuple[str, ...] = ()
    """The constants which refinement may still change by more than noise does."""

    def wider(self, visited: Mapping[int, Visited], changes: Mapping[int, float], level: int) -> Widths:
        """With what finer levels would change of the constants, at the pace of the last refinements.

        Equations that weigh more than data pull constants to where a level meets them best, as beside a singularity.

        Parameters
        ----------
        visited, changes:
            The levels, and the changes from one to the next, of which the numbers count.
        level:
            The one that is returned.
        """
        last = visited[max(visited)].field
        names = [name for name in self.halves if isinstance(last, Unknowns) and isinstance(last.parts[name], Scalar)]
        left = {name: _left(visited, sorted(changes), level, name) for name in names} if changes else {}
        moving = tuple(name for name in left if left[name] > max(self.halves[name], SETTLED))
        return self._replace(halves={n: h + left.get(n, 0.0) for n, h in self.halves.items()}, moving=moving)


NOTHING = Widths({}, {})


def _left(visited: Mapping[int, Visited], levels: list[int], level: int, name: str) -> float:
    """How far a constant of a level is from that of the last one, and that from where refinement leads."""
    value = {k: float(v.field.parts[name].value) for k, v in visited.items()}
    steps = [abs(value[k] - value[k - 1]) for k in levels]
    factor = pace(steps, ())
    return abs(value[level] - value[levels[-1]]) + steps[-1] * factor / (1.0 - factor)


def intervals(discrete: DiscreteProblem, field: Any, widths: Mapping[str, float]) -> dict[str, Interval]:
    """Intervals of the unknown constants at a trained field, in the units of the training.

    Parameters
    ----------
    discrete, field:
        The problem and its trained field.
    widths:
        Half the widths of the intervals of their parameters; see `half_widths`.

    Returns
    -------
    One interval for each constant, by name; without ends where no noisy data determine it.
    """
    out = {}
    for name, constant in discrete.problem.constants.items() if isinstance(field, Unknowns) else ():
        seen, value = bounded(constant.bounds), float(field.parts[name].value)
        ends = (value - widths[name], value + widths[name]) if name in widths else ()
        out[name] = Interval(*(float(seen(number)) for number in (value, *ends)))
    return out


def half_widths(discrete: DiscreteProblem, field: Any, state: Any) -> Widths:
    """Half the widths of the intervals of what is inferred, by name; none where nothing tells them.

    Those of the parameters of constants are in the sizes of the constants, or in powers of e where these have a bound.
    Those of functions that penalties keep smooth beside equations are root mean squares over the domain, over the size
    that the function has where it is known best, or in powers of e.

    Parameters
    ----------
    discrete, field:
        The problem and its trained field.
    state:
        Of the solver at the end of its level, for the factors of penalties.
    """
    terms, names, smooth = discrete.sampled.terms, list(discrete.problem.constants), _smooth(discrete)
    noisy = any(isinstance(t, Data) and t.typical_noise != 0.0 for t in terms)
    if not (names or smooth) or not noisy or (names and not isinstance(field, Unknowns)):
        return NOTHING
    model = _Model.of(discrete, field, state)
    if model is None:
        return NOTHING
    points = discrete.spread(PLACES, 8)

    def values(parts: Mapping[str, Any]) -> dict[str, Any]:
        return {name: parts[name].value for name in names} | {name: jax.vmap(parts[name])(points) for name in smooth}

    found = {}
    for name, (there, widths) in model.told(values).items():
        bounds = discrete.problem.unknowns[name].bounds
        found[name] = float(widths[0]) if name in names else _relative(there, widths, bounds)
    seen = [(terms[k], variance) for k, variance, freedom in model.noises if np.isfinite(freedom)]
    exceeded = {t.name: np.sqrt(v) / t.typical_noise for t, v in seen if isinstance(t, Data) and t.typical_noise}
    return Widths(found, exceeded)


def face_widths(discrete: DiscreteProblem, field: Any, state: Any) -> dict[str, tuple[str, float]]:
    """The face of a box on which an inferred function is known least, and half the width of its intervals there.

    That is the root mean square over the face, over that of the values in the domain, or in powers of e. A mean over
    the domain does not see that a start is lost which only later data tell of.

    Parameters
    ----------
    discrete, field, state:
        The problem, and the field and state of its finest level: equations on a coarse one hold still what they only
        fail to follow there, such as waves that have decayed before the first datum.
    """
    box, smooth = discrete.problem.domain, _smooth(discrete)
    noisy = any(isinstance(t, Data) and t.typical_noise != 0.0 for t in discrete.sampled.terms)
    model = _Model.of(discrete, field, state) if smooth and noisy and isinstance(box, Box) and box.dim > 1 else None
    if model is None:
        return {}
    assert isinstance(box, Box)
    inside = discrete.spread(PLACES, 8)
    planes = [(f"{face.name} = {box.plane(face).at:.4g}", box.plane(face)) for face in box.faces()]
    points = np.array([inside, *(np.insert(np.delete(inside, p.axis, 1), p.axis, p.at, 1) for _, p in planes)])

    def values(parts: Mapping[str, Any]) -> dict[str, Any]:
        return {name: jax.vmap(jax.vmap(parts[name]))(points) for name in smooth}

    found = {}
    for name, (there, widths) in model.roughened(discrete).told(values).items():
        sizes, means = (np.sqrt(np.mean(x.reshape(len(points), -1) ** 2, axis=1)) for x in (there, widths))
        size = (
            1.0
            if any(end is not None for end in discrete.problem.unknowns[name].bounds or ())
            else max(float(sizes[0]), 1e-300)
        )
        widest = int(np.argmax(means[1:]))
        found[name] = (planes[widest][0], float(means[1 + widest]) / size)
    return found


def _smooth(discrete: DiscreteProblem) -> list[str]:
    """The functions that penalties keep smooth, where there are equations as well."""
    rough = {
        p.name or next(iter(discrete.problem.functions)) for p in discrete.plan.penalties if isinstance(p, Roughness)
    }
    return [name for name in discrete.problem.functions if name in rough] if discrete.equations.any() else []


def _relative(values: np.ndarray, widths: np.ndarray, bounds: Any) -> float:
    """Root mean square of widths, over the size of the values, each weighed by its precision, where nothing bounds."""
    weights = 1.0 / np.maximum(widths, 1e-300) ** 2
    size = 1.0 if any(end is not None for end in bounds or ()) else np.sqrt(weights @ values**2 / weights.sum())
    return float(np.sqrt(np.mean(widths**2)) / max(size, 1e-300))


def term_factors(objective: LocalObjective, state: Any) -> np.ndarray:
    """Factors of the terms, with those of the penalties that the solver chose."""
    scales = objective.scales.copy()
    factors = getattr(state, "log_factors", None)
    if factors is not None:
        scales[len(objective.samples) :] = 10.0 ** np.asarray(factors)
    return scales


def _noise(
    discrete: DiscreteProblem, field: Any, objective: LocalObjective, fit: _Fit, number: int
) -> tuple[float, float]:
    """Variance of the noise of a data term, and the degrees of freedom that tell it; infinitely many if stated.

    A stated one that the residuals do not exceed by more than chance counts; else they do, whatever was stated.
    """
    term: Any = discrete.sampled.terms[number]
    samples = objective.samples[number]
    residuals = discrete.evaluate(field, samples)
    left = max(residuals.size - fit.freedom(number), 1.0)
    found = float(samples.count * np.sum(samples.weights @ residuals**2) / left)
    stated = float(term.typical_noise or 0.0) ** 2
    return (stated, np.inf) if found * left <= stated * chdtri(left, CHANCE) else (found, left)


def _temperatures(objective: LocalObjective, noises: list[tuple[int, float, float]]) -> np.ndarray:
    """Variance of each term's gradient over its curvature: that of the data; of penalties the mean; none of others."""
    out = np.zeros(len(objective.scales))
    for k, variance, _ in noises:
        out[k] = objective.samples[k].scale * variance / objective.samples[k].count
    out[len(objective.samples) :] = np.mean([out[k] for k, _, _ in noises])
    return out


class _Model(NamedTuple):
    """What noise does to a trained field."""

    prepared: Prepared
    fit: _Fit
    noises: list[tuple[int, float, float]]
    """Of each data term its number, the variance of its noise, and the degrees of freedom that tell it."""
    temperatures: np.ndarray
    freedom: float
    """Degrees of freedom of the widths."""

    @classmethod
    def of(cls, discrete: DiscreteProblem, field: Any, state: Any) -> _Model | None:
        """The model at a field; `None` where that is no local one, too large, or its matrix has no factor."""
        prepared = discrete.prepare(field, everything=discrete.refits(field))
        objective, terms = prepared.objective, discrete.sampled.terms
        if not isinstance(objective, LocalObjective) or objective.ordering.size * objective.ordering.band**2 > LARGEST:
            return None
        fit = _Fit.of(prepared, objective, term_factors(objective, state))
        if fit is None:
            return None
        noises = [(k, *_noise(discrete, field, objective, fit, k)) for k, t in enumerate(terms) if isinstance(t, Data)]
        return cls(prepared, fit, noises, _temperatures(objective, noises), sum(freedom for _, _, freedom in noises))

    def roughened(self, discrete: DiscreteProblem) -> _Model:
        """With functions as rough as the field is: by its penalties over the numbers that data determine, if larger.

        Cross-validation sees the data alone, and many factors may be as good; where no data are, roughness is what the
        width comes from, and few numbers tell of it (Wood and Fasiolo, Biometrics 73 (2017), section 3).
        """
        first = len(self.temperatures) - len(discrete.plan.penalties)
        rough = np.zeros(len(self.temperatures), dtype=bool)
        rough[first:] = [isinstance(penalty, Roughness) for penalty in discrete.plan.penalties]
        determined = max(sum(self.fit.freedom(k) for k, _, _ in self.noises), 1.0)
        variance = self.fit.part(rough).quadratic(np.asarray(self.prepared.theta)) / determined
        larger = np.where(rough, np.maximum(self.temperatures, variance), self.temperatures)
        return self._replace(temperatures=larger, freedom=min(self.freedom, determined))

    def told(self, values: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Linear values of the unknowns, by name, and half the widths of their intervals, both flat."""
        theta, upper = np.asarray(self.prepared.theta), 0.5 + 0.5 * LEVEL
        quantile = stdtrit(self.freedom, upper) if np.isfinite(self.freedom) else ndtri(upper)

        def at(theta: Any) -> dict[str, Any]:
            built = self.prepared.build(theta)
            return values(built.parts if isinstance(built, Unknowns) else defaultdict(lambda: built))

        changes = jax.jit(jax.jacrev(at))(jnp.asarray(theta))
        flat = {name: np.asarray(change).reshape(-1, theta.size) for name, change in changes.items()}
        deviations = {n: np.sqrt(np.maximum(self.fit.variances(c.T, self.temperatures), 0.0)) for n, c in flat.items()}
        return {name: (change @ theta, quantile * deviations[name]) for name, change in flat.items()}


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

    def variances(self, changes: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
        """Variances of linear functions of the parameters, columns, under gradients of these over their curvatures."""
        moved, noisy = self.solve(changes), self.part(temperatures)
        return np.array([noisy.quadratic(column) for column in moved.T])
