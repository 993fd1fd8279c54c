r"""What a finer level can do that the coarser one cannot: shares of its gradient and step outside the range of prolong.

With the tangent ``P`` of prolong and a metric ``M`` the share of a vector is

.. math:: \frac{\|v - P (P' M P)^+ P' M v\|_M}{\|v\|_M} ,

zero if the coarse level can do all of it, one if nothing. That coarse functions are fine functions says nothing about
it: the gradient of a nested fine level may lead along coarse functions only, and training it then gains nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, PyTree

from hierax.fields.base import partition
from hierax.hierarchy import AbstractEvidence, AbstractTransfer, Level
from hierax.objective import AbstractObjective


class Complementarity(NamedTuple):
    """Shares outside the range of prolong, and decreases predicted by the Gauss-Newton model at the prolonged point.

    Attributes
    ----------
    gradient:
        Share of the gradient in the Euclidean norm of the parameters.
    descent:
        Share of the step of steepest descent in the norm of the curvature: of the change of the residuals that a
        first-order method makes. It depends on the coordinates in which a level is trained.
    newton:
        Share of the damped Gauss-Newton step in the norm of the damped curvature, the same in all coordinates but for
        the damping; its square is the share of the fine decrease that the coarse level cannot reach.
    coarse_decrease, fine_decrease:
        Largest decrease of the damped model in the range of prolong and in the whole space.
    """

    gradient: float
    descent: float
    newton: float
    coarse_decrease: float
    fine_decrease: float

    @property
    def gain(self) -> float:
        """Predicted decrease by the fine level beyond that of the coarse one."""
        return self.fine_decrease - self.coarse_decrease


def outside(
    vector: Float[np.ndarray, " fine"],
    tangent: Float[np.ndarray, "fine coarse"],
    metric: Float[np.ndarray, "fine fine"] | None = None,
) -> float:
    """Share of a vector outside the range of a matrix, in the norm of a positive semidefinite metric (Euclidean).

    Zero for a vector of length zero.
    """
    if metric is not None:
        # in the coordinates of a root of the metric the norm is Euclidean
        values, axes = np.linalg.eigh(metric)
        root = np.sqrt(np.maximum(values, 0.0))[:, None] * axes.T
        vector, tangent = root @ vector, root @ tangent
    length = float(np.linalg.norm(vector))
    if length == 0.0:
        return 0.0
    basis, size, _ = scipy.linalg.svd(tangent, full_matrices=False)
    basis = basis[:, size > 1e-12 * size.max(initial=0.0)]
    return float(np.linalg.norm(vector - basis @ (basis.T @ vector))) / length


def complementarity(
    objective: AbstractObjective,
    transfer: AbstractTransfer,
    coarse: PyTree,
    damping: float = 1e-8,
    theta: Float[np.ndarray, " fine"] | None = None,
) -> Complementarity:
    """Measure what a fine level adds at the prolonged coarse field, before it is trained; or later, at `theta`.

    Parameters
    ----------
    objective : AbstractObjective
        Of the fine level.
    transfer : AbstractTransfer
        From the coarse to the fine level; it should keep the function.
    coarse : callable pytree
        The coarse field, trained so far.
    damping : float
        Added to the diagonal of the curvature, relative to its largest entry: what is less visible than this counts as
        invisible. Growth by copies makes the curvature singular.
    theta : array, optional
        Fine parameters to measure at: where the fine level has been trained, `1 - newton^2` is the share of the
        decrease that a coarse correction could bring.

    Notes
    -----
    Dense: the cost is that of a few dense solves with all parameters of the fine level.
    """
    at = partition(coarse)[0]
    theta = np.asarray(ravel_pytree(transfer.prolong(at))[0]) if theta is None else theta
    seen = objective.linearise(theta)
    slope, matrix = seen.gradient, _dense(seen.curvature.mv, len(theta))
    damped = matrix + damping * matrix.diagonal().max() * np.eye(len(theta))
    tangent = _columns(transfer, at)
    step = scipy.linalg.solve(damped, -slope, assume_a="pos")
    fine = -0.5 * float(slope @ step)
    newton = outside(step, tangent, damped)
    return Complementarity(
        outside(slope, tangent), outside(slope, tangent, matrix), newton, (1.0 - newton**2) * fine, fine
    )


class NewtonEvidence(AbstractEvidence):
    """Evidence for `hierax.hierarchy.BestOf`: the gain of the damped Gauss-Newton model, whatever the coordinates.

    Parameters
    ----------
    objective : callable
        From a field to its objective.
    damping : float
        See `complementarity`.
    """

    objective: Callable[[PyTree], AbstractObjective]
    damping: float = 1e-8

    def gain(self, coarse: Level, fine: Level, transfer: AbstractTransfer) -> float:
        return complementarity(self.objective(fine.field), transfer, coarse.field, self.damping).gain


def _columns(transfer: AbstractTransfer, at: PyTree) -> Float[np.ndarray, "fine coarse"]:
    """The tangent of prolong as a matrix."""
    tangent = transfer.tangent(at)
    flat, build = ravel_pytree(at)
    rows = jax.vmap(lambda unit: ravel_pytree(tangent.mv(build(unit)))[0])(jnp.eye(flat.size, dtype=flat.dtype))
    return np.asarray(rows).T


def _dense(product: Callable[[np.ndarray], np.ndarray], size: int) -> Float[np.ndarray, "size size"]:
    matrix = np.stack([product(unit) for unit in np.eye(size)], axis=1)
    return 0.5 * (matrix + matrix.T)
