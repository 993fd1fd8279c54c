r"""Coarse objectives made consistent with a finer one: what a coarse level is trained on within a cycle.

With the fine parameters :math:`\theta_f`, the coarse ones :math:`\theta_0 = I \theta_f` that they are injected to, and
the prolongation `P`, the coarse objective becomes

.. math::
    H(\theta) = J_c(\theta) + \omega + c' (\theta - \theta_0) + \tfrac12 (\theta - \theta_0)' D (\theta - \theta_0),
    \qquad \omega = J_f(\theta_f) - J_c(\theta_0), \quad c = P' \nabla J_f(\theta_f) - \nabla J_c(\theta_0).

Value and gradient at :math:`\theta_0` are then the fine value and the restricted fine gradient, so that a coarse step
downhill is one downhill for the fine objective. With :math:`D = P' A_f P - A_c(\theta_0)` the Gauss-Newton matrix there
is the Galerkin product of the fine one as well.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from hierax.objective.curvature import AbstractCurvature, BandGram, DenseGram, SparseGram
from hierax.objective.flat_transfer import FlatTransfer
from hierax.objective.kernel import KernelGram
from hierax.objective.objective import AbstractObjective, Linearisation
from hierax.objective.program import Program, SortedProgram
from hierax.objective.rows import RowObjective
from hierax.objective.sparse_rows import SparseRowGram
from hierax.objective.stencil import StencilGram


@dataclass(frozen=True)
class CorrectedProgram:
    """A corrected objective as a pure function of `(theta, data)`; only the correction's arrays differ between visits.

    `data` are those of the coarse objective, the origin, offset and slope, and the matrix of the second-order part or
    `None`.
    """

    base: Program | SortedProgram

    def __call__(self, theta: jax.Array, data: tuple[Any, jax.Array, jax.Array, jax.Array, jax.Array | None]) -> Any:
        """Value."""
        inner, origin, offset, slope, bend = data
        step = theta - origin
        value = self.base(theta, inner) + offset + slope @ step
        return value if bend is None else value + 0.5 * step @ (bend @ step)

    def drawn(self, data: Any, key: jax.Array, count: int) -> Any:
        """Data of about `count` samples of the coarse objective, see `Program.drawn`; the correction stays whole."""
        return (self.base.drawn(data[0], key, count), *data[1:])


class CorrectedObjective(AbstractObjective):
    """A coarse objective with the correction of the head of this file, which counts as one more term.

    Parameters
    ----------
    base:
        The coarse objective itself.
    origin, offset, slope:
        Where the correction is zero but for its offset, that offset, and its gradient there `(N,)`.
    bend:
        Its second derivative, if any.
    """

    def __init__(
        self,
        base: AbstractObjective,
        origin: np.ndarray,
        offset: float,
        slope: np.ndarray,
        bend: AbstractCurvature | None = None,
    ) -> None:
        self.base, self.origin, self.offset, self.slope, self.bend = base, origin, offset, slope, bend
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

    def _correction(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        step = theta - self.origin
        if self.bend is None:
            return self.offset + float(self.slope @ step), self.slope
        pull = self.bend.mv(step)
        return self.offset + float((self.slope + 0.5 * pull) @ step), self.slope + pull

    def values(self, theta: np.ndarray) -> np.ndarray:
        return np.r_[self.base.values(theta), self._correction(theta)[0]]

    def value_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = self.base.value_and_gradient(theta)
        more, slope = self._correction(theta)
        return value + more, gradient + slope

    def linearise(self, theta: np.ndarray) -> Linearisation:
        own = self.base.linearise(theta)
        more, slope = self._correction(theta)
        curvature = own.curvature if self.bend is None else bent(own.curvature, self.bend)
        return Linearisation(own.value + more, own.gradient + slope, curvature)

    def residuals(self, theta: np.ndarray) -> list[np.ndarray]:
        return self.base.residuals(theta)

    def rescaled(self, scales: Sequence[float]) -> CorrectedObjective:
        """The same correction of the coarse objective with other factors of its terms."""
        base = self.base.rescaled(scales)  # pyright: ignore
        return CorrectedObjective(base, self.origin, self.offset, self.slope, self.bend)

    def program(self) -> tuple[CorrectedProgram, Any]:
        """The objective as a pure function with its data, for networks."""
        assert isinstance(self.base, RowObjective), "only objectives of networks are one function"
        program, data = self.base.program()
        bend = None if self.bend is None else jnp.asarray(dense(self.bend))
        return CorrectedProgram(program), (data, self.origin, np.asarray(self.offset), self.slope, bend)


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


@dataclass(frozen=True)
class SecondOrder(AbstractCorrection):
    """The Gauss-Newton matrix agrees too: the coarse one is the Galerkin product; costs two linearisations.

    Away from the origin the coarse matrix may be indefinite; damped Gauss-Newton steps raise their damping then.

    References
    ----------
    Gratton, Sartenaer, Toint, SIAM J. Optim. 19 (2008) 414-444, section 2; Hackbusch, Multi-Grid Methods (1985).
    """

    def coarse(
        self, fine: AbstractObjective, theta: np.ndarray, transfer: FlatTransfer, base: AbstractObjective
    ) -> CorrectedObjective:
        origin = transfer.inject(theta)
        above, own = fine.linearise(theta), base.linearise(origin)
        slope = transfer.restrict(above.gradient, origin) - own.gradient
        bend = difference(above.curvature, transfer, origin, own.curvature)
        return CorrectedObjective(base, origin, above.value - own.value, slope, bend)


def difference(
    fine: AbstractCurvature, transfer: FlatTransfer, origin: np.ndarray, coarse: AbstractCurvature
) -> AbstractCurvature:
    """`P' A_f P - A_c` in a storage that `bent` can add to the coarse curvature."""
    if isinstance(fine, StencilGram) and isinstance(coarse, StencilGram):
        found = _on_stencil(fine, transfer, coarse)
        if found is not None:
            return found
    prolongation = transfer.matrix(origin)
    product, own = galerkin(fine, prolongation), matrix(coarse)
    if isinstance(product, np.ndarray) or isinstance(own, np.ndarray):
        return DenseGram(_array(product) - _array(own))
    return SparseGram(sp.csr_array(product - own))


def _on_stencil(fine: StencilGram, transfer: FlatTransfer, coarse: StencilGram) -> StencilGram | None:
    """The difference as couplings if the transfer is that of the fine mesh to its next coarser one."""
    below = fine.galerkin()
    if below is None or not isinstance(below.curvature, StencilGram):
        return None
    product = below.curvature
    if product.mesh.shape != coarse.mesh.shape:
        return None
    probe = np.random.default_rng(0).normal(size=coarse.size)
    own, other = transfer.prolong(coarse.mesh.order.flat(probe)), below.prolong(probe)
    if np.abs(own - other).max() > 1e-10 * np.abs(own).max():
        return None
    return StencilGram(coarse.mesh, product.values - coarse.values)


@functools.singledispatch
def matrix(curvature: AbstractCurvature) -> Any:
    """The matrix of a curvature, sparse where that is natural."""
    return galerkin(curvature, np.eye(curvature.size))


@matrix.register
def _(curvature: DenseGram) -> Any:
    return curvature.matrix


@matrix.register
def _(curvature: SparseGram) -> Any:
    return curvature.matrix


@matrix.register
def _(curvature: StencilGram) -> Any:
    place = curvature.mesh.order.place
    return curvature.matrix[place][:, place]


@matrix.register
def _(curvature: BandGram) -> Any:
    o, n = curvature.ordering, curvature.ordering.size
    below = np.arange(curvature.lower.shape[0])[:, None] + np.arange(n)
    keep = (below < n) & (curvature.lower != 0.0)
    column = np.broadcast_to(np.arange(n), below.shape)[keep]
    lower = sp.csr_array((curvature.lower[keep], (below[keep], column)), shape=(n, n))
    band = lower + sp.tril(lower, -1).T
    whole = sp.csr_array(sp.block_array([[band, curvature.border], [curvature.border.T, curvature.corner]]))
    return sp.csr_array(whole[o.place][:, o.place])


@functools.singledispatch
def galerkin(curvature: AbstractCurvature, prolongation: Any) -> Any:
    """`P' A P`."""
    columns = _array(prolongation)
    return columns.T @ np.stack([curvature.mv(column) for column in columns.T], axis=1)


@galerkin.register(DenseGram)
@galerkin.register(SparseGram)
@galerkin.register(StencilGram)
@galerkin.register(BandGram)
def _(curvature: AbstractCurvature, prolongation: Any) -> Any:
    return prolongation.T @ (matrix(curvature) @ prolongation)


@galerkin.register(KernelGram)
@galerkin.register(SparseRowGram)
def _(curvature: KernelGram | SparseRowGram, prolongation: Any) -> Any:
    rows = _array(curvature.rows @ prolongation)
    return rows.T @ rows


def bent(curvature: AbstractCurvature, bend: AbstractCurvature) -> AbstractCurvature:
    """Sum of a coarse curvature and its second-order correction, in the storage of the former where it fits."""
    if isinstance(curvature, StencilGram) and isinstance(bend, StencilGram):
        return StencilGram(curvature.mesh, curvature.values + bend.values)
    if isinstance(curvature, BandGram) and isinstance(bend, SparseGram) and _fits(curvature, bend):
        lower = curvature.lower.copy(order="K")
        total = BandGram(curvature.ordering, lower, curvature.border, curvature.corner)
        bend.add_to(total, 1.0)
        return total
    return DenseGram(dense(curvature) + dense(bend))


def _fits(band: BandGram, more: SparseGram) -> bool:
    """Whether every entry lies within the band."""
    entries, o = more.matrix.tocoo(), band.ordering
    i, j = o.place[entries.row], o.place[entries.col]
    return o.dense == 0 and bool(np.all(np.abs(i - j) <= o.band))


def dense(curvature: AbstractCurvature) -> np.ndarray:
    """The matrix of a curvature as an array."""
    return _array(matrix(curvature))


def _array(found: Any) -> np.ndarray:
    return np.asarray(found.toarray()) if sp.issparse(found) else np.asarray(found)
