"""Outliers among the values of a Gaussian process: single values that all others contradict."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from hierax.solvers.gaussian_process import Process

NOISY = 0.01
"""Least noise, over the spread of the values, that may be that of outliers."""
FAR = 5.0
"""Misfit of an outlier, in units of what is typical of a value that is left out."""
MOST, ALONE, LESS = 0.1, 0.25, 0.5
"""Largest share of outliers among the values, largest share of them among their neighbours, and part of the noise that
has to be left without them: else a feature that the process does not follow is taken for outliers."""
ROUNDS = 4
"""Most times that outliers are looked for."""
APART = 1e6
"""Factor by which the variance of the noise of an outlier is larger."""
TYPICAL = 0.6745
"""Median of the size of a standard normal number."""


class Robust(NamedTuple):
    """A process and which of its values `(n,)` it takes for outliers."""

    process: Process
    outliers: np.ndarray


def without_outliers(process: Process, fit: Callable[[np.ndarray], Process | None]) -> Robust | None:
    """The process that does not follow outliers; `None` where there are none, or where they are not alone.

    Values far from what the process without them expects get a noise of their own, and the process is fitted anew,
    until they stay the same. What is left is believed where outliers are few, do not stand beside each other, and made
    most of the noise.

    Parameters
    ----------
    process:
        Fitted to all values alike.
    fit:
        From the variance `(n,)` of the noise of every value, over that of their mean, to a process.
    """
    if process.noise < NOISY:
        return None
    even, found, current = process.spread, np.zeros(len(process.values), dtype=bool), process
    for _ in range(ROUNDS):
        far = _standardised(current, even)
        outliers = far > FAR * np.median(far[~found]) / TYPICAL
        if np.mean(outliers) > MOST:
            return None
        if np.array_equal(outliers, found):
            break
        found = outliers
        fitted = fit(np.where(found, APART * even, even))
        if fitted is None:
            return None
        current = fitted
    if not found.any() or current.noise > LESS * process.noise:
        return None
    return Robust(current, found) if few_and_alone(found, current.kernel.places(current.centres)) else None


def few_and_alone(found: np.ndarray, places: np.ndarray) -> bool:
    """Whether values `(n,)` at places `(n, dim)` are some, few, and do not stand beside each other, as outliers do."""
    if not found.any() or np.mean(found) > MOST:
        return False
    near = np.asarray(KDTree(places).query(places[found], k=3)[1])[:, 1:]
    return bool(np.mean(found[near]) <= ALONE)


def _standardised(process: Process, even: np.ndarray) -> np.ndarray:
    """Size of the misfit of every value that is left out, over what it would be with no more noise than others."""
    ones = process.inverse.sum(axis=1)
    inverse = np.diag(process.inverse) - ones**2 / ones.sum()
    noise = process.kernel.noise
    known = 1.0 / inverse - noise * (process.spread - even)
    return np.abs(process.weights / inverse) / np.sqrt(process.variance * np.maximum(known, noise * even))
