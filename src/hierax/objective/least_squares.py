"""An objective as one least-squares problem: weighted residuals and their rows, and which columns are linear."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from hierax._errors import InputError
from hierax.fields.base import linear_parameters, partition
from hierax.objective.objective import AbstractLeastSquares
from hierax.objective.rows import KERNEL_ENTRIES


def dense_rows(objective: AbstractLeastSquares, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals `(R,)` and their Jacobian `(R, N)`, times the roots of weights and scales.

    Half the square of the residuals is the objective. Working with rows and not with their products keeps what a
    nearly dependent basis can express below the root of the rounding error.

    Raises
    ------
    InputError
        Where the Jacobian would not fit into memory.
    """
    residual = weighted_residual(objective, theta)
    if residual.size * len(theta) > KERNEL_ENTRIES:
        raise InputError(
            what=f"a Jacobian of {residual.size} rows and {len(theta)} columns is to be kept",
            where="variable projection",
            remedy="give the field fewer parameters, or train it by Gauss-Newton",
        )
    return residual, np.concatenate(objective.weighted_rows(theta))


def weighted_residual(objective: AbstractLeastSquares, theta: np.ndarray) -> np.ndarray:
    """Residuals `(R,)` of all terms, times the roots of weights and scales."""
    return np.concatenate(objective.weighted_residuals(theta))


def linear_mask(field: Any) -> np.ndarray:
    """Which of the flat trained parameters `(N,)` enter the values of the field linearly, by its own answer."""
    params, _ = partition(field)
    answers = jax.tree.map(
        lambda leaf, answer: None if leaf is None else np.full(leaf.shape, bool(answer)),
        params,
        linear_parameters(field),
        is_leaf=lambda leaf: leaf is None,
    )
    leaves = [leaf.ravel() for leaf in jax.tree.leaves(answers)]
    return np.concatenate(leaves) if leaves else np.zeros(0, dtype=bool)
