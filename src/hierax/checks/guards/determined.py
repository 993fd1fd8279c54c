"""Do the terms determine the solution?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.base import AbstractGuard
from hierax.checks.limits import EXACTLY_FLAT, FLAT, STAYS
from hierax.events import Guard
from hierax.objective.flatness import Direction, Flatness

SHARE = 0.1
"""Least share of an unknown in a direction that is said to change it."""
ROUNDING = 1e-9
"""Violations below this are zero."""
ALONE = 1e-4
"""Least share of a constant in a direction that changes constants only: a hundredth of the largest relative change."""
EVEN = 0.05
"""Most variation, relative, of a change that is called constant."""
RIM, PEAK = 0.1, 1.3
"""Part of the domain beside a face, and factor by which a change is larger there than at the opposite face."""


@final
@dataclass(frozen=True)
class Determined(AbstractGuard):
    """How far the unknowns can change, in their sizes, while no term is violated by more than one.

    One is what smooth changes of the same size violate. A solution is not determined where that is unbounded: finer
    levels, which can express the change better, then show that it violates ever less. What finer levels leave as it is
    belongs to a problem that is badly conditioned but has one solution. Isolated solutions are not seen.

    Noise of the data leaves what is inferred within intervals, which have to tell something of it.
    """

    limit: float = 1.0 / FLAT
    alone: float = 10.0 / FLAT
    """The limit where one level alone is small enough to be looked at."""
    open: float = 5.0
    """Most half the width of an interval of a constant: a factor of 150 up and down, where it has a bound."""
    smooth: float = 0.5
    """The same of a function that penalties keep smooth, which has no interval beside it."""
    face: float = 1.25
    """The same on the face where it is known least, and may be as rough as the few numbers that data tell allow."""
    name: ClassVar[str] = "determined"
    result: ClassVar[RESULTS] = RESULTS.guard_determined

    def judge(self, evidence: Evidence) -> Guard | None:
        flat, widths = self._flat(evidence), _widths(evidence)
        widest = max(widths.values(), default=0.0)
        if widest <= self.open or (flat is not None and not flat.passed):
            return flat
        names = " and ".join(name for name, width in widths.items() if not width <= self.open)
        how = "their intervals of 95 % reach by {:.2g} times their size, or powers of e, up and down (limit {:g})"
        return Guard(widest, self.open, False, f"The data do not fix {names}: {how.format(widest, self.open)}.")

    def judge_each(self, evidence: Evidence) -> Mapping[str, Guard]:
        """The judgement of all terms, and one of each function that was inferred from data with noise."""
        found = dict(super().judge_each(evidence))
        for name in filter(evidence.widths.__contains__, evidence.problem.functions):
            width, (place, there) = evidence.widths[name], evidence.faces.get(name, ("", 0.0))
            powers = _bounded(evidence, name)
            of = "in powers of e" if powers else "of its size where it is known best"
            how = f"by {width:.2g} {of} up and down, in the root mean square (limit {self.smooth:g})"
            if place:
                how += f", at {place} by {there:.2g}{'' if powers else ' of its size'} (limit {self.face:g})"
            worse = there / self.face > width / self.smooth
            value, limit = (there, self.face) if worse else (width, self.smooth)
            found[f"{self.name}:{name}"] = Guard(
                value, limit, bool(value <= limit), f"The intervals of 95 % of {name} reach {how}."
            )
        return found

    def _flat(self, evidence: Evidence) -> Guard | None:
        """Whether a change of any size violates next to nothing."""
        seen = evidence.flatness
        if seen is None:
            return None
        several, least = len(seen.violations) > 1, max(min(seen.violations), ROUNDING)
        limit = self.limit if several else self.alone
        falls = least < EXACTLY_FLAT or not several or seen.violations[-1] <= STAYS * seen.violations[-2]
        what = f"violates the terms by {least:.1g} of what smooth changes of its size do (limit {1.0 / limit:.1g})"
        if falls and 1.0 / least > limit:
            return Guard(1.0 / least, limit, False, f"{_sentence(evidence, seen)}: a change {what}.")
        return Guard(1.0 / least, limit, True, f"The terms determine the solution: no change {what} or less.")


def _widths(evidence: Evidence) -> dict[str, float]:
    """Half the widths of intervals of constants: in their sizes or values, or in powers of e where there are bounds."""
    found = {}
    for name in filter(evidence.widths.__contains__, evidence.problem.constants):
        size = 1.0 if _bounded(evidence, name) else max(1.0, abs(float(evidence.field.parts[name].value)))
        found[name] = evidence.widths[name] / size
    return found


def _bounded(evidence: Evidence, name: str) -> bool:
    """Whether an unknown has a bound."""
    return any(end is not None for end in evidence.problem.unknowns[name].bounds or ())


def _sentence(evidence: Evidence, seen: Flatness) -> str:
    """What is free, by name and shape."""
    first, problem = seen.directions[0], evidence.problem
    functions = [n for n in problem.functions if first.shares[n] > SHARE]
    if not functions:
        return _about_constants(evidence, first, [n for n in problem.constants if first.shares[n] > ALONE])
    constants = [n for n in problem.constants if first.shares[n] > SHARE]
    names = " and ".join([*functions, *constants])
    largest = max(problem.functions, key=first.shares.__getitem__)
    sizes = [f.components or 1 for f in problem.functions.values()]
    start = sum(sizes[: list(problem.functions).index(largest)])
    values = first.values[:, start : start + (problem.functions[largest].components or 1)]
    if np.all(values.std(axis=0) < EVEN * np.sqrt(np.mean(values**2))):
        return f"Nothing fixes {names}, free up to a constant"
    place = _face(evidence, seen.points, values)
    return f"Nothing fixes {names} at {place}" if place else f"Nothing fixes {names}, to which a wave can be added"


def _face(evidence: Evidence, points: np.ndarray, values: np.ndarray) -> str:
    """The face beside which a change is largest, as an equation; empty where it is as large elsewhere."""
    domain, best, found = evidence.problem.domain, 0.0, ""
    low, high = domain.bounds()
    squares = np.sum(values**2, axis=1)
    for axis, name in enumerate(domain.names or ()):
        z = (points[:, axis] - low[axis]) / (high[axis] - low[axis])
        if name in domain.periodic or not (z < RIM).any() or not (z > 1.0 - RIM).any():
            continue
        sizes = [float(np.sqrt(np.mean(squares[beside]))) for beside in (z < RIM, z > 1.0 - RIM)]
        if max(sizes) > max(best, PEAK * min(sizes), np.sqrt(np.mean(squares))):
            best, end = max(sizes), (low, high)[int(np.argmax(sizes))]
            found = f"{name} = {end[axis]:.4g}"
    return found


def _about_constants(evidence: Evidence, direction: Direction, names: list[str]) -> str:
    """Which combination of the constants is determined: their sum, product or another."""
    if len(names) != 2:
        return (
            f"Nothing fixes {names[0]}"
            if len(names) == 1
            else f"Only a combination of {', '.join(names)} is determined"
        )
    (a, da), (b, db) = ((evidence.constants[n], direction.changes[n]) for n in names)
    fits = {
        "+": abs(da + db) < EVEN * abs(da),
        "-": abs(da - db) < EVEN * abs(da),
        "*": abs(da * b + db * a) < EVEN * abs(da * b),
        "/": abs(da * b - db * a) < EVEN * abs(da * b),
    }
    ways = [f"{names[0]} {sign} {names[1]}" for sign, holds in fits.items() if holds]
    what = ways[0] if len(ways) == 1 else f"a combination of {names[0]} and {names[1]}"
    return f"Only {what} is determined"
