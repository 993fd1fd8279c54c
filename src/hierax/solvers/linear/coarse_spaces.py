"""Coarse spaces of Schwarz preconditioners: functions that reach across subdomains."""

from __future__ import annotations

import abc
import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.flatten_util import ravel_pytree

from hierax.fields.base import partition
from hierax.fields.partition_of_unity import PartitionOfUnity
from hierax.solvers.linear.orthogonal import OrthogonalBlocks
from hierax.solvers.linear.schwarz import TwoLevel


class Part(NamedTuple):
    """Parameters `(J, own)` of the subdomains of a field, and the field, nothing for one that is seen as a whole."""

    numbers: np.ndarray
    field: PartitionOfUnity | None


class AbstractCoarseSpace(abc.ABC):
    """Functions that reach across subdomains, as coefficients of the orthonormal blocks."""

    @abc.abstractmethod
    def vectors(self, part: Part, basis: OrthogonalBlocks) -> sp.csc_array | None:
        """Columns of `Z`, `(J K, coarse)`."""

    def improved(self, two_level: TwoLevel) -> TwoLevel:
        """The preconditioner with what can only be found by applying it; by default as it is."""
        return two_level


@dataclass(frozen=True)
class NoCoarseSpace(AbstractCoarseSpace):
    """Nothing: patches alone."""

    def vectors(self, part: Part, basis: OrthogonalBlocks) -> None:
        return None


@dataclass(frozen=True)
class Nicolaides(AbstractCoarseSpace):
    r"""On every subdomain its window times the polynomials of total degree up to `degree`.

    Patches cannot see what reaches across many subdomains with little residual. On a line polynomials below the order
    of the equation are enough. In the plane harmonic functions have no residual either, and quadratic ones are needed:
    with an overlap of 1.3 iterations for 16, 64, 256 and 1024 subdomains were 17, 26, 47, 90 with degree 1 and 16, 21,
    22, 22 with degree 2 (the study `schwarz-scaling`). Where the bases of many subdomains depend on each other nearly,
    iterations grow with both, see `AdaptiveCoarseSpace`. The polynomials are expressed in the local fields by least
    squares at a grid of points.

    References
    ----------
    Nicolaides, SIAM J. Numer. Anal. 24 (1987), for constants and equations of second order in weak form.
    """

    degree: int = 2

    def vectors(self, part: Part, basis: OrthogonalBlocks) -> sp.csc_array | None:
        if part.field is None:
            return None
        coefficients = _polynomials(part.field, self.degree)  # (J, own, modes)
        count, _, modes = coefficients.shape
        rows = np.broadcast_to(part.numbers[:, :, None], coefficients.shape)
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
