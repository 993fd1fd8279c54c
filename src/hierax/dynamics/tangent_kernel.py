r"""The tangent kernel of an objective: which parts of its residuals gradient descent removes, and how fast.

With the residuals of all terms, each times the root of its weight and of its term's scale, as one vector
:math:`\rho` and their Jacobian `J`, gradient descent with the rate :math:`\eta` changes the residuals by

.. math:: \rho \leftarrow (I - \eta \, \Theta) \rho , \qquad \Theta = J J' ,

as long as `J` stays as it is. The part of :math:`\rho` along the eigenvector of the eigenvalue :math:`\lambda_i` is
multiplied by :math:`1 - \eta \lambda_i` in every step. The kernel has one block for each pair of terms; a term whose
diagonal block has the larger trace is learned faster.

The kernel and the Gauss-Newton matrix `J'J` share their nonzero eigenvalues. With the unit eigenvectors `v` of the
matrix and the gradient `g` the part of the residuals along mode `i` is :math:`v_i'g / \sqrt{\lambda_i}`, so the leading
modes are found from products with the matrix alone (`leading_modes`).

References
----------
Jacot, Gabriel, Hongler, NeurIPS 2018, arXiv 1806.07572; Wang, Yu, Perdikaris, When and why PINNs fail to train, J.
Comput. Phys. 2022, arXiv 2007.14527 (blocks of terms, weights from traces).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh

from hierax._errors import InputError
from hierax.objective import AbstractObjective
from hierax.objective.objective import AbstractLeastSquares, Linearisation

DENSE = 600
"""Most parameters for which all eigenvectors are computed; above, Lanczos iterations find the leading ones."""


class Modes(NamedTuple):
    """Leading modes of the kernel, largest eigenvalue first.

    Attributes
    ----------
    eigenvalues:
        Shape `(k,)`.
    shares:
        Part of the residuals' sum of squares along each mode, `(k,)`; what is missing to one lies along other modes or
        is not seen by the parameters at all.
    vectors:
        Unit eigenvectors of the Gauss-Newton matrix, in the columns, `(N, k)`.
    """

    eigenvalues: Float[np.ndarray, " k"]
    shares: Float[np.ndarray, " k"]
    vectors: Float[np.ndarray, "N k"] | None = None

    def parts(self, gradient: Float[np.ndarray, " N"]) -> Float[np.ndarray, " k"]:
        """Part of the residuals along each mode, from a gradient here or nearby; zero for modes that are not seen."""
        assert self.vectors is not None
        visible = self.eigenvalues > 1e-14 * self.eigenvalues.max(initial=0.0)
        along = self.vectors.T @ gradient
        return np.where(visible, along / np.sqrt(np.where(visible, self.eigenvalues, 1.0)), 0.0)


def leading_modes(at: Linearisation, count: int = 20) -> Modes:
    """Leading modes of the tangent kernel from a linearisation of any kind.

    Parameters
    ----------
    at:
        Linearisation of an objective whose terms are all least squares: its value is half the sum of squares.
    count:
        How many; fewer where there are not as many parameters.
    """
    size = at.curvature.size
    count = min(count, size)
    if size <= max(DENSE, 2 * count):
        matrix = np.stack([at.curvature.mv(unit) for unit in np.eye(size)], axis=1)
        found, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    else:
        # a fixed start: the same modes on every call
        start = np.random.default_rng(0).normal(size=size)
        product = LinearOperator((size, size), matvec=at.curvature.mv, dtype=np.float64)  # pyright: ignore
        found, vectors = eigsh(product, k=count, which="LM", v0=start, ncv=min(size, 2 * count + 20))
    order = np.argsort(-found)[:count]
    values, vectors = np.maximum(found[order], 0.0), vectors[:, order]
    energy = Modes(values, values, vectors).parts(at.gradient) ** 2
    return Modes(values, energy / max(2.0 * at.value, 1e-300), vectors)


def term_traces(objective: AbstractObjective, theta: Float[np.ndarray, " N"]) -> Float[np.ndarray, " terms"]:
    """Traces of the kernel's diagonal blocks, without forming them."""
    scales = np.array([s.scale for s in objective.samples])
    return scales * objective.diagonals(theta).sum(axis=1)  # pyright: ignore


@final
@dataclass(frozen=True, eq=False)
class TangentKernel:
    """The rows of an objective and what follows from them; dense in the number of residuals.

    Attributes
    ----------
    rows:
        `J`, `(m, N)`.
    residuals:
        `(m,)`.
    starts:
        Where the residuals of each term begin, `(terms + 1,)`.
    names:
        Of the terms.
    """

    rows: Float[np.ndarray, "m N"]
    residuals: Float[np.ndarray, " m"]
    starts: np.ndarray
    names: tuple[str, ...]

    @property
    def matrix(self) -> Float[np.ndarray, "m m"]:
        """The kernel."""
        return self.rows @ self.rows.T

    def block(self, first: int, second: int) -> Float[np.ndarray, "m1 m2"]:
        """The block of two terms."""
        part = [self.rows[self.starts[k] : self.starts[k + 1]] for k in (first, second)]
        return part[0] @ part[1].T

    @property
    def traces(self) -> Float[np.ndarray, " terms"]:
        """Traces of the diagonal blocks."""
        return np.add.reduceat(np.einsum("mn,mn->m", self.rows, self.rows), self.starts[:-1])

    def eigenpairs(self, count: int) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "m k"]]:
        """Largest eigenvalues, falling, and their unit eigenvectors in the space of the residuals."""
        left, size, _ = np.linalg.svd(self.rows, full_matrices=False)
        return size[:count] ** 2, left[:, :count]


def tangent_kernel(objective: AbstractObjective, theta: Float[np.ndarray, " N"]) -> TangentKernel:
    """The kernel of an objective at some parameters.

    Raises
    ------
    InputError
        For an objective that is no sum of squares.
    """
    rows = _rows(objective)
    residuals = rows.weighted_residuals(theta)
    return TangentKernel(
        np.concatenate(rows.weighted_rows(theta)),
        np.concatenate(residuals),
        np.cumsum([0, *(r.size for r in residuals)]),
        tuple(s.term.name for s in objective.samples),
    )


def _rows(objective: AbstractObjective) -> AbstractLeastSquares:
    rows = objective.least_squares()
    if rows is None:
        raise InputError(
            what="an objective with energies, penalties or corrections is no sum of squares and has no residuals",
            where="tangent_kernel",
            remedy="give it residuals and data only",
        )
    return rows


class Decay(NamedTuple):
    """Rates of the leading modes in a run of gradient descent.

    Attributes
    ----------
    predicted, observed:
        Shape `(k,)`, a step: minus the mean change of the logarithm of the part of the residuals along each mode.
    """

    predicted: Float[np.ndarray, " k"]
    observed: Float[np.ndarray, " k"]


def decay(
    objective: AbstractObjective, theta: Float[np.ndarray, " N"], rate: float, steps: int, count: int = 20
) -> Decay:
    """Predict the decay of every leading mode from the kernel at the start, and observe it in gradient descent.

    The rate should be small against the inverse of the largest eigenvalue, and the steps few enough for the kernel to
    stay as it is: then the two agree.
    """
    kernel = tangent_kernel(objective, theta)
    values, vectors = kernel.eigenpairs(count)
    before, moved = vectors.T @ kernel.residuals, theta.copy()
    for _ in range(steps):
        moved = moved - rate * objective.value_and_gradient(moved)[1]
    after = vectors.T @ np.concatenate(_rows(objective).weighted_residuals(moved))
    # the ratio is near one: its logarithm from the difference
    return Decay(-np.log1p(-rate * values), -np.log1p((after - before) / before) / steps)
