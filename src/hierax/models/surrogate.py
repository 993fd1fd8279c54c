"""`Surrogate`: from the numbers of a member to its solution, with an estimate of its own error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike
from scipy.spatial import KDTree

from hierax.models.exporting import open_sizes, write_export
from hierax.models.inputs import AbstractInput
from hierax.models.regression import AbstractRegression
from hierax.models.varied import as_inputs
from hierax.objective.objective import flat_parameters
from hierax.objective.view import physical
from hierax.problems.problem import Problem
from hierax.results.archive import save
from hierax.results.evaluation import columns

SAFETY, NEARLY = 2.0, 2.0
"""Least factor between an estimate from the equations and a bound; factor on the largest that was seen."""


class Calibration(NamedTuple):
    """How the doubt of a regression is read, from members that were solved and not learned from.

    Attributes
    ----------
    factor:
        Error over doubt, the median.
    bound:
        Error over estimate that nearly all members stay below.
    floor:
        Relative error of the mesh.
    errors:
        Relative errors `(n,)` at those members.
    estimates:
        What was estimated there.
    equations:
        What the equations show at the first of them `(m,)`; nothing where only a solve does.
    inputs, solved:
        Their inputs `(n, k)`, and the parameters `(3, N)` of three of them as they were solved, see `ranked`.
    learned, failed:
        Inputs of the members that were learned from, and of those that could not be solved.
    """

    factor: float
    bound: float
    floor: float
    errors: np.ndarray
    estimates: np.ndarray
    equations: np.ndarray = np.zeros(0)
    inputs: np.ndarray = np.zeros((0, 0))
    solved: np.ndarray = np.zeros((0, 0))
    learned: np.ndarray = np.zeros((0, 0))
    failed: np.ndarray = np.zeros((0, 0))

    @property
    def safety(self) -> float:
        """Factor on an estimate from the equations, below which nearly all errors stay."""
        if not len(self.equations):
            return SAFETY
        return max(SAFETY, NEARLY * float(np.max(self.errors[: len(self.equations)] / self.equations)))


def ranked(errors: np.ndarray) -> list[int]:
    """Which of some members are predicted worst, as most are, and best."""
    order = np.argsort(errors)[::-1]
    return [int(order[k]) for k in (0, len(order) // 2, -1)]


@final
@dataclass(frozen=True, eq=False)
class LearningRecord:
    """How a surrogate was learned.

    Attributes
    ----------
    model, candidates:
        What was chosen at samples left out, and the error of every candidate.
    samples, failed, validated:
        Members that were learned from (on the coarsest mesh in use), that failed their guards and were left out, and
        that were kept for validation.
    parameters, modes:
        Of the finest mesh in use; of the reduced basis.
    seconds, seconds_solving, seconds_mesh:
        In all, for the members, and to find the mesh.
    seconds_member, seconds_prediction:
        What one member costs on the common mesh, and predicted.
    history:
        Members, seconds so far, and the median and largest error at members kept apart, of each fit.
    levels:
        Of the member in the middle: parameters and seconds of each level, and the relative change by the next.
    meshes:
        Parameters of each common mesh in use, and members that were learned from there.
    stopped_by:
        `tolerance`, `budget`, `samples`.
    reasons:
        What failed, with how many members.
    """

    model: str
    candidates: Mapping[str, float]
    samples: int
    failed: int
    validated: int
    parameters: int
    modes: int
    seconds: float
    seconds_solving: float
    seconds_mesh: float
    seconds_member: float
    stopped_by: str
    reasons: Mapping[str, int] = field(default_factory=dict)
    seconds_prediction: float = 0.0
    history: tuple[tuple[int, float, float, float], ...] = ()
    levels: tuple[tuple[int, float, float], ...] = ()
    meshes: tuple[tuple[int, int], ...] = ()


@final
@dataclass(frozen=True, eq=False)
class Surrogate:
    """A family learned: `surrogate(inputs)` is the solution of a member, at the cost of a product with a matrix.

    It can be differentiated, compiled and mapped by JAX. Errors are relative L2 norms over the domain, of all unknowns
    together, each in units of its own size; of an unknown with bounds those of what is mapped into them.

    Attributes
    ----------
    inputs:
        What varies, by name.
    problem:
        Domain and unknowns, without code.
    model, basis:
        From scaled inputs to coefficients `(m,)`, and the parameters `(m, N)` of each mode; modes are orthonormal in
        the norm of the errors.
    field, own_mesh, coarse:
        The common mesh in the units of the user and of the training, and the coarse one on which errors are looked for
        where the problem is given.
    mesh_floor:
        Error on the common mesh over the root of the loss of a member, see `MemberSolver`.
    calibration, record:
        What is known of its errors; how it was learned.
    """

    inputs: dict[str, AbstractInput]
    problem: Problem
    model: AbstractRegression
    basis: Float[Array, "m N"]
    field: Any
    own_mesh: Any
    coarse: Any
    mesh_floor: float
    calibration: Calibration
    record: LearningRecord
    seed: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of their columns."""
        return tuple(self.inputs)

    def scaled(self, values: Any) -> Any:
        """Inputs `(..., k)` in the coordinates of the model."""
        stacked = [one.scaled(values[..., k]) for k, one in enumerate(self.inputs.values())]
        return (np if isinstance(values, np.ndarray) else jnp).stack(stacked, axis=-1)

    def vector(self, inputs: Mapping[str, Any] | Any) -> Any:
        """One member's inputs `(k,)`, from numbers by name or such an array; they may be traced."""
        if isinstance(inputs, Mapping):
            return jnp.stack([jnp.asarray(inputs[name], dtype=float) for name in self.names])
        return inputs

    def __call__(self, inputs: Mapping[str, Any] | Float[Array, " k"]) -> Any:
        """The solution of a member: a function of the point, or with named unknowns an object with one for each."""
        return physical(self.problem, self.solution(inputs))

    def solution(self, inputs: Mapping[str, Any] | Float[Array, " k"]) -> Any:
        """The field of a member, whose unknowns are still to be mapped into their bounds."""
        theta = self.model(self.scaled(self.vector(inputs))) @ self.basis
        return flat_parameters(self.field)[1](theta)

    def error(self, inputs: Mapping[str, Any] | Float[Array, " k"]) -> Float[Array, ""]:
        """Estimate of the relative error of a prediction, from the model alone."""
        z = self.scaled(self.vector(inputs))
        size = jnp.sqrt(jnp.sum(self.model(z) ** 2) + 1e-300)
        return jnp.hypot(self.calibration.factor * self.model.doubt(z) / size, self.calibration.floor)

    def errors(self, inputs: Mapping[str, ArrayLike] | ArrayLike) -> np.ndarray:
        """Estimates `(n,)` for many members `(n, k)`."""
        coefficients, doubts = _predicted(self.model, self.scaled(as_inputs(inputs, self.names)))
        sizes = np.maximum(np.linalg.norm(coefficients, axis=1), 1e-150)
        return np.hypot(self.calibration.factor * np.asarray(doubts) / sizes, self.calibration.floor)

    def error_bounds(self, inputs: Mapping[str, ArrayLike] | ArrayLike) -> np.ndarray:
        """What nearly all errors stay below `(n,)`, for many members `(n, k)`: infinite outside of what was learned."""
        return np.where(self.outside(inputs) > 0.0, np.inf, self.calibration.bound * self.errors(inputs))

    def outside(self, inputs: Mapping[str, ArrayLike] | ArrayLike) -> np.ndarray:
        """How far `(n,)` members are outside of what was learned, in half ranges of the worst input; 0 inside.

        Where the nearest member that was tried has failed it is the distance to the nearest that has not.
        """
        z = np.asarray(self.scaled(as_inputs(inputs, self.names)))
        beyond, tried = np.max(np.maximum(np.abs(z) - 1.0, 0.0), axis=1), self.calibration
        if not len(tried.failed):
            return beyond
        known, unknown = (KDTree(self.scaled(one)).query(z)[0] for one in (tried.learned, tried.failed))
        return np.maximum(beyond, np.where(unknown < known, known, 0.0))

    def columns(
        self, inputs: Mapping[str, Any] | ArrayLike, points: ArrayLike, values: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Values and derivatives of one member at points `(n, dim)`, by name as in `hierax predict`."""
        found = self.solutions(as_inputs(inputs, self.names)[:1])[0]
        return columns(self.problem, found, points, tuple(values) or tuple(self.problem.unknowns))

    def solutions(self, inputs: Mapping[str, ArrayLike] | ArrayLike) -> list[Any]:
        """The fields of many members `(n, k)`; see `solution`."""
        build = flat_parameters(self.field)[1]
        return [build(theta) for theta in self.parameters(inputs)]

    def parameters(self, inputs: Mapping[str, ArrayLike] | ArrayLike) -> np.ndarray:
        """Their parameters `(n, N)`."""
        coefficients, _ = _predicted(self.model, self.scaled(as_inputs(inputs, self.names)))
        return np.asarray(coefficients) @ np.asarray(self.basis)

    def save(self, path: str | Path) -> None:
        """Write it into one file, which `hierax.load` reads."""
        save(self, Path(path))

    def export(self, path: str | Path) -> None:
        """Write it as an artefact of `jax.export`, which JAX calls without this library.

        `jax.export.deserialize(Path(path).read_bytes()).call(inputs, points)` takes members `(n, k)` and points
        `(p, d)` in the order of `names` and of the coordinates, for any `n` and `p`, and returns `(n, p, c)`: all
        components of all unknowns in the order of `problem.unknowns`. It can be differentiated once.

        Raises
        ------
        InputError
            Where the package `flatbuffers` is missing, or the file cannot be written.
        """

        def values(z: Any, x: Any) -> Any:
            found = self(z)
            parts = [getattr(found, name) for name in self.problem.functions] if self.problem.named else [found]
            return jnp.concatenate([jnp.ravel(part(x)) for part in parts])

        many, at = open_sizes("n, p")
        shapes = [jax.ShapeDtypeStruct(shape, self.basis.dtype)
                  for shape in ((many, len(self.names)), (at, self.problem.domain.dim))]  # fmt: skip
        write_export(Path(path), jax.vmap(jax.vmap(values, (None, 0)), (0, None)), *shapes)

    def __str__(self) -> str:
        r, c = self.record, self.calibration
        failed = f", {r.failed} failed their guards and were left out" if r.failed else ""
        lines = [
            f"surrogate of {self.problem.name}: {', '.join(self.names)} -> {', '.join(self.problem.unknowns)}",
            "Learned: "
            + ", ".join(f"{count} members on a mesh of {size} parameters" for size, count in r.meshes)
            + f"{failed}; {r.model}, {r.modes} modes",
            *(
                f"{'*' if n == r.model else ' '} {n}: error at members left out {e:.2g}"
                for n, e in r.candidates.items()
            ),
            f"relative L2 error at {r.validated} members not learned from: median {np.median(c.errors):.2g}, "
            f"largest {np.max(c.errors):.2g}; true over estimated error "
            f"{np.min(c.errors / c.estimates):.2g} to {np.max(c.errors / c.estimates):.2g}, mesh {c.floor:.1g}",
            *_told_by_equations(c),
            f"{r.seconds:.2f} s: mesh {r.seconds_mesh:.2f} s, members and fits {r.seconds_solving:.2f} s; a member is "
            f"solved in {1e3 * r.seconds_member:.3g} ms (stopped by: {r.stopped_by})",
        ]
        return "\n".join(lines)


def _told_by_equations(c: Calibration) -> list[str]:
    if not len(c.equations):
        return []
    ratios = c.errors[: len(c.equations)] / c.equations
    return [f"with --problem: true over estimated error {np.min(ratios):.2g} to {np.max(ratios):.2g}, by the equations"]


@eqx.filter_jit
def _predicted(model: AbstractRegression, z: Float[Array, "n k"]) -> tuple[Float[Array, "n m"], Float[Array, " n"]]:
    return jax.vmap(model)(z), jax.vmap(model.doubt)(z)
