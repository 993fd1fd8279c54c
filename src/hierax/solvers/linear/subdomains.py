"""Training partitions of unity whose local fields are linear: sparse least squares with Schwarz preconditioners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from hierax._errors import InputError
from hierax._results import RESULTS
from hierax.fields.base import linear_in_parameters, parameter_count
from hierax.fields.partition_of_unity import PartitionOfUnity, subdomain_parameters
from hierax.hierarchy.transport import RESET
from hierax.objective import AbstractObjective
from hierax.objective.least_squares import weighted_residual
from hierax.objective.objective import AbstractLeastSquares
from hierax.solvers.base import AbstractSolver, Step, Tolerances
from hierax.solvers.damping import shortened
from hierax.solvers.gauss_newton import GaussNewton
from hierax.solvers.linear.adaptive_coarse import AdaptiveCoarseSpace
from hierax.solvers.linear.coarse_spaces import AbstractCoarseSpace, Part
from hierax.solvers.linear.orthogonal import OrthogonalBlocks, orthogonalised
from hierax.solvers.linear.schwarz import Solved, System, TwoLevel, least_squares, patches


def part_of(field: Any) -> Part:
    """The parameters of a field by subdomains; one block of all for other fields."""
    if isinstance(field, PartitionOfUnity):
        return Part(subdomain_parameters(field.locals), field)
    return Part(np.arange(parameter_count(field))[None], None)


class SchwarzState(NamedTuple):
    """Steps taken, and the state of the solver that stands in where there is no linear field."""

    steps: int = 0
    other: Any = None


@dataclass(frozen=True)
class Schwarz(AbstractSolver):
    r"""Least squares on subdomains: local fields made orthonormal, then preconditioned conjugate gradients.

    For fields that are linear in all parameters. The rows of the Jacobian are kept as a sparse matrix, every
    subdomain's columns are replaced by an orthonormal basis of what they span to rounding (`OrthogonalBlocks`), and the
    system is solved by conjugate gradients with a Schwarz preconditioner (`TwoLevel`) and the coarse space `coarse`.
    Terms that are not linear in the field are linearised, step by step. A field without subdomains is one block. Other
    fields, energies and penalties are left to `GaussNewton`.

    Parameters
    ----------
    coarse:
        Functions that reach across subdomains.
    layers:
        Layers of neighbours in a patch.
    rank:
        Singular values of a subdomain's columns below this share of the largest are left out.
    precision, most:
        Where conjugate gradients stop: decrease of the preconditioned gradient, most iterations.
    tolerances:
        When a level is trained.
    """

    coarse: AbstractCoarseSpace = AdaptiveCoarseSpace()
    layers: int = 1
    rank: float = 1e-8
    precision: float = 1e-10
    most: int = 1000
    tolerances: Tolerances = Tolerances(1e-8, 30)

    @property
    def second_order(self) -> bool:
        return True

    @staticmethod
    def refuse_without_subdomains(field: Any) -> None:
        """Say where it cannot serve, before any work.

        Raises
        ------
        InputError
            For a field without subdomains, or one that is not linear in its parameters.
        """
        if part_of(field).field is None:
            what = f"Schwarz divides the work between overlapping subdomains, and {type(field).__name__} has none"
        elif not linear_in_parameters(field):
            what = f"Schwarz solves for all parameters at once, and {type(field).__name__} is not linear in its own"
        else:
            return
        remedy = "take a partition of unity with linear local fields (--field pou), or another solver"
        raise InputError(what=what, where="train(..., solver=Schwarz())", remedy=remedy)

    @property
    def _other(self) -> GaussNewton:
        return GaussNewton(tolerances=self.tolerances)

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> SchwarzState:
        return SchwarzState(0, None if _linear(objective) else self._other.init(objective, theta))

    def kinds(self, state: SchwarzState) -> Any:
        return SchwarzState(RESET, None if state.other is None else self._other.kinds(state.other))  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: SchwarzState) -> Step:
        rows = _linear(objective)
        if rows is None:
            step = self._other.step(objective, theta, state.other or self._other.init(objective, theta))
            return step._replace(state=SchwarzState(state.steps + 1, step.state))
        residual = weighted_residual(rows, theta)
        if not np.all(np.isfinite(residual)):
            return Step(theta, state, 0.5 * float(residual @ residual), np.inf, True, RESULTS.nonfinite)
        basis, found = self.solve(rows, theta, residual)
        left = residual - basis.matrix @ found.x
        change, value = -(basis.back @ found.x), 0.5 * float(residual @ residual)

        def at(length: float) -> tuple[float, np.ndarray]:
            trial = weighted_residual(rows, theta + length * change)
            with np.errstate(over="ignore", invalid="ignore"):  # such a step is too long, and refused
                return 0.5 * float(trial @ trial), trial

        better = shortened(at, value * (1.0 + 1e-12))
        if better is None:
            return Step(theta, state, value, 0.0, True, iterations=found.iterations)
        length, after, trial = better
        gain, steps = (value - after) / max(value, 1e-300), state.steps + 1
        # a residual that is what the linear model says leaves nothing for another step
        affine = length == 1.0 and np.linalg.norm(trial - left) <= 1e-6 * np.linalg.norm(residual)
        done = bool(affine or gain < self.tolerances.relative or steps >= self.tolerances.steps)
        kept = SchwarzState(steps)
        return Step(theta + length * change, kept, after, gain, done, iterations=found.iterations)

    def solve(
        self, objective: AbstractLeastSquares, theta: np.ndarray, residual: np.ndarray
    ) -> tuple[OrthogonalBlocks, Solved]:
        """Orthonormal blocks of the Jacobian, and the coefficients that come nearest to a residual `(R,)`."""
        basis, two_level = self.preconditioner(objective.sparse_rows(theta), part_of(objective.field))
        return basis, least_squares(basis.matrix, residual, two_level, self.precision, self.most)

    def preconditioner(self, matrix: sp.csr_array, part: Part) -> tuple[OrthogonalBlocks, TwoLevel]:
        """Orthonormal blocks of a sparse Jacobian, and the preconditioner of their Gram matrix."""
        basis = orthogonalised(matrix, list(part.numbers), self.rank)
        system, coarse = System(basis), self.coarse.vectors(part, basis)
        return basis, self.coarse.improved(TwoLevel(system, patches(system, self.layers), coarse))


def _linear(objective: AbstractObjective) -> AbstractLeastSquares | None:
    """The objective by rows, where its field is linear in all parameters."""
    rows = objective.least_squares()
    return rows if rows is not None and linear_in_parameters(rows.field) else None
