"""`ErrorModel`: how far an input is from those that were learned, and the error to be expected there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

RIDGE = 1e-3
"""Least part of their variance that is added to that of all features."""
SLACK = 2.0
"""Over the root of the number of samples: by what part new ones may be further out than all of these."""
SHARE = 0.99
"""Share of new samples that bounds hold for, where errors over estimates are log-normal, and of samples alike."""
SPREAD, WORTH = 0.6, 8
"""Spread of the logarithm of errors over estimates that is assumed before any is seen; samples that it counts for."""
RIDGES = 10.0 ** np.arange(-1, 6)
"""Penalties of slopes that are tried."""


class ErrorModel(NamedTuple):
    r"""From features :math:`f` of an input to its distance :math:`|z|`, :math:`z = W (f - \mu)`, and to its error.

    The logarithm of the error is linear in :math:`z` and in :math:`|z_i|`, since errors grow towards both ends.

    Attributes
    ----------
    mean, whitening, middle, half, limit:
        Mean :math:`\mu` `(k,)` and matrix :math:`W` `(k, k)` of features that were learned, the middle and half of the
        range of each, widened as few samples ask for, and the distance that nearly all of the same kind stay below.
    level, slope, factor:
        Logarithm of the error, its slopes `(2 k,)`, and what nearly all errors stay below over the estimate: the limit
        of a further one by Student's law, and no less than the largest that was seen; wider by the distance above one.
    left_out:
        Estimates for the samples kept apart, each from the others.

    References
    ----------
    Lee, Lee, Lee, Shin, NeurIPS 2018, arXiv 1807.03888 (distances of Mahalanobis tell inputs that are unlike).
    """

    mean: Float[np.ndarray, " k"]
    whitening: Float[np.ndarray, "k k"]
    middle: Float[np.ndarray, " k"]
    half: Float[np.ndarray, " k"]
    limit: float
    level: float
    slope: Float[np.ndarray, " twice"]
    factor: float
    left_out: Float[np.ndarray, " n"]

    @classmethod
    def of(
        cls, learned: Float[np.ndarray, "m k"], apart: Float[np.ndarray, "n k"], errors: Float[np.ndarray, " n"]
    ) -> ErrorModel:
        """From features of samples that were learned, those of samples kept apart, and the errors of these."""
        mean, every = learned.mean(axis=0), np.concatenate([learned, apart])
        size = np.maximum(learned.std(axis=0), 1e-6 + 1e-3 * np.abs(learned).max(axis=0))
        own = (learned - mean) / size
        count, kinds = own.shape
        values, vectors = np.linalg.eigh(own.T @ own / count)
        ridge = max(RIDGE, kinds / count)
        whitening = vectors.T / np.sqrt(np.maximum(values, 0.0) + ridge)[:, None] / size / np.sqrt(kinds)
        wider = 1.0 + SLACK / np.sqrt(len(every))
        low, high = every.min(axis=0), every.max(axis=0)
        half = wider * np.maximum(0.5 * (high - low), size)
        # the largest of many distances is that of an oddity, within which whole other kinds of inputs fit
        limit = wider * float(np.quantile(np.linalg.norm((every - mean) @ whitening.T, axis=1), SHARE))
        logs = np.log(np.maximum(errors, 1e-300))
        level, slope, told = _line(_bent((apart - mean) @ whitening.T), logs)
        left, known = logs - told, WORTH + len(errors) - 1
        spread = np.sqrt((WORTH * SPREAD**2 + np.sum((left - left.mean()) ** 2)) / known * (1.0 + 1.0 / len(errors)))
        over = float(np.exp(max(left.mean() + stdtrit(known, SHARE) * spread, left.max())))
        return cls(mean, whitening, 0.5 * (low + high), half, limit, level, slope, over, np.exp(told))

    def outside(self, features: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        """Distances `(n,)` over the largest that inputs like the learned ones have, or a feature over its range."""
        apart = np.linalg.norm((features - self.mean) @ self.whitening.T, axis=1) / self.limit
        return np.maximum(apart, np.max(np.abs(features - self.middle) / self.half, axis=1))

    def told(self, features: Float[np.ndarray, "n k"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Estimates `(n,)` of errors, and what nearly all errors stay below: infinite where inputs are unlike."""
        far, z = self.outside(features), (features - self.mean) @ self.whitening.T
        estimates = np.exp(np.minimum(self.level + _bent(z) @ self.slope, 0.0)) * np.maximum(far, 1.0)
        # what few samples show of errors holds less and less beyond the distance that most of them have, which is one
        bounds = self.factor * estimates * np.maximum(np.linalg.norm(z, axis=1), 1.0)
        return estimates, np.where(far > 1.0, np.inf, bounds)


def _bent(z: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n twice"]:
    return np.concatenate([z, np.abs(z)], axis=1)


def _line(
    z: Float[np.ndarray, "n k"], y: Float[np.ndarray, " n"]
) -> tuple[float, Float[np.ndarray, " k"], Float[np.ndarray, " n"]]:
    """Level and slopes that predict samples best which are left out one at a time, and these predictions."""
    best = np.inf, 0.0, np.zeros(z.shape[1]), np.full(len(y), y.mean())
    table = np.column_stack([np.ones(len(z)), z])
    for ridge in RIDGES * len(z) / z.shape[1]:
        penalty = ridge * np.diag(np.r_[1e-9, np.ones(z.shape[1])])
        inverse = np.linalg.inv(table.T @ table + penalty)
        found = inverse @ table.T @ y
        seen = np.sum(table @ inverse * table, axis=1)
        apart = (y - table @ found) / np.maximum(1.0 - seen, 1e-3)
        error = float(np.mean(apart**2))
        if error < best[0]:
            best = error, float(found[0]), found[1:], y - apart
    return best[1:]
