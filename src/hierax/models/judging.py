"""Predictions that know their error: from the model alone, or from the equations, which solve what is too far off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike

from hierax._errors import InputError
from hierax.models.correction import Correction
from hierax.models.family import Family
from hierax.models.seen import SeenMembers
from hierax.models.solving import MemberSolver
from hierax.models.surrogate import SAFETY, Surrogate
from hierax.models.varied import as_inputs
from hierax.objective.objective import flat_parameters

MESH_SAFETY = 10.0
"""Factor on the error that a mesh leaves, as it follows from the loss."""
SECONDS = 30.0
"""Seconds for a member on levels of its own."""


class Predictions(NamedTuple):
    """Members as they are predicted.

    Attributes
    ----------
    inputs:
        `(n, k)`.
    fields:
        Their solutions.
    errors, bounds:
        `(n,)` estimates of the relative errors, and what nearly all errors stay below; infinite where nothing is known.
    how:
        `predicted`, `solved`, `solved on its own levels`, or `failed`.
    outside:
        `(n,)` how far outside of what was learned, see `Surrogate.outside`.
    """

    inputs: np.ndarray
    fields: list[Any]
    errors: np.ndarray
    bounds: np.ndarray
    how: list[str]
    outside: np.ndarray


def predict(
    surrogate: Surrogate,
    inputs: Mapping[str, ArrayLike] | ArrayLike,
    *,
    family: Family | None = None,
    tolerance: float | None = None,
) -> Predictions:
    """Predict members, each with an estimate of its error.

    Without the family errors are estimated by how models of fewer members differ, and nothing is known outside of the
    ranges that were learned. With it a coarse correction shows the error of each prediction; those whose bound misses
    the tolerance, and those outside, are solved on the mesh of the surrogate, or where that is too coarse on levels of
    their own.

    Parameters
    ----------
    inputs:
        Columns by name, or an array `(n, k)`.
    family:
        The one that was learned.
    tolerance:
        Relative L2 error that every prediction has to keep.

    Raises
    ------
    InputError
        For inputs that are missing or not finite, another family, and a tolerance without a family.
    """
    members = as_inputs(inputs, surrogate.names)
    outside = surrogate.outside(members)
    if family is None:
        if tolerance is not None:
            raise InputError(
                "Nothing can be solved without the problem.",
                "predict(tolerance=...)",
                "Give the family as well: family=..., or --problem FILE.py:OBJECT.",
            )
        errors, bounds = surrogate.errors(members), surrogate.error_bounds(members)
        return Predictions(members, surrogate.solutions(members), errors, bounds, ["predicted"] * len(members), outside)
    judge = Judge.of(surrogate, family)
    found = [judge(one, theta, tolerance) for one, theta in zip(members, surrogate.parameters(members), strict=True)]
    fields, errors, bounds, how = zip(*found, strict=True)
    return Predictions(members, list(fields), np.array(errors), np.array(bounds), list(how), outside)


@final
@dataclass(frozen=True, eq=False)
class Judge:
    """Judges predictions by the equations.

    Attributes
    ----------
    surrogate, solver, seen, correction:
        What predicts, what solves, how members are measured, and what shows errors; `None` where only a solve does.
    """

    surrogate: Surrogate
    solver: MemberSolver
    seen: SeenMembers
    correction: Correction | None

    @classmethod
    def of(cls, surrogate: Surrogate, family: Family) -> Judge:
        """Of a surrogate and the family that it was learned from.

        Raises
        ------
        InputError
            For a family with other inputs or unknowns.
        """
        if family.names != surrogate.names:
            raise InputError(
                f"The family has the inputs {', '.join(family.names)}.",
                "predict(family=...)",
                f"Give the one that was learned, with {', '.join(surrogate.names)}.",
            )
        learned = Family(family.make, surrogate.inputs)
        mesh = surrogate.own_mesh, surrogate.mesh_floor
        solver = MemberSolver.again(learned, surrogate.coarse, (mesh,), surrogate.seed)
        if list(solver.asked.unknowns) != list(surrogate.problem.unknowns):
            raise InputError("The family has other unknowns.", "predict(family=...)", "Give the one that was learned.")
        return cls(surrogate, solver, SeenMembers.of(solver), Correction.of(solver, solver.coarse))

    def __call__(
        self, inputs: np.ndarray, parameters: np.ndarray, tolerance: float | None
    ) -> tuple[Any, float, float, str]:
        """Field, error, bound, and how it was found, of a member whose parameters are predicted."""
        theta = self.seen.trained(parameters)
        if self.correction is None or self.surrogate.outside(inputs)[0] > 0.0:
            return self._solved(inputs, theta, tolerance)
        size = self.correction.size(self.correction.step(inputs, theta), theta)
        known = self.surrogate.calibration
        error = float(np.hypot(size, known.floor)) if np.isfinite(size) else np.inf
        if tolerance is None or known.safety * error <= tolerance:
            return self._field(theta), error, known.safety * error, "predicted"
        return self._solved(inputs, theta, tolerance)

    def _field(self, theta: np.ndarray) -> Any:
        return flat_parameters(self.seen.field)[1](self.seen.parameters(theta))

    def _solved(self, inputs: np.ndarray, theta: np.ndarray, tolerance: float | None) -> tuple[Any, float, float, str]:
        found = self.solver.solve(inputs, theta)
        if found.failure is not None:
            found = self.solver.solve(inputs)
        if found.failure is None:
            error = self.solver.resolution(found)
            if tolerance is None or MESH_SAFETY * error <= tolerance:
                return self._field(found.theta), error, MESH_SAFETY * error, "solved"
        start = found.theta if found.failure is None else None
        field, change = self.solver.fully(inputs, SECONDS, start)
        if field is None:
            return self._field(theta), np.inf, np.inf, "failed"
        return self.seen.restored(field), change, SAFETY * change, "solved on its own levels"
