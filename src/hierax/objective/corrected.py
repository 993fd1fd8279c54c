r"""Coarse objectives made consistent with a finer one: what a coarse level is trained on within a cycle.

With the fine parameters :math:`\theta_f`, the coarse ones :math:`\theta_0 = I \theta_f` that they are injected to, and
the prolongation `P`, the coarse objective becomes

.. math::
    H(\theta) = J_c(\theta) + \omega + c' (\theta - \theta_0), \qquad
    \omega = J_f(\theta_f) - J_c(\theta_0), \quad c = P' \nabla J_f(\theta_f) - \nabla J_c(\theta_0).

Value and gradient at :math:`\theta_0` are then the fine value and the restricted fine gradient, so that a coarse step
downhill is one downhill for the fine objective.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from hierax.objective.flat_transfer import FlatTransfer
from hierax.objective.objective import AbstractObjective, AbstractProgrammed, Linearisation, required
from hierax.objective.program import Program


@dataclass(frozen=True)
class CorrectedProgram:
    """A corrected objective as a pure function of `(theta, data)`; only the correction's arrays differ between visits.

    `data` are those of the coarse objective, the origin, offset and slope.
    """

    base: Program

    @property
    def keeper(self) -> Any:
        """See `Program.keeper`."""
        return self.base.keeper

    def __call__(self, theta: jax.Array, data: tuple[Any, jax.Array, jax.Array, jax.Array]) -> Any:
        """Value."""
        inner, origin, offset, slope = data
        return self.base(theta, inner) + offset + slope @ (theta - origin)

    def drawn(self, data: Any, key: jax.Array, count: int) -> Any:
        """Data of about `count` samples of the coarse objective, see `Program.drawn`; the correction stays whole."""
        return (self.base.drawn(data[0], key, count), *data[1:])


class CorrectedObjective(AbstractProgrammed):
    """A coarse objective with the correction of the head of this file, which counts as one more term.

    Parameters
    ----------
    base:
        The coarse objective itself.
    origin, offset, slope:
        Where the correction is zero but for its offset, that offset, and its gradient there `(N,)`.
    """

    def __init__(
        self,
        base: AbstractObjective,
        origin: np.ndarray,
        offset: float,
        slope: np.ndarray,
    ) -> None:
        self.base, self.origin, self.offset, self.slope = base, origin, offset, slope
        self.samples, self.quadratic = base.samples, base.quadratic
        self.field: Any = base.field  # pyright: ignore

    @property
    def size(self) -> int:
        return self.base.size

    @property
    def scales(self) -> np.ndarray:
        return np.r_[self.base.scales, 1.0]

    @property
    def work(self) -> float:
        return self.base.work

    def _correction(self, theta: np.ndarray) -> float:
        return self.offset + float(self.slope @ (theta - self.origin))

    def values(self, theta: np.ndarray) -> np.ndarray:
        return np.r_[self.base.values(theta), self._correction(theta)]

    def value_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = self.base.value_and_gradient(theta)
        return value + self._correction(theta), gradient + self.slope

    def linearise(self, theta: np.ndarray) -> Linearisation:
        own = self.base.linearise(theta)
        return Linearisation(own.value + self._correction(theta), own.gradient + self.slope, own.curvature)

    def residuals(self, theta: np.ndarray) -> list[np.ndarray]:
        return self.base.residuals(theta)

    def rescaled(self, scales: Sequence[float]) -> CorrectedObjective:
        """The same correction of the coarse objective with other factors of its terms."""
        base = self.base.rescaled(scales)  # pyright: ignore
        return CorrectedObjective(base, self.origin, self.offset, self.slope)

    def program(self) -> tuple[CorrectedProgram, Any]:
        """The objective as a pure function with its data, for networks."""
        base = required(self.base, AbstractProgrammed, "a coarse correction", "train grids by GaussNewton")
        program, data = base.program()
        return CorrectedProgram(program), (data, self.origin, np.asarray(self.offset), self.slope)


class AbstractCorrection(abc.ABC):
    """How a coarse objective is made consistent with a finer one."""

    @abc.abstractmethod
    def coarse(
        self, fine: AbstractObjective, theta: np.ndarray, transfer: FlatTransfer, base: AbstractObjective
    ) -> CorrectedObjective:
        """The corrected coarse problem.

        Parameters
        ----------
        fine, theta:
            The finer objective, itself corrected on inner levels, and the parameters there.
        transfer:
            From the coarse level to the fine one.
        base:
            The coarse objective.
        """


@dataclass(frozen=True)
class FirstOrder(AbstractCorrection):
    """Value and gradient agree with the finer objective; costs one gradient on either level.

    References
    ----------
    Nash, Optim. Methods Softw. 14 (2000) 99-116 (MG/OPT); Brandt, Math. Comp. 31 (1977) (FAS).
    """

    def coarse(
        self, fine: AbstractObjective, theta: np.ndarray, transfer: FlatTransfer, base: AbstractObjective
    ) -> CorrectedObjective:
        origin = transfer.inject(theta)
        value, gradient = fine.value_and_gradient(theta)
        own, slope = base.value_and_gradient(origin)
        return CorrectedObjective(base, origin, value - own, transfer.restrict(gradient, origin) - slope)
