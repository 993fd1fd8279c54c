"""Pieces of plane curves, along each of which both coordinates are monotone."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import final

import numpy as np

HALVINGS = 54
"""Halvings after which a parameter between 0 and 1 is known to rounding."""


class AbstractCurves(abc.ABC):
    """Smooth pieces, numbered from 0, each with a parameter of its own."""

    @property
    @abc.abstractmethod
    def spans(self) -> np.ndarray:
        """First and last parameter of every piece, `(pieces, 2)`."""

    @abc.abstractmethod
    def at(self, number: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Points `(n, 2)` of pieces at parameters, both `(n,)`."""

    @abc.abstractmethod
    def slope(self, number: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Derivatives `(n, 2)` by the parameter."""


@final
@dataclass(frozen=True, eq=False)
class Segments(AbstractCurves):
    """Straight pieces between `first` and `last`, both `(pieces, 2)`."""

    first: np.ndarray
    last: np.ndarray

    @property
    def spans(self) -> np.ndarray:
        return np.tile([0.0, 1.0], (len(self.first), 1))

    def at(self, number: np.ndarray, t: np.ndarray) -> np.ndarray:
        # both forms hit their own end exactly
        start, end, t = self.first[number], self.last[number], t[:, None]
        return np.where(t < 0.5, start + t * (end - start), end - (1.0 - t) * (end - start))

    def slope(self, number: np.ndarray, t: np.ndarray) -> np.ndarray:
        return self.last[number] - self.first[number]


@final
@dataclass(frozen=True, eq=False)
class Arcs(AbstractCurves):
    """The four monotone arcs of the ellipse `centre + axes @ (cos t, sin t)`."""

    centre: np.ndarray
    axes: np.ndarray

    @property
    def spans(self) -> np.ndarray:
        turns = np.arctan2(self.axes[:, 1], self.axes[:, 0])
        starts = np.sort(np.mod(np.r_[turns, turns + np.pi], 2 * np.pi))
        return np.stack([starts, np.r_[starts[1:], starts[0] + 2 * np.pi]], axis=1)

    def at(self, number: np.ndarray, t: np.ndarray) -> np.ndarray:
        return self.centre + np.stack([np.cos(t), np.sin(t)], axis=1) @ self.axes.T

    def slope(self, number: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.stack([-np.sin(t), np.cos(t)], axis=1) @ self.axes.T


@final
@dataclass(frozen=True, eq=False)
class Fitted(AbstractCurves):
    """Pieces as polynomials: Chebyshev coefficients `(pieces, degree + 1, 2)` in parameters from -1 to 1.

    `limits` `(pieces, 2)` are the parameters between which a piece is used.
    """

    coefficients: np.ndarray
    limits: np.ndarray

    @property
    def spans(self) -> np.ndarray:
        return self.limits

    def at(self, number: np.ndarray, t: np.ndarray) -> np.ndarray:
        return _clenshaw(self.coefficients[number], t)

    def slope(self, number: np.ndarray, t: np.ndarray) -> np.ndarray:
        return _clenshaw(np.polynomial.chebyshev.chebder(self.coefficients, axis=1)[number], t)


def _clenshaw(coefficients: np.ndarray, t: np.ndarray) -> np.ndarray:
    basis = np.polynomial.chebyshev.chebvander(t, coefficients.shape[1] - 1)
    return np.einsum("nk,nkd->nd", basis, coefficients)


def bisected(test, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Where `test(t)`, a mask that is true at `low` and false at `high`, changes; all `(n,)`."""
    low, high = low.copy(), high.copy()
    for _ in range(HALVINGS if len(low) else 0):
        middle = 0.5 * (low + high)
        same = test(middle)
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return 0.5 * (low + high)


def crossing(
    curves: AbstractCurves, number: np.ndarray, spans: np.ndarray, axis: np.ndarray, value: np.ndarray
) -> np.ndarray:
    """Parameters `(n,)` at which monotone pieces, between parameters `spans` `(n, 2)`, have a coordinate `value`."""
    pick = np.arange(len(number))
    start, end = (curves.at(number, spans[:, k])[pick, axis] for k in (0, 1))
    rising = end >= start
    low, high = np.where(rising, start, end), np.where(rising, end, start)
    t = bisected(lambda t: (curves.at(number, t)[pick, axis] < value) == rising, spans[:, 0], spans[:, 1])
    # a value at an end, up to rounding, is that end
    t = np.where(value <= low, np.where(rising, spans[:, 0], spans[:, 1]), t)
    return np.where(value >= high, np.where(rising, spans[:, 1], spans[:, 0]), t)
