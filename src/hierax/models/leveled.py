"""What can be evaluated on levels, at a cost of each: simulators of the user, and families of problems."""

from __future__ import annotations

import abc
import functools
import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike

from hierax import clock
from hierax._errors import InputError
from hierax.models.inputs import AbstractInput
from hierax.models.varied import AbstractVaried
from hierax.models.workers import One, Workers

Told = Callable[[np.ndarray, np.ndarray, np.ndarray], None]
"""Is called with the numbers `(b,)`, values `(b, *shape)` and costs `(b,)` of members as they come."""


class Evaluated(NamedTuple):
    """Members on a level.

    Attributes
    ----------
    values:
        `(n, *shape)`, NaN where a member failed.
    seconds:
        `(n,)` that each took, without compilation; where costs are stated these.
    failures:
        How often each reason to leave a member out was met.
    """

    values: np.ndarray
    seconds: np.ndarray
    failures: Mapping[str, int]


class AbstractLeveled(AbstractVaried):
    """A quantity that depends on inputs and can be evaluated on levels; level 0 is the coarsest.

    Attributes
    ----------
    levels:
        How many there are; `None` where there is always a finer one.
    processes:
        How many members are evaluated at a time.
    ensemble:
        Whether the last level is the truth and the others any models that cost less. Otherwise levels converge.
    costs:
        Of a member on each level; `None` where seconds are measured.
    name:
        For run folders.
    load:
        How a process of its own finds it, where it cannot be sent.
    """

    levels: int | None
    processes: int = 1
    ensemble: bool = False
    costs: np.ndarray | None = None
    name: str = "simulation"
    load: Callable[[], AbstractLeveled] | None = None

    @abc.abstractmethod
    def run(self, inputs: np.ndarray, level: int) -> One:
        """The member with inputs `(k,)` on a level, in this process."""

    def each(self, inputs: np.ndarray, level: int) -> Iterator[tuple[int, One]]:
        """Members with inputs `(n, k)` on a level with their numbers, as they come."""
        if self.processes == 1:
            return ((number, self.run(one, level)) for number, one in enumerate(inputs))
        return self._workers.each(inputs, level)

    def evaluate(self, inputs: np.ndarray, level: int, told: Told | None = None) -> Evaluated:
        """Members with inputs `(n, k)` on a level; the same inputs on two levels are the same member.

        Raises
        ------
        InputError
            For a level that there is not, and values whose shapes differ.
        """
        if level < 0 or (self.levels is not None and level >= self.levels):
            raise InputError(f"There is no level {level}.", "evaluate(level=...)", f"Give one below {self.levels}.")
        return self._evaluated(np.atleast_2d(inputs), level, told)

    def _evaluated(self, inputs: np.ndarray, level: int, told: Told | None) -> Evaluated:
        found: list[Any] = [None] * len(inputs)
        for number, one in self.each(inputs, level):
            found[number] = one
            if told is not None and one.value is not None:
                told(np.array([number]), one.value[None], np.array([one.seconds]))
        shapes = {one.value.shape for one in found if one.value is not None}
        if len(shapes) > 1:
            raise InputError(f"Values have the shapes {sorted(shapes)}.", "evaluate(...)", "Return one shape a level.")
        missing = np.full(shapes.pop() if shapes else (), np.nan)
        values = np.stack([missing if one.value is None else one.value for one in found])
        reasons = Counter(one.reason for one in found if one.reason is not None)
        return Evaluated(values, np.array([one.seconds for one in found]), dict(reasons))

    def cheap(self, surrogate: Any) -> Callable[[np.ndarray], np.ndarray]:
        """From inputs `(n, k)` to what a surrogate says of the quantity `(n, *shape)`.

        Raises
        ------
        InputError
            For a surrogate that says nothing of this quantity.
        """
        if not callable(surrogate) or hasattr(surrogate, "inputs"):
            raise InputError(
                f"A {type(surrogate).__name__} does not know the quantity of a simulation.", "surrogate",
                "Give a function of the inputs, or estimate a quantity of a hx.Family.",
            )  # fmt: skip
        return lambda inputs: np.asarray(surrogate(self.columned(inputs)), dtype=float)

    @functools.cached_property
    def _workers(self) -> Workers:
        if self.load is not None:
            return Workers(self.load, self.processes)
        try:
            return Workers(functools.partial(pickle.loads, pickle.dumps(self)), self.processes)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InputError(
                f"The {type(self).__name__} cannot be sent to another process ({error}).", "processes=...",
                "Define it and its transforms as functions of a module.",
            ) from error  # fmt: skip


@final
class Simulation(AbstractLeveled):
    """A simulator of the user on levels, to be estimated or learned from.

    Parameters
    ----------
    simulate:
        `simulate(inputs, level)` returns a number or an array, of one shape on each level; of one on all levels where
        something is estimated. `inputs` has a float for each input that is a number, an array for one that was given
        with a count, and for a `GaussianField` a function of the point whose values at the centres of the cells of a
        grid are `inputs["k"].on_cells((64, 64))`.
    inputs:
        What varies by name: `Uniform`, `LogUniform`, `Normal`, `Choice` or `GaussianField`, or one of the former with a
        count: `{"xi": (hx.Normal(0, 1), 64)}`.
    levels:
        Number of levels, 0 the coarsest; without it there is always a finer one, each about half as wide.
    processes:
        How many run at a time; with more than one `simulate` has to be a function of a module, or of a file that the
        command line reads. One that dies is replaced, and its member is tried once more.
    costs:
        Of one value on each level; measured in seconds if not given.
    ensemble:
        Say that the last level is the truth and that the others are any models that cost less.
    batch:
        Say that `simulate` takes many members at once: numbers `(n,)`, or `(n, count)`, and returns `(n, ...)`.
    name:
        For run folders.

    Raises
    ------
    InputError
        For inputs that are none, numbers of levels and processes below one, and costs that do not fit the levels.

    Examples
    --------
    >>> import hierax as hx
    >>> def simulate(inputs, level):
    ...     return np.sum(np.exp(inputs["a"] * (np.arange(2**level) + 0.5) / 2**level)) / 2**level
    >>> simulation = hx.Simulation(simulate, {"a": hx.Uniform(0.0, 1.0)})
    """

    def __init__(
        self,
        simulate: Callable[[dict[str, Any], int], ArrayLike],
        inputs: Mapping[str, AbstractInput | tuple[AbstractInput, int]],
        levels: int | None = None,
        processes: int = 1,
        *,
        costs: Sequence[float] | None = None,
        ensemble: bool = False,
        batch: bool = False,
        name: str = "simulation",
    ) -> None:
        super().__init__(inputs)
        if min(levels or 1, processes) < 1 or levels == 0:
            raise InputError(
                f"levels={levels}, processes={processes}.", "Simulation(...)", "Give at least one of each."
            )
        if ensemble and levels is None:
            raise InputError("An ensemble has a last model.", "Simulation(ensemble=True)", "Say how many levels.")
        if batch and (self.random_fields or processes > 1):
            raise InputError(
                "Random fields, and members in processes, go one by one.", "Simulation(batch=True)", "Leave batch out."
            )
        self.simulate, self.levels, self.processes, self.name = simulate, levels, processes, name
        self.ensemble, self.batch = ensemble, batch
        self.costs = None if costs is None else np.asarray(costs, float)
        if self.costs is not None and (self.costs.shape != (levels,) or not np.all(self.costs > 0)):
            raise InputError(f"The costs are {costs}.", "Simulation(costs=...)", "Give one above zero for each level.")

    def __getstate__(self) -> dict[str, Any]:
        # processes have none of their own
        return {key: value for key, value in vars(self).items() if key != "_workers"} | {"processes": 1}

    def run(self, inputs: np.ndarray, level: int) -> One:
        """One member in this process; what the simulator raises is why it fails."""
        if self.batch:
            found = self._evaluated(inputs[None], level, None)
            return One(found.values[0], float(found.seconds[0]), next(iter(found.failures), None))
        began, reason, value = clock.seconds_now(), None, None
        try:
            value = np.asarray(self.simulate(self.given(inputs), level), dtype=float)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        if value is not None and not np.all(np.isfinite(value)):
            value, reason = None, "values are not finite"
        return One(value, self._cost(clock.seconds_now() - began, level), reason)

    def _cost(self, seconds: float, level: int) -> float:
        return seconds if self.costs is None else float(self.costs[level])

    def _evaluated(self, inputs: np.ndarray, level: int, told: Told | None) -> Evaluated:
        if not self.batch:
            return super()._evaluated(inputs, level, told)
        began, count = clock.seconds_now(), len(inputs)
        values = np.array(self.simulate(self.columned(inputs), level), dtype=float)
        seconds = np.full(count, self._cost((clock.seconds_now() - began) / count, level))
        if values.shape[:1] != (count,):
            raise InputError(
                f"{count} members give shape {values.shape}.", f"level {level}", "Return one value for each member."
            )
        good = np.all(np.isfinite(values.reshape(count, -1)), axis=1)
        values[~good] = np.nan
        if told is not None:
            told(np.flatnonzero(good), values[good], seconds[good])
        return Evaluated(values, seconds, {} if np.all(good) else {"values are not finite": int(np.sum(~good))})
