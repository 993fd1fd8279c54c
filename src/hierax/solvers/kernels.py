r"""Covariance :math:`\sigma^2 k(|y(x) - y(x')|^2)` of Gaussian processes, with lengths and warps for every input.

.. math:: y = (w(t_a; \kappa_a) / \ell_a, p_b \cdot t)_{a, b}, \qquad k(s) = (1 + s / 2 \alpha)^{-\alpha}

(rational quadratic; Gaussian as :math:`\alpha \to \infty`), `t` the inputs in units of their box, `w` a logarithm that
stretches one end of an axis, and `p` directions across the axes along which values change faster, none at first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Kernel(NamedTuple):
    """Covariance of a Gaussian process in inputs of the unit box.

    Attributes
    ----------
    inverse_lengths, warps:
        :math:`1 / \\ell_a` and :math:`\\kappa_a`, `(inputs,)`.
    tails:
        :math:`\\alpha`.
    noise:
        Variance of the noise over that of the process.
    directions:
        `p`, `(directions, inputs)`.
    """

    inverse_lengths: np.ndarray
    warps: np.ndarray
    tails: float
    noise: float
    directions: np.ndarray

    def places(self, unit: np.ndarray) -> np.ndarray:
        """Warped and scaled inputs, and those along the directions, `(n, inputs + directions)`."""
        return np.hstack([warped(unit, self.warps)[0] * self.inverse_lengths, unit @ self.directions.T])

    @property
    def parameters(self) -> np.ndarray:
        """Logarithms, warps and directions one after the other, as of `Likelihood`."""
        logs = np.log([self.tails, self.noise])
        return np.r_[np.log(self.inverse_lengths), self.warps, self.directions.ravel(), logs]

    def between(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Covariance over the signal variance between inputs `(n, inputs)` and `(m, inputs)` of the unit box."""
        return profile(squares(self.places(one), self.places(other)), self.tails)[0]


def warped(unit: np.ndarray, warps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""The warp of every input, and its derivative by :math:`\kappa`.

    :math:`w(t) = \log(1 + t (e^\kappa - 1)) / \kappa` maps `[0, 1]` to itself, with slopes at the ends whose ratio is
    :math:`e^\kappa`; it tends to `t` for :math:`\kappa \to 0`, and is mirrored for the opposite sign.
    """
    grown = np.expm1(warps)
    inside = 1.0 + unit * grown
    value = np.log(inside) / warps
    return value, (unit * (grown + 1.0) / inside - value) / warps


def squares(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Squared distances between places `(n, k)` and `(m, k)`, `(n, m)`."""
    middle = other.mean(axis=0)
    one, other = one - middle, other - middle
    square = np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1) - 2.0 * one @ other.T
    return np.maximum(square, 0.0)


def profile(square: np.ndarray, tails: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kernel, and its derivatives by the squared distance and by the logarithm of `tails`."""
    base = 1.0 + square / (2.0 * tails)
    log = np.log1p(square / (2.0 * tails))
    value = np.exp(-tails * log)
    return value, -0.5 * value / base, value * (square / (2.0 * base) - tails * log)
