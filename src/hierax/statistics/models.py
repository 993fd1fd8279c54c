"""Models of one quantity by number, at uniform numbers: the levels of what is evaluated, and what stands for them."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import numpy as np

from hierax import clock
from hierax._errors import InputError
from hierax.models.leveled import AbstractLeveled
from hierax.statistics.kept import KeptValues

SURROGATE = -1
"""Number of the surrogate: a level below all others."""
CHEAP = 1e-3
"""Cost of a surrogate over that of the coarsest level, where costs are given."""
EDGE = 2.0**-54
"""Distance of uniform numbers from 0 and 1: quantiles there may be infinite."""


class Values(NamedTuple):
    """Values `(n, m)` of a model, one row a sample, NaN where it failed, and what all of them cost."""

    values: np.ndarray
    cost: float


class Places(NamedTuple):
    """Where samples are: the name of a stream of them, and their numbers `(n,)` in it."""

    stream: str
    numbers: np.ndarray


@final
class Models:
    """Levels of what is evaluated, and a surrogate.

    Parameters
    ----------
    leveled:
        What is evaluated.
    surrogate:
        What `AbstractLeveled.cheap` understands.
    kept:
        Where values are kept as they come, and looked up before anything is evaluated.
    """

    def __init__(self, leveled: AbstractLeveled, surrogate: Any = None, kept: KeptValues | None = None) -> None:
        self.leveled, self.kept = leveled, kept or KeptValues()
        self.surrogate = None if surrogate is None else leveled.cheap(surrogate)
        self.dim, self.levels, self.ensemble = len(leveled.columns), leveled.levels, leveled.ensemble
        self.measured = leveled.costs is None
        self._shape: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the quantity; known after the first evaluation."""
        return self._shape or ()

    def evaluated(self, uniform: np.ndarray, model: int, places: Places) -> Values:
        """Values of a level, or of the surrogate, for uniform numbers `(n, dim)`.

        Raises
        ------
        InputError
            Where no sample has a value, and for values of changing shape.
        """
        inputs = self.leveled.quantiles(np.clip(uniform, EDGE, 1.0 - EDGE))
        where = f"level {model}" if model > SURROGATE else "the surrogate"
        if model == SURROGATE:
            assert self.surrogate is not None
            began = clock.seconds_now()
            values, failures = self.surrogate(inputs), {}
            cost = clock.seconds_now() - began
            if self.leveled.costs is not None:
                cost = CHEAP * float(self.leveled.costs[0]) * len(inputs)
        else:
            values, seconds, failures = self._of_level(inputs, model, places)
            cost = float(np.sum(seconds))
        if values.shape[:1] != (len(inputs),):
            raise InputError(f"{len(inputs)} samples give shape {values.shape}.", where, "Return a value for each.")
        if len(inputs) and np.all(np.isnan(values)):
            raise InputError(f"No sample gives a value ({', '.join(failures)}).", where, "Repair what is simulated.")
        self._shape = values.shape[1:] if self._shape is None else self._shape
        if values.shape[1:] != self._shape:
            raise InputError(
                f"Values have the shape {values.shape[1:]}, others {self._shape}.", where,
                "Evaluate the quantity at the same points on every level.",
            )  # fmt: skip
        return Values(values.reshape(len(inputs), -1), max(cost, 1e-9 * len(inputs)))

    def _of_level(self, inputs: np.ndarray, level: int, places: Places) -> tuple[np.ndarray, np.ndarray, Any]:
        """Values, costs and failures: those that are kept, and the others evaluated and kept."""
        stream = self.kept.stream(f"{places.stream}_{level}")
        known = stream.known(places.numbers)
        new = np.flatnonzero(known < 0)
        if not len(new):
            return stream.values[known], stream.costs[known], {}
        found = self.leveled.evaluate(
            inputs[new], level, lambda rows, values, costs: stream.add(places.numbers[new[rows]], values, costs)
        )
        if len(new) == len(inputs):
            return found.values, found.seconds, found.failures
        values, costs = np.full((len(inputs), *stream.values.shape[1:]), np.nan), np.empty(len(inputs))
        if len(found.failures) == 0 or found.values.shape[1:] == values.shape[1:]:
            values[new] = found.values
        values[known >= 0] = stream.values[known[known >= 0]]
        costs[new], costs[known >= 0] = found.seconds, stream.costs[known[known >= 0]]
        return values, costs, found.failures
