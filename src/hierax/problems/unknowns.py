"""What is looked for: functions of the coordinates, and constants."""

from __future__ import annotations

from dataclasses import dataclass

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
        `(mean, standard deviation)` of the values, where something is known before any data.
    """

    components: int | None = None
    bounds: tuple[float | None, float | None] | None = None
    prior: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.components is not None and self.components < 1:
            raise InputError(
                what=f"{self.components} components", where="Function(components)", remedy="give a number from 1 on"
            )
        _check_bounds(self.bounds, "Function(bounds=...)")
        _check_prior(self.prior, "Function(prior=...)")


@dataclass(frozen=True)
class Constant:
    """An unknown number: `initial` is where the search starts; `bounds` and `prior` as for `Function`."""

    initial: float
    bounds: tuple[float | None, float | None] | None = None
    prior: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.initial):
            raise InputError(
                what=f"initial is {self.initial}", where="Constant(initial)", remedy="give a finite number"
            )
        _check_bounds(self.bounds, "Constant(bounds=...)")
        _check_prior(self.prior, "Constant(prior=...)")
        low, high = self.bounds or (None, None)
        if (low is not None and self.initial <= low) or (high is not None and self.initial >= high):
            raise InputError(
                what=f"initial {self.initial} is not strictly inside the bounds {self.bounds}",
                where="Constant(initial, bounds=...)",
                remedy="start inside the bounds",
            )


Unknown = Function | Constant


def _check_bounds(bounds: tuple[float | None, float | None] | None, where: str) -> None:
    if bounds is None:
        return
    low, high = bounds
    if low is not None and high is not None and not low < high:
        raise InputError(what=f"bounds {bounds}", where=where, remedy="the lower bound must be below the upper one")


def _check_prior(prior: tuple[float, float] | None, where: str) -> None:
    if prior is not None and not (np.isfinite(prior[0]) and np.isfinite(prior[1]) and prior[1] > 0):
        raise InputError(
            what=f"prior {prior}", where=where, remedy="give (mean, standard deviation), the latter above 0"
        )
