"""What varies within a family: how an input is drawn, and how far a value lies outside of what is drawn."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr, ndtri

from hierax._errors import InputError

SPREAD = 3.0
"""Standard deviations of a normal law that count as inside."""


class AbstractInput(abc.ABC):
    """How what varies is drawn: one number, or several that make a function. All methods go number by number."""

    @property
    def count(self) -> int:
        """How many numbers it is told by."""
        return 1

    @abc.abstractmethod
    def quantile(self, u: np.ndarray) -> np.ndarray:
        """Values for numbers `u` that are uniform in `(0, 1)`: the quantiles of its law."""

    def learned(self, u: np.ndarray, spread: float) -> np.ndarray:
        """As `quantile`, of members to learn from: part of the way towards the density `1 / sqrt(u (1 - u))`, which
        puts more of them near the ends, where models that are fitted to them are worst."""
        return self.quantile(u + spread * (0.5 - 0.5 * np.cos(np.pi * u) - u))

    def made(self, values: Any) -> Any:
        """What the function that makes problems gets for its numbers `(count,)`."""
        return float(values[0]) if isinstance(values, np.ndarray) else values[0]

    def many(self, values: np.ndarray) -> np.ndarray:
        """What a function of many members gets for their numbers `(n, count)`."""
        return values[:, 0]

    @abc.abstractmethod
    def scaled(self, values: Any) -> Any:
        """Values in the coordinate in which models see them, `[-1, 1]` inside; arrays of NumPy or JAX of any shape."""

    @abc.abstractmethod
    def value(self, scaled: float) -> float:
        """The inverse of `scaled`."""


@final
@dataclass(frozen=True)
class Uniform(AbstractInput):
    """A number between `low` and `high`, every value as likely.

    Raises
    ------
    InputError
        Unless both are finite and `low < high`.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, f"Uniform({self.low}, {self.high})")

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self.low + (self.high - self.low) * u

    def scaled(self, values: Any) -> Any:
        return (2.0 * values - (self.low + self.high)) / (self.high - self.low)

    def value(self, scaled: float) -> float:
        return 0.5 * (self.low + self.high + (self.high - self.low) * scaled)


@final
@dataclass(frozen=True)
class LogUniform(AbstractInput):
    """A positive number between `low` and `high` whose logarithm is uniform: a conductivity over several decades.

    Raises
    ------
    InputError
        Unless both are finite and `0 < low < high`.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        where = f"LogUniform({self.low}, {self.high})"
        _check_range(self.low, self.high, where)
        if self.low <= 0.0:
            raise InputError("The lower end is not above zero.", where, "Give positive ends, or take Uniform.")

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self.low * (self.high / self.low) ** u

    def scaled(self, values: Any) -> Any:
        # the logarithm of NumPy for its arrays, of JAX for those that are traced
        log = np.log if isinstance(values, np.ndarray | float | int) else _jax_log
        return 2.0 * log(values / self.low) / np.log(self.high / self.low) - 1.0

    def value(self, scaled: float) -> float:
        return float(self.low * (self.high / self.low) ** (0.5 * (scaled + 1.0)))


@final
@dataclass(frozen=True)
class Normal(AbstractInput):
    """A number with a normal law; values within three standard deviations are learned, and count as inside.

    Raises
    ------
    InputError
        Unless `mean` is finite and `deviation` positive.
    """

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and np.isfinite(self.deviation) and self.deviation > 0.0):
            raise InputError(
                f"The deviation is {self.deviation}.", f"Normal({self.mean}, {self.deviation})", "Give one above zero."
            )

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self.mean + self.deviation * ndtri(u)

    def learned(self, u: np.ndarray, spread: float) -> np.ndarray:
        edge = ndtr(-SPREAD)
        return super().learned(edge + (1.0 - 2.0 * edge) * u, spread)

    def scaled(self, values: Any) -> Any:
        return (values - self.mean) / (SPREAD * self.deviation)

    def value(self, scaled: float) -> float:
        return self.mean + SPREAD * self.deviation * scaled


@final
@dataclass(frozen=True)
class Choice(AbstractInput):
    """One of a few numbers, each as likely; models see the numbers between the smallest and the largest.

    Raises
    ------
    InputError
        For fewer than two different finite numbers.
    """

    values: tuple[float, ...]

    def __init__(self, values: Sequence[float]) -> None:
        try:
            found = tuple(sorted({float(value) for value in values}))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{values!r:.60} are no numbers ({error}).",
                "Choice(values)",
                "Give numbers; make a family for each word.",
            ) from error
        if len(found) < 2 or not np.all(np.isfinite(found)):
            raise InputError(
                f"{values!r:.60} leaves nothing to choose.", "Choice(values)", "Give at least two numbers."
            )
        object.__setattr__(self, "values", found)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        number = np.minimum((np.asarray(u) * len(self.values)).astype(int), len(self.values) - 1)
        return np.asarray(self.values)[number]

    def scaled(self, values: Any) -> Any:
        low, high = self.values[0], self.values[-1]
        return (2.0 * values - (low + high)) / (high - low)

    def value(self, scaled: float) -> float:
        low, high = self.values[0], self.values[-1]
        wanted = 0.5 * (low + high + (high - low) * scaled)
        return min(self.values, key=lambda known: abs(known - wanted))


@final
@dataclass(frozen=True)
class Several(AbstractInput):
    """An array of independent numbers with one law, given as `(law, count)`.

    Raises
    ------
    InputError
        For what is no law of one number, and for a count below one.
    """

    law: AbstractInput
    number: int

    def __post_init__(self) -> None:
        counted = isinstance(self.number, int | np.integer) and self.number >= 1
        if not (counted and isinstance(self.law, AbstractInput) and self.law.count == 1):
            raise InputError(f"An input is {(self.law, self.number)!r:.60}.", "inputs", "Give (hx.Normal(0, 1), 64).")

    @property
    def count(self) -> int:
        return int(self.number)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self.law.quantile(u)

    def learned(self, u: np.ndarray, spread: float) -> np.ndarray:
        return self.law.learned(u, spread)

    def made(self, values: Any) -> Any:
        return values

    def many(self, values: np.ndarray) -> np.ndarray:
        return values

    def scaled(self, values: Any) -> Any:
        return self.law.scaled(values)

    def value(self, scaled: float) -> float:
        return self.law.value(scaled)


def _check_range(low: float, high: float, where: str) -> None:
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise InputError("The ends are not two finite numbers in order.", where, "Give the smaller one first.")


def _jax_log(values: Any) -> Any:
    return jnp.log(values)
