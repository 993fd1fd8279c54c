"""How steps are kept from going too far: by damping that follows their success, or by shortening them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, final

import numpy as np


@final
@dataclass(frozen=True)
class Damping:
    """Factors of a damping, after a refused and after a good step; `floor` is the least after a refused one.

    References
    ----------
    Nielsen, IMM-REP-1999-05 (update by the ratio of decreases).
    """

    raised: float
    lowered: float
    floor: float = 0.0

    def refused(self, damping: float) -> float:
        """The damping of the next trial."""
        return max(self.raised * damping, self.floor)

    def accepted(self, damping: float, ratio: float = 1.0) -> float:
        """The damping of the next step, by the ratio of actual to predicted decrease."""
        return damping * (self.lowered if ratio > 0.75 else max(self.lowered, 1 - (2 * ratio - 1) ** 3))


Found = TypeVar("Found")


def shortened(
    at: Callable[[float], tuple[float, Found]], limit: float, tries: int = 12
) -> tuple[float, float, Found] | None:
    """The first of the lengths 1, 1/2, 1/4, ... of a step at which the objective is finite and at most `limit`.

    Parameters
    ----------
    at:
        From a length to the value of the objective there and what else is known of that point.
    limit, tries:
        Largest value that is accepted, and most lengths.

    Returns
    -------
    The length and what `at` gave there; `None` where no length will do.
    """
    for length in 0.5 ** np.arange(tries):
        value, found = at(float(length))
        if np.isfinite(value) and value <= limit:
            return float(length), value, found
    return None


def below(value: float) -> float:
    """The largest number smaller than a value, as the `limit` of a step that has to lower the objective."""
    return float(np.nextafter(value, -np.inf))
