"""The error of a prediction, from the equations: one Gauss-Newton step for it on a coarse mesh.

What a regression misses is a combination of solutions, as smooth as these: on a mesh that resolves solutions to a few
per cent the equations show it to a few per cent. With the rows `J` of the coarse mesh and the gradient `g` of the loss
on the common one, restricted by `P'`, the step is `c = -(J' J)^-1 P' g`; it takes a small part of a solve. Added to the
prediction it is the coarse correction of a multigrid cycle. It vanishes at the solution on the common mesh, whose
residuals do not: what these leave on other points would be seen as an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import equinox as eqx
import numpy as np
import scipy.linalg as sl

from hierax.fields import parameter_count, partition
from hierax.hierarchy import Level
from hierax.hierarchy.refinement import on_new_breakpoints, spline_axes
from hierax.hierarchy.transfer import AbstractTransfer
from hierax.models.common_mesh import rms
from hierax.models.solving import MemberSolver
from hierax.objective.objective import flat_parameters
from hierax.objective.rows import RowObjective

MOST = 1500
"""Most parameters of the coarse mesh: its matrix is dense."""
SHIFT = 1e-13
"""Part of its diagonal that is added to it."""


@final
@dataclass(frozen=True, eq=False)
class Correction:
    """Coarse corrections of members of a family.

    Attributes
    ----------
    solver:
        Whose members they are.
    coarse:
        The coarse mesh.
    transfer:
        From the coarse mesh to the common one.
    """

    solver: MemberSolver
    coarse: Any
    transfer: AbstractTransfer

    @classmethod
    def of(cls, solver: MemberSolver, coarse: Any) -> Correction | None:
        """Corrections on a mesh below that of a solver; `None` where there are energies, or it is not coarse enough."""
        discrete, size = solver.discrete, parameter_count(coarse)
        breakpoints = [axis.breakpoints() for axis in spline_axes(solver.field)]
        made = discrete.prepare(coarse).objective
        if size > MOST or not made.has_residuals:
            return None
        transfer = on_new_breakpoints(Level(coarse), breakpoints)[1]
        return cls(solver, coarse, transfer)

    def step(self, inputs: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """What a step adds `(N,)` to the parameters of a member on the common mesh."""
        discrete, coarse = self.solver.of(inputs), self.coarse
        fine = partition(self.solver.built(theta))[0]
        slope, scales = self.solver.mesh.weighed(inputs, theta)
        samples = [one.scaled(scale) for one, scale in zip(discrete.samples(coarse), scales, strict=False)]
        zero, build = flat_parameters(coarse)
        at = np.zeros_like(zero)
        if not discrete.plan.linear:
            at = flat_parameters(_filled(coarse, self.transfer.inject(fine)))[0]
        rows = RowObjective(build(at), samples).sparse_rows(at)
        matrix = (rows.T @ rows).toarray()
        scale = 1.0 / np.sqrt(np.maximum(np.diagonal(matrix), 1e-300))
        matrix = matrix * scale[:, None] * scale
        matrix[np.diag_indices_from(matrix)] += SHIFT
        below = self.transfer.restrict(partition(self.solver.built(slope))[0])
        gradient = scale * flat_parameters(_filled(coarse, below))[0]
        found = -scale * sl.solve(matrix, gradient, assume_a="pos", check_finite=False)
        change = self.transfer.prolong(partition(build(found))[0])
        return flat_parameters(_filled(self.solver.field, change))[0]

    def size(self, step: np.ndarray, theta: np.ndarray) -> float:
        """Relative size of a step, as errors are measured in the units of the training."""
        probe, build = self.solver.discrete.probe, self.solver.built
        values = probe(build(theta))
        return rms(probe(build(theta + step)) - values) / rms(values)


def _filled(field: Any, params: Any) -> Any:

    return eqx.combine(params, partition(field)[1])
