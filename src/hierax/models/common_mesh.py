"""The mesh that members of a family share: members solved on it, by kernels that were compiled once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from hierax._results import RESULTS
from hierax.models.members import member
from hierax.objective.local import LocalObjective
from hierax.objective.objective import flat_parameters
from hierax.training.discrete import DiscreteProblem, Prepared

STEPS = 40
"""Most Gauss-Newton steps of a member."""


class Member(NamedTuple):
    """A member as it was solved.

    Attributes
    ----------
    theta, values:
        Parameters `(N,)` on the common mesh, and values `(P,)` of all unknowns at the points where levels are compared.
    loss:
        What is left of the terms.
    failure:
        Why it counts as failed; `None` where it does not.
    """

    theta: np.ndarray
    values: np.ndarray
    loss: float
    failure: str | None = None


def rms(values: np.ndarray) -> float:
    """Root mean square, never zero."""
    return max(float(np.sqrt(np.mean(np.square(values)))), 1e-300)


@final
@dataclass(frozen=True, eq=False)
class CommonMesh:
    """Members of a family on one mesh; what depends on the mesh alone is found once.

    Attributes
    ----------
    discrete:
        The discretised family.
    field:
        The mesh, with what nonlinear members start from.
    """

    discrete: DiscreteProblem
    field: Any

    @functools.cached_property
    def _objective(self) -> LocalObjective | None:
        objective = self.discrete.objective(self.field, self.discrete.samples(self.field))
        return objective.keeping() if isinstance(objective, LocalObjective) else None

    def _prepared(self, inputs: np.ndarray, field: Any) -> tuple[DiscreteProblem, Prepared]:
        discrete, own = member(self.discrete, inputs), self._objective
        return discrete, discrete.prepare(field) if own is None else discrete.weighed(own.of_member(inputs), field)

    def weighed(self, inputs: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient `(N,)` of the loss of a member at these parameters, and the factors of its terms."""
        _, made = self._prepared(inputs, flat_parameters(self.field)[1](theta))
        return made.objective.value_and_gradient(theta)[1], made.objective.scales

    def untrained(self, inputs: np.ndarray) -> float:
        """The larger of the losses of zero and of the field: one of both may solve the member as well."""
        made = self._prepared(inputs, self.field)[1]
        return max(made.objective.value(theta) for theta in (made.theta, np.zeros_like(made.theta)))

    def solve(self, inputs: np.ndarray, start: Any = None) -> Member:
        """A member; Gauss-Newton steps begin at a field on the mesh, if one is given."""
        theta, loss, failure = self.parameters(inputs, start)
        values = member(self.discrete, inputs).probe(flat_parameters(self.field)[1](theta)).ravel()
        return Member(theta, np.nan_to_num(values), loss, failure)

    def parameters(self, inputs: np.ndarray, start: Any = None) -> tuple[np.ndarray, float, str | None]:
        """Parameters `(N,)` of a member, what is left of its terms, and why it counts as failed, if it does."""
        discrete, made = self._prepared(inputs, self.field if start is None else start)
        solver = discrete.plan.solver
        theta, state = made.theta, solver.init(made.objective, made.theta)
        failure, loss = "Gauss-Newton steps do not converge", np.inf
        for _ in range(STEPS):
            step = solver.step(made.objective, theta, state)
            theta, state, loss = step.theta, step.state, step.value
            if step.failure is not None or step.done:
                failure = None if step.failure is None else step.failure.name
                break
        if not (np.all(np.isfinite(theta)) and np.isfinite(loss)):
            failure = RESULTS.nonfinite.name
        return theta, float(max(loss, 0.0)), failure
