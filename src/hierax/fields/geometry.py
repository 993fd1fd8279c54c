r"""In which coordinates a spline layer is trained: B-spline coefficients or weights of truncated powers.

Both describe the same functions, :math:`\sum_i u_i b_i = \sum_j w_j \psi_j`; gradients, and with them training,
differ by the matrix between the two. See `hierax.fields.bspline.power_relu_matrix`.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse import csr_array

from hierax.fields.axis import SplineAxis, insertion
from hierax.fields.bspline import power_relu_matrix
from hierax.fields.local_inverse import local_left_inverse


class AbstractGeometry(eqx.Module):
    """Coordinates of the functions on one `SplineAxis`; arrays carry the coordinates on their last axis."""

    @property
    @abc.abstractmethod
    def local(self) -> bool:
        """Whether few coordinates act on each interval."""

    @abc.abstractmethod
    def splines(self, weights: Float[Array, "... size"], axis: SplineAxis) -> Float[Array, "... size"]:
        """B-spline coefficients of the function with these coordinates."""

    @abc.abstractmethod
    def weights(self, splines: Float[Array, "... size"], axis: SplineAxis) -> Float[Array, "... size"]:
        """Coordinates of the function with these B-spline coefficients."""

    @abc.abstractmethod
    def prolongation(self, coarse: SplineAxis, fine: SplineAxis) -> csr_array:
        """Matrix ``(fine.size, coarse.size)`` that keeps the function."""

    @abc.abstractmethod
    def left_inverse(self, coarse: SplineAxis, fine: SplineAxis) -> csr_array:
        """Matrix ``(coarse.size, fine.size)`` whose product with the prolongation is the identity."""


class BSplineBasis(AbstractGeometry):
    """B-spline coefficients: local, well conditioned, ready for a refined level. The default."""

    @property
    def local(self) -> bool:
        return True

    def splines(self, weights: Float[Array, "... size"], axis: SplineAxis) -> Float[Array, "... size"]:
        del axis
        return weights

    def weights(self, splines: Float[Array, "... size"], axis: SplineAxis) -> Float[Array, "... size"]:
        del axis
        return splines

    def prolongation(self, coarse: SplineAxis, fine: SplineAxis) -> csr_array:
        return insertion(coarse, fine)

    def left_inverse(self, coarse: SplineAxis, fine: SplineAxis) -> csr_array:
        # least squares in the coefficients: condition numbers of a mass matrix would grow with the degree
        wraps = coarse.size < coarse.intervals + coarse.degree
        return local_left_inverse(insertion(coarse, fine), 2 * coarse.degree + 2, wraps)


class PowerReLUBasis(AbstractGeometry):
    r"""Weights of :math:`\psi_j(x) = (\max(x - t_j, 0) / h)^p` with the mean interval length :math:`h`.

    A spline layer in these coordinates is a layer of a multichannel network with fixed biases at the knots and the
    activation ReLU to the power ``p``. Values are computed through the B-spline coefficients

    .. math:: u_i = \sum_{j \le i} w_j \, h^{-p} \prod_{l=1}^{p} (t_{i+l} - t_j)_+ ,

    (Marsden's identity), which costs one small product for all points together and continues the end pieces in the
    same way as `BSplineBasis`. Numbers grow like ``intervals ** degree``, and so does the loss of digits.

    References
    ----------
    "Multilevel Training for Kolmogorov Arnold Networks", arXiv 2603.04827 (2026), section on the change of basis.
    """

    @property
    def local(self) -> bool:
        return False

    def splines(self, weights: Float[Array, "... size"], axis: SplineAxis) -> Float[Array, "... size"]:
        knots, degree, size = axis.knots, axis.degree, axis.size
        windows = knots[jnp.arange(size)[:, None] + 1 + jnp.arange(degree)]
        powers = jnp.maximum(windows[None] - knots[:size, None, None], 0.0) / _spacing(axis)
        return weights @ powers.prod(axis=2)

    def weights(self, splines: Float[Array, "... size"], axis: SplineAxis) -> Float[Array, "... size"]:
        return splines @ (power_relu_matrix(axis.knots, axis.degree) * float(_spacing(axis)) ** axis.degree)

    def prolongation(self, coarse: SplineAxis, fine: SplineAxis) -> csr_array:
        r"""A power with its knot inside is a power of the fine axis; the first ``p + 1`` are polynomials there.

        As a function of ``s`` the polynomial :math:`(x - s)^p` is interpolated exactly at ``p + 1`` nodes, which
        gives its weights on the first fine powers without solving with the ill-conditioned change of basis.
        """
        degree = coarse.degree
        if fine.degree != degree:
            raise ValueError(
                "truncated powers of the next degree need repeated knots, which they cannot tell apart; "
                "use to_bspline first"
            )
        matrix = np.zeros((fine.size, coarse.size))
        matrix[_matching(coarse, fine), np.arange(degree + 1, coarse.size)] = 1.0
        matrix[: degree + 1, : degree + 1] = _cardinal(np.asarray(fine.knots), np.asarray(coarse.knots), degree)
        return csr_array(matrix) * (float(_spacing(fine)) / float(_spacing(coarse))) ** degree

    def left_inverse(self, coarse: SplineAxis, fine: SplineAxis) -> csr_array:
        """Weights at the new knots are dropped; the polynomial part is interpolated back."""
        degree = coarse.degree
        matrix = np.zeros((coarse.size, fine.size))
        matrix[np.arange(degree + 1, coarse.size), _matching(coarse, fine)] = 1.0
        matrix[: degree + 1, : degree + 1] = _cardinal(np.asarray(coarse.knots), np.asarray(fine.knots), degree)
        return csr_array(matrix) * (float(_spacing(coarse)) / float(_spacing(fine))) ** degree


def _spacing(axis: SplineAxis) -> Float[Array, ""]:
    degree = axis.degree
    return (axis.knots[axis.knots.shape[0] - 1 - degree] - axis.knots[degree]) / axis.intervals


def _matching(coarse: SplineAxis, fine: SplineAxis) -> np.ndarray:
    """Positions among the fine powers of the coarse knots strictly inside the domain."""
    insertion(coarse, fine)  # refuses axes that are not nested
    inner = np.asarray(coarse.knots)[coarse.degree + 1 : coarse.size]
    knots = np.asarray(fine.knots)[: fine.size]
    after = np.clip(np.searchsorted(knots, inner), 1, len(knots) - 1)
    return np.where(inner - knots[after - 1] < knots[after] - inner, after - 1, after)


def _cardinal(nodes: np.ndarray, points: np.ndarray, degree: int) -> np.ndarray:
    """Lagrange polynomials of the first ``p + 1`` nodes at the first ``p + 1`` points, ``[node, point]``."""
    nodes, points = nodes[: degree + 1], points[: degree + 1]
    others = ~np.eye(degree + 1, dtype=bool)
    above = np.where(others[:, :, None], points - nodes[None, :, None], 1.0).prod(axis=1)
    below = np.where(others, nodes[:, None] - nodes, 1.0).prod(axis=1)
    return above / below[:, None]
