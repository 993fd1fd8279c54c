"""Whether, and how much of, a coarse change is accepted on the finer level."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Trial(NamedTuple):
    """A coarse change as seen by the finer level.

    Attributes
    ----------
    value:
        The fine objective after a share of the change.
    before, slope:
        The fine objective before it, and its derivative along the change.
    predicted:
        Decrease of the corrected coarse objective.
    length:
        Length of the change in the fine parameters.
    """

    value: Callable[[float], float]
    before: float
    slope: float
    predicted: float
    length: float


class Accepted(NamedTuple):
    """The share of the change that is taken (zero: refused), the objective after it, and the state for the next one.

    The value is not a number where the acceptance does not ask for it.
    """

    share: float
    value: float
    state: Any


class RadiusState(NamedTuple):
    """Reach of the changes, where there was one, and the sum of the squares of their rates of descent."""

    reach: float | None = None
    squares: float = 0.0


class AbstractAcceptance(abc.ABC):
    """Judges coarse changes on one level; settings only, the state is passed."""

    @property
    def asks(self) -> bool:
        """Whether values of the objective decide; if not, neither do they about the end of cycles and the best step."""
        return True

    @abc.abstractmethod
    def init(self) -> Any:
        """State before the first change."""

    @abc.abstractmethod
    def accept(self, trial: Trial, state: Any) -> Accepted:
        """Judge a change."""


@dataclass(frozen=True)
class LineSearch(AbstractAcceptance):
    """Backtracking until the fine objective falls enough: it never rises.

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

    def init(self) -> None:
        return None

    def accept(self, trial: Trial, state: None) -> Accepted:
        return _backtracked(trial, trial.before, self.most, self.enough, state)


@dataclass(frozen=True)
class AdaGradRadius(AbstractAcceptance):
    r"""Function-free: the objective is never asked; a change is cut to a radius that weighted gradients give.

    With :math:`d_k` the rate of descent along the `k`-th change, its slope over its length, the radius is

    .. math:: \Delta_k = \eta \, d_k / w_k, \qquad w_k^2 = \varsigma^2 + \sum_{j \le k} d_j^2 .

    Only gradients enter, so noise in the objective cannot refuse a good change, and shares do not depend on the
    units of the objective. Changes along which the gradient does not fall are refused. The radii fall like
    :math:`1/\sqrt k` where rates do not fall, and :math:`\sum_k \Delta_k^2 \le \eta^2 (1 + \log(w_n^2 / w_1^2))`.

    Parameters
    ----------
    reach:
        :math:`\eta` in the fine parameters; by default the length of the first change, which is then taken as it is.
    floor:
        :math:`\varsigma` as a share of the first rate.

    References
    ----------
    Gratton, Kopanicakova, Toint, SIAM J. Optim. 33 (2023), arXiv 2302.07049 (multilevel, without objective); the
    weights are those of Ward, Wu, Bottou, J. Mach. Learn. Res. 21 (2020), for a step of one dimension.
    """

    reach: float | None = None
    floor: float = 0.0

    @property
    def asks(self) -> bool:
        return False

    def init(self) -> RadiusState:
        return RadiusState()

    def accept(self, trial: Trial, state: RadiusState) -> Accepted:
        rate = -trial.slope / trial.length if trial.length > 0 and math.isfinite(trial.slope) else 0.0
        if not rate > 0:
            return Accepted(0.0, math.nan, state)
        reach, squares = state.reach, state.squares
        if reach is None:
            reach, squares = self.reach or trial.length, (self.floor * rate) ** 2
        squares += rate**2
        radius = reach * rate / math.sqrt(squares)
        return Accepted(min(1.0, radius / trial.length), math.nan, RadiusState(reach, squares))


def _backtracked(trial: Trial, bound: float, most: int, enough: float, state: Any) -> Accepted:
    """Shares of one and less until the value is below the bound by enough; by quadratic interpolation.

    A change along which the objective does not fall at first has no slope to promise anything: a mere decrease counts.
    """
    share, slope = 1.0, min(trial.slope, 0.0)
    for _ in range(most if trial.length > 0 else 0):
        value = trial.value(share)
        if math.isfinite(value) and value <= bound + enough * share * slope:
            return Accepted(share, value, state)
        bend = value - trial.before - share * slope
        best = -0.5 * slope * share**2 / bend if math.isfinite(bend) and bend > 0 else 0.0
        share = min(max(best, 0.1 * share), 0.5 * share)
    return Accepted(0.0, trial.before, state)
