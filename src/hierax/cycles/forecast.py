"""What a further level would bring: from the differences of the levels so far and the work that they took."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Forecast:
    r"""Estimated errors of the last level and of the next, and what the next one gains for its work.

    With differences :math:`c_k = |u_k - u_{k-1}|` that fall by a factor :math:`q < 1` from level to level, the error of
    the last level is

    .. math:: |u_l - u| \le \sum_{k > l} c_k \approx c_l \, q / (1 - q) .

    The larger of the last two factors is taken, so that one lucky level promises nothing.

    Attributes
    ----------
    error, following:
        Relative errors of the last level and of the next; infinite where the differences do not fall.
    rate:
        The power of the work with which the error will fall, `log(error / following) / log(growth of work)`: 3 for
        splines of degree 5 on a smooth solution in two dimensions, 0 where refinement does not pay. `nan` unless work
        grows.
    """

    error: float
    following: float
    rate: float

    @classmethod
    def of(cls, changes: Sequence[float], work: Sequence[float]) -> Forecast | None:
        """From at least two differences of levels, the last level's last; `None` from fewer.

        Parameters
        ----------
        changes:
            Relative differences of the solutions on neighbouring levels.
        work:
            Work units of the last level and of the next.
        """
        if len(changes) < 2 or not all(change > 0 for change in changes[-3:]):
            return None
        factor = max(b / a for a, b in pairwise(changes[-3:]))
        growth = math.log(work[1] / work[0]) if work[1] > work[0] > 0 else math.nan
        if factor >= 1:
            return cls(math.inf, math.inf, 0.0 * growth)
        error = changes[-1] * factor / (1 - factor)
        return cls(error, factor * error, -math.log(factor) / growth)

    def __str__(self) -> str:
        if not math.isfinite(self.error):
            return "change the solution by as much as the last one"
        return f"lower the error from about {self.error:.1e} to {self.following:.1e}"
