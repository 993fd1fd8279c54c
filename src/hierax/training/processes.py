"""How the Gaussian process of a table is found: scales, outliers and directions that leave the least error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import final
from weakref import WeakKeyDictionary

import numpy as np
from threadpoolctl import threadpool_limits

from hierax.planning.data import has_process
from hierax.problems.grouping import belonging
from hierax.problems.problem import Problem
from hierax.solvers.directions import directed
from hierax.solvers.gaussian_process import SIZES, fit_process
from hierax.solvers.likely_scale import likely_scale
from hierax.solvers.outliers import without_outliers
from hierax.solvers.value_scale import ValueScale
from hierax.training.state import FoundProcess
from hierax.training.table_process import Rows, TableProcess, rounded

MOST, ALL = 2000, 6000
"""Most rows by which a process is found, and most that it is given in the end."""
EXACT, NOISY = 1e-3, 1.1
"""Relative error left out, and its square over that of the noise, below which nothing simpler is tried."""
MOST_STEPS = 25
"""Most steps with all rows."""
SKEWED, BEYOND, BETTER = 0.5, 0.1, 0.6
"""Skewness of the values from which on logarithmic scales are tried, beside that of the largest likelihood one from so
far beyond their crowded end, over the spread; and part of the error left out that one has to reach."""
PATIENCE, LONGEST = 0.4, 0.9
"""Share of the seconds for the processes of a few rows, by counted work, and by the clock of a slow machine."""
DIRECTIONS, CLEARLY = 2, 0.9
"""Most directions across the inputs, and part of the error that one more has to reach."""
STEP = 2.0
"""Likelihoods of a step of the optimiser."""


@final
@dataclass
class ProcessLimits:
    """Ends work that takes too long: by counted work, so that machines agree, or where the clock says so."""

    seconds: float
    clock: Callable[[], bool]
    spent: float = field(default=0.0, init=False)

    def over(self, rows: int) -> bool:
        """Whether it is over after one more step with so many rows."""
        self.spent += STEP * _nominal(rows)
        return self.spent > self.seconds or self.clock()


def table_process(
    problem: Problem,
    name: str,
    seconds: float = 0.0,
    patience: ProcessLimits | None = None,
    found: FoundProcess | None = None,
) -> TableProcess | None:
    """The process of a scalar unknown of a problem of data alone; `None` where it has none.

    Parameters
    ----------
    problem, name:
        The problem and the unknown.
    seconds:
        Seconds of a nominal machine for steps with all rows, where there are more than on the coarse levels. The best
        that was found is kept.
    patience:
        For what is found with few rows; endless if not given. Where time is left, the process found is given more rows
        than it was found by, as many as one step with them takes `seconds`.
    found:
        What was found before, with as many steps.
    """
    patience = patience or ProcessLimits(np.inf, lambda: False)
    # small factorisations gain nothing by threads, and wait for each other where other programs run
    with threadpool_limits(limits=1, user_api="blas"):
        return _improved(problem, name, seconds, patience, found)


def _improved(
    problem: Problem, name: str, seconds: float, patience: ProcessLimits, found: FoundProcess | None
) -> TableProcess | None:
    known = _KNOWN.setdefault(problem, {})
    count = sum(len(t.points) for t in problem.data_of(name))
    steps = int(min(seconds / _nominal(min(count, MOST)), MOST_STEPS)) if count > SIZES[-1] else 0
    most = max((n for n in range(MOST, ALL + 1, MOST // 10) if _nominal(n) <= seconds), default=MOST)
    if found is not None and found.steps == steps:
        known[name] = given_table_process(problem, name, found)
    elif name not in known:
        rows = _rows(problem, name, MOST)
        known[name] = rows and _best(rows, patience)
    own = known[name]
    if own is not None and steps > own.steps:
        better = replace(own, process=own.process.improved(steps, lambda rows: patience.clock()))
        own = replace(min(own, better, key=lambda one: one.left_out), steps=steps)
        known[name] = own.given_more(_rows(problem, name, most, own.rows.scale)) if count > MOST < most else own
    return known[name]


def given_table_process(problem: Problem, name: str, found: FoundProcess) -> TableProcess | None:
    """The process of an output that a run has found, from the rows that it was found with."""
    few = _rows(problem, name, MOST)
    rows = few if few is None or found.rows <= MOST else _rows(problem, name, found.rows, few.scale)
    made = rows and rows.given(found)
    others = (given_table_process(problem, name, other) for other in found.others)
    return made and replace(made, others=tuple(other for other in others if other is not None))


_KNOWN: WeakKeyDictionary[Problem, dict[str, TableProcess | None]] = WeakKeyDictionary()


def _nominal(rows: int) -> float:
    """Seconds of a likelihood with its gradient on one core."""
    return 1.2e-10 * rows**3 + 6e-8 * rows**2


def _rows(problem: Problem, name: str, most: int, scale: ValueScale | None = None) -> Rows | None:
    """The rows of an unknown, so many of them at `most`; `None` where there is nothing to be learned."""
    terms = problem.data_of(name)
    if not terms or not has_process(problem, name):
        return None
    points, values = np.concatenate([t.points for t in terms]), np.concatenate([t.values for t in terms]).ravel()
    shared, noises = belonging(terms), np.concatenate([t.unevenness for t in terms])
    few = np.sort(np.random.default_rng(0).permutation(len(points))[:most])
    scale = scale or ValueScale(float(np.mean(values[few])), float(np.std(values[few])))
    if len(few) < 3 or scale.spread <= 1e-10 * np.max(np.abs(values)):
        return None
    corner, upper = problem.domain.bounds()
    standard = rounded((values[few] - scale.level) / scale.spread)
    return Rows(corner, upper - corner, points[few], shared[few], noises[few], scale, standard)


def _best(rows: Rows, patience: ProcessLimits) -> TableProcess | None:
    """The process with the least error, and those that come near it."""
    tried: list[TableProcess] = []

    def attempt(free: bool, scale: ValueScale) -> None:
        made = rows.fitted(free, scale, patience.over) if not tried or not patience.over(0) else None
        # beyond the last rows an exponential may grow without end, and nothing that is left out shows it
        tried.extend([] if made is None or (scale.sign and not made.bounded) else [made])

    attempt(True, rows.scale)
    if not _good(tried):
        # the larger likelihood belongs to what is stretched, also where it predicts less: a ridge that bends
        attempt(False, rows.scale)
    if not tried:
        return None
    best = min(tried, key=lambda one: one.left_out)
    free = best.process.free
    robust = without_outliers(best.process, lambda n: fit_process(rows.unit, rows.standard, n, free, patience.over))
    if abs(np.mean(rows.standard**3)) >= SKEWED and not _good(tried):
        fixed = rows.scale.logarithmic(rows.standard, BEYOND)
        likely = likely_scale(rows.unit, rows.standard, rows.uneven, rows.scale, patience.over)
        for free, scale in ((True, likely), (True, fixed), (False, fixed)):
            attempt(free, scale)
    kept = [] if robust is None else [replace(best, process=robust.process, outliers=robust.outliers)]
    best = min(tried, key=lambda one: one.error / (BETTER if one.scale.sign else 1.0))
    likely = max([*tried, *kept], key=lambda one: one.density)
    if likely.noisy:
        # of noise in proportion to the values the largest make errors, and look like outliers
        best = likely
    others = () if best in kept else tuple(one for one in tried if one is not best)
    return _turned(replace(best, others=others), patience)


def _turned(best: TableProcess, patience: ProcessLimits) -> TableProcess:
    """With directions across the inputs, as long as each lowers the error clearly."""
    while best.left_out > EXACT and len(best.process.kernel.directions) < DIRECTIONS and not patience.over(0):
        made = directed(best.process, patience.over)
        if made is None or (more := replace(best, process=made)).left_out > CLEARLY * best.left_out:
            break
        best = replace(more, others=(*best.others, replace(best, others=())))
    return best


def _good(tried: Sequence[TableProcess]) -> bool:
    return any(one.left_out**2 < EXACT**2 + NOISY * one.noise**2 for one in tried)
