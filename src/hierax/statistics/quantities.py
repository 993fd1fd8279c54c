"""What is asked of a random quantity: mean, variance, probability, quantile, each as a mean of transformed values."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, final

import numpy as np
from scipy.special import ndtri, stdtrit

from hierax._errors import InputError
from hierax.results.intervals import LEVEL

BISECTIONS = 30
"""Halvings of the range of all values for a quantile."""
MOST_SKEWED = 0.5
"""Skewness of a mean up to which intervals follow it; what samples show of a larger one is too little."""
Transform = Callable[[np.ndarray], np.ndarray]
"""From values `(..., m)` to those whose mean is wanted, `(..., m)`."""


class Moment(NamedTuple):
    """A mean that was estimated: `(m,)`, standard errors and skewness, degrees of freedom of the errors, samples."""

    mean: np.ndarray
    error: np.ndarray
    skewness: np.ndarray
    freedom: float
    samples: int

    @property
    def factor(self) -> float:
        """Half the width of an interval over the standard error."""
        probability = 0.5 + 0.5 * LEVEL
        return float(stdtrit(self.freedom, probability) if np.isfinite(self.freedom) else ndtri(probability))

    def ends(self, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances of the lower and the upper end of an interval for a given error (Hall, JRSS B 54, 1992)."""
        skew = np.clip(self.skewness, -MOST_SKEWED, MOST_SKEWED)
        skew = np.where(np.abs(skew) < 1e-6, 1e-6, skew)
        below, above = (
            3.0 / skew * (np.cbrt(1.0 + skew * (sign * self.factor - skew / 6.0)) - 1.0) for sign in (1.0, -1.0)
        )
        return below * error, -above * error


MeanOf = Callable[[Transform], Moment]
"""Estimates the mean of transformed values from the samples that are there."""


def as_it_is(values: np.ndarray) -> np.ndarray:
    """The transformation of a mean."""
    return values


class Found(NamedTuple):
    """A statistic: values, standard errors, the ends of intervals; each `(m,)`."""

    value: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray


class AbstractStatistic(abc.ABC):
    """What is asked of a random quantity.

    It is the mean of values that are transformed by something that samples tell, and to first order its error is the
    error of this mean times a factor. `rare` is the variance of one sample of an event times the number of samples that
    have not shown it.
    """

    words: str
    rare: float = 0.0

    @abc.abstractmethod
    def transform(self, mean: MeanOf) -> Transform:
        """The transformation, as the samples show it."""

    @abc.abstractmethod
    def found(self, mean: MeanOf, transform: Transform, bias: np.ndarray | float = 0.0) -> Found:
        """The statistic, with a bias of the mean of transformed values that the interval takes into account."""

    def factor(self, found: Found, moment: Moment) -> float:
        """Error of the statistic over that of the mean of transformed values."""
        del found, moment
        return 1.0

    def check(self, components: int) -> None:
        """Refuse quantities that it is not defined for."""
        del components


@final
@dataclass(frozen=True)
class Mean(AbstractStatistic):
    """The mean of each component."""

    words = "mean"

    def transform(self, mean: MeanOf) -> Transform:
        del mean
        return as_it_is

    def found(self, mean: MeanOf, transform: Transform, bias: np.ndarray | float = 0.0) -> Found:
        moment = mean(transform)
        error = np.hypot(moment.error, bias)
        below, above = moment.ends(error)
        return Found(moment.mean, error, moment.mean - below, moment.mean + above)


@final
@dataclass(frozen=True)
class Variance(AbstractStatistic):
    """The variance of each component: the mean of squares about the mean, without the bias of that."""

    words = "variance"

    def transform(self, mean: MeanOf) -> Transform:
        centre = mean(as_it_is).mean
        return lambda values: np.square(values - centre)

    def found(self, mean: MeanOf, transform: Transform, bias: np.ndarray | float = 0.0) -> Found:
        moment, first = mean(transform), mean(as_it_is)
        value, error = moment.mean + first.error**2, np.hypot(moment.error, bias)
        below, above = moment.ends(error)
        return Found(value, error, value - below, value + above)


@final
@dataclass(frozen=True)
class Probability(AbstractStatistic):
    """The probability that a number is above a threshold.

    The interval is that of Wilson (J. Am. Stat. Assoc. 22, 1927) for as many samples as plain Monte Carlo would need
    for the same standard error.
    """

    threshold: float
    rare: float = field(default=0.25, init=False)

    @property
    def words(self) -> str:  # pyright: ignore
        return f"probability of a value above {self.threshold:g}"

    def transform(self, mean: MeanOf) -> Transform:
        del mean
        return lambda values: np.asarray(values > self.threshold, float)

    def found(self, mean: MeanOf, transform: Transform, bias: np.ndarray | float = 0.0) -> Found:
        moment = mean(transform)
        value, error = np.clip(moment.mean, 0.0, 1.0), np.hypot(moment.error, bias)
        spread = value * (1.0 - value)
        known = (error > 0) & (spread > 0)
        count = np.where(known, spread / np.where(known, error, 1.0) ** 2, moment.samples)
        z2 = moment.factor**2 / count
        middle = (value + 0.5 * z2) / (1.0 + z2)
        half = np.sqrt(z2 * spread + 0.25 * z2**2) / (1.0 + z2)
        # where no value was above, or all were, the error is half of what the interval leaves
        error = np.where(known, error, half)
        return Found(value, error, np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0))


@final
@dataclass(frozen=True)
class Quantile(AbstractStatistic):
    """The value that a number stays below with a probability; the interval inverts that of the probability.

    Raises
    ------
    InputError
        For a probability that is not between 0 and 1.
    """

    probability: float
    rare: float = field(default=0.25, init=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.probability < 1.0:
            raise InputError(f"The probability is {self.probability}.", "quantile", "Give one between 0 and 1.")

    @property
    def words(self) -> str:  # pyright: ignore
        return f"quantile {self.probability:g}"

    def transform(self, mean: MeanOf) -> Transform:
        place = self._root(mean, self.probability)
        return lambda values: np.asarray(values <= place, float)

    def found(self, mean: MeanOf, transform: Transform, bias: np.ndarray | float = 0.0) -> Found:
        moment = mean(transform)
        error = np.hypot(moment.error, bias)
        reach = moment.factor * float(error[0])
        place, low, high = (self._root(mean, self.probability + part) for part in (0.0, -reach, reach))
        return Found(*(np.array([end]) for end in (place, 0.5 * (high - low) / moment.factor, low, high)))

    def factor(self, found: Found, moment: Moment) -> float:
        return float(found.error[0] / max(moment.error[0], 1e-300))

    def _root(self, mean: MeanOf, probability: float) -> float:
        """The value that is not exceeded with a probability, by bisection; an end of all values beyond 0 and 1."""
        ends = [np.inf, -np.inf]

        def spanned(values: np.ndarray) -> np.ndarray:
            ends[0], ends[1] = min(ends[0], float(np.min(values))), max(ends[1], float(np.max(values)))
            return values

        mean(spanned)
        low, high = ends
        for _ in range(BISECTIONS):
            place = 0.5 * (low + high)
            below = float(mean(lambda values: np.asarray(values <= place, float)).mean[0])  # noqa: B023
            low, high = (place, high) if below < probability else (low, place)
        return 0.5 * (low + high)

    def check(self, components: int) -> None:
        if components != 1:
            raise InputError(f"The quantity has {components} components.", "quantile", "Simulate a single number.")
