"""Whether, and how much of, a coarse change is accepted on the finer level."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Trial(NamedTuple):
    """A coarse change as seen by the finer level.

    Attributes
    ----------
    value:
        The fine objective after a share of the change.
    before, slope:
        The fine objective before it, and its derivative along the change.
    """

    value: Callable[[float], float]
    before: float
    slope: float


class Accepted(NamedTuple):
    """The share of the change that is taken (zero: refused), and the objective after it."""

    share: float
    value: float


@dataclass(frozen=True)
class LineSearch:
    """Backtracking until the fine objective falls enough, by quadratic interpolation: it never rises.

    A change along which the objective does not fall at first has no slope to promise anything: a mere decrease counts.

    Parameters
    ----------
    most:
        Most trials.
    enough:
        Least decrease as a share of what the slope promises (Armijo).

    References
    ----------
    Nash, Optim. Methods Softw. 14 (2000) 99-116.
    """

    most: int = 8
    enough: float = 1e-4

    def accept(self, trial: Trial) -> Accepted:
        """Judge a change."""
        share, slope = 1.0, min(trial.slope, 0.0)
        for _ in range(self.most):
            value = trial.value(share)
            if math.isfinite(value) and value <= trial.before + self.enough * share * slope:
                return Accepted(share, value)
            bend = value - trial.before - share * slope
            best = -0.5 * slope * share**2 / bend if math.isfinite(bend) and bend > 0 else 0.0
            share = min(max(best, 0.1 * share), 0.5 * share)
        return Accepted(0.0, trial.before)
