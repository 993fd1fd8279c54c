"""Scales of the values of a table: straight, or logarithmic where they crowd at one end of their range."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

LARGEST = 50.0
"""Exponents above this are this: predictions far outside stay numbers."""


class ValueScale(NamedTuple):
    r"""Values `v` as `level + spread y`, and `y` as :math:`s (e^{m + h p} + c)` with a sign `s`; or `p = y`.

    Attributes
    ----------
    level, spread:
        Mean and standard deviation of the values.
    sign, offset, middle, size:
        `s, c, m, h`; the scale is straight where the sign is 0.
    """

    level: float
    spread: float
    sign: float = 0.0
    offset: float = 0.0
    middle: float = 0.0
    size: float = 1.0

    def logarithmic(self, standard: Float[np.ndarray, " n"], beyond: float) -> ValueScale:
        """The logarithmic scale of standardised values, by their distance to what is `beyond` their crowded end."""
        sign = 1.0 if np.mean(standard**3) >= 0 else -1.0
        offset = float(np.min(sign * standard)) - beyond
        logs = np.log(sign * standard - offset)
        return self._replace(sign=sign, offset=offset, middle=float(np.mean(logs)), size=float(np.std(logs)))

    def scaled(self, standard: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Places on the scale of standardised values `y`."""
        if not self.sign:
            return standard
        return (np.log(self.sign * standard - self.offset) - self.middle) / self.size

    def standard(self, scaled: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Standardised values at places on the scale."""
        if not self.sign:
            return scaled
        return self.sign * (np.exp(np.minimum(self.middle + self.size * scaled, LARGEST)) + self.offset)

    def slope(self, scaled: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Size of the derivative of the standardised values by their places."""
        return (
            self.size * np.exp(np.minimum(self.middle + self.size * scaled, LARGEST)) if self.sign else 1.0 + 0 * scaled
        )
