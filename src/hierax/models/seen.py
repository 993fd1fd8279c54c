"""Members in the user's units: their parameters, and what errors are measured by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.models.solving import MemberSolver, restored
from hierax.objective.objective import flat_parameters

LEAST = 1e-3
"""Size of an unknown over that of its equations, below which it counts as that."""


@final
@dataclass(frozen=True, eq=False)
class SeenMembers:
    """From the parameters of a training to those of the user, and to values at fixed points.

    Attributes
    ----------
    solver:
        Whose members they are.
    field:
        The common mesh in the user's units.
    sizes:
        Of every column of values: a root mean square in the middle of the inputs.
    size, shift:
        Of every parameter `(N,)`, between the units of the training and those of the user: these are affine.
    """

    solver: MemberSolver
    field: Any
    sizes: np.ndarray
    size: np.ndarray
    shift: np.ndarray

    @classmethod
    def of(cls, solver: MemberSolver) -> SeenMembers:
        """With the sizes of the member in the middle."""
        middle = solver.solve(solver.family.middle())
        field = _restored(solver, solver.built(middle.theta))
        table = np.asarray(_columns(field, solver.discrete.probes))
        sizes = np.sqrt(np.mean(table**2, axis=0))
        zero, one = (_parameters(solver, np.full(len(middle.theta), value)) for value in (0.0, 1.0))
        return cls(solver, field, np.maximum(sizes, LEAST * _unit_sizes(solver, len(sizes))), one - zero, zero)

    def parameters(self, theta: np.ndarray) -> np.ndarray:
        """Parameters in the user's units."""
        return self.shift + self.size * theta

    def trained(self, parameters: np.ndarray) -> np.ndarray:
        """The inverse of `parameters`: what the training calls these numbers."""
        return (parameters - self.shift) / self.size

    def restored(self, field: Any) -> Any:
        """A field of the training in the user's units."""
        return _restored(self.solver, field)

    def values(self, parameters: np.ndarray) -> np.ndarray:
        """Values `(P,)` of all unknowns, each over its size; linear in the parameters."""
        field = flat_parameters(self.field)[1](parameters)
        return (np.asarray(_columns(field, self.solver.discrete.probes)) / self.sizes).ravel()


def _parameters(solver: MemberSolver, theta: np.ndarray) -> np.ndarray:
    return flat_parameters(_restored(solver, solver.built(theta)))[0]


def _restored(solver: MemberSolver, field: Any) -> Any:
    return restored(solver.plan, solver.asked, field)


def _unit_sizes(solver: MemberSolver, count: int) -> np.ndarray:
    """Sizes of the unknowns in the units of the training, one for each column."""
    units = solver.plan.units
    if units is None:
        return np.full(count, 1e-300)
    names = sorted(solver.asked.unknowns) if solver.asked.named else list(solver.asked.unknowns)
    return np.concatenate([np.ravel(units.sizes[name]) for name in names])


@eqx.filter_jit
def _columns(field: Any, points: Any) -> Float[Array, "n columns"]:
    found = jax.vmap(field)(points)
    parts = [found[name] for name in sorted(found)] if isinstance(found, dict) else [found]
    return jnp.concatenate([part.reshape(len(points), -1) for part in parts], axis=1)
