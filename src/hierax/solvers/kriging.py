"""A trend and a kernel expansion fitted to few scattered values; all that is free is chosen by leave-one-out errors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh, qr

LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Lengths of kernels to begin with, in units of half the spread of the inputs."""
FACTORS = 10.0 ** np.arange(-14.0, 4.0, 0.5)
"""Noise over signal variance to choose from, in units of the mean eigenvalue of the kernel matrix."""
LARGEST_SHARE = 0.5
"""Most terms of a trend for each value: with more, leaving one value out says nothing."""
ROUNDING = 10 * float(np.finfo(float).eps)
"""Least noise variance for each value, the kernel being one at distance zero: below it, rounding errors of the kernel
matrix are fitted, and what is left out in one point says nothing of others."""


@dataclass(frozen=True, eq=False)
class Shape:
    """What a fit is made of: exponents of the trend `(terms, inputs)`, one over the kernel's lengths, its tails."""

    exponents: np.ndarray
    inverse_lengths: np.ndarray
    heavy: bool = False

    def design(self, z: np.ndarray) -> np.ndarray:
        """Values `(n, terms)` of the monomials at the inputs `(n, inputs)`."""
        return np.prod(z[:, None, :] ** self.exponents[None], axis=2)

    def kernel(self, z: np.ndarray, centres: np.ndarray) -> np.ndarray:
        """The kernels about the centres `(k, inputs)` at the inputs `(n, inputs)`, `(n, k)`."""
        y, c = z * self.inverse_lengths, centres * self.inverse_lengths
        square = np.sum(y**2, axis=1)[:, None] + np.sum(c**2, axis=1)
        distance = np.maximum(square - 2 * y @ c.T, 0.0)
        return 1 / np.sqrt(1 + distance) if self.heavy else np.exp(-0.5 * distance)


@dataclass(frozen=True, eq=False)
class KrigingFit:
    """A fit.

    Attributes
    ----------
    shape, centres:
        What it is made of; the inputs `(n, inputs)` it was fitted at.
    coefficients, weights:
        Of the monomials and of the kernels about the data.
    left_out:
        Misfit `(n,)` at each value of the fit that leaves it out.
    misfit:
        Misfit `(n,)` of the fit itself.
    """

    shape: Shape
    centres: np.ndarray
    coefficients: np.ndarray
    weights: np.ndarray
    left_out: np.ndarray
    misfit: np.ndarray

    @property
    def error(self) -> float:
        """Root mean square of the misfits left out."""
        return float(np.sqrt(np.mean(self.left_out**2)))

    def predict(self, z: np.ndarray) -> np.ndarray:
        """Values `(n,)` at the inputs `(n, inputs)`."""
        return self.shape.design(z) @ self.coefficients + self.shape.kernel(z, self.centres) @ self.weights


def krige(shape: Shape, z: np.ndarray, values: np.ndarray) -> KrigingFit | None:
    r"""Fit `values = trend + kernels + noise` with the share of noise of the smallest leave-one-out error.

    With the trend's columns `X`, the complement `Q` of their range and :math:`Q^T K Q = U D U^T`, the weights are
    :math:`\alpha = W (D + \lambda)^{-1} W^T y` with `W = Q U`, and the misfit at value `i` of the fit without it is
    :math:`\alpha_i / (W (D + \lambda)^{-1} W^T)_{ii}`, for all :math:`\lambda` from one factorisation.

    Parameters
    ----------
    shape:
        Trend and kernel.
    z, values:
        Scaled inputs `(n, inputs)` and values `(n,)`.

    Returns
    -------
    The fit, or `None` where there are too few values for the trend.

    References
    ----------
    Wahba, Spline Models for Observational Data (1990), chapters 4 and 9; Dubrule, Math. Geology 15 (1983).
    """
    design = shape.design(z)
    n, terms = design.shape
    if terms > LARGEST_SHARE * n:
        return None
    kernel = shape.kernel(z, z)
    complement = np.asarray(qr(design)[0])[:, terms:]
    spectrum, vectors = eigh(complement.T @ kernel @ complement)
    basis = complement @ vectors
    share = np.maximum(FACTORS * float(np.mean(np.maximum(spectrum, 0.0))), ROUNDING * n)
    inverse = 1 / (np.maximum(spectrum, 0.0) + share[:, None])
    weights = (inverse * (basis.T @ values)) @ basis.T
    left_out = weights / (inverse @ (basis**2).T)
    best = int(np.argmin(np.mean(left_out**2, axis=1)))
    misfit = share[best] * weights[best]
    smooth = values - kernel @ weights[best] - misfit
    coefficients = np.linalg.lstsq(design, smooth, rcond=None)[0]
    return KrigingFit(shape, z, coefficients, weights[best], left_out[best], misfit)


def best_lengths(
    exponents: np.ndarray, seen: np.ndarray, z: np.ndarray, values: np.ndarray, sweeps: int = 0
) -> KrigingFit | None:
    """The fit with the best lengths: one for all inputs that are `seen`, then each by itself, `sweeps` times."""
    shapes = [Shape(exponents, seen / length, heavy) for heavy in (False, True) for length in LENGTHS]
    fits = [fit for fit in (krige(shape, z, values) for shape in shapes) if fit is not None]
    if not fits:
        return None
    best = min(fits, key=lambda fit: fit.error)
    for _ in range(sweeps):
        before = best.error
        for axis in np.flatnonzero(seen):
            for factor in (0.5, 2.0):
                lengths = best.shape.inverse_lengths.copy()
                lengths[axis] *= factor
                trial = krige(replace(best.shape, inverse_lengths=lengths), z, values)
                best = trial if trial is not None and trial.error < best.error else best
        if best.error > 0.95 * before:
            break
    return best
