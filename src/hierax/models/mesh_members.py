r"""Members of a family on one of several meshes, and a reduced model of what they add to the mesh below.

With :math:`u_0, u_1, \dots` the solutions on finer and finer meshes a member is :math:`u_0 + (u_1 - u_0) + \dots`. Each
part is learned from members of its own: many on the coarse mesh, where they cost little, and few of the small
differences. After Teckentrup, Jantsch, Webster, Gunzburger, SIAM/ASA J. Uncertainty Quantification 3 (2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from hierax.fields import parameter_count, partition
from hierax.hierarchy import Level
from hierax.hierarchy.refinement import on_new_breakpoints, spline_axes
from hierax.models.common_mesh import Member
from hierax.models.regression import AbstractRegression, fitted
from hierax.models.seen import SeenMembers
from hierax.models.solving import MemberSolver
from hierax.objective.objective import flat_parameters

SMALL = 1e-10
"""Size of a mode over that of the first, below which it is left out."""


class Judged(NamedTuple):
    """A member that is not learned from: inputs, parameters and values as it was solved, and what the mesh leaves."""

    inputs: np.ndarray
    parameters: np.ndarray
    values: np.ndarray
    resolution: float


class ReducedFit(NamedTuple):
    """A reduced model of members: from scaled inputs to coefficients of modes, which are parameters and values."""

    name: str
    model: AbstractRegression
    basis: np.ndarray
    shown: np.ndarray
    candidates: dict[str, float]
    members: int

    @property
    def error(self) -> float:
        """At members left out, over the size of a member."""
        return self.candidates[self.name]


@final
@dataclass(eq=False)
class MeshMembers:
    """Members on one mesh.

    Attributes
    ----------
    solver, seen:
        What solves them, and how they are measured.
    below:
        Those on the next coarser mesh; `None` on the coarsest.
    inputs, own, thetas, values, seconds:
        Of each that is learned from: inputs, parameters in the training's units and in the user's, values, and what it
        took.
    judges:
        Those that are not learned from.
    fit:
        The model of the members so far; `None` before there is one.
    tried:
        Members that were tried, also in vain.
    """

    solver: MemberSolver
    seen: SeenMembers
    below: MeshMembers | None = None
    inputs: list[np.ndarray] = field(default_factory=list)
    own: list[np.ndarray] = field(default_factory=list)
    thetas: list[np.ndarray] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    judges: list[Judged] = field(default_factory=list)
    fit: ReducedFit | None = None
    tried: int = 0

    @property
    def parameters(self) -> int:
        """Parameters of the mesh."""
        return parameter_count(self.solver.field)

    @property
    def left(self) -> float:
        """What the mesh leaves in a member, in the median."""
        return float(np.median([judge.resolution for judge in self.judges]))

    def add(self, inputs: np.ndarray, one: Member, seconds: float) -> None:
        """Learn from a member."""
        self.inputs.append(inputs)
        self.own.append(one.theta)
        self.thetas.append(self.seen.parameters(one.theta))
        self.values.append(self.seen.values(self.thetas[-1]))
        self.seconds.append(seconds)

    def judge(self, inputs: np.ndarray, one: Member) -> None:
        """Keep a member apart."""
        parameters = self.seen.parameters(one.theta)
        self.judges.append(Judged(inputs, parameters, self.seen.values(parameters), self.solver.resolution(one)))

    def near(self, inputs: np.ndarray) -> np.ndarray | None:
        """Where a nonlinear member starts: at the solved one nearest to it."""
        if self.solver.plan.linear or not self.inputs:
            return None
        apart = self.solver.family.scaled(np.array(self.inputs)) - self.solver.family.scaled(inputs)
        return self.own[int(np.argmin(np.sum(apart**2, axis=1)))]

    def refit(self) -> None:
        """A model of the members so far, of their differences from the mesh below if there is one."""
        values, thetas = np.array(self.values), np.array(self.thetas)
        norms = np.maximum(np.linalg.norm(values, axis=1), 1e-300)
        if self.below is not None:
            known = {inputs.tobytes(): k for k, inputs in enumerate(self.below.inputs)}
            same = [known[inputs.tobytes()] for inputs in self.inputs]
            values = values - np.array(self.below.values)[same]
            thetas = thetas - self.lifted(np.array(self.below.thetas)[same])
        left, sizes, _ = np.linalg.svd(values, full_matrices=False)
        kept = max(int(np.sum(sizes > SMALL * sizes[0])), 1)
        left, sizes = left[:, :kept], np.maximum(sizes[:kept], 1e-300)
        basis, shown = (left / sizes).T @ thetas, (left / sizes).T @ values
        name, found, errors = fitted(self.solver.family.scaled(np.array(self.inputs)), left * sizes, norms)
        self.fit = ReducedFit(name, found.model, basis, shown, errors, len(values))

    def lifted(self, rows: np.ndarray) -> np.ndarray:
        """Parameters `(n, N)` in the user's units, from those of the mesh below."""
        assert self.below is not None
        coarse = self.below.seen.field
        breakpoints = [axis.breakpoints() for axis in spline_axes(self.seen.field)]
        transfer, build = on_new_breakpoints(Level(coarse), breakpoints)[1], flat_parameters(coarse)[1]

        def lift(row: Any) -> Any:
            leaves = jax.tree.leaves(transfer.prolong(partition(build(row))[0]))
            return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])

        return np.asarray(jax.lax.map(lift, rows))


def predicted(levels: Sequence[MeshMembers], inputs: np.ndarray) -> np.ndarray:
    """Values of a member, by the models of all meshes."""
    z = levels[0].solver.family.scaled(inputs)
    fits = [level.fit for level in levels if level.fit is not None]
    return np.sum([np.asarray(_called(fit.model, z)) @ fit.shown for fit in fits], axis=0)


def missed(levels: Sequence[MeshMembers]) -> np.ndarray:
    """Relative errors of the models at the members kept apart on the finest mesh, as solved there."""
    judges = levels[-1].judges
    apart = [np.linalg.norm(predicted(levels, judge.inputs) - judge.values) for judge in judges]
    return np.array(apart) / [max(float(np.linalg.norm(judge.values)), 1e-300) for judge in judges]


@jax.jit
def _called(model: AbstractRegression, z: Any) -> Any:
    return model(z)
