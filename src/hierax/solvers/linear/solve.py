"""Solving `(A + D) s = b` for a curvature operator `A` and a nonnegative diagonal `D`."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import scipy.linalg as sl
from scipy.sparse import csr_array

from hierax.objective.curvature import AbstractCurvature, BandGram, DenseGram
from hierax.objective.extension import ExtendedGram
from hierax.objective.kernel import KernelGram
from hierax.objective.sparse_rows import SparseRowGram
from hierax.objective.stencil import StencilGram
from hierax.solvers.linear.dissection import Dissected

Apply = Callable[[np.ndarray], np.ndarray]
"""A linear map of vectors."""


class Iterated(NamedTuple):
    """How an iteration ended.

    Attributes
    ----------
    solution, iterations:
        Where it came to, and after how many iterations.
    broken:
        Whether it ended because matrix or preconditioner turned out not positive.
    condition, largest:
        Largest over smallest eigenvalue of the preconditioned matrix, and the largest, as the iteration saw them, lower
        bounds; NaN where nothing was iterated.
    """

    solution: np.ndarray
    iterations: int = 0
    broken: bool = False
    condition: float = np.nan
    largest: float = np.nan


class Solve:
    """Solves with one matrix; counts the inner iterations of iterative methods and keeps the condition they met.

    Parameters
    ----------
    apply:
        From a right-hand side, and what a sum of squares is before the step, to the solution and how it was found.
    """

    def __init__(self, apply: Callable[[np.ndarray, float], Iterated]) -> None:
        self._apply = apply
        self.iterations = 0
        self.condition = np.nan

    @classmethod
    def direct(cls, apply: Apply) -> Solve:
        """Without iterations."""
        return cls(lambda b, _: Iterated(apply(b)))

    def __call__(self, b: np.ndarray, squares: float = 0.0) -> np.ndarray:
        """The solution; where half a sum of squares is minimised, as exact as its least value tells apart."""
        found = self._apply(b, squares)
        self.iterations += found.iterations
        self.condition = float(np.fmax(self.condition, found.condition))
        return found.solution


REFINEMENTS = 2
"""Rounds of iterative refinement after a solve through the kernel of the rows."""


class NotPositive(ArithmeticError):
    """The damped matrix is not positive definite in floating point: more damping is needed."""


class AbstractLinearSolver(abc.ABC):
    """A way to solve with a damped curvature operator."""

    by_products: ClassVar[bool] = False
    """Whether it works with products, so that a stencil serves it and no band is needed."""

    @abc.abstractmethod
    def prepare(self, curvature: AbstractCurvature, shift: np.ndarray) -> Solve:
        """Function that solves `(A + diag(shift)) s = b` for one right-hand side `(N,)`, or several `(N, m)`.

        Raises
        ------
        NotPositive
            When a factorisation breaks down.
        """

    @abc.abstractmethod
    def work(self, curvature: AbstractCurvature) -> float:
        """Cost of one preparation and solve in work units."""


@dataclass(frozen=True)
class Cholesky(AbstractLinearSolver):
    """Factorisation: dense, banded with a bordered corner, or of the kernel between rows; scaled to unit diagonal."""

    def prepare(self, curvature: AbstractCurvature, shift: np.ndarray) -> Solve:
        return Solve.direct(factorise(curvature, shift))

    def work(self, curvature: AbstractCurvature) -> float:
        if isinstance(curvature, BandGram):
            return float(curvature.ordering.size * curvature.ordering.band**2)
        if isinstance(curvature, KernelGram):
            rows, size = curvature.rows.shape
            return float(size) * rows**2 + rows**3 / 3
        return curvature.size**3 / 3


@functools.singledispatch
def factorise(curvature: AbstractCurvature, shift: np.ndarray) -> Apply:
    """Factor `A + diag(shift)`; kinds of curvature without a matrix cannot.

    The function that comes back also takes several right-hand sides, one a column.
    """
    raise TypeError(f"{type(curvature).__name__} has no matrix to factor: use ConjugateGradients")


@factorise.register
def _(curvature: DenseGram, shift: np.ndarray) -> Apply:
    diagonal = np.diagonal(curvature.matrix) + shift
    scale = _scaling(diagonal)
    matrix = curvature.matrix * scale[:, None] * scale
    matrix[np.diag_indices_from(matrix)] = diagonal * scale**2
    try:
        factor = sl.cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    except sl.LinAlgError as error:
        raise NotPositive(str(error)) from error

    def apply(b: np.ndarray) -> np.ndarray:
        factors = scale.reshape(-1, *[1] * (b.ndim - 1))
        return factors * sl.cho_solve(factor, factors * b, check_finite=False)

    return apply


@factorise.register
def _(curvature: StencilGram, shift: np.ndarray) -> Apply:
    return factorise(curvature.banded(), shift)


@factorise.register
def _(curvature: ExtendedGram, shift: np.ndarray) -> Apply:
    extension, matrix = curvature.extension, curvature.reduced()
    diagonal = matrix.diagonal() + shift[extension.inner]
    scale = _scaling(diagonal)
    matrix = csr_array(matrix * scale[:, None] * scale)
    matrix.setdiag(diagonal * scale**2)
    try:
        factor = Dissected.of(matrix, extension.places)
    except sl.LinAlgError as error:
        raise NotPositive(str(error)) from error

    def apply(b: np.ndarray) -> np.ndarray:
        factors = scale.reshape(-1, *[1] * (b.ndim - 1))
        return extension.matrix @ (factors * factor.solve(factors * (extension.matrix.T @ b)))

    return apply


@factorise.register
def _(curvature: SparseRowGram, shift: np.ndarray) -> Apply:
    return factorise(curvature.dense(), shift)


@factorise.register
def _(curvature: BandGram, shift: np.ndarray) -> Apply:
    o = curvature.ordering
    n = o.size
    moved = np.empty(curvature.size)
    moved[o.place] = shift
    diagonal = np.r_[curvature.lower[0], np.diagonal(curvature.corner)] + moved
    scale = _scaling(diagonal)
    band = curvature.lower * scale[:n]
    for row in range(1, o.band + 1):
        band[row, : n - row] *= scale[row:n]
    band[0] = diagonal[:n] * scale[:n] ** 2
    try:
        factor = sl.cholesky_banded(band, overwrite_ab=True, lower=True, check_finite=False)
        solve = functools.partial(sl.cho_solve_banded, (factor, True), check_finite=False)
        bordered = _bordered(solve, curvature, moved[n:], scale)
    except sl.LinAlgError as error:
        raise NotPositive(str(error)) from error

    def apply(b: np.ndarray) -> np.ndarray:
        factors = scale.reshape(-1, *[1] * (b.ndim - 1))
        right = np.empty_like(b)
        right[o.place] = b
        return (factors * bordered(factors * right))[o.place]

    return apply


def _bordered(solve: Apply, curvature: BandGram, shift: np.ndarray, scale: np.ndarray) -> Apply:
    """Block elimination of the dense rows."""
    n, dense = curvature.ordering.size, curvature.ordering.dense
    if not dense:
        return solve
    border = curvature.border * scale[:n, None] * scale[n:]
    corner = (curvature.corner + np.diag(shift)) * scale[n:, None] * scale[n:]
    reduced = solve(border)
    schur = sl.cho_factor(corner - border.T @ reduced, lower=True, check_finite=False)

    def apply(b: np.ndarray) -> np.ndarray:
        first = solve(b[:n])
        last = sl.cho_solve(schur, b[n:] - border.T @ first, check_finite=False)
        return np.concatenate([first - reduced @ last, last])

    return apply


@factorise.register
def _(curvature: KernelGram, shift: np.ndarray) -> Apply:
    r"""`(J'J + D)^{-1} = D^{-1/2} (1 - B' (1 + B B')^{-1} B) D^{-1/2}` with `B = J D^{-1/2}` (Woodbury).

    The difference cancels where the damping is small against `J'J`; refinement with products by `J` restores what
    floating point allows, and a solution that stays wrong is refused.
    """
    if not (np.all(np.isfinite(shift)) and np.all(np.isfinite(curvature.rows))):
        raise NotPositive("the curvature has entries that are not finite")
    if np.any(shift <= 0.0):
        raise NotPositive("fewer rows than parameters need damping of every parameter")
    root = 1.0 / np.sqrt(shift)
    scaled = curvature.rows * root
    kernel = scaled @ scaled.T
    kernel[np.diag_indices_from(kernel)] += 1.0
    try:
        factor = sl.cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
    except sl.LinAlgError as error:
        raise NotPositive(str(error)) from error

    def inverse(r: np.ndarray) -> np.ndarray:
        return r - scaled.T @ sl.cho_solve(factor, scaled @ r, check_finite=False)

    def apply(b: np.ndarray) -> np.ndarray:
        factors = root.reshape(-1, *[1] * (b.ndim - 1))
        right = factors * b
        y = inverse(right)
        for _ in range(REFINEMENTS):
            y += inverse(right - y - scaled.T @ (scaled @ y))
        left = np.linalg.norm(right - y - scaled.T @ (scaled @ y), axis=0)
        if not np.all(left <= 1e-3 * np.linalg.norm(right, axis=0)):
            raise NotPositive("the damping is too small for floating point")
        return factors * y

    return apply


def _scaling(diagonal: np.ndarray) -> np.ndarray:
    """`1/sqrt(diagonal)`; parameters that nothing touches keep a unit row."""
    if not np.all(np.isfinite(diagonal)):
        raise NotPositive("the curvature has entries that are not finite")
    floor = 1e-30 * max(float(diagonal.max(initial=0.0)), 1e-300)
    if np.any(diagonal <= floor):
        raise NotPositive("a parameter has no curvature and no damping")
    return 1.0 / np.sqrt(diagonal)


@dataclass(frozen=True)
class ConjugateGradients(AbstractLinearSolver):
    """Preconditioned conjugate gradients that stop on the decrease of the quadratic model.

    Stops when `i (Q_i - Q_{i-1}) / Q_i < tolerance` for the model `Q` (Nash and Sofer, Operations Research Letters 9,
    1990): tests on the residual, as in generic solvers, run many times longer for the same decrease.

    Parameters
    ----------
    tolerance:
        Relative change of the model per iteration at which to stop.
    limit:
        Most iterations.
    """

    by_products: ClassVar[bool] = True

    tolerance: float = 1e-3
    limit: int = 500

    def prepare(self, curvature: AbstractCurvature, shift: np.ndarray) -> Solve:
        diagonal = curvature.diagonal() + shift
        inverse = 1.0 / np.maximum(diagonal, 1e-12 * max(diagonal.max(), 1e-300))
        product: Apply = lambda v: curvature.mv(v) + shift * v  # noqa: E731
        return Solve(
            lambda b, _: iterated(product, b, lambda r: inverse * r, ModelDecrease(self.tolerance), self.limit)
        )

    def work(self, curvature: AbstractCurvature) -> float:
        return 50.0 * curvature.size


class AbstractStop(abc.ABC):
    """When conjugate gradients end."""

    @abc.abstractmethod
    def __call__(self, count: int, gain: float, model: float, error: float) -> bool:
        """Whether to stop after iteration `count`.

        Parameters
        ----------
        gain, model:
            Decrease of the quadratic model in this iteration, and in all.
        error:
            `r' M r / 2`, an estimate of the decrease that is left, as good as the preconditioner `M`.
        """


@dataclass(frozen=True)
class ModelDecrease(AbstractStop):
    """Stop when an iteration gains less than this share of the mean gain so far (Nash and Sofer)."""

    tolerance: float

    def __call__(self, count: int, gain: float, model: float, error: float) -> bool:
        return count * gain < self.tolerance * model


@dataclass(frozen=True)
class ErrorEstimate(AbstractStop):
    """Stop when what is left is less than this share of what was gained, both as decreases of the model.

    Or of what remains of `squares`, from which the model descends: a step that has little to gain, since the one before
    was good, is not asked for every bit of that.
    """

    tolerance: float
    squares: float = 0.0

    def __call__(self, count: int, gain: float, model: float, error: float) -> bool:
        return 0.0 <= error < self.tolerance * max(model, self.squares - model)


def iterated(product: Apply, b: np.ndarray, precondition: Apply, stop: AbstractStop, limit: int) -> Iterated:
    """Conjugate gradients for `A s = b`, and how they ended; the last good solution where they break down."""
    s, r = np.zeros_like(b), b.copy()
    z = precondition(r)
    p, rz, model = z.copy(), float(r @ z), 0.0
    lengths: list[float] = []
    ratios: list[float] = []
    broken, count = False, 0
    while count < limit:
        if rz <= 0.0:
            broken = bool(np.any(r))
            break
        q = product(p)
        curvature = float(p @ q)
        if not np.isfinite(curvature) or curvature <= 0.0:
            broken = True
            break
        count += 1
        alpha = rz / curvature
        s += alpha * p
        r -= alpha * q
        gain = 0.5 * alpha * rz
        model += gain
        lengths.append(alpha)
        # foreseen by the slowest decrease but the first, of what is rough: it saves the last use of the preconditioner
        if count == limit or stop(count, gain, model, 0.5 * rz * max(ratios[1:], default=np.inf)):
            break
        z = precondition(r)
        rz, previous = float(r @ z), rz
        if stop(count, gain, model, 0.5 * rz):
            break
        ratios.append(rz / previous)
        p = z + ratios[-1] * p
    least, largest = ritz_values(lengths, ratios)
    return Iterated(s, count, broken, largest / least if least > 0.0 else np.nan, largest)


def ritz_values(lengths: Sequence[float], ratios: Sequence[float]) -> tuple[float, float]:
    r"""Smallest and largest Ritz value of the preconditioned matrix, from the coefficients of conjugate gradients.

    These are those of Lanczos iterations: the tridiagonal matrix has
    :math:`1 / \alpha_k + \beta_{k-1} / \alpha_{k-1}` on its diagonal and :math:`\sqrt{\beta_k} / \alpha_k` beside it.

    Parameters
    ----------
    lengths, ratios:
        :math:`\alpha_k`, the length of every step, and :math:`\beta_k`, the share of the direction before in the next.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems (2003), section 6.7.
    """
    if not lengths:
        return np.nan, np.nan
    alpha = np.array(lengths)
    beta = np.maximum(np.array(ratios[: len(alpha) - 1]), 0.0)
    diagonal = 1.0 / alpha
    diagonal[1:] += beta / alpha[:-1]
    found = sl.eigh_tridiagonal(diagonal, np.sqrt(beta) / alpha[:-1], eigvals_only=True)
    return float(found[0]), float(found[-1])
