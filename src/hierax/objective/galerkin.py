r"""Stabilised Galerkin equations: residuals tested with the functions of a field, in place of their least squares.

Least squares of the residual are those of the error only where the equation treats all errors alike. A solution with
layers does not: the residual of a steep place hardly tells how far its error reaches. Testing the residual with the
functions of the field itself,

.. math:: \int (v + \tau L v) \, (L u - f) = 0 \quad \text{for all } v ,

has an error near the best of the space where `L` is coercive, and the part with :math:`\tau` keeps it stable where
convection dominates: it is a step towards least squares, which are the limit of large :math:`\tau`. Here
:math:`\tau = |b| / (2 |L b|)` at every point, with the sizes of all basis functions and of what `L` makes of them
there, so it follows mesh, coefficients and solution by itself.

References
----------
Hughes, Franca, Hulbert, Comput. Methods Appl. Mech. Eng. 73 (1989) 173-189.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from hierax.objective.assembly import local_residuals
from hierax.objective.build import balance
from hierax.objective.objective import flat_parameters
from hierax.objective.pointwise import AbstractPointTerm
from hierax.objective.rows import RowObjective
from hierax.objective.samples import Samples

TOWARDS_LEAST_SQUARES = 0.5
"""Factor of :math:`|b| / |L b|`."""
CONDITIONS = 1e6
"""Weight of conditions against equations where both act: test functions there then have no say."""
LEFT = 1e-6
"""Most that may be left of the misfit by a factorisation, relative."""
STEPS, SETTLED, ROUNDING = 8, 1e-10, 1e-7
"""Most Newton steps; the relative length of a step after which there is none, and of one that no longer falls."""


def galerkin(
    field: Any, equation: Samples, conditions: Sequence[Samples], values: AbstractPointTerm, linear: bool = False
) -> Any | None:
    """The field after Newton's method for its stabilised Galerkin equations; `None` where that does not converge.

    Parameters
    ----------
    field:
        Scalar, with few parameters at each point, and near the solution.
    equation:
        The equation of one component, and quadrature points inside the domain.
    conditions:
        Boundary and start conditions, which are met in the least-squares sense with a large weight.
    values:
        The term whose residual is the unknown itself.
    linear:
        Whether all residuals are affine in the field: then one step is the solution.
    """
    theta, build = flat_parameters(field)
    tested = Samples(values, equation.points, equation.weights, equation.normals, np.zeros((equation.count, 0)))
    basis, _ = jacobian_rows(field, tested, theta)
    if _count(basis) != _count(jacobian_rows(field, equation, theta)[0]):
        return None
    last = np.inf
    for _ in range(STEPS):
        step = _solution(*_system(field, theta, equation, conditions, basis))
        length = float(np.linalg.norm(step))
        if not np.isfinite(length) or length > 2.0 * last:
            return None
        if linear:
            return build(theta + step)
        theta, slow = theta + step, length > 0.3 * last
        # where rounding ends the fall of the steps they are small enough
        if length < (ROUNDING if slow else SETTLED) * float(np.linalg.norm(theta)):
            return build(theta)
        last = length
    return None


def _system(
    field: Any, theta: np.ndarray, equation: Samples, conditions: Sequence[Samples], basis: sp.csr_array
) -> tuple[sp.csr_array, np.ndarray]:
    """Matrix and right-hand side with the opposite sign."""
    rows, residual = jacobian_rows(field, equation, theta)
    weights = equation.weights
    # an equation written with the opposite sign is the same equation: the part towards least squares needs one sign
    sign = 1.0 if float(weights @ (basis * rows).sum(axis=1)) >= 0 else -1.0
    slack = TOWARDS_LEAST_SQUARES * _norms(basis) / np.maximum(_norms(rows), 1e-300)
    tests = sp.csr_array(sp.diags_array(weights) @ (sign * basis + sp.diags_array(slack) @ rows))
    matrix, right = tests.T @ rows, tests.T @ residual
    found = [jacobian_rows(field, s, theta) for s in conditions]
    diagonals = np.stack(
        [np.abs(matrix.diagonal()), *(_squares(j, s) for (j, _), s in zip(found, conditions, strict=True))]
    )
    equations = np.arange(len(diagonals)) == 0
    scales = balance(diagonals, equations, np.full(len(diagonals), CONDITIONS))[1:]
    for (own, misfit), samples, scale in zip(found, conditions, scales, strict=True):
        weighted = sp.diags_array(scale * np.repeat(samples.weights, len(misfit) // samples.count)) @ own
        matrix, right = matrix + weighted.T @ own, right + weighted.T @ misfit
    return sp.csr_array(matrix), right


def _solution(matrix: sp.csr_array, misfit: np.ndarray) -> np.ndarray:
    """The step that makes the misfit vanish; not finite where there is none.

    The pattern is symmetric and the stabilised equations are nearly coercive, so a factorisation that keeps to the
    diagonal is tried first: it fills six times less than one with pivots.
    """
    columns, size = matrix.tocsc(), float(np.linalg.norm(misfit))
    symmetric: dict[str, Any] = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0}
    for settings in ({**symmetric, "options": {"SymmetricMode": True}}, {}):
        try:
            step = splu(columns, **settings).solve(-misfit)
        except RuntimeError:  # exactly singular
            continue
        if float(np.linalg.norm(columns @ step + misfit)) <= LEFT * size:
            return step
    return np.full(len(misfit), np.nan)


def jacobian_rows(field: Any, samples: Samples, theta: np.ndarray) -> tuple[sp.csr_array, np.ndarray]:
    """Rows `(n m, N)` of the Jacobian without weights, and the residuals `(n m,)`."""
    objective = RowObjective(field, [samples.weighted(np.ones(samples.count))])
    blocks = [block.sparse(1.0, objective.size) for block in objective.row_blocks(objective.samples[0], theta)]
    rows = sp.csr_array(sp.vstack(blocks, format="csr"))
    rows.sum_duplicates()
    return rows, local_residuals(flat_parameters(field)[1](theta), samples).ravel()


def _count(rows: sp.csr_array) -> int:
    return int(rows.shape[0])  # pyright: ignore


def _norms(rows: sp.csr_array) -> np.ndarray:
    return np.sqrt((rows * rows).sum(axis=1))


def _squares(rows: sp.csr_array, samples: Samples) -> np.ndarray:
    weights = np.repeat(samples.weights, _count(rows) // samples.count)
    return (rows * rows).T @ weights
