"""`Interval`: a number that was inferred, with how well the data determine it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.95
"""Probability with which an interval is to hold the true number."""


class Interval(NamedTuple):
    """A value with the ends of its interval of confidence; they are NaN where nothing tells them."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of_record(cls, record: Mapping[str, float | None]) -> Interval:
        """The interval of a JSON, where null stands for NaN."""
        return cls(**{name: math.nan if number is None else number for name, number in record.items()})

    def restored(self, size: Any, shift: Any) -> Interval:
        """The interval of `shift + size x`, with a positive size."""
        return Interval(*(float(shift + size * end) for end in self))

    def __str__(self) -> str:
        return f"{self.number} ({self.bounds})" if self.bounds else self.number

    @property
    def number(self) -> str:
        """The value with as many digits as its interval is worth."""
        return f"{self.value:.{self._digits}g}"

    @property
    def bounds(self) -> str:
        """The ends in words; nothing where they are not known."""
        if math.isnan(self.high - self.low):
            return ""
        return f"{100 * LEVEL:g} %: {self.low:.{self._digits}g} to {self.high:.{self._digits}g}"

    @property
    def _digits(self) -> int:
        """Digits that show the width of the interval with about two of its own."""
        width = self.high - self.low
        if not (math.isfinite(width) and width > 0):
            return 6
        return int(np.clip(np.ceil(np.log10(max(abs(self.low), abs(self.high)) / width)) + 2, 3, 12))
