"""Watches a training: spectra of the error or residual, contraction of the visits, the tangent kernel.

Nearly nothing is measured while training runs. Parameters are kept, a few dozen sets spread over the run, and evaluated
when it has ended: the last set first, then the first, then always in the middle of the widest gap, until the permitted
share of the run's seconds is spent. So a short run gets few records and a long one many, and none gets slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from hierax.dynamics.convergence import contractions
from hierax.dynamics.spectrum import band_edges, grid_bands, scattered_bands
from hierax.events import AbstractWatcher, Event, LevelFinished, RunFinished, RunStarted, StepTaken, View
from hierax.objective import flat_parameters
from hierax.objective.build import SampledProblem, is_equation
from hierax.objective.objective import AbstractSampledObjective
from hierax.objective.pointwise import value_term
from hierax.objective.rows import RowObjective
from hierax.objective.samples import Samples, make_samples
from hierax.problems.domain import Box
from hierax.problems.fidelities import Fidelities
from hierax.problems.problem import Problem
from hierax.problems.reference import MEASURED, AnyReference, TabulatedReference
from hierax.problems.sampling import points_in
from hierax.problems.terms import Data, Residual
from hierax.records.look import SMALL, Look
from hierax.records.measures import Measures

GRID = {1: 512, 2: 64, 3: 20}
"""Points an axis by dimension; above three coordinates, and in clouds of points, scattered points are used."""
SCATTERED = 1500
HIGHEST = {1: 256.0, 2: 32.0, 3: 10.0}
LARGE = 50_000
"""Most parameters of a level whose curvature is looked at where products with it are cheap."""
SNAPSHOTS, NUMBERS = 64, 5_000_000
"""Most sets of parameters that are kept, and most numbers in them."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A field with when it was there."""

    seconds: float
    step: int
    level: int
    field: Callable[[], Any]
    size: int = 1


@final
class Watch(AbstractWatcher):
    """A subscriber of `train` that measures how training behaves; afterwards `measures()` has it all.

    Parameters
    ----------
    problem:
        The one that is trained on. With a reference the spectrum is that of the error of the first unknown, otherwise
        that of the residual of the first equation, or of the misfit at the data.
    share:
        Of the run's seconds that watching may take; a first measurement of each kind is made in any case.
    modes:
        Of the tangent kernel.

    Examples
    --------
    >>> watch = Watch(problem)  # doctest: +SKIP
    >>> solution = hierax.training.train(problem, subscribers=[watch])  # doctest: +SKIP
    >>> watch.measures().spectrum_energy  # doctest: +SKIP
    """

    def __init__(self, problem: Problem, share: float = 0.05, modes: int = 20) -> None:
        self.problem, self.share, self.modes = problem, share, modes
        self.steps: list[StepTaken] = []
        self.seconds, self.total = 0.0, 0.0
        self._snapshots: list[Snapshot] = []
        self._stride, self._stepped = 1, 0.0
        self._looked: set[int] = set()
        self._kernels: list[Look] = []
        self._terms: tuple[str, ...] = ()
        self._spectra: list[tuple[Snapshot, np.ndarray]] = []
        self._target: _Target | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted) and event.trained is not None:
            self.problem = event.trained  # fields are in its units
        if isinstance(event, StepTaken):
            self.steps.append(event)
        if isinstance(event, LevelFinished) and event.field is not None and event.record.level not in self._looked:
            # levels whose steps are not shown, sweeps over time slabs for example
            field, seconds = event.field, self.steps[-1].seconds if self.steps else 0.0
            self._keep(Snapshot(seconds, len(self.steps), event.record.level, lambda: field))
        if isinstance(event, RunFinished):
            self.total = event.seconds
            self._evaluate()

    def look(self, step: StepTaken, view: View) -> None:
        began = time.perf_counter()
        self._looked.add(step.level)
        if len(self.steps) % self._stride == 0:
            theta, build = np.array(view.theta), view.build
            self._keep(Snapshot(step.seconds, len(self.steps), step.level, lambda: build(theta), theta.size))
        self._kernel(step, view)
        self.seconds += time.perf_counter() - began
        self._stepped = step.seconds

    def _keep(self, snapshot: Snapshot) -> None:
        self._snapshots.append(snapshot)
        most = max(4, min(SNAPSHOTS, NUMBERS // max(snapshot.size, 1)))
        if len(self._snapshots) > most:
            # every second one goes, and from now on every second step is passed over
            self._snapshots = self._snapshots[1::2]
            self._stride *= 2

    def _kernel(self, step: StepTaken, view: View) -> None:
        """Once a level, and some steps later, where a linearisation (about as dear as a step) fits into the share."""
        objective, last = view.objective, self._kernels[-1] if self._kernels else None
        again = last is not None and last.wants(step)
        known = any(kernel.level == step.level for kernel in self._kernels)
        if not isinstance(objective, AbstractSampledObjective) or not objective.has_residuals:
            return
        if len(view.theta) > (LARGE if objective.assembled else SMALL) or (known and not again):
            return
        left = self.share * step.seconds - self.seconds
        if last is not None and 2.0 * (step.seconds - self._stepped) > left:
            return
        if again and last is not None:
            last.again(step, objective.linearise(view.theta))
            return
        self._terms = tuple(s.term.name for s in objective.samples)
        self._kernels.append(Look.at(objective, step, np.asarray(view.theta), self.modes, left))

    def _evaluate(self) -> None:
        """Spectra of the snapshots, in an order in which any number of them is spread over the run."""
        began = time.perf_counter()
        if self._snapshots and not isinstance(self.problem, Fidelities):
            self._target = _target(self.problem)
            expected = 0.0
            for number, k in enumerate(spread(len(self._snapshots))):
                start = time.perf_counter()
                if number and self.seconds + (start - began) + expected > self.share * self.total:
                    break
                self._spectra.append((self._snapshots[k], self._target.bands(self._snapshots[k].field())))
                # the first one compiles, the next ones take about as long as each other
                expected = time.perf_counter() - start if number else 0.0
            self._spectra.sort(key=lambda pair: (pair[0].seconds, pair[0].step))
        self._snapshots = []
        self.seconds += time.perf_counter() - began

    def measures(self) -> Measures:
        """Everything that was measured, as it is kept in a run folder."""
        taken = self.steps
        visits = contractions([s.level for s in taken], [s.step for s in taken], [s.loss for s in taken])
        whens = [snapshot for snapshot, _ in self._spectra]
        energy = np.array([bands for _, bands in self._spectra]).reshape(len(whens), -1)
        if self._target is not None and whens:
            energy = energy / (self._target.size or max(float(energy[0].sum()), 1e-300))
        return Measures(
            spectrum_of="" if self._target is None else self._target.of,
            spectrum_seconds=np.array([s.seconds for s in whens]),
            spectrum_step=np.array([s.step for s in whens], dtype=int),
            spectrum_level=np.array([s.level for s in whens], dtype=int),
            spectrum_edges=np.zeros(0) if self._target is None else self._target.edges,
            spectrum_energy=energy,
            contraction_level=np.array([v.level for v in visits], dtype=int),
            contraction_visit=np.array([v.visit for v in visits], dtype=int),
            contraction_steps=np.array([v.steps for v in visits], dtype=int),
            contraction_factor=np.array([v.factor for v in visits]),
            contraction_loss=np.array([(v.first, v.last) for v in visits]).reshape(-1, 2),
            **_looks(self._kernels, self._terms),
            **_solved(taken),
            watching_seconds=self.seconds,
            training_seconds=self.total,
        )


def _looks(looks: list[Look], terms: tuple[str, ...]) -> dict[str, Any]:
    """What was seen of kernels and curvatures, as arrays by their names."""
    dense = [(look, look.spectrum, look.ratios) for look in looks if look.spectrum and look.ratios]
    looks = [look for look in looks if look.later]
    return {
        "kernel_seconds": np.array([look.seconds for look in looks]),
        "kernel_level": np.array([look.level for look in looks], dtype=int),
        "kernel_eigenvalues": _padded([look.modes.eigenvalues for look in looks]),
        "kernel_alignment": _padded([look.modes.shares for look in looks]),
        "kernel_decay": _padded([look.decay for look in looks]),
        "kernel_terms": terms,
        "kernel_traces": np.array([look.traces for look in looks]).reshape(len(looks), len(terms)),
        "curvature_seconds": np.array([look.seconds for look, _, _ in dense]),
        "curvature_level": np.array([look.level for look, _, _ in dense], dtype=int),
        "curvature_nodes": _padded([spectrum.nodes for _, spectrum, _ in dense]),
        "curvature_weights": _padded([spectrum.weights for _, spectrum, _ in dense]),
        "curvature_condition": np.array([tuple(ratios) for _, _, ratios in dense]).reshape(-1, 2),
    }


def _solved(steps: list[StepTaken]) -> dict[str, Any]:
    """The largest condition number that iterations of the linear solver met on every level: they are lower bounds."""
    found: dict[int, float] = {}
    for step in steps:
        if np.isfinite(step.condition):
            found[step.level] = max(step.condition, found.get(step.level, 1.0))
    return {
        "solver_level": np.array(sorted(found), dtype=int),
        "solver_condition": np.array([found[level] for level in sorted(found)]),
    }


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of different lengths in one array, the short ones filled up by NaN."""
    count = max(map(len, rows), default=0)
    filled = [np.pad(row, (0, count - len(row)), constant_values=np.nan) for row in rows]
    return np.array(filled).reshape(len(rows), count)


def spread(count: int) -> list[int]:
    """The numbers below `count`, the last first, then the first, then those in the middle of the widest gaps."""
    order, gaps = [count - 1, 0][: min(count, 2)], [(0, count - 1)]
    while gaps:
        low, high = gaps.pop(0)
        if high - low > 1:
            middle = (low + high) // 2
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return order


@dataclass(frozen=True, eq=False)
class _Target:
    """What the spectrum is of: samples of a term whose residuals are expanded, and how."""

    of: str
    samples: Samples
    edges: np.ndarray
    size: float | None
    exact: np.ndarray | None
    shape: tuple[int, ...] | None
    unit: np.ndarray
    periodic: tuple[bool, ...]

    def bands(self, field: Any) -> np.ndarray:
        """Mean square in every band."""
        rows = RowObjective(field, [self.samples]).residuals(flat_parameters(field)[0])[0]
        values = np.nan_to_num(rows[:, 0] if self.exact is None else rows[:, 0] - self.exact)
        if self.shape is not None:
            return grid_bands(values.reshape(self.shape), self.edges, self.periodic)
        return scattered_bands(self.unit, values, self.edges)


def _target(problem: Problem) -> _Target:
    domain, dim = problem.domain, problem.domain.dim
    lower, upper = domain.bounds()
    shape = (GRID[dim],) * dim if isinstance(domain, Box) and dim in GRID else None
    if shape is not None:
        ticks = [(np.arange(count) + 0.5) / count for count in shape]
        unit = np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1).reshape(-1, dim)
    else:
        unit = (points_in(domain, 0, SCATTERED) - lower) / (upper - lower)
    points = lower + unit * (upper - lower)
    of, term, targets, exact = _what(problem, points)
    if targets is not None:  # misfits are known at the data alone
        points, shape = targets[0], None
        unit = (points - lower) / (upper - lower)
    samples = make_samples(term, points, np.ones(len(points)), None, None if targets is None else targets[1])
    periodic = tuple(name in domain.periodic for name in domain.names or ())
    size = None if exact is None else float(np.mean(exact**2))
    edges = band_edges(HIGHEST.get(dim, 4.0) if shape is not None else min(HIGHEST.get(dim, 4.0), 16.0))
    return _Target(of, samples, edges, size, exact, shape, unit, periodic)


def _known(reference: AnyReference, points: np.ndarray, name: str) -> np.ndarray | None:
    """Values of a reference, at as many points as training measures errors at: by kernels that are there already."""
    if isinstance(reference, TabulatedReference):
        return reference.evaluate(points, name)
    rows = np.minimum(np.arange(-(-len(points) // MEASURED) * MEASURED), len(points) - 1).reshape(-1, MEASURED)
    blocks = [reference.evaluate(points[row], name) for row in rows]
    return None if blocks[0] is None else np.concatenate(blocks)[: len(points)]  # pyright: ignore


def _what(problem: Problem, points: np.ndarray) -> tuple[str, Any, tuple[np.ndarray, np.ndarray] | None, Any]:
    """Name, pointwise term, points and targets of data, exact values: of the best of error, residual and misfit."""
    name = next(iter(problem.functions))
    exact = None if problem.reference is None else _known(problem.reference, points, name)
    if exact is not None:
        return "error", value_term(problem), None, exact.reshape(len(points), -1)[:, 0]
    sampled = SampledProblem(problem)
    pairs = list(zip(sampled.terms, sampled.point_terms, strict=True))
    equations = [point for term, point in pairs if isinstance(term, Residual) and is_equation(term, problem)]
    if equations:
        return "residual", equations[0], None, None
    data = [(term, point) for term, point in pairs if isinstance(term, Data)]
    if not data:
        return "residual", pairs[0][1], None, None
    term, point = data[0]
    some = slice(None, None, max(1, len(term.points) // SCATTERED))
    return "residual", point, (term.points[some], term.targets[some]), None
