"""What is asked of a random quantity: mean, variance, probability, quantile, each as a mean of transformed values."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, final

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

from hierax._errors import InputError
from hierax.results.intervals import LEVEL

RESOLVED = 1e-9
"""To what part of the range of all values a quantile is found."""
WIDTHS = 2
"""How often the width of the ramp of a quantile is made that of the standard error."""
EVENT = 0.25
"""Largest variance of an indicator."""
MOST_SKEWED = 0.5
"""Skewness of a mean up to which intervals follow it; what samples show of a larger one is too little."""
Transform = Callable[[np.ndarray], np.ndarray]
"""From values `(..., m)` to those whose mean is wanted, `(..., m)`."""


class Moment(NamedTuple):
    """A mean that was estimated.

    It is `(m,)`, with standard errors and skewness, degrees of freedom of the errors, samples, and what it may lack
    below and above `(2, m)`.
    """

    mean: np.ndarray
    error: np.ndarray
    skewness: np.ndarray
    freedom: float
    samples: int
    unseen: np.ndarray

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
        low, high = self.unseen
        return below * error + low, -above * error + high


class MeanOf(Protocol):
    """Estimates the mean of transformed values from the samples that are there."""

    def __call__(self, transform: Transform) -> Moment: ...

    def value(self, transform: Transform) -> np.ndarray:
        """The mean `(m,)` alone."""
        ...


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
    error of this mean times a factor.
    """

    words: str

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

    def hidden(self, transform: Transform, values: np.ndarray) -> float:
        """Variance of one sample that samples with these values `(n, m)`, or differences of values, may not show."""
        del transform, values
        return 0.0

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

    @property
    def words(self) -> str:  # pyright: ignore
        return f"probability of a value above {self.threshold:g}"

    def transform(self, mean: MeanOf) -> Transform:
        del mean
        return lambda values: np.asarray(values > self.threshold, float)

    def hidden(self, transform: Transform, values: np.ndarray) -> float:
        del transform
        return EVENT / len(values)

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
class Ramp:
    """From values to the probability that they are below a place which is uniform in an interval of some width.

    `share` is the probability that a value is within the interval.
    """

    place: float
    width: float
    share: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        # a width of zero is a step, whatever the size of the values
        low = self.place - 0.5 * self.width
        return np.where(values <= low, 1.0, np.clip((low + self.width - values) / max(self.width, 1e-300), 0.0, 1.0))


@final
@dataclass(frozen=True)
class Quantile(AbstractStatistic):
    r"""The value that a number stays below with a probability; the interval inverts that of the probability.

    Where levels differ by :math:`d`, indicators of :math:`Y \leq q` differ in few samples by one, with a variance that
    falls like the mean of :math:`|d|`. So the step is a ramp as wide as the standard error: its variance falls like
    that of :math:`d`, and the quantile is that of :math:`Y` plus a uniform number of this width, at most half a
    standard error away (Giles, Nagapetyan, Ritter, SIAM/ASA J. Uncertainty Quantification 3, 2015).

    Raises
    ------
    InputError
        For a probability that is not between 0 and 1.
    """

    probability: float

    def __post_init__(self) -> None:
        if not 0.0 < self.probability < 1.0:
            raise InputError(f"The probability is {self.probability}.", "quantile", "Give one between 0 and 1.")

    @property
    def words(self) -> str:  # pyright: ignore
        return f"quantile {self.probability:g}"

    def transform(self, mean: MeanOf) -> Ramp:
        ramp = Ramp(self._place(mean, self.probability), 0.0, 0.0)
        for _ in range(WIDTHS):
            error = float(mean(ramp).error[0])
            low, high = self._within(mean, ramp, error)
            width = 0.5 * (high - low)
            ramp = Ramp(self._place(mean, self.probability, width), width, error)
        return ramp

    def hidden(self, transform: Transform, values: np.ndarray) -> float:
        """That of an event in one of them, or less where they are small beside the ramp's width."""
        if not isinstance(transform, Ramp):
            return 0.0
        within = transform.share * float(np.mean(values**2)) / max(transform.width, 1e-150) ** 2
        return min(EVENT / len(values), within)

    def found(self, mean: MeanOf, transform: Transform, bias: np.ndarray | float = 0.0) -> Found:
        assert isinstance(transform, Ramp)
        moment = mean(transform)
        error = np.hypot(moment.error, bias)
        low, high = self._within(mean, transform, moment.factor * float(error[0]))
        return Found(*(np.array([end]) for end in (transform.place, 0.5 * (high - low) / moment.factor, low, high)))

    def factor(self, found: Found, moment: Moment) -> float:
        return float(found.error[0] / max(moment.error[0], 1e-300))

    def _within(self, mean: MeanOf, ramp: Ramp, reach: float) -> tuple[float, float]:
        """The places whose probabilities are `reach` away."""
        low, high = (self._place(mean, self.probability + part, ramp.width) for part in (-reach, reach))
        return low, high

    def _place(self, mean: MeanOf, probability: float, width: float = 0.0) -> float:
        """The place that is not exceeded with a probability; an end of all values beyond 0 and 1."""
        ends = [np.inf, -np.inf]

        def spanned(values: np.ndarray) -> np.ndarray:
            ends[0], ends[1] = min(ends[0], float(np.min(values))), max(ends[1], float(np.max(values)))
            return values

        def above(place: float) -> float:
            return float(mean.value(Ramp(place, width, 0.0))[0]) - probability

        mean.value(spanned)
        if above(ends[0]) >= 0 or above(ends[1]) <= 0:
            return ends[int(above(ends[0]) < 0)]
        return float(brentq(above, *ends, xtol=RESOLVED * (ends[1] - ends[0])))  # pyright: ignore[reportArgumentType]

    def check(self, components: int) -> None:
        if components != 1:
            raise InputError(f"The quantity has {components} components.", "quantile", "Simulate a single number.")
