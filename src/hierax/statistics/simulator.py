"""Models of one quantity, from the coarsest to the finest, at inputs that are drawn at random."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, final

import numpy as np

from hierax import clock
from hierax._errors import InputError
from hierax.models.inputs import AbstractInput
from hierax.models.leveled import AbstractLeveled

SURROGATE = -1
"""Number of the surrogate of level 0; that of level `l` is `SURROGATE - l`."""
CHEAP = 1e-3
"""Cost of a surrogate over that of the coarsest level, where costs are given."""
EDGE = 2.0**-54
"""Distance of uniform numbers from 0 and 1: quantiles there may be infinite."""


class Values(NamedTuple):
    """Values `(n, m)` of a model, one row a sample, NaN where it failed, and what all of them cost."""

    values: np.ndarray
    cost: float


class AbstractSimulator(abc.ABC):
    """Models of one quantity at random inputs.

    Attributes
    ----------
    name:
        For run folders.
    dim:
        Uniform numbers that a sample is made of.
    levels:
        Number of levels; `None` where there is always a finer one.
    ensemble:
        Whether the last level is the truth, and the others any models that cost less. Otherwise levels converge, and
        what is asked for is their limit.
    surrogates:
        `None`; `False` for a surrogate that is the same on all levels, `True` for one of every level.
    """

    name: str
    dim: int
    levels: int | None
    ensemble: bool
    surrogates: bool | None
    measured: bool
    """Whether costs are seconds that were measured."""

    @abc.abstractmethod
    def evaluated(self, uniform: np.ndarray, model: int) -> Values:
        """Values of a level, or of the surrogate `SURROGATE - level`, for uniform numbers `(n, dim)`."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of the quantity; known after the first evaluation."""


@final
class Simulator(AbstractSimulator):
    """A function that simulates, on levels.

    Parameters
    ----------
    simulate:
        `simulate(inputs, level) -> value`: a number or an array, of the same shape on all levels. `inputs` holds a
        number for each name, or an array for one that was given with a count.
    inputs:
        For each name `Uniform`, `LogUniform`, `Normal` or `Choice`, or such with a count:
        `{"xi": (hx.Normal(0, 1), 64)}`.
    levels:
        Number of levels, 0 the coarsest; without it there is always a finer one, each about half as wide.
    ensemble:
        Say that the last level is the truth and that the others are any models that cost less.
    costs:
        Of one value on each level; measured in seconds if not given. A surrogate then counts a thousandth of level 0.
    surrogate:
        `surrogate(inputs)` or `surrogate(inputs, level)`: something that costs little. It is called with arrays of
        many samples at once, `(n,)` or `(n, count)`, and returns `(n, ...)`. The estimate is right however wrong it is.
    batch:
        Say that `simulate` takes many samples at once in the same way.
    name:
        For run folders.

    Raises
    ------
    InputError
        For inputs that are none, costs that do not fit the levels, and, when it is run, for values of changing shape.

    Examples
    --------
    >>> import hierax as hx
    >>> def simulate(inputs, level):
    ...     return np.sum(np.exp(inputs["a"] * (np.arange(2**level) + 0.5) / 2**level)) / 2**level
    >>> simulator = hx.Simulator(simulate, {"a": hx.Uniform(0.0, 1.0)})
    """

    def __init__(
        self,
        simulate: Callable[..., Any],
        inputs: Mapping[str, AbstractInput | tuple[AbstractInput, int]],
        levels: int | None = None,
        *,
        ensemble: bool = False,
        costs: Sequence[float] | None = None,
        surrogate: Callable[..., Any] | None = None,
        batch: bool = False,
        name: str = "simulator",
    ) -> None:
        if not inputs:
            raise InputError("Nothing varies.", "Simulator(inputs=...)", 'Give {"name": hx.Uniform(low, high)}.')
        if ensemble and levels is None:
            raise InputError("An ensemble has a last model.", "Simulator(ensemble=True)", "Say how many levels.")
        self.inputs = {key: _counted(key, value) for key, value in inputs.items()}
        self.dim = sum(count or 1 for _, count in self.inputs.values())
        self.simulate, self.levels, self.ensemble, self.batch, self.name = simulate, levels, ensemble, batch, name
        self.costs = None if costs is None else np.asarray(costs, float)
        if self.costs is not None and (self.costs.shape != (levels,) or not np.all(self.costs > 0)):
            raise InputError(f"The costs are {costs}.", "Simulator(costs=...)", "Give one above zero for each level.")
        self.measured = costs is None
        self.surrogate, self.surrogates = surrogate, None if surrogate is None else _takes_level(surrogate)
        self._shape: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape or ()

    def drawn(self, uniform: np.ndarray) -> dict[str, np.ndarray]:
        """Inputs for uniform numbers `(n, dim)`: `(n,)`, or `(n, count)`."""
        uniform = np.clip(uniform, EDGE, 1.0 - EDGE)
        found, place = {}, 0
        for key, (one, count) in self.inputs.items():
            own = uniform[:, place : place + (count or 1)]
            found[key] = one.quantile(own if count else own[:, 0])
            place += count or 1
        return found

    def evaluated(self, uniform: np.ndarray, model: int) -> Values:
        inputs = self.drawn(uniform)
        begun = clock.seconds_now()
        if model <= SURROGATE:
            assert self.surrogate is not None
            found = self.surrogate(inputs, SURROGATE - model) if self.surrogates else self.surrogate(inputs)
        elif self.batch:
            found = self.simulate(inputs, model)
        else:
            rows = ({key: value[k] for key, value in inputs.items()} for k in range(len(uniform)))
            found = [self.simulate(row, model) for row in rows]
        cost = max(clock.seconds_now() - begun, 1e-9 * len(uniform))
        if self.costs is not None and model >= 0:
            cost = float(self.costs[model]) * len(uniform)
        elif self.costs is not None:
            cost = CHEAP * float(self.costs[0]) * len(uniform)
        return Values(self._checked(found, len(uniform), model), cost)

    def _checked(self, found: Any, count: int, model: int) -> np.ndarray:
        where = f"level {model}" if model >= 0 else "the surrogate"
        try:
            values = np.asarray(found, dtype=float)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"What is simulated is no array of numbers ({error}).",
                where,
                "Return a number, or an array of one shape.",
            ) from error
        if values.shape[:1] != (count,):
            raise InputError(f"{count} samples give shape {values.shape}.", where, "Return one value for each sample.")
        if self._shape is None:
            self._shape = values.shape[1:]
        if values.shape[1:] != self._shape:
            raise InputError(
                f"Values have the shape {values.shape[1:]}, others {self._shape}.", where,
                "Evaluate the quantity at the same points on every level.",
            )  # fmt: skip
        return values.reshape(count, -1)


@final
class Leveled(AbstractSimulator):
    """What families and simulators evaluate on levels: a `hx.Simulation`, with random fields among its inputs."""

    def __init__(self, leveled: AbstractLeveled) -> None:
        self.leveled, self.name = leveled, str(getattr(leveled, "name", "simulator"))
        self.dim, self.levels = len(leveled.columns), leveled.levels
        self.ensemble, self.surrogates, self.measured = False, None, True
        self._shape: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape or ()

    def evaluated(self, uniform: np.ndarray, model: int) -> Values:
        found = self.leveled.evaluate(self.leveled.quantiles(np.clip(uniform, EDGE, 1.0 - EDGE)), model)
        shape = found.values.shape[1:]
        if np.all(np.isnan(found.values)):
            raise InputError(
                f"No sample gives a value ({', '.join(found.failures)}).", f"level {model}", "Repair the simulation."
            )
        if self._shape is None:
            self._shape = shape
        if shape != self._shape:
            raise InputError(
                f"Values have the shape {shape}, others {self._shape}.", f"level {model}",
                "Evaluate the quantity at the same points on every level.",
            )  # fmt: skip
        return Values(found.values.reshape(len(uniform), -1), max(float(np.sum(found.seconds)), 1e-9 * len(uniform)))


def _counted(key: str, value: Any) -> tuple[AbstractInput, int]:
    """An input and how many numbers it has; 0 for one that is no array."""
    one, count = value if isinstance(value, tuple) else (value, 0)
    if not isinstance(one, AbstractInput) or (isinstance(value, tuple) and not count >= 1):
        raise InputError(
            f"The input {key!r} is {value!r:.60}.", "inputs", "Give hx.Uniform, hx.LogUniform, hx.Normal or hx.Choice."
        )
    return one, int(count)


def _takes_level(function: Callable[..., Any]) -> bool:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in inspect.signature(function).parameters.values() if p.kind in kinds and p.default is p.empty]
    return len(needed) > 1
