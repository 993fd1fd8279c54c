r"""How fast levels converge: `|E[Q_l - Q_{l-1}]| ~ 2^{-\alpha l}`, `Var ~ 2^{-\beta l}`, cost `~ 2^{\gamma l}`.

Reference: Giles, Acta Numerica 24 (2015), sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np

from hierax.statistics.moments import PartMoment

SLOWEST, FASTEST = 0.5, 2.0
"""Rates of the bias between which it is assumed to be where what is left is estimated: few samples show any rate."""
UNEVEN = 0.3
"""Error of the logarithm of a difference to the base 2 that no rate explains."""
LAST = 3
"""Levels whose differences tell what is left."""
KEPT = 0.5
"""Share of the variance that the level below lets expect which is at least assumed: few samples show too little."""


@final
class Rates(NamedTuple):
    """Exponents to the base 2 for a level; NaN where fewer than two levels tell them."""

    alpha: float
    beta: float
    gamma: float


def rates(moments: Sequence[PartMoment], costs: np.ndarray) -> Rates:
    """Exponents of differences between levels `moments`, from the coarsest; `costs` of a sample of each."""
    variances = np.array([one.covariance[0, 0] for one in moments])
    even = np.full(len(moments), UNEVEN)
    return Rates(-_slope(*_means(moments))[0], -_slope(variances, even)[0], _slope(costs, even)[0])


def _means(moments: Sequence[PartMoment]) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of the means, and the errors of their logarithms to the base 2."""
    means = np.array([_size(one.mean) for one in moments])
    noise = np.array([np.sqrt(np.mean(one.variance)) for one in moments])
    return means, np.hypot(UNEVEN, noise / np.maximum(means, 1e-300) / np.log(2.0))


def _size(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _slope(values: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Slope of the logarithm over levels, and its standard error; NaN where fewer than two levels tell it."""
    good = values > 0
    if np.sum(good) < 2:
        return float("nan"), float("nan")
    levels, weight = np.flatnonzero(good), errors[good] ** -2.0
    off = levels - np.average(levels, weights=weight)
    spread = float(np.sum(weight * off**2))
    return float(np.sum(weight * off * np.log2(values[good])) / spread), spread**-0.5


def remaining(moments: Sequence[PartMoment]) -> np.ndarray:
    """Estimate `(m,)` of what the finest of the levels lacks, the largest that the last differences let expect.

    Without a difference that shows it nothing is known, and nothing said.

    Rates are those that are observed less their standard errors: where levels are few and noisy, slow ones. Means are
    not larger than root mean squares, which few samples tell: where they show that levels come closer, the noise of
    means says nothing more.
    """
    if not moments:
        return np.zeros(())
    rate = _slowest(*_means(moments))
    last = [np.abs(one.mean) * 2.0 ** (-rate * back) for back, one in enumerate(reversed(moments[-LAST:]))]
    found = np.max(last, axis=0) / (2.0**rate - 1.0)
    squares = np.array([np.sqrt(one.square / len(one.mean)) for one in moments])
    rate = _slowest(squares, np.full(len(moments), UNEVEN))
    return found * min(1.0, squares[-1] / (2.0**rate - 1.0) / max(_size(found), 1e-300))


def _slowest(values: np.ndarray, errors: np.ndarray) -> float:
    """The rate at which values may fall."""
    slope, error = _slope(values, errors)
    return float(np.clip(-slope - error, SLOWEST, FASTEST)) if np.isfinite(slope) else 1.0


def expected(moments: Sequence[PartMoment], beta: float) -> np.ndarray:
    """Variances `(levels,)` of differences, none below half of what the level before lets expect."""
    out = [one.covariance[0, 0] for one in moments]
    for k in range(1, len(out)):
        out[k] = max(out[k], KEPT * out[k - 1] * 2.0 ** -max(beta, 0.0)) if np.isfinite(beta) else out[k]
    return np.array(out)
