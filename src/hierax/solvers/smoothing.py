"""Gauss-Newton for noisy data: how much to smooth is chosen by generalised cross-validation in every step."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg as sl

from hierax._results import RESULTS
from hierax.hierarchy.transport import RESET, SCALAR
from hierax.objective import AbstractObjective
from hierax.objective.curvature import BandCombination, BandGram
from hierax.objective.objective import AbstractSeparable, Linearisation, required
from hierax.solvers.base import AbstractSolver, Step, Tolerances
from hierax.solvers.damping import shortened
from hierax.solvers.linear.solve import Apply, NotPositive, factorise

PROBES = 32
LARGEST = 5.0
"""Decades by which a penalty may outweigh the data. Where values do not depend on a coordinate, cross-validation would
raise its factor for ever, and the rounding errors of the penalty would exceed the misfit."""

NEAR, FAR = (-1.0, -0.5, 0.0, 0.5, 1.0), tuple(range(-9, -1))
"""Decades by which all factors of a level may differ from those of the one before, and of data alone."""
LATTICE, SWEEPS = (1.5, 0.5, 0.25), 12
"""Steps of the search for single factors in decades, and scores that each may take at a step."""
FLAT = 1e-4
"""Change of the score that rounding may make."""

CENTRES, CANCELLED = 3, 1e-6
"""Most models of a step where data are exact, and fall of the misfit from which on its rounding decides."""

TIE = 0.1
"""Rise of the score, times the number of data, that says nothing: noise makes it fluctuate by about one."""
NOISY = 0.01
"""Noise over the spread of the data, below which less of a rise is ignored: of exact data nothing is to be smoothed."""

ROUNDING = 1e-24
"""Objective over that of the field zero, below which rounding is all that is left of the residual."""


class SmoothingState(NamedTuple):
    """Logarithms (base 10) of the penalty factors, whether they are settled, and steps taken."""

    log_factors: np.ndarray | None = None
    settled: bool = False
    steps: int = 0
    value: float = np.inf


def _separable(objective: AbstractObjective) -> AbstractSeparable:
    return required(objective, AbstractSeparable, "Smoothing", "fit a spline grid, or train by GaussNewton")


@dataclass(frozen=True)
class Smoothing(AbstractSolver):
    r"""Minimise `data + conditions + sum_k \lambda_k penalty_k` with factors chosen by generalised cross-validation.

    With the linearised data misfit `RSS(\lambda)`, the influence matrix `H = A^{-1} G` of data curvature `G` and whole
    curvature `A`, and `n` measured numbers, the factors minimise

    .. math:: \frac{RSS / n}{(1 - \gamma \, tr H / n)^2};

    the trace is estimated with fixed random signs (Hutchinson). A linear field with data alone is done in one step;
    otherwise the factors are chosen anew in the first steps and then kept.

    Parameters
    ----------
    data, penalties:
        Positions of the data terms and of the penalties among the objective's terms.
    count:
        Number of measured values used for training.
    inflation:
        :math:`\gamma`; a little above one protects against the occasional undersmoothing of plain cross-validation.
    choices:
        Steps in which the factors are chosen anew.
    least, tie:
        Decades, relative to the data, below which no factor falls, and rise of the logarithm of the score up to which
        larger factors are taken. Derivatives at scattered points ask for little smoothing, and where no point is, as in
        the corners of a box, nothing else holds the values; the score, a mean, does not see the few points beside them.

    References
    ----------
    Golub, Heath, Wahba, Technometrics 21 (1979); Kim and Gu, JRSS B 66 (2004) for the inflation.
    """

    data: tuple[int, ...]
    penalties: tuple[int, ...]
    count: int
    inflation: float = 1.2
    choices: int = 1
    tolerances: Tolerances = Tolerances(1e-6, 40)
    least: float = -np.inf
    tie: float = 0.0

    @property
    def second_order(self) -> bool:
        return True

    @property
    def solves(self) -> int:
        return len(NEAR) + len(FAR) if self.choices == 1 else 1

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> SmoothingState:
        del theta
        _separable(objective)
        return SmoothingState()

    def kinds(self, state: SmoothingState) -> Any:
        del state
        return SmoothingState(SCALAR, RESET, RESET, RESET)  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: SmoothingState) -> Step:
        separable, centres = _separable(objective), CENTRES
        while True:
            each = separable.linearise_each(theta)
            if not all(np.isfinite(e.value) and np.all(np.isfinite(e.gradient)) for e in each):
                return Step(theta, state, np.nan, np.inf, True, RESULTS.nonfinite)
            model = _Model(self, each, objective.scales, theta)
            logs = state.log_factors
            if logs is None or state.steps < self.choices:
                logs = model.choose(logs, thorough=self._thorough(objective, logs, state.steps))
            scales = model.scales(logs)
            lin = model.whole(scales)
            trial = model.solve(scales)(-lin.gradient)
            centres -= 1
            exact = objective.quadratic and model.misfit(trial) < CANCELLED * 2.0 * model.data.value
            if not exact or not centres:
                break
            theta = theta + trial

        def at(length: float) -> tuple[float, None]:
            return float(scales @ objective.values(theta + length * trial)), None

        relative = lin.model_decrease(trial) / max(abs(lin.value), 1e-300)
        better = shortened(at, lin.value * (1 + 1e-9))
        if better is None:
            # rounding decides the sign of a small decrease, and of every change of a residual that is rounding itself
            size = float(scales @ objective.values(np.zeros_like(theta)))
            rounded = relative < self.tolerances.relative or lin.value < ROUNDING * size
            new = SmoothingState(logs, True, state.steps + 1, lin.value)
            return Step(theta, new, lin.value, 0.0, True, None if rounded else RESULTS.no_decrease)
        length, value, _ = better
        steps = state.steps + 1
        settled = steps >= self.choices
        limit = objective.quadratic or relative < self.tolerances.relative or steps >= self.tolerances.steps
        done = settled and limit
        new = SmoothingState(logs, settled, steps, value)
        return Step(theta + length * trial, new, value, relative, done)

    def _thorough(self, objective: AbstractObjective, logs: np.ndarray | None, steps: int) -> bool:
        """Whether each factor is chosen by itself: where that is cheap, and on the way of a nonlinear problem twice."""
        if self.choices == 1:
            return logs is None or objective.size < 2500
        return steps in (2, self.choices - 1) and objective.size < 2500

    def smooth(self, objective: AbstractObjective, theta: np.ndarray, state: SmoothingState) -> Step:
        """One step with the factors of `state` kept, for a refit on all data."""
        return self.step(objective, theta, state._replace(steps=self.choices))


class _Model:
    """The quadratic model with free penalty factors."""

    def __init__(self, settings: Smoothing, each: list[Linearisation], fixed: np.ndarray, theta: np.ndarray) -> None:
        self.settings, self.each, self.fixed = settings, each, fixed
        self.curvature = BandCombination([e.curvature for e in each])
        data = np.zeros(len(each))
        data[list(settings.data)] = fixed[list(settings.data)]
        self.data = self.whole(data)
        # `tr A^-1 G = E (R z)' A^-1 (R z)` with `G = R R'`: the product itself is not symmetric, and where equations
        # weigh much more than data its estimates by random signs scatter by more than the trace, also below zero
        self.probes = rooted(self.curvature(data), PROBES)
        traces = [np.sum(e.curvature.diagonal()) for e in each]
        base = np.sum(self.data.curvature.diagonal())
        self.reference = np.array([base / max(traces[k], 1e-300) for k in settings.penalties])
        self.ceiling = np.log10(self.reference) + LARGEST
        self.spread = self.misfit(self._constant(theta))

    def scales(self, logs: np.ndarray) -> np.ndarray:
        scales = self.fixed.copy()
        scales[list(self.settings.penalties)] = 10.0 ** np.maximum(logs, np.log10(self.reference) + self.settings.least)
        return scales

    def whole(self, scales: np.ndarray) -> Linearisation:
        value = sum(c * e.value for c, e in zip(scales, self.each, strict=True))
        return Linearisation(float(value), self.gradient(scales), self.curvature(scales))

    def gradient(self, scales: np.ndarray) -> np.ndarray:
        return np.sum([c * e.gradient for c, e in zip(scales, self.each, strict=True)], axis=0)

    def solve(self, scales: np.ndarray) -> Apply:
        curvature = self.curvature(scales)
        diagonal = curvature.diagonal()
        shift = 1e-13 * np.maximum(diagonal, 1e-6 * diagonal.max())
        for _ in range(8):
            try:
                return factorise(curvature, shift)
            except NotPositive:
                shift = shift * 100
        return factorise(curvature, shift)

    def _constant(self, theta: np.ndarray) -> np.ndarray:
        """The step from `theta` to the constant that fits the data best; splines add up to one."""
        one = np.ones_like(theta)
        slope = one @ self.data.gradient - theta @ self.data.curvature.mv(one)
        return -theta - slope / max(self.data.curvature.quadratic(one), 1e-300)

    def misfit(self, step: np.ndarray) -> float:
        return float(2 * (self.data.value + self.data.gradient @ step + 0.5 * self.data.curvature.quadratic(step)))

    def fitted(self, logs: np.ndarray) -> tuple[float, float] | None:
        """Misfit and effective number of parameters; `None` where the matrix is not positive."""
        scales = self.scales(np.minimum(logs, self.ceiling))
        try:
            solve = self.solve(scales)
        except NotPositive:
            return None
        freedom = float(np.sum(self.probes * solve(self.probes))) / PROBES
        return self.misfit(solve(-self.gradient(scales))), freedom

    def score(self, logs: np.ndarray) -> float:
        """Logarithm of the generalised cross-validation score."""
        fitted = self.fitted(logs)
        if fitted is None:
            return np.inf
        misfit, freedom = fitted
        left = 1 - self.settings.inflation * freedom / self.settings.count
        if left < 0.1:
            # near interpolation misfit and denominator both vanish and the ratio says nothing: finite, large, falling
            return 1e6 + freedom
        return float(np.log(max(misfit, 1e-300)) - 2 * np.log(left))

    def choose(self, start: np.ndarray | None, thorough: bool) -> np.ndarray:
        """Factors of the smallest score: a scan of their common size, then each of them, then the smoothest as good."""
        base = np.log10(self.reference) if start is None else start
        shifts = np.arange(-14.0, 3.0, 1.5) if start is None else np.array(NEAR)
        if start is not None and self.settings.choices == 1:
            # a level that sees what the coarser one smoothed away wants factors smaller by many decades
            shifts = np.r_[FAR, shifts]
        scores = [self.score(base + shift) for shift in shifts]
        best = np.minimum(base + shifts[int(np.argmin(np.round(scores, 4)))], self.ceiling)
        if not thorough:
            return self.smoothest(best, min(scores)) if self.settings.tie else best
        return self.smoothest(*self.each_by_itself(best, self.score(best)))

    def each_by_itself(self, logs: np.ndarray, least: float) -> tuple[np.ndarray, float]:
        """Factors on a lattice that no step to a neighbour improves by more than rounding may, and their score.

        Between points of a lattice rounding decides nothing: what is chosen does not depend on units.
        """
        for step in LATTICE:
            left, moves = SWEEPS * len(logs), list(product(range(len(logs)), (step, -step)))
            ahead = deque(moves)
            while ahead and left:
                move, left = ahead.popleft(), left - 1
                trial, (k, change) = logs.copy(), move
                trial[k] = min(trial[k] + change, self.ceiling[k])
                score = self.score(trial)
                if score < least - FLAT:
                    logs, least = trial, score
                    # what has helped may help again
                    ahead = deque(sorted(moves, key=lambda other, move=move: other != move))
        return logs, least

    def smoothest(self, logs: np.ndarray, least: float) -> np.ndarray:
        """Larger factors, one after the other, as long as the score says nothing against them.

        Below some size a factor changes neither misfit nor trace, and where there are no data, as in the corners of a
        box around a cloud of points, nothing else holds the values.
        """
        fitted = self.fitted(logs)
        if fitted is None:
            return logs
        noise = fitted[0] / max(self.spread, 1e-300) / max(1.0 - fitted[1] / self.settings.count, 0.1)
        limit = least + max(self.settings.tie, TIE * min(1.0, noise / NOISY**2) / self.settings.count)
        for k in range(len(logs)):
            step = 4.0
            while step >= 0.5:
                larger = logs.copy()
                larger[k] = min(larger[k] + step, self.ceiling[k])
                if larger[k] > logs[k] and self.score(larger) <= limit:
                    logs = larger
                else:
                    step /= 2.0
        return logs


def rooted(curvature: BandGram, count: int) -> np.ndarray:
    """Random vectors `R z`, `(N, count)`, with signs `z` and a root `R` of the matrix: their covariance is the matrix.

    Data see none of the dense rows, and a semidefinite band has a Cholesky factor once its diagonal is a little larger.
    """
    ordering, band = curvature.ordering, curvature.lower.copy()
    diagonal, seen = band[0].copy(), band[0] > 0.0
    for shift in 10.0 ** np.arange(-13, 0):
        band[0] = np.where(seen, (1.0 + shift) * diagonal, 1.0)
        try:
            root = sl.cholesky_banded(band, lower=True, check_finite=False)
            break
        except sl.LinAlgError:
            continue
    else:
        raise NotPositive("the curvature of the data is not semidefinite")
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(ordering.size, count))
    out = np.zeros((curvature.size, count))
    for row in range(min(len(root), ordering.size)):
        out[row : ordering.size] += root[row, : ordering.size - row, None] * signs[: ordering.size - row]
    out[: ordering.size][~seen] = 0.0
    return out[ordering.place]
