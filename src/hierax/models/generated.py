"""Samples that are made to be learned from: members on levels, in numbers that their costs and spreads ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from hierax import clock
from hierax._errors import InputError
from hierax.events import Subscriber
from hierax.models.course import Course, CourseState
from hierax.models.family import Family
from hierax.models.family_levels import FamilyLevels
from hierax.models.grids import resampled
from hierax.models.leveled import AbstractLeveled
from hierax.models.levels import LEAST_PAIRS, learned_levels
from hierax.models.operator_training import LEAST, learned_operator
from hierax.models.operators import Operator
from hierax.models.random_fields import RandomFunction
from hierax.models.samples import Samples
from hierax.models.workers import One
from hierax.problems.domain import Box
from hierax.problems.keys import seed_of
from hierax.results.arrays import named_arrays
from hierax.results.files import written

CELLS = {1: 128, 2: 32, 3: 16}
"""Cells an axis of the grid on which solutions of a family are learned, by the number of axes."""
PILOT = 4
"""Members that are evaluated on all levels first."""
RESOLVED = 2e-3
"""Relative change to the next level, up to which a level is fine enough for a network."""
DATA = 0.5
"""Part of the budget for members."""
LEAST_TRAINED = 0.3
"""Part of the budget that training gets in any case: members that have to be there may overdraw it."""
LOOKING, FINEST = 0.25, 8
"""Part of the budget after which no finer level is looked at, and how many there are where nothing says it."""
MOST = 2048
"""Most members of a level."""
CHEAP = 0.3
"""Cost of the level below over that of the level, up to which it pays to take it as well."""
PAIRS = 0.25, 0.7
"""Least and largest part of the seconds for pairs."""
WRITTEN = 10.0
"""Seconds after which members are kept anew."""
MEMBERS = "members"
"""The part of a learning that evaluates them."""
COARSE = "coarse"
"""Name of the output on the level below."""


def learn_generated(
    leveled: Family | AbstractLeveled, *, budget: float = 60.0, key: int = 0, subscribers: Iterable[Subscriber] = (),
    keep: Path | None = None, kept: CourseState | None = None,
) -> Operator:  # fmt: skip
    """Learn the map from functions and numbers to what members are on a grid, from members that are made for it.

    A few members on all levels show what levels cost and how they differ. Of a family the coarsest level is taken
    that the next one hardly changes, and solutions are learned at the centres of the cells of a grid. Of a simulator
    the finest level is learned; where the one below costs little, few pairs on both are joined by many on that one, see
    `hierax.models.learn_levels`, in the numbers that variances and costs ask for. Members that fail are left out.

    Parameters
    ----------
    leveled:
        A family with random fields, on a box; or what returns functions on grids on its levels, such as a
        `hx.Simulation`.
    budget:
        Seconds in all; a half of it is for members.
    key, subscribers:
        As those of `learn_operator`.
    keep:
        NPZ in which members are kept as they come; those that it has are not evaluated again.
    kept:
        As that of `learn_operator`; `keep` has its members.

    Raises
    ------
    InputError
        For domains that are no boxes, values that are no functions on grids, and budgets that end before there are
        members enough.

    References
    ----------
    Giles, Acta Numerica 24 (2015) (numbers of samples on levels).
    """
    course = Course(subscribers, kept)
    making = Making.of(leveled, key, keep, course)
    chosen = course.reached(MEMBERS) or making.chosen(budget)
    course.keep(MEMBERS, chosen)
    left = max(budget - course.start("training"), LEAST_TRAINED * budget)
    fine = making.samples(chosen.level, chosen.fine)
    if chosen.below is None:
        return replace(learned_operator(fine, left, key, course), levels=making.looked())
    base, coarse = (making.samples(chosen.below, numbers) for numbers in (chosen.fine, chosen.more))
    (name,) = fine.outputs
    pairs = Samples({**fine.inputs, COARSE: base.outputs[name]}, fine.outputs, base=COARSE)
    others = Samples(coarse.inputs, {COARSE: coarse.outputs[name]})
    return replace(learned_levels(pairs, others, left, key, course), levels=making.looked())


class Chosen(NamedTuple):
    """What is learned: numbers of members on a level, and on the one below alone where that is taken as well."""

    level: int
    below: int | None
    fine: list[int]
    more: list[int]


@final
@dataclass(eq=False)
class Making:
    """Members of something on levels, by their number in one sequence of inputs, each evaluated once.

    Attributes
    ----------
    leveled, inputs, cells:
        What is evaluated, at which inputs `(n, k)`, and the grid on which random fields are given to networks.
    axes:
        Names of the axes of that grid, where they have some.
    names:
        Of the outputs: the last axis of values has one entry for each.
    keep:
        File in which members are kept as they come.
    known:
        On each level the members by number, `None` for those that failed.
    """

    leveled: AbstractLeveled
    inputs: np.ndarray
    cells: tuple[int, ...]
    axes: tuple[str, ...]
    names: tuple[str, ...]
    keep: Path | None
    course: Course
    known: dict[int, dict[int, One]] = field(default_factory=dict)
    written: float = 0.0

    @classmethod
    def of(cls, leveled: Family | AbstractLeveled, key: int, keep: Path | None, course: Course) -> Making:
        """With the members that a file has kept, if there is one."""
        leveled.check_named()
        inputs = leveled.drawn(MOST, seed_of(key, 20))
        if isinstance(leveled, Family):
            levels, cells, names = _on_cells(leveled, key)
            made = cls(levels, inputs, cells, tuple(levels.asked.domain.names), names, keep, course)
        else:
            made = cls(leveled, inputs, (), (), ("value",), keep, course)
        if keep is not None and keep.exists():
            made._read(keep)
        if not isinstance(leveled, Family):
            made._take_grid(0 if leveled.levels is None else made.last)
        return made

    @property
    def last(self) -> int:
        """The finest level."""
        return (self.leveled.levels or FINEST) - 1

    def say(self, sentence: str) -> None:
        """Tell what is decided, and what failed."""
        failed = Counter(one.reason for members in self.known.values() for one in members.values() if one.reason)
        left_out = "".join(f" {count} failed: {reason}." for reason, count in failed.items())
        self.course.say(sentence + left_out)

    def chosen(self, budget: float) -> Chosen:
        """Evaluate members for their part of a budget."""
        origin = self.course.origin
        level, below = self.levels(origin + LOOKING * budget)
        start = origin + self.course.start(MEMBERS)
        stop = start + DATA * (origin + budget - start)
        if below is None:
            found = self.members(level, 0, stop, 2 * LEAST)
            self.say(f"{len(found)} members on level {level}.")
            return Chosen(level, None, found, [])
        share = self.share_of_pairs(level, below)
        fine = self.members(level, 0, start + share * (stop - start), 2 * LEAST_PAIRS)
        both = [number for number in self.members(below, 0, stop, max(fine) + 1) if number in fine]
        more = self.members(below, max(fine) + 1, stop, 2 * LEAST)
        self.say(f"{len(both)} pairs on levels {level} and {below}, {len(more)} members on level {below} alone.")
        return Chosen(level, below, both, more)

    def levels(self, stop: float) -> tuple[int, int | None]:
        """The level to be learned, and the one below where that is taken as well; finer ones are tried until `stop`."""
        last = self.last
        if not isinstance(self.leveled, FamilyLevels) and self.leveled.levels is not None:
            cheap = last > 0 and self._cost(last - 1) <= CHEAP * self._cost(last)
            return last, last - 1 if cheap else None
        for level in range(1, last + 1):
            change = self._difference(level, level - 1)
            late = clock.seconds_now() > stop
            if change <= RESOLVED or late:
                why = ", and there is no time to look at finer ones" if late else ""
                self.say(f"Level {level - 1} is learned: the next one changes it by {change:.1g}{why}.")
                last = level - 1
                break
        if not isinstance(self.leveled, FamilyLevels):
            self._take_grid(last)
        return last, None

    def _take_grid(self, level: int) -> None:
        """Let members be functions on the grid that they have on a level."""
        shape = self._pilots(level)[0].value.shape  # pyright: ignore
        if not 1 <= len(shape) <= 3:
            raise InputError(
                f"A member has the shape {shape}.", "simulate(inputs, level)",
                "Return a function on a grid of 1 to 3 axes.",
            )  # fmt: skip
        self.cells = shape

    def share_of_pairs(self, level: int, below: int) -> float:
        """Part of the seconds for pairs that makes the variance of a telescoping mean least."""
        pair = self._difference(level, below) * np.sqrt(self._cost(level) + self._cost(below))
        alone = np.sqrt(self._cost(below))
        return float(np.clip(pair / (pair + alone), *PAIRS))

    def members(self, level: int, first: int, stop: float, least: int) -> list[int]:
        """Evaluate members from a number on until the time is over, `least` of them in any case; those that are well.

        Raises
        ------
        InputError
            Where most of them fail.
        """
        own, number = self.known.setdefault(level, {}), first
        while number < min(first + MOST // 2, len(self.inputs)):
            if number not in own:
                if clock.seconds_now() > stop and number >= first + least:
                    break
                end = min(number + self.leveled.processes, len(self.inputs))
                pick = [k for k in range(number, end) if k not in own]
                own |= {pick[k]: one for k, one in self.leveled.each(self.inputs[pick], level)}
                self._write()
            number += 1
        good = [k for k in range(first, number) if own[k].value is not None]
        if 2 * len(good) < number - first:
            why = next(own[k].reason for k in range(first, number) if own[k].reason)
            raise InputError(
                f"{number - first - len(good)} of {number - first} members failed on level {level}: {why}.",
                "surrogate(...)",
                "Narrow the inputs, or mend what fails.",
            )
        self._write(last=True)
        return good

    def samples(self, level: int, numbers: list[int]) -> Samples:
        """Inputs and outputs of some members."""
        values = np.stack([self.known[level][k].value for k in numbers])  # pyright: ignore
        given = [self.leveled.given(row) for row in self.inputs[numbers]]
        inputs = {
            name: np.array([self._on_grid(one[name]) if callable(one[name]) else one[name] for one in given])
            for name in self.leveled.names
        }
        parts = {self.names[0]: values} if values.ndim == len(self.cells) + 1 else {
            name: values[..., k] for k, name in enumerate(self.names)
        }  # fmt: skip
        return Samples(inputs, parts)

    def _on_grid(self, function: RandomFunction) -> np.ndarray:
        """A random function on the grid; one cell along axes on which it does not depend: the first ones if unnamed."""
        own, dim = function.box.names, len(self.cells)
        where = [self.axes.index(name) for name in own] if set(own) <= set(self.axes) else range(dim - len(own), dim)
        if len(own) > dim:
            raise InputError(
                f"A random field has {len(own)} coordinates, and members have {dim} axes.", "GaussianField(box=...)",
                "Give members as functions on a grid of all axes.",
            )  # fmt: skip
        values = function.on_cells(tuple(self.cells[k] for k in where))
        return values.transpose(np.argsort(where)).reshape([n if k in where else 1 for k, n in enumerate(self.cells)])

    def _pilots(self, level: int) -> list[One]:
        return [self.known[level][k] for k in self.members(level, 0, -np.inf, PILOT)]

    def _cost(self, level: int) -> float:
        return float(np.median([one.seconds for one in self._pilots(level)])) + 1e-9

    def _difference(self, level: int, below: int) -> float:
        """Root mean square relative difference of pilots on two levels, on the grid of the finer one."""
        both = set(self.members(level, 0, -np.inf, PILOT)) & set(self.members(below, 0, -np.inf, PILOT))
        fine, coarse = (self.samples(k, sorted(both)).outputs[self.names[0]] for k in (level, below))
        coarse = resampled(coarse[..., None], fine.shape[1:], False)[..., 0]
        return float(np.sqrt(np.mean((fine - coarse) ** 2) / max(float(np.mean(fine**2)), 1e-300)))

    def looked(self) -> tuple[tuple[float, float], ...]:
        """Seconds of a member on each level that has a finer one, and its relative change by that."""
        pairs = [level for level in sorted(self.known) if level + 1 in self.known]
        return tuple((self._cost(level), self._difference(level + 1, level)) for level in pairs)

    def _write(self, last: bool = False) -> None:
        """Keep what there is, every few seconds."""
        if self.keep is None or not (last or clock.seconds_now() > self.written + WRITTEN):
            return
        arrays: dict[str, np.ndarray] = {"inputs": self.inputs}
        for level, members in self.known.items():
            good = {k: one for k, one in members.items() if one.value is not None}
            if good:
                arrays[f"values_{level}"] = np.stack([one.value for one in good.values()])  # pyright: ignore
                arrays[f"numbers_{level}"] = np.array(list(good))
                arrays[f"seconds_{level}"] = np.array([one.seconds for one in good.values()])
        with written(self.keep) as draft:
            np.savez(draft, **arrays)  # pyright: ignore
        self.written = clock.seconds_now()
        self.course.keep(MEMBERS, self.course.reached(MEMBERS))

    def _read(self, path: Path) -> None:
        found = named_arrays(path)
        if not np.array_equal(found.get("inputs", np.zeros(0)), self.inputs):
            raise InputError(
                "It has members of other inputs or of another seed.", str(path), "Name another file, or remove it."
            )
        for level in range(self.last + 1):
            if f"values_{level}" in found:
                parts = (found[f"{name}_{level}"] for name in ("numbers", "values", "seconds"))
                self.known[level] = {int(k): One(value, float(s)) for k, value, s in zip(*parts, strict=True)}


def _on_cells(family: Family, key: int) -> tuple[FamilyLevels, tuple[int, ...], tuple[str, ...]]:
    """Solutions of a family at the centres of the cells of a grid; the grid; and names of what is there."""
    domain = family.problem(family.middle()).domain
    if not isinstance(domain, Box):
        raise InputError("The domain is no box.", "surrogate(family)", "Give hx.Samples on a grid of your own.")
    cells = (CELLS[min(domain.dim, 3)],) * domain.dim
    axes = [a + (b - a) * (np.arange(n) + 0.5) / n for a, b, n in zip(domain.lower, domain.upper, cells, strict=True)]
    points = jnp.asarray(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, domain.dim))
    names: list[str] = []

    def values(seen: Any) -> Any:
        parts: dict[str, Any] = {"u": seen} if callable(seen) else {n: f for n, f in vars(seen).items() if callable(f)}
        found: dict[str, Any] = {name: jax.vmap(part)(points) for name, part in parts.items()}
        names[:] = [
            name if part.ndim == 1 else f"{name}[{k}]"
            for name, part in found.items()
            for k in range(1 if part.ndim == 1 else part.shape[1])
        ]
        table = jnp.concatenate([part.reshape(len(points), -1) for part in found.values()], axis=1)
        return table.reshape(*cells, -1)

    leveled = FamilyLevels(family, values, key=key)
    leveled.run(family.middle(), 0)
    return leveled, cells, tuple(names)
