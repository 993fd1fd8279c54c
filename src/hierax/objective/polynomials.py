"""Polynomials of some total degree on a box, and rows of the terms of a problem in their coefficients."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import final

import numpy as np
from jaxtyping import Float, Int
from numpy.polynomial import legendre

from hierax.problems.domain import Box

Ends = Sequence[tuple[bool, bool]]
"""For each coordinate whether values are zero at its lower and at its upper end."""

ROUNDING = 1e-13
"""Values below this are zero."""


@final
@dataclass(frozen=True, eq=False)
class Polynomials:
    """Products of Legendre polynomials of at most some total degree, times a factor that is zero on some faces.

    Along periodic coordinates waves take the place of polynomials, two of a kind as two degrees.

    Attributes
    ----------
    box, degree, zero:
        Where they live; the total degree; at which ends they are zero.
    """

    box: Box
    degree: int
    zero: Ends

    @staticmethod
    def count(dim: int, degree: int) -> int:
        """How many there are."""
        return comb(dim + degree, dim)

    @property
    def orders(self) -> Int[np.ndarray, "count dim"]:
        """Degree of every function along every axis."""
        dim, out = self.box.dim, []
        for total in range(self.degree + 1):
            for bars in itertools.combinations(range(total + dim - 1), dim - 1):
                out.append(np.diff([-1, *bars, total + dim - 1]) - 1)
        return np.array(out)

    def values(self, points: Float[np.ndarray, "n dim"], derivative: Sequence[int]) -> Float[np.ndarray, "n count"]:
        """A partial derivative, given by its order along every axis, of all functions."""
        orders, out = self.orders, np.ones((len(points), 1))
        for axis, order in enumerate(derivative):
            out = out * self._along(axis, points[:, axis], order)[:, orders[:, axis]]
        return out

    def _along(self, axis: int, x: Float[np.ndarray, " n"], order: int) -> Float[np.ndarray, "n degree"]:
        low, high = (float(end[axis]) for end in self.box.bounds())
        numbers, name = np.arange(self.degree + 1), (self.box.names or ())[axis]
        if name in self.box.periodic:
            slopes = 2.0 * np.pi * ((numbers + 1) // 2) / (high - low)
            turns = 0.5 * np.pi * (order - (numbers % 2))
            return slopes**order * np.cos(np.outer(x - low, slopes) + turns)
        factor = np.ones(1)
        for end, is_zero in zip((-1.0, 1.0), self.zero[axis], strict=True):
            factor = legendre.legmul(factor, [1.0, -end]) if is_zero else factor
        columns = np.zeros((self.degree + len(factor), self.degree + 1))
        for k in numbers:
            column = legendre.legmul(factor, np.eye(self.degree + 1)[k])
            columns[: len(column), k] = column * np.sqrt(2.0 * k + 1.0)
        slopes = legendre.legder(columns, order, 2.0 / (high - low)) if order else columns
        values = legendre.legval(2.0 * (x - low) / (high - low) - 1.0, slopes).T
        # at an end where values are zero all that is left of them is rounding, which would count as a condition
        return values if order else np.where(np.abs(values) > ROUNDING, values, 0.0)
