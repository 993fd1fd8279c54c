"""The workbench of `train`: objectives of levels, transfers between them, and values at fixed points."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.cycles import Pace
from hierax.events import LevelRecord
from hierax.fields import linear_in_parameters, parameter_count, partition
from hierax.hierarchy import (
    Fit,
    Level,
    resumed,
    transport,
)
from hierax.objective import LocalObjective, flat_parameters
from hierax.objective.assembly import local_residuals
from hierax.objective.build import SampledProblem, balance, is_equation
from hierax.objective.data_rows import DataRows
from hierax.objective.flat_transfer import FlatLaws
from hierax.objective.gather import gather, has_fixed_cells, positions
from hierax.objective.objective import ROW_WORK, STENCIL_WORK
from hierax.objective.ordering import narrow_order
from hierax.objective.pointwise import value_term
from hierax.objective.rows import DENSE_LIMIT, RowObjective
from hierax.objective.samples import Samples, make_samples
from hierax.objective.stencil import Mesh, mesh_of
from hierax.planning.families import periodic_axes
from hierax.planning.plan import Plan, named
from hierax.problems.domain import Box
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.reference import MEASURED
from hierax.problems.sampling import Sobol
from hierax.problems.terms import Data
from hierax.results.solution import Accuracy
from hierax.solvers import ConjugateGradients, GaussNewton, Multigrid, Relaxation, Smoothing

PROBES = 2048
BAND_ENTRIES = 2.0e8
"""Most numbers in a band matrix: 1.6 GB, and as much again for its factor."""
COUPLINGS = 1.5e8
"""Most numbers in a stencil: 1.2 GB, and about three times as much for its pattern and smoothers."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An objective with start parameters, and the way back to a field."""

    objective: Any
    theta: np.ndarray
    build: Callable[[np.ndarray], Any]


@dataclass
class Visited:
    """A trained level; `samples`: those of its training where its field does not tell them; `note` is for tables."""

    field: Any
    state: Any
    loss: float
    steps: int
    points: int
    seconds: float
    seconds_compile: float
    work: float
    validation: float | None
    samples: Sequence[Samples] | None = None
    note: str = ""
    pace: Pace = Pace()

    def record(self, level: int, error: float | None = None) -> LevelRecord:
        """The row of the table."""
        return LevelRecord(
            level, parameter_count(self.field), self.points, self.steps, self.loss, self.seconds,
            self.seconds_compile, error, self.validation, self.note,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Patience:
    """The parameters with the smallest validation error so far, and for how many steps there were none better."""

    error: float = np.inf
    theta: np.ndarray | None = None
    waited: int = 0
    limit: int = 12

    def see(self, error: float | None, theta: np.ndarray) -> Patience:
        """After one more step; without an error nothing is watched."""
        if error is None:
            return self
        if error < 0.999 * self.error:
            return Patience(error, theta, 0, self.limit)
        return Patience(self.error, self.theta, self.waited + 1, self.limit)

    @property
    def exhausted(self) -> bool:
        """Whether to stop waiting."""
        return self.waited >= self.limit


class Bench:
    """What `train` needs of one problem and plan; see the methods."""

    def __init__(self, problem: Problem, plan: Plan, key: Key) -> None:
        self.problem, self.plan = problem, plan
        self.sampled = SampledProblem(problem)
        self.key = key
        self.periodic = periodic_axes(problem)
        self.equations = np.array([is_equation(t, problem) for t in self.sampled.terms])
        self.rows = DataRows(problem, plan.validation_share, key)
        self.value_term = value_term(problem)
        self._equation_scale: float | None = None
        self._points: dict[int, np.ndarray] = {}

    def weighing(self, factor: float) -> Bench:
        """The same problem with another factor of the equations against the data; it shares all kernels."""
        other = copy.copy(self)
        other.plan, other._equation_scale = replace(self.plan, equation_factor=factor), None
        return other

    def local(self, field: Any) -> bool:
        """Whether curvature is assembled cell by cell."""
        return self.plan.local and self.plan.solver.second_order and has_fixed_cells(field)

    def objective(self, field: Any, samples: Sequence[Samples]) -> Any:
        """The objective in the storage that suits field and solver."""
        if self.local(field):
            quadratics = [p.gram(field) for p in self.plan.penalties]
            objective = LocalObjective(field, samples, self.periodic, quadratics, self.stencil(field))
            objective.quadratic = self.plan.linear and linear_in_parameters(field)
            return objective
        return RowObjective(field, samples, self.plan.local)

    def stencil(self, field: Any) -> Mesh | None:
        """The mesh of a field whose curvature is better kept as a stencil for multigrid than factored as a band."""
        if self.plan.penalties or not isinstance(self.plan.solver, GaussNewton | Relaxation):
            return None
        mesh, linear = mesh_of(field), self.plan.solver.linear
        if mesh is None or linear is not None:
            return mesh if isinstance(linear, Multigrid | ConjugateGradients) else None
        return mesh if STENCIL_WORK * mesh.couplings < mesh.size * float(self.width(field)) ** 2 else None

    def samples(self, field: Any, everything: bool = False, points: int | None = None) -> list[Samples]:
        """Samples of every term for a level; of the data as many rows as `points`, where that is given."""
        seen = None if everything else self.rows.seen(points)
        return self.sampled.sample(field, self.plan.sampling, seed_of(self.key, 1), seen)

    def prepare(self, field: Any, everything: bool = False, points: int | None = None) -> Prepared:
        """Objective with weights, and start parameters, of a level."""
        objective = self.objective(field, self.samples(field, everything, points))
        theta, build = flat_parameters(field)
        scales = np.r_[self._scales(objective, theta), np.ones(len(objective.scales) - len(self.sampled.terms))]
        return Prepared(objective.rescaled(list(scales)), theta, build)

    def _scales(self, objective: Any, theta: np.ndarray) -> np.ndarray:
        """Factor of every term: data by their spread or noise, conditions by the equations, equations over data."""
        terms = self.sampled.terms
        scales = np.ones(len(terms))
        is_data = np.array([isinstance(t, Data) for t in terms])
        for k, term in enumerate(terms):
            if isinstance(term, Data):
                spread = float(np.mean(np.var(term.values, axis=0)))
                scales[k] = 1.0 / (spread if spread > 0 else 1.0)
        if not self.equations.any():
            scales[~is_data] = self.plan.condition_factor
            return scales
        if self.equations.all():
            return scales
        diagonals = objective.diagonals(theta, self.equations)
        if not np.any(diagonals[self.equations] > 0):
            shaken = theta + np.random.default_rng(0).normal(size=len(theta))
            diagonals = objective.diagonals(shaken, self.equations)
        factors = np.full(len(terms), self.plan.condition_factor)
        balanced = balance(diagonals, self.equations, factors)
        conditions = ~self.equations & ~is_data
        scales[conditions] = balanced[conditions]
        if is_data.any():
            if self._equation_scale is None:
                data = (scales[is_data, None] * diagonals[is_data]).sum(axis=0)
                equation = diagonals[self.equations].sum(axis=0)
                touched = (data > 0.05 * data.max(initial=0.0)) & (equation > 0)
                ratio = np.median(data[touched] / equation[touched]) if touched.any() else 1.0
                self._equation_scale = self.plan.equation_factor * float(ratio)
            scales[self.equations] *= self._equation_scale
            scales[conditions] *= self._equation_scale
        return scales

    @functools.cached_property
    def untrained_loss(self) -> float:
        """The loss of the field before training, which tells what size a loss can have."""
        untrained = self.prepare(self.plan.hierarchy.levels[0].field)
        return float(untrained.objective.value(untrained.theta))

    def prolonged(self, transfer: Any, coarse: Any, fine: Any) -> Any:
        """The fine field with the prolonged parameters of the coarse one."""
        params, _ = partition(coarse)
        _, rest = partition(fine)
        return eqx.combine(transfer.prolong(params), rest)

    def initial_state(
        self, fresh: Any, made: Prepared, level: int, visited: dict[int, Visited], transfers: Sequence[Any]
    ) -> Any:
        """Solver state of a visit: warm on a revisit, else from that of the coarser level, each part by its kind."""
        solver, own, below = self.plan.solver, visited.get(level), visited.get(level - 1)
        if own is not None and own.state is not None:
            return resumed(own.state, solver.kinds(own.state), fresh)
        if below is None or below.state is None or level - 1 >= len(transfers):
            return fresh
        laws = FlatLaws(transfers[level - 1], below.field, made.objective.field)
        return transport(below.state, solver.kinds(below.state), laws, fresh)  # pyright: ignore

    def points(self, count: int, number: int) -> np.ndarray:
        """Fixed points of the domain for values and errors, not used in training."""
        if number not in self._points:
            domain = self.problem.domain
            if isinstance(domain, Box):
                self._points[number] = Sobol(domain).sample(seed_of(self.key, number), 0, count).points
            else:
                self._points[number] = domain.points[:: max(1, len(domain.points) // count)]
        return self._points[number]

    def values_at(self, field: Any, points: np.ndarray) -> np.ndarray:
        """Values of all unknown functions `(n, components)` by kernels that all levels share."""
        return self.evaluate(field, make_samples(self.value_term, points, np.ones(len(points))))

    def evaluate(self, field: Any, samples: Samples) -> np.ndarray:
        """Residuals `(n, r)` of the term of some samples."""
        if has_fixed_cells(field) and self.plan.local:
            return local_residuals(field, samples)
        return RowObjective(field, [samples]).residuals(flat_parameters(field)[0])[0]

    def residuals(self, term: int, field: Any, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Residuals `(n, r)` of a term of the problem at any points."""
        samples = make_samples(self.sampled.point_terms[term], points, np.ones(len(points)), normals)
        return self.evaluate(field, samples)

    def probe(self, field: Any) -> np.ndarray:
        """Values at the points where levels are compared."""
        return self.values_at(field, self.points(PROBES, 2))

    def change(self, field: Any, coarser: Any) -> float:
        """Largest relative root mean square difference of any unknown between two fields."""
        values, before = self.probe(field), self.probe(coarser)
        scale = np.sqrt(np.mean(values**2, axis=0))
        change = np.sqrt(np.mean((values - before) ** 2, axis=0))
        return float(np.max(change / np.maximum(scale, 1e-3 * scale.max() + 1e-300)))

    def validation_error(self, field: Any) -> float | None:
        """Relative root mean square misfit at the data that were kept back; `None` without such."""
        return self.rows.misfit(field, self.rows.held, self.values_at) if self.rows.held else None

    def watched(self, objective: Any) -> bool:
        """Whether every step is judged by the data kept back: networks overfit, penalised grids do not."""
        network = isinstance(objective, RowObjective) or not linear_in_parameters(objective.field)
        return network and bool(self.rows.held)

    def supports_no_more(self, errors: Sequence[float | None], last: Level) -> bool:
        """Whether the validation errors of the levels say that a finer one would only follow the noise.

        They do when the last two are no better than the best before, unless the levels may still be too coarse to see
        what is there: with fewer parameters than half the data, or an error above the noise that neighbouring data
        show, and fewer parameters than data. With equations the levels are coarse for other reasons. A level that has
        seen a part of the data only is too coarse, and a network that has seen all of them is not.
        """
        if any(e is None for e in errors):
            return False
        best = min(errors[:-2])  # pyright: ignore
        if min(errors[-2:]) < 0.97 * best:  # pyright: ignore
            return False
        if self.equations.any():
            return best < 1.5 * self.rows.noise
        if last.points is not None:
            return last.points >= self.rows.total
        count, parameters = self.rows.values, last.parameters
        return parameters >= count or (parameters >= count / 2 and best < 1.15 * self.rows.noise)

    def refitted(self, field: Any, solver: Smoothing, state: Any) -> Any:
        """The level fitted once more to all data, with the smoothness that was chosen without those kept back."""
        prepared = self.prepare(field, everything=True)
        step = solver.smooth(prepared.objective, prepared.theta, state)
        return prepared.build(step.theta) if step.failure is None else field

    def fits(self, field: Any) -> bool:
        """Whether the matrices of a level stay within memory."""
        size = parameter_count(field)
        if self.local(field):
            mesh = self.stencil(field)
            if mesh is not None:
                return mesh.couplings <= COUPLINGS
            return size * self.width(field) <= BAND_ENTRIES / (3 if self.plan.penalties else 1)
        return size <= DENSE_LIMIT

    def width(self, field: Any) -> int:
        """Width of the band with its dense rows, from the cells of a few points."""
        indices, _ = gather(field, self.points(PROBES, 2)[:: PROBES // 256])
        order = narrow_order(positions(field, self.problem.domain.dim), [indices], self.periodic)
        return order.band + order.dense

    def evidence(self, level: Level) -> Fit | None:
        """What a rule is told about a level: where that has seen a part of the data, how it meets those and others."""
        if level.points is None or not self.rows.held:
            return None
        both = self.rows.seen(level.points), self.rows.held
        seen, unseen = (self.rows.misfit(level.field, samples, self.values_at) for samples in both)
        return Fit(seen, unseen, self.rows.total)

    def seconds(self, finer: Level, coarse: Level, seconds: float, steps: int) -> float:
        """Expected seconds of training a finer level, from those of the last one and the ratio of work."""
        ratio = self.work(finer) / self.work(coarse)
        # a level that sees a part of the data is a means: whatever time is left, its steps are of use
        worth = 1 if finer.points is not None else min(max(steps, 1), 6)
        # coarse levels of nonlinear problems take many steps, finer ones few
        return max(seconds, 0.02) / max(steps, 1) * worth * ratio

    def work(self, level: Level) -> float:
        """Work of one step on a level, in units that are the same for all levels of a field."""
        field = level.field
        size = parameter_count(field)
        if not self.local(field):
            return float(size) ** 2 * (1 if level.points is None else min(level.points, self.rows.total))
        k = gather(field, self.points(PROBES, 2)[:1])[0].shape[1]
        points, mesh = sum(s.count for s in self.samples(field)), self.stencil(field)
        solving = STENCIL_WORK * mesh.couplings if mesh else size * float(self.width(field)) ** 2
        return ROW_WORK * points * k**2 + solving

    def accuracy(self, field: Any) -> Accuracy:
        """Errors against the reference, the largest over the unknowns; never below its floor."""
        reference = self.problem.reference
        if reference is None:
            return Accuracy()
        points = self.points(MEASURED, 3)
        values = self.values_at(field, points)
        relative, largest = [], []
        for name in self.problem.functions:
            exact = reference.evaluate(points, name)
            if exact is None:
                continue
            own = values[:, self.rows.columns(name)]
            exact = exact.reshape(len(points), -1)
            relative.append(np.linalg.norm(own - exact) / max(np.linalg.norm(exact), 1e-300))
            largest.append(np.abs(own - exact).max())
        if not relative:
            return Accuracy()
        floor = reference.error_bound
        return Accuracy(max(float(max(relative)), floor), float(max(largest)), floor)


def refuse_32_bit(plan: Plan) -> None:
    """Second-order steps need 64 bits: precision is that of the field's leaves."""
    leaves = [x for x in jax.tree.leaves(plan.hierarchy.levels[0].field) if isinstance(x, jax.Array)]
    if plan.solver.second_order and any(x.dtype == jnp.float32 for x in leaves):
        raise InputError(
            what=f"{named(plan.solver)} with 32-bit parameters would lose half of the digits it lives on",
            where="train(..., solver=...)",
            remedy='begin the script with: import jax; jax.config.update("jax_enable_x64", True)',
        )
