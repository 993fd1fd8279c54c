"""What was known of unknowns before any data: a quadratic penalty on the distance from the mean of a prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import jax
import numpy as np
import scipy.sparse as sp

from hierax.fields.base import parameter_count
from hierax.fields.unknowns import Scalar, Unknowns
from hierax.objective.curvature import SparseGram
from hierax.objective.roughness import Roughness
from hierax.objective.view import bounded, unbounded
from hierax.problems.problem import Problem


@final
@dataclass(frozen=True)
class Prior:
    r"""The penalty :math:`\frac{1}{2 |\Omega| s^2} \int (v - m)^2` of one unknown `v` before bounds and constraint.

    It counts as one measurement with the standard deviation `s`; of a constant there is no integral.

    Parameters
    ----------
    name:
        The unknown; empty for the only one.
    mean, deviation:
        Mean `m` and standard deviation `s`.
    """

    name: str
    mean: float
    deviation: float

    def gram(self, field: Any) -> SparseGram:
        """Its matrix for spline grids and constants, with the parameters of the mean."""
        parts = field.parts if isinstance(field, Unknowns) else {"": field}
        blocks, centers = [], []
        for name, part in parts.items():
            size = parameter_count(part)
            blocks.append(self._block(part) if name == self.name else sp.csr_array((size, size)))
            # B-splines add up to one
            centers.append(np.full(size, self.mean if name == self.name else 0.0))
        matrix = sp.csr_array(sp.block_diag(blocks, format="csr")) / self.deviation**2
        return SparseGram(sp.csr_array(matrix), np.concatenate(centers))

    def _block(self, part: Any) -> sp.csr_array:
        return (
            sp.csr_array([[1.0]])
            if isinstance(part, Scalar)
            else sp.csr_array(Roughness("", (0,), 0).gram(part).matrix)
        )


@final
@dataclass(frozen=True)
class Held:
    """Keeps the constant `name` near `value`, before its bounds, as long as equations weigh far less than one."""

    name: str
    value: float

    def gram(self, field: Any) -> SparseGram:
        """The penalty of a prior whose weight no noise decides."""
        return Prior(self.name, self.value, 1.0).gram(field)


def priors(problem: Problem) -> tuple[Prior, ...]:
    """The penalties of all unknowns with a prior; through bounds by the slope of their map at the mean."""
    out = []
    for name, unknown in problem.unknowns.items():
        if unknown.prior is not None:
            mean, deviation = unknown.prior
            start = float(unbounded(unknown.bounds)(mean))
            slope = float(jax.grad(bounded(unknown.bounds))(start))
            out.append(Prior(name if problem.named else "", start, deviation / slope))
    return tuple(out)
