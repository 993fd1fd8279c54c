"""The workbench of `train`: objectives of levels, transfers between them, and values at fixed points."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.fields import linear_in_parameters, partition
from hierax.fields.base import has_fixed_cells
from hierax.geometry import AbstractShape
from hierax.objective import LocalObjective, flat_parameters
from hierax.objective.assembly import local_residuals
from hierax.objective.build import SampledProblem, is_equation
from hierax.objective.data_rows import DataRows
from hierax.objective.extension import Extension
from hierax.objective.jet_rows import JetRows, is_low_rank
from hierax.objective.jets import seen_by_jets
from hierax.objective.local import STENCIL_WORK
from hierax.objective.local_means import Measurements
from hierax.objective.objective import AbstractSampledObjective
from hierax.objective.pointwise import point_term, value_term
from hierax.objective.rows import RowObjective
from hierax.objective.samples import Samples, make_samples
from hierax.objective.separation import SeparableObjective
from hierax.objective.stencil import Mesh, mesh_of
from hierax.planning.families import periodic_axes
from hierax.planning.plan import Plan, named
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.reference import MEASURED
from hierax.problems.sampling import points_in
from hierax.problems.terms import Data
from hierax.results.solution import Accuracy
from hierax.solvers import GaussNewton, Smoothing, Step
from hierax.training.cost import band_width
from hierax.training.weights import equation_scale, penalty_scales, term_scales

REFITS = 8
"""Most steps of a fit to all data, which begins beside its end."""
PROBES = 2048
"""Points at which levels are compared."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An objective with start parameters, and the way back to a field."""

    objective: Any
    theta: np.ndarray
    build: Callable[[np.ndarray], Any]


@final
@dataclass(frozen=True, eq=False)
class DiscreteProblem:
    """A problem with the plan of its training: samples and objectives of any field, and values at fixed points.

    Attributes
    ----------
    problem, plan, key:
        What is learned, how, and the seed of all points.
    sampled:
        The samplers of the terms.
    periodic:
        Which coordinates wrap around.
    equations:
        Which terms are equations.
    rows:
        The measured values, those kept back among them.
    value_term:
        The term whose residuals are the values of all unknowns.
    equation_scale:
        Factor of the equations against the data, the same on all levels; each field gets its own without it.
    """

    problem: Problem
    plan: Plan
    key: Key
    sampled: SampledProblem
    periodic: list[bool]
    equations: np.ndarray
    rows: DataRows
    value_term: Any
    equation_scale: float | None = None

    @classmethod
    def of(cls, problem: Problem, plan: Plan, key: Key) -> DiscreteProblem:
        """The problem before any field is known."""
        sampled = SampledProblem(problem)
        equations = np.array([is_equation(t, problem) for t in sampled.terms])
        rows = DataRows(problem, plan.validation_share, key)
        return cls(problem, plan, key, sampled, periodic_axes(problem), equations, rows, value_term(problem))

    def measuring(self, data: Mapping[str, Data]) -> DiscreteProblem:
        """The same problem with other data in place of those of these names; it shares all kernels."""
        problem, sampled = copy.copy(self.problem), copy.copy(self.sampled)
        problem.terms = tuple(data.get(t.name, t) if isinstance(t, Data) else t for t in problem.terms)
        sampled.problem, sampled.terms = problem, problem.terms
        rows = DataRows(problem, self.plan.validation_share, self.key)
        return replace(self, problem=problem, sampled=sampled, rows=rows)

    def weighing(self, factor: float) -> DiscreteProblem:
        """The same problem with another factor of the equations against the data; it shares all kernels."""
        return replace(self, plan=replace(self.plan, equation_factor=factor), equation_scale=None)

    def scaled(self, scale: float | None) -> DiscreteProblem:
        """The same problem with a given factor of the equations against the data."""
        return self if scale == self.equation_scale else replace(self, equation_scale=scale)

    @property
    def weighs_data(self) -> bool:
        """Whether there are equations and data, so that the equations have a factor."""
        return bool(self.equations.any()) and any(isinstance(t, Data) for t in self.sampled.terms)

    def equation_factor(self, field: Any, points: int | None = None) -> float:
        """The factor of the equations that weighs them against the data at a field."""
        objective = self.objective(field, self.samples(field, points=points))
        return equation_scale(self, objective, flat_parameters(field)[0])

    def local(self, field: Any) -> bool:
        """Whether curvature is assembled cell by cell."""
        return self.plan.local and self.plan.solver.assembles and has_fixed_cells(field)

    def objective(self, field: Any, samples: Sequence[Samples]) -> AbstractSampledObjective:
        """The objective in the storage that suits field and solver."""
        if self.local(field):
            quadratics = [p.gram(field) for p in self.plan.penalties]
            quadratic = self.plan.linear and linear_in_parameters(field)
            mesh, bound = self.stencil(field), self.extension(field)
            return LocalObjective(field, samples, self.periodic, quadratics, mesh, quadratic, bound)
        if not (self.plan.solver.second_order and self.by_jets(field)):
            return RowObjective(field, samples, self.plan.local)
        if self.plan.separation is None:
            return JetRows(self.problem, field, samples)
        return SeparableObjective(self.problem, field, samples, self.plan.separation.forms(field))

    @property
    def bound(self) -> bool:
        """Whether functions of a spline grid that hardly meet a shape are bound to others, see `extension`."""
        return isinstance(self.problem.domain, AbstractShape) or self.problem.regions is not None

    def extension(self, field: Any) -> Extension | None:
        """How the functions of a spline grid that hardly meet a shape are bound to others."""
        shape = self.problem.domain
        return Extension.of(field, shape if isinstance(shape, AbstractShape) else None, self.problem.regions)

    def by_jets(self, field: Any) -> bool:
        """Whether fields are low-rank tensors and terms see the derivatives at their points only."""
        return is_low_rank(field) and seen_by_jets(self.problem)

    def stencil(self, field: Any) -> Mesh | None:
        """The mesh of a field whose curvature is better kept as a stencil for multigrid than factored as a band."""
        mesh, stencils = mesh_of(field), self.plan.solver.stencils
        if mesh is None or self.bound or self.plan.penalties or stencils is False:
            return None
        if any(t.cut for t in self.sampled.point_terms):
            return None
        if stencils:
            return mesh
        return mesh if STENCIL_WORK * mesh.couplings < mesh.size * float(band_width(self, field)) ** 2 else None

    def samples(self, field: Any, everything: bool = False, points: int | None = None) -> list[Samples]:
        """Samples of every term for a level; of the data as many rows as `points`, where that is given."""
        seen = None if everything else self.rows.seen(points)
        return self.sampled.sample(field, self.plan.sampling, seed_of(self.key, 1), seen)

    def prepare(self, field: Any, everything: bool = False, points: int | None = None) -> Prepared:
        """Objective with weights, and start parameters, of a level."""
        return self.weighed(self.objective(field, self.samples(field, everything, points)), field)

    def weighed(self, objective: AbstractSampledObjective, field: Any) -> Prepared:
        """An objective of a field with the weights of its terms."""
        theta, build = flat_parameters(field)
        bound = getattr(objective, "extension", None)
        theta = theta if bound is None else bound.projected(theta)
        more = penalty_scales(self)[: len(objective.scales) - len(self.sampled.terms)]
        scales = np.r_[term_scales(self, objective, theta), more]
        return Prepared(objective.rescaled(list(scales)), theta, build)

    @functools.cached_property
    def untrained_loss(self) -> float:
        """The loss of the field before training, which tells what size a loss can have."""
        untrained = self.prepare(self.plan.hierarchy.levels[0].field)
        return float(untrained.objective.value(untrained.theta))

    @functools.cached_property
    def _exact(self) -> dict[str, np.ndarray]:
        """Values of the unknown functions that are known, where errors are measured; the same for all levels."""
        reference, points = self.problem.reference, self.spread(MEASURED, 3)
        each = {name: reference and reference.evaluate(points, name) for name in self.problem.functions}
        return {name: values for name, values in each.items() if values is not None}

    def prolonged(self, transfer: Any, coarse: Any, fine: Any) -> Any:
        """The fine field with the prolonged parameters of the coarse one."""
        params, _ = partition(coarse)
        _, rest = partition(fine)
        return eqx.combine(transfer.prolong(params), rest)

    @functools.cached_property
    def probes(self) -> np.ndarray:
        """Fixed points of the domain at which levels are compared, not used in training."""
        return self.spread(PROBES, 2)

    def spread(self, count: int, number: int) -> np.ndarray:
        """Fixed points of the domain, other ones for each `number`; some of those of a cloud."""
        return points_in(self.problem.domain, seed_of(self.key, number), count)

    def values_at(self, field: Any, points: np.ndarray) -> np.ndarray:
        """Values of all unknown functions `(n, components)` by kernels that all levels share."""
        return self.evaluate(field, make_samples(self.value_term, points, np.ones(len(points))))

    def evaluate(self, field: Any, samples: Samples) -> np.ndarray:
        """Residuals `(n, r)` of the term of some samples."""
        if has_fixed_cells(field) and self.plan.local:
            return local_residuals(field, samples)
        by_jets, local = self.by_jets(field), self.plan.local
        rows = JetRows(self.problem, field, [samples]) if by_jets else RowObjective(field, [samples], local)
        return rows.residuals(flat_parameters(field)[0])[0]

    def residuals(self, term: int, field: Any, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Residuals `(n, r)` of a term of the problem at any points."""
        return self.evaluate(field, self.sampled.at(term, points, normals))

    def probe(self, field: Any) -> np.ndarray:
        """Values at the points where levels are compared."""
        return self.values_at(field, self.probes)

    def change(self, field: Any, coarser: Any) -> float:
        """Largest relative root mean square difference of any unknown between two fields."""
        values, before = self.probe(field), self.probe(coarser)
        scale = np.sqrt(np.mean(values**2, axis=0))
        change = np.sqrt(np.mean((values - before) ** 2, axis=0))
        return float(np.max(change / np.maximum(scale, 1e-3 * scale.max() + 1e-300)))

    def misses(self, field: Any, term: Data, seen: Measurements) -> np.ndarray:
        """Misfit `(n, m)` of samples of a data term."""
        name = self.problem.data_unknown(term)
        if name is None:
            samples = make_samples(point_term(self.problem, term), seen.points, seen.weights, None, seen.values)
            return self.evaluate(field, samples)
        return self.values_at(field, seen.points)[:, self.rows.columns(name)] - seen.values.reshape(
            len(seen.points), -1
        )

    def validation_error(self, field: Any) -> float | None:
        """Relative root mean square misfit at the data that were kept back; `None` without such."""
        return self.rows.misfit(field, self.rows.held, self.misses) if self.rows.held else None

    def watched(self, objective: Any) -> bool:
        """Whether every step is judged by the data kept back: networks overfit, penalised grids do not."""
        network = not objective.assembled or not linear_in_parameters(objective.field)
        return network and bool(self.rows.held)

    def refits(self, field: Any) -> bool:
        """Whether a level is fitted once more to all data: grids that data alone or equations keep from their noise."""
        solver = self.plan.solver
        return isinstance(solver, Smoothing) or (
            isinstance(solver, GaussNewton) and bool(self.equations.any()) and self.local(field)
        )

    def refitted(self, field: Any, state: Any) -> Any:
        """The level fitted once more to all data, with the smoothness that was chosen without those kept back."""
        solver = self.plan.solver
        if not self.refits(field):
            return field
        prepared = self.prepare(field, everything=True)
        if isinstance(solver, Smoothing):
            step = solver.smooth(prepared.objective, prepared.theta, state)
            return prepared.build(step.theta) if step.failure is None else field
        step = Step(prepared.theta, solver.init(prepared.objective, prepared.theta), np.inf, np.inf, False)
        for _ in range(REFITS):
            step = solver.step(prepared.objective, step.theta, step.state)
            if step.done or step.failure is not None:
                break
        return prepared.build(step.theta) if step.failure is None else field

    def accuracy(self, field: Any) -> Accuracy:
        """Errors against the reference in the user's units, the largest over the unknowns; never below its floor."""
        reference, units = self.problem.reference, self.plan.units
        if reference is None or not self._exact:
            return Accuracy()
        values = self.values_at(field, points := self.spread(MEASURED, 3))
        relative, largest = [], []
        for name, known in self._exact.items():
            size, shift = (1.0, 0.0) if units is None else (units.sizes[name], units.shifts[name])
            own = shift + size * values[:, self.rows.columns(name)]
            exact = shift + size * known.reshape(len(points), -1)
            relative.append(np.linalg.norm(own - exact) / max(np.linalg.norm(exact), 1e-300))
            largest.append(np.abs(own - exact).max())
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
