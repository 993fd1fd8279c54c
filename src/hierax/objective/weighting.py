r"""Weights of terms from the tangent kernel: all terms of a sum of squares are to be learned at the same rate.

With the Jacobian `J_t` of the residuals of a term, each times the root of its quadrature weight and of its scale, the
tangent kernel has the diagonal blocks :math:`\Theta_{tt} = J_t J_t'`. Gradient descent removes the residuals of a
term at the rates of the eigenvalues of its block, on average at its trace over their number. Terms whose traces differ
by orders are learned one after the other, and the slow one often not at all.

References
----------
Wang, Yu, Perdikaris, When and why PINNs fail to train, J. Comput. Phys. 2022, arXiv 2007.14527 (weights from traces);
Wang, Sankaran, Wang, Perdikaris, An expert's guide to training PINNs, arXiv 2308.08468 (their moving average).
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from hierax.objective.objective import AbstractObjective


def term_traces(objective: AbstractObjective, theta: Float[np.ndarray, " N"]) -> Float[np.ndarray, " terms"]:
    """Traces of the kernel's diagonal blocks, without forming them."""
    scales = np.array([s.scale for s in objective.samples])
    return scales * objective.diagonals(theta).sum(axis=1)  # pyright: ignore


def trace_weights(objective: AbstractObjective, theta: Float[np.ndarray, " N"]) -> Float[np.ndarray, " terms"]:
    r"""Factors of the terms' scales after which all diagonal blocks have the same trace.

    They are :math:`\sum_k tr \Theta_{kk} / (n \, tr \Theta_{tt})` for `n` terms, the rule of Wang, Yu and Perdikaris:
    all terms are learned at the same average rate. One for a term without trace, which no parameter moves.
    """
    traces = term_traces(objective, theta)
    mean = traces[traces > 0].mean() if np.any(traces > 0) else 1.0
    return np.where(traces > 0, mean / np.where(traces > 0, traces, 1.0), 1.0)


class AbstractWeighting(abc.ABC):
    """How the terms of an objective are weighed while it is trained: settings, with the weights passed in and out."""

    @abc.abstractmethod
    def init(self, objective: AbstractObjective, theta: Float[np.ndarray, " N"]) -> Float[np.ndarray, " terms"]:
        """Factors of the terms' scales before the first step."""

    @abc.abstractmethod
    def update(
        self,
        weights: Float[np.ndarray, " terms"],
        objective: AbstractObjective,
        theta: Float[np.ndarray, " N"],
    ) -> Float[np.ndarray, " terms"]:
        """Factors from here on, given those so far; the objective is the one without them."""


@final
@dataclass(frozen=True)
class KernelWeights(AbstractWeighting):
    """Weights that make the traces of all diagonal blocks of the tangent kernel equal (`trace_weights`).

    Parameters
    ----------
    memory:
        Share of the old weights, by their logarithms, in an update: the kernel of a few points fluctuates, and a
        first-order method keeps moments that belong to the old weights.
    """

    memory: float = 0.5

    def init(self, objective: AbstractObjective, theta: Float[np.ndarray, " N"]) -> Float[np.ndarray, " terms"]:
        return trace_weights(objective, theta)

    def update(
        self,
        weights: Float[np.ndarray, " terms"],
        objective: AbstractObjective,
        theta: Float[np.ndarray, " N"],
    ) -> Float[np.ndarray, " terms"]:
        fresh = trace_weights(objective, theta)
        return np.exp(self.memory * np.log(weights) + (1.0 - self.memory) * np.log(fresh))
