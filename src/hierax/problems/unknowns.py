"""What is looked for: functions of the coordinates, and constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hierax._errors import InputError


@dataclass(frozen=True)
class Function:
    """An unknown function of the point: values of shape `()`, or `(components,)`.

    Parameters
    ----------
    components:
        Number of components; without it the function is scalar.
    bounds:
        Lower and upper bound of the values, where they are known (a density is positive: `(0, None)`).
    prior:
        `(mean, standard deviation)` of the values, where something is known before any data. It counts as one
        measured value does, beside data, whose noise it is weighed against.
    of:
        Names of the coordinates that it depends on; all of them by default. It is called with the whole point, as any
        other function, and its derivatives along the other coordinates vanish.
    initial:
        Where training starts: a number, or a function of the point.
    scale:
        Size of its values, in place of the one that is found from the problem.
    """

    components: int | None = None
    bounds: tuple[float | None, float | None] | None = None
    prior: tuple[float, float] | None = None
    of: tuple[str, ...] | None = None
    initial: float | Callable[[Any], Any] | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.components is not None and self.components < 1:
            raise InputError(
                what=f"{self.components} components", where="Function(components)", remedy="give a number from 1 on"
            )
        _check_bounds(self.bounds, "Function(bounds=...)")
        _check_prior(self.prior, "Function(prior=...)")
        if self.prior is not None:
            _check_initial(self.prior[0], self.bounds, "Function(prior=..., bounds=...)")
        _check_scale(self.scale, "Function(scale=...)")
        if self.of is not None:
            object.__setattr__(self, "of", (self.of,) if isinstance(self.of, str) else tuple(self.of))
        if not (self.initial is None or callable(self.initial)):
            _check_initial(self.initial, self.bounds, "Function(initial=...)")


@dataclass(frozen=True)
class Constant:
    """An unknown number: `initial` is where the search starts; `bounds`, `prior`, `scale` as for `Function`."""

    initial: float
    bounds: tuple[float | None, float | None] | None = None
    prior: tuple[float, float] | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        _check_bounds(self.bounds, "Constant(bounds=...)")
        _check_prior(self.prior, "Constant(prior=...)")
        if self.prior is not None:
            _check_initial(self.prior[0], self.bounds, "Constant(prior=..., bounds=...)")
        _check_scale(self.scale, "Constant(scale=...)")
        _check_initial(self.initial, self.bounds, "Constant(initial, bounds=...)")


Unknown = Function | Constant


def _check_bounds(bounds: tuple[float | None, float | None] | None, where: str) -> None:
    if bounds is None:
        return
    low, high = bounds
    if low is not None and high is not None and not low < high:
        raise InputError(what=f"bounds {bounds}", where=where, remedy="the lower bound must be below the upper one")


def _check_initial(initial: float, bounds: tuple[float | None, float | None] | None, where: str) -> None:
    if not np.isfinite(initial):
        raise InputError(what=f"initial is {initial}", where=where, remedy="give a finite number")
    low, high = bounds or (None, None)
    if (low is not None and initial <= low) or (high is not None and initial >= high):
        raise InputError(
            what=f"initial {initial} is not strictly inside the bounds {bounds}",
            where=where,
            remedy="start inside the bounds",
        )


def _check_scale(scale: float | None, where: str) -> None:
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise InputError(what=f"scale is {scale}", where=where, remedy="give the size of the values, a number above 0")


def _check_prior(prior: tuple[float, float] | None, where: str) -> None:
    if prior is not None and not (np.isfinite(prior[0]) and np.isfinite(prior[1]) and prior[1] > 0):
        raise InputError(
            what=f"prior {prior}", where=where, remedy="give (mean, standard deviation), the latter above 0"
        )
