"""Pieces of plane curves, along each of which both coordinates are monotone."""

from __future__ import annotations

import abc
from collections.abc import Callable
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


def root(value: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Where a function has other signs on both sides, between `low` and `high` `(n,)`, at which it has other signs.

    By inverse quadratic interpolation where three points allow it, by halving otherwise: in at most as many steps as
    halving alone takes where the function jumps, in a fifth of them where it is smooth (Chandrupatla, Adv. Eng.
    Software 28, 1997, 145-149).
    """
    new, old = low, high
    at_new, at_old = (value(low), value(high)) if len(low) else (low, high)
    share = np.full(len(low), 0.5)
    tiny = 0.5**HALVINGS * np.abs(high - low) + np.spacing(np.maximum(np.abs(low), np.abs(high)))
    for _ in range(HALVINGS):
        t = new + share * (old - new)
        at_t = value(t) if len(t) else t
        same = (at_t < 0.0) == (at_new < 0.0)
        last, at_last = np.where(same, new, old), np.where(same, at_new, at_old)
        old, at_old = np.where(same, old, new), np.where(same, at_old, at_new)
        new, at_new = t, at_t
        done = (np.abs(old - new) <= 2.0 * tiny) | (at_new == 0.0)
        if done.all():
            break
        share = np.where(done, 0.0, _share(new, old, last, at_new, at_old, at_last, tiny))
    return np.where(np.abs(at_new) < np.abs(at_old), new, old)


def _share(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, at_a: np.ndarray, at_b: np.ndarray, at_c: np.ndarray, tiny: np.ndarray
) -> np.ndarray:
    """Where between `a` and `b` to look next."""
    with np.errstate(all="ignore"):
        place, height = (a - b) / (c - b), (at_a - at_b) / (at_c - at_b)
        safe = (height**2 < place) & ((1.0 - height) ** 2 < 1.0 - place)
        t = at_a / (at_b - at_a) * at_c / (at_b - at_c)
        t += (c - a) / (b - a) * at_a / (at_c - at_a) * at_b / (at_c - at_b)
        least = tiny / np.abs(b - a)
        return np.where(safe, np.clip(t, least, 1.0 - least), 0.5)
