"""What can be evaluated on levels, at a cost of each: simulators of the user, and families of problems."""

from __future__ import annotations

import abc
import functools
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike

from hierax import clock
from hierax._errors import InputError
from hierax.models.inputs import AbstractInput
from hierax.models.varied import AbstractVaried


class Evaluated(NamedTuple):
    """Members on a level.

    Attributes
    ----------
    values:
        `(n, *shape)`, NaN where a member failed.
    seconds:
        `(n,)` that each took, without compilation.
    failures:
        How often each reason to leave a member out was met.
    """

    values: np.ndarray
    seconds: np.ndarray
    failures: Mapping[str, int]


class One(NamedTuple):
    """One member on a level: its values, its seconds, and why it failed if it did."""

    value: np.ndarray | None
    seconds: float
    reason: str | None = None


class AbstractLeveled(AbstractVaried):
    """A quantity that depends on inputs and can be evaluated on levels; level 0 is the coarsest.

    Attributes
    ----------
    levels:
        How many there are.
    """

    levels: int

    @abc.abstractmethod
    def each(self, inputs: np.ndarray, level: int) -> Iterable[One]:
        """Members with inputs `(n, k)` on a level, one after the other."""

    def evaluate(self, inputs: np.ndarray, level: int) -> Evaluated:
        """Members with inputs `(n, k)` on a level; the same inputs on two levels are the same member.

        Raises
        ------
        InputError
            For a level that there is not, and values whose shapes differ.
        """
        if not 0 <= level < self.levels:
            raise InputError(f"There is no level {level}.", "evaluate(level=...)", f"Give 0 to {self.levels - 1}.")
        found = list(self.each(np.atleast_2d(inputs), level))
        shapes = {one.value.shape for one in found if one.value is not None}
        if len(shapes) > 1:
            raise InputError(f"Values have the shapes {sorted(shapes)}.", "evaluate(...)", "Return one shape a level.")
        missing = np.full(shapes.pop() if shapes else (), np.nan)
        values = np.stack([missing if one.value is None else one.value for one in found])
        reasons = Counter(one.reason for one in found if one.reason is not None)
        return Evaluated(values, np.array([one.seconds for one in found]), dict(reasons))


@final
class Simulation(AbstractLeveled):
    """A simulator of the user on levels.

    Parameters
    ----------
    simulate:
        `simulate(inputs, level)` returns a number or an array, of one shape on each level. `inputs` has a float for
        each input that is a number, and for a `GaussianField` a function of the point whose values at the centres of
        the cells of a grid are `inputs["k"].on_cells((64, 64))`.
    inputs:
        What varies by name.
    levels:
        Number of levels.
    processes:
        How many run at a time; with more than one `simulate` has to be a function of a module, or of a file that the
        command line reads.
    name:
        For run folders.

    Raises
    ------
    InputError
        Where nothing varies, and for numbers of levels and processes below one.

    Examples
    --------
    >>> hx.Simulation(walk, {"drift": hx.Normal(0.0, 1.0)}, levels=4).evaluate(inputs, level=0)  # doctest: +SKIP
    """

    def __init__(
        self, simulate: Callable[[dict[str, Any], int], ArrayLike], inputs: Mapping[str, AbstractInput],
        levels: int = 1, processes: int = 1, name: str = "simulation",
    ) -> None:  # fmt: skip
        super().__init__(inputs)
        if levels < 1 or processes < 1:
            raise InputError(
                f"levels={levels}, processes={processes}.", "Simulation(...)", "Give at least one of each."
            )
        self.simulate, self.levels, self.processes, self.name = simulate, levels, processes, name
        self.load: Callable[[], Simulation] | None = None
        """How a process finds it, where it cannot be sent."""

    def each(self, inputs: np.ndarray, level: int) -> Iterable[One]:
        if self.processes == 1:
            return (self.run(one, level) for one in inputs)
        return self._pool.map(_run, inputs, [level] * len(inputs))

    def run(self, inputs: np.ndarray, level: int) -> One:
        """One member in this process; what the simulator raises is why it fails."""
        began, reason, value = clock.seconds_now(), None, None
        try:
            value = np.asarray(self.simulate(self.given(inputs), level), dtype=float)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        if value is not None and not np.all(np.isfinite(value)):
            value, reason = None, "values are not finite"
        return One(value, clock.seconds_now() - began, reason)

    @functools.cached_property
    def _pool(self) -> ProcessPoolExecutor:
        """Processes that wait for members, until this object is gone."""
        if self.load is None:
            alone = Simulation(self.simulate, self.inputs, self.levels, 1, self.name)
            try:
                sent = functools.partial(pickle.loads, pickle.dumps(alone))
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise InputError(
                    f"The simulator cannot be sent to another process ({error}).",
                    "Simulation(processes=...)",
                    "Define it and its transforms as functions of a module.",
                ) from error
        else:
            sent = self.load
        return ProcessPoolExecutor(self.processes, get_context("spawn"), _begin, (sent,))


_simulations: list[Simulation] = []
"""The one that a process of a pool runs."""


def _begin(load: Callable[[], Simulation]) -> None:
    _simulations.append(load())


def _run(inputs: np.ndarray, level: int) -> One:
    return _simulations[-1].run(inputs, level)
