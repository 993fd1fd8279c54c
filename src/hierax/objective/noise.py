"""How noisy scattered values are, from the values alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import KDTree

from hierax.problems.terms import Data


def neighbour_noise(points: np.ndarray, values: np.ndarray, most: int = 2000) -> float:
    """Standard deviation of the noise in scattered values, from local linear fits that leave out their own value.

    For each of at most `most` points a plane is fitted to the `2 (dim + 1)` nearest others; the misfit at the point
    has the noise's variance times one plus the leverage. Curvature of the function adds to the result, so it is an
    upper estimate.
    """
    squares = _neighbour_squares(points, values, most)
    # the median is not misled by the few places where the function bends
    return float(np.sqrt(np.median(squares) / (0.4549 if values.shape[1] == 1 else 0.8))) if len(squares) else 0.0


def neighbour_scatter(points: np.ndarray, values: np.ndarray, most: int = 2000) -> float:
    """Root mean square of the same, also of noise that differs from place to place."""
    squares = _neighbour_squares(points, values, most)
    return float(np.sqrt(np.mean(squares))) if len(squares) else 0.0


def _neighbour_squares(points: np.ndarray, values: np.ndarray, most: int) -> np.ndarray:
    """Squares of what neighbours do not show of some values, in units of the noise's variance; empty for few points."""
    dim = points.shape[1]
    count = min(2 * (dim + 1), len(points) - 1)
    if count <= dim + 1:
        return np.empty(0)
    scaled = (points - points.mean(axis=0)) / np.maximum(points.std(axis=0), 1e-300)
    some = np.linspace(0, len(points) - 1, min(most, len(points))).astype(int)
    near = np.asarray(KDTree(scaled).query(scaled[some], k=count + 1)[1])
    offsets = scaled[near[:, 1:]] - scaled[some][:, None, :]
    design = np.concatenate([np.ones((*offsets.shape[:2], 1)), offsets], axis=2)
    inverse = np.linalg.pinv(design)[:, 0, :]
    misfit = np.einsum("nk,nkc->nc", inverse, values[near[:, 1:]]) - values[some]
    return np.mean(misfit**2, axis=1) / (1.0 + np.sum(inverse**2, axis=1))


def relative_noise(terms: Sequence[Data]) -> float | None:
    """Noise of measured values over their spread, as neighbours show it, over all terms; `None` without terms.

    Where every value has a noise of its own, neighbours show a mixture, and what is stated counts.
    Values that depend on more than their point have no neighbours.
    """
    found = []
    for term in (term for term in terms if term.given is None):
        values = term.values.reshape(len(term.values), -1)
        # equal values have no spread to compare with: rounding of their size counts as nothing
        spread = max(np.std(term.values), 1e-10 * np.max(np.abs(term.values)), 1e-300)
        stated = term.typical_noise if isinstance(term.noise, np.ndarray) else None
        found.append((neighbour_noise(term.points, values) if stated is None else stated) / spread)
    return float(np.sqrt(np.mean(np.square(found)))) if found else None


def neighbour_correlation(points: np.ndarray, misfits: np.ndarray) -> float:
    """Correlation of each value's misfit `(n, m)` with that of its nearest neighbour; 0 for fewer than ten values.

    Noise gives about zero, a misfit that varies smoothly in space about one.
    """
    if len(points) < 10 or not np.any(misfits):
        return 0.0
    scaled = (points - points.mean(axis=0)) / np.maximum(points.std(axis=0), 1e-300)
    nearest = np.asarray(KDTree(scaled).query(scaled, k=2)[1])[:, 1]
    return float(np.mean(misfits * misfits[nearest]) / np.mean(misfits**2))
