"""Training partitions of unity whose local fields are linear: sparse least squares with Schwarz preconditioners."""

from __future__ import annotations

import abc
import functools
import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.flatten_util import ravel_pytree

from hierax._errors import InputError
from hierax._results import RESULTS
from hierax.fields.base import linear_in_parameters, parameter_count, partition
from hierax.fields.partition_of_unity import PartitionOfUnity, subdomain_parameters
from hierax.fields.sums import Sum
from hierax.hierarchy.transport import RESET
from hierax.objective import AbstractObjective
from hierax.objective.least_squares import is_least_squares, weighted_residual
from hierax.objective.rows import RowObjective
from hierax.solvers.base import AbstractSolver, Step, Tolerances
from hierax.solvers.gauss_newton import GaussNewton
from hierax.solvers.orthogonal import OrthogonalBlocks, orthogonalised
from hierax.solvers.schwarz import AbstractSweep, Additive, Solved, System, TwoLevel, least_squares


class Part(NamedTuple):
    """Parameters `(J, own)` of the subdomains of a field, and the field, nothing for one that is seen as a whole."""

    numbers: np.ndarray
    field: PartitionOfUnity | None


@functools.singledispatch
def parts_of(field: Any) -> list[Part]:
    """The parameters of a field by subdomains, coarse levels first; one block of all for other fields."""
    return [Part(np.arange(parameter_count(field))[None], None)]


@parts_of.register
def _(field: PartitionOfUnity) -> list[Part]:
    return [Part(subdomain_parameters(field.locals), field)]


@parts_of.register
def _(field: Sum) -> list[Part]:
    counts = [parameter_count(part) for part in field.parts]
    offsets = itertools.accumulate([0, *counts[:-1]])
    found = [(offset, part) for offset, whole in zip(offsets, field.parts, strict=True) for part in parts_of(whole)]
    return [Part(part.numbers + offset, part.field) for offset, part in found]


class AbstractCoarseSpace(abc.ABC):
    """Functions that reach across subdomains, as coefficients of the orthonormal blocks."""

    @abc.abstractmethod
    def vectors(self, parts: list[Part], basis: OrthogonalBlocks) -> sp.csc_array | None:
        """Columns of `Z` besides the coarser levels of the field, `(J K, coarse)`."""


@dataclass(frozen=True)
class NoCoarseSpace(AbstractCoarseSpace):
    """Nothing but the coarser levels of the field, where it has such."""

    def vectors(self, parts: list[Part], basis: OrthogonalBlocks) -> None:
        return None


@dataclass(frozen=True)
class Nicolaides(AbstractCoarseSpace):
    r"""On every subdomain its window times the polynomials of total degree up to `degree`.

    Patches cannot see what reaches across many subdomains with little residual. On a line polynomials below the order
    of the equation are enough. In the plane harmonic functions have no residual either, and quadratic ones are needed:
    with an overlap of 1.3 iterations for 16, 64, 256 and 1024 subdomains were 17, 26, 47, 90 with degree 1 and 16, 21,
    22, 22 with degree 2 (the study `schwarz-scaling`). With wider overlaps they grew with both. The polynomials are
    expressed in the local fields by least squares at a grid of points.

    References
    ----------
    Nicolaides, SIAM J. Numer. Anal. 24 (1987), for constants and equations of second order in weak form.
    """

    degree: int = 2

    def vectors(self, parts: list[Part], basis: OrthogonalBlocks) -> sp.csc_array | None:
        last = parts[-1]
        if last.field is None:
            return None
        coefficients = _polynomials(last.field, self.degree)  # (J, own, modes)
        count, _, modes = coefficients.shape
        rows = np.broadcast_to(last.numbers[:, :, None], coefficients.shape)
        columns = np.broadcast_to(np.arange(count * modes).reshape(count, 1, modes), coefficients.shape)
        shape = (basis.forth.shape[1], count * modes)  # pyright: ignore
        return sp.csc_array(basis.forth @ sp.csc_array((coefficients.ravel(), (rows.ravel(), columns.ravel())), shape))


def _polynomials(field: PartitionOfUnity, degree: int) -> np.ndarray:
    """Coefficients of every local field that come nearest to each polynomial, for each output."""
    dim = field.cover.dim
    nodes = np.cos(np.pi * (np.arange(2 * degree + 4) + 0.5) / (2 * degree + 4))
    points = np.stack([axis.ravel() for axis in np.meshgrid(*[nodes] * dim, indexing="ij")], axis=1)
    powers = [p for p in itertools.product(range(degree + 1), repeat=dim) if sum(p) <= degree]
    values = np.stack([np.prod(points ** np.array(p), axis=1) for p in powers], axis=1)
    matrix = np.asarray(_local_values(field.locals, jnp.asarray(points)))  # (J, points, outputs, own)
    outputs = matrix.shape[2]
    targets = np.einsum("pm,oq->poqm", values, np.eye(outputs)).reshape(len(points) * outputs, -1)
    flat = matrix.reshape(len(matrix), -1, matrix.shape[3])
    return np.linalg.pinv(flat, rcond=1e-8) @ targets


@eqx.filter_jit
def _local_values(locals_: Any, points: jax.Array) -> jax.Array:
    """Values of the functions of every local field at the same local points, `(J, points, outputs, own)`."""

    def one(field: Any) -> jax.Array:
        params, rest = partition(field)
        flat, build = ravel_pytree(params)

        def values(c: jax.Array) -> jax.Array:
            local = eqx.combine(build(c), rest)
            return jax.vmap(lambda z: jnp.ravel(local(z)))(points)

        return jax.jacfwd(values)(jnp.zeros_like(flat))

    return eqx.filter_vmap(one)(locals_)


class SchwarzState(NamedTuple):
    """Steps taken, and the state of the solver that stands in where there is no linear field."""

    steps: int = 0
    other: Any = None


@dataclass(frozen=True)
class Schwarz(AbstractSolver):
    r"""Least squares on subdomains: local fields made orthonormal, then preconditioned conjugate gradients.

    For fields that are linear in all parameters. The rows of the Jacobian are kept as a sparse matrix, every
    subdomain's columns are replaced by an orthonormal basis of what they span to rounding (`OrthogonalBlocks`), and the
    system is solved by conjugate gradients with a Schwarz preconditioner (`TwoLevel`). The coarse space is made of the
    coarser levels of the field, if it has such, and of `coarse`. Terms that are not linear in the field are linearised,
    step by step. A field without subdomains is one block. Other fields, energies and penalties are left to
    `GaussNewton`.

    Parameters
    ----------
    coarse:
        Functions that reach across subdomains.
    layers:
        Layers of neighbours in a patch.
    sweep:
        How patches are put together.
    rank:
        Singular values of a subdomain's columns below this share of the largest are left out.
    precision, most:
        Where conjugate gradients stop: decrease of the preconditioned gradient, most iterations.
    tolerances:
        When a level is trained.
    """

    coarse: AbstractCoarseSpace = Nicolaides()
    layers: int = 1
    sweep: AbstractSweep = Additive()
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
        if not any(part.field is not None for part in parts_of(field)):
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
        return SchwarzState(0, None if _is_linear(objective) else self._other.init(objective, theta))

    def kinds(self, state: SchwarzState) -> Any:
        return SchwarzState(RESET, None if state.other is None else self._other.kinds(state.other))  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: SchwarzState) -> Step:
        if not _is_linear(objective):
            step = self._other.step(objective, theta, state.other or self._other.init(objective, theta))
            return step._replace(state=SchwarzState(state.steps + 1, step.state))
        rows = objective if isinstance(objective, RowObjective) else RowObjective(objective.field, objective.samples)  # pyright: ignore
        residual = weighted_residual(rows, theta)
        if not np.all(np.isfinite(residual)):
            return Step(theta, state, 0.5 * float(residual @ residual), np.inf, True, RESULTS.nonfinite)
        basis, found = self.solve(rows, theta, residual)
        left = residual - basis.matrix @ found.x
        change, value = -(basis.back @ found.x), 0.5 * float(residual @ residual)
        for length in 0.5 ** np.arange(12):
            trial = weighted_residual(rows, theta + length * change)
            after = 0.5 * float(trial @ trial)
            if after <= value * (1.0 + 1e-12):
                gain, steps = (value - after) / max(value, 1e-300), state.steps + 1
                # a residual that is what the linear model says leaves nothing for another step
                affine = length == 1.0 and np.linalg.norm(trial - left) <= 1e-6 * np.linalg.norm(residual)
                done = bool(affine or gain < self.tolerances.relative or steps >= self.tolerances.steps)
                kept = SchwarzState(steps)
                return Step(theta + length * change, kept, after, gain, done, iterations=found.iterations)
        return Step(theta, state, value, 0.0, True, iterations=found.iterations)

    def solve(
        self, objective: RowObjective, theta: np.ndarray, residual: np.ndarray
    ) -> tuple[OrthogonalBlocks, Solved]:
        """Orthonormal blocks of the Jacobian, and the coefficients that come nearest to a residual `(R,)`."""
        parts = parts_of(objective.field)
        basis, two_level = self.preconditioner(objective.sparse_rows(theta), parts)
        return basis, least_squares(basis.matrix, residual, two_level, self.precision, self.most)

    def preconditioner(self, matrix: sp.csr_array, parts: list[Part]) -> tuple[OrthogonalBlocks, TwoLevel]:
        """Orthonormal blocks of a sparse Jacobian, and the preconditioner of their Gram matrix."""
        basis = orthogonalised(matrix, [numbers for part in parts for numbers in part.numbers], self.rank)
        local = np.repeat(np.arange(len(parts)) == len(parts) - 1, [len(part.numbers) for part in parts])
        levels = np.flatnonzero(np.repeat(~local, basis.width))
        vectors = self.coarse.vectors(parts, basis)
        columns = [] if vectors is None else [vectors]
        if len(levels):
            shape = (basis.matrix.shape[1], len(levels))  # pyright: ignore
            columns.append(sp.csc_array((np.ones(len(levels)), (levels, np.arange(len(levels)))), shape))
        coarse = sp.csc_array(sp.hstack(columns, format="csc")) if columns else None
        return basis, TwoLevel(System(basis, local), coarse, self.layers, self.sweep)


def _is_linear(objective: AbstractObjective) -> bool:
    return is_least_squares(objective) and linear_in_parameters(objective.field)  # pyright: ignore
