"""At the end of a training: which level is returned, and what the guards say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from hierax._results import RESULTS
from hierax.checks.diagnosis import ALIKE
from hierax.checks.evidence import Evidence, Witness
from hierax.checks.guards import check
from hierax.events import Decision, Event, Guard
from hierax.fields import Exponential, Kriging, LowRank, Unknowns
from hierax.fields.base import mesh
from hierax.objective import AbstractObjective, Samples, component, flat_parameters
from hierax.objective.data_rows import measured
from hierax.objective.landscape import Landscape
from hierax.objective.noise import neighbour_correlation
from hierax.problems.keys import Key, seed_of
from hierax.training.contradicted import share_of_outliers
from hierax.training.corrections import solved
from hierax.training.determination import flatness
from hierax.training.discrete import DiscreteProblem
from hierax.training.evidence import MISSED
from hierax.training.galerkin_step import polished
from hierax.training.processes import MOST, table_process
from hierax.training.saddles import landscape
from hierax.training.slab_grids import on_slabs
from hierax.training.state import RunState, Visited
from hierax.training.time_slabs import slab_samples
from hierax.training.unfinished import step_ahead

NOTHING: Mapping[str, Any] = MappingProxyType({})


def last_level(run: RunState, over: bool) -> int:
    """The level that was trained last; the one before when the time was over and the last was cut off while worse.

    With corrections it is the finest, and only a level that was trained for itself can stand in for it.
    """
    visited, finest = run.visited, run.finest
    last = run.current if run.current in visited and run.corrections is None else finest
    # a sweep over time slabs is kept only when it has ended
    cut_off = over and last - 1 in visited and solved(run.corrections, last - 1) and not on_slabs(visited[last].field)
    return last - 1 if cut_off and visited[last].loss > visited[last - 1].loss else last


def best_validated(discrete: DiscreteProblem, visited: Mapping[int, Visited]) -> tuple[int, Any] | None:
    """With data the level with the smallest validation error, fitted again to all of them; `None` without."""
    errors = {k: v.validation for k, v in visited.items() if v.validation is not None}
    if not errors:
        return None
    if discrete.equations.any() and not discrete.plan.penalties:
        # constants alone cannot follow noise: a level that misses the equations is only too coarse
        least = min(visited[k].loss for k in errors)
        errors = {k: error for k, error in errors.items() if visited[k].loss <= MISSED * least}
    # the coarsest of the levels that are as good as the best: what validation cannot tell apart, noise decides
    best = min(errors, key=errors.__getitem__)
    level = min(k for k in errors if k == best or _as_good(discrete, visited, k, best))
    return level, discrete.refitted(visited[level].field, visited[level].state)


def _as_good(discrete: DiscreteProblem, visited: Mapping[int, Visited], level: int, best: int) -> bool:
    """Whether the error of a level at data kept back is about that of the best, as far as these data can tell.

    Data say little of what is inferred; where a level is too coarse for that, its equations are missed.
    """
    own, least = visited[level].validation, visited[best].validation
    assert own is not None
    assert least is not None
    if own > discrete.plan.indifference * least:
        return False
    if discrete.equations.any() and visited[level].loss > MISSED * visited[best].loss:
        return False
    return not discrete.rows.tells_apart(visited[level].field, visited[best].field, discrete.misses)


def chosen(
    discrete: DiscreteProblem,
    visited: Mapping[int, Visited],
    changes: Mapping[int, float],
    last: int,
    left: float,
    emit: Callable[[Event], None],
) -> tuple[int, Any]:
    """The level that is returned and its field: the best validated one with data, else the last, maybe polished.

    Parameters
    ----------
    last:
        The level that was trained last.
    left:
        Seconds of a nominal machine that are left, by counted work.
    emit:
        Told about a last step.
    """
    best = best_validated(discrete, visited)
    if best is not None:
        return best
    better = polished(discrete, visited, changes, last, left)
    if better is None:
        return last, visited[last].field
    emit(Decision(better[1]))
    return last, better[0]


def guarded(
    discrete: DiscreteProblem,
    visited: Mapping[int, Visited],
    changes: Mapping[int, float],
    level: int,
    trained: Any,
    key: Key,
    over: bool,
    left: float | None = None,
    widths: Mapping[str, float] = NOTHING,
    faces: Mapping[str, tuple[str, float]] = NOTHING,
) -> dict[str, Guard]:
    """The guards of a returned field, which belongs to `level`; none where that was not trained.

    `over` says that the budget ended the training; `left` is the error of values that were left out, all once;
    `widths` are half the widths of the intervals of what is inferred, `faces` those where a function is known least.
    """
    if level not in visited:
        return {}
    errors = [v.validation for v in visited.values() if v.validation is not None]
    # where validation returns a coarser level than the last, the next one still shows how well it is resolved
    shown = level + 1 if level + 1 in changes else level
    misfit, noise = _misfit(discrete, trained)
    own = _compared(visited, level)
    return check(
        Evidence(
            sampled=discrete.sampled,
            residuals=discrete.residuals,
            misses=discrete.evaluate,
            key=seed_of(key, 4),
            field=trained,
            untrained=discrete.plan.hierarchy.levels[0].field,
            coarsest=visited[own[0]].field,
            samples=_samples(discrete, trained),
            changes=_changes(visited, changes, shown),
            partial=partial_refinements(visited, shown - 1),
            losses=[visited[k].loss for k in own],
            mesh_widths=_widths(discrete, visited, level),
            ahead=step_ahead(discrete, visited[level], trained),
            cut_short=over and len(visited) == 1 and discrete.plan.rule is not None,
            weak=discrete.plan.separation is not None and discrete.plan.separation.sign is not None,
            untrained_loss=discrete.untrained_loss if discrete.equations.any() else np.inf,
            validation_errors=errors,
            validation_error=visited[level].validation,
            kept=sum(len(samples.points) for samples in discrete.rows.held.values()) if discrete.rows.held else 0,
            left_out=left,
            witnesses=_witnesses(discrete, trained),
            misfit=misfit,
            noise=noise,
            stated_noise=discrete.rows.stated,
            outlying=share_of_outliers(discrete, trained),
            missed=discrete.plan.missed,
            flatness=flatness(discrete, visited, trained),
            constants=_constants(discrete, trained),
            widths=widths,
            faces=faces,
            landscape=_landscape(discrete, visited, level),
        )
    )


def _changes(visited: Mapping[int, Visited], changes: Mapping[int, float], level: int) -> list[float]:
    """The changes up to a level, or from sweep to sweep over slabs, where there are two: grids before that say nothing.

    A sweep is asked for a certain accuracy; grids over the whole time were given up far from the solution.
    """
    own = [k for k in sorted(changes) if k <= level]
    sweeps = [k for k in own if on_slabs(visited[k].field) and on_slabs(visited[k - 1].field)]
    return [changes[k] for k in sweeps or own]


def partial_refinements(visited: Mapping[int, Visited], level: int) -> int:
    """How many refinements of a tensor one after the other, up to that to a level, were by products or knots alone."""
    if level - 1 not in visited or level not in visited:
        return 0
    each = zip(*(_parts(visited[k].field) for k in (level - 1, level)), strict=True)
    alone = any(_of_one_kind(coarse, fine) for coarse, fine in each if isinstance(fine, LowRank))
    return 1 + partial_refinements(visited, level - 1) if alone else 0


def _of_one_kind(coarse: LowRank, fine: LowRank) -> bool:
    return coarse.rank == fine.rank or [axis.size for axis in coarse.axes] == [axis.size for axis in fine.axes]


def _parts(field: Any) -> list[Any]:
    return list(field.parts.values()) if isinstance(field, Unknowns) else [field]


def _compared(visited: Mapping[int, Visited], level: int) -> list[int]:
    """The levels up to `level` whose losses are compared: from the first on, or from the first sweep over slabs.

    The latter where that has the larger loss: grids over the whole time had then met the start alone, and next to
    nothing of a solution that grows.
    """
    own = [k for k in sorted(visited) if k <= level]
    sweeps = [k for k in own if on_slabs(visited[k].field)]
    return sweeps if sweeps and visited[sweeps[0]].loss > visited[own[0]].loss else own


def _witnesses(discrete: DiscreteProblem, trained: Any) -> list[Witness]:
    """Of every output of a table that is not long, or is fitted by its process; none where there is more than data."""
    problem, rows = discrete.problem, discrete.rows
    # a process that has seen a few of many rows knows less than what was fitted to all
    partial = rows.total > MOST and not all(isinstance(part, Kriging | Exponential) for part in _parts(trained))
    if discrete.equations.any() or not rows.terms or partial:
        return []
    found = []
    for name in problem.functions:
        process = table_process(problem, name)
        if process is None:
            return []
        own = rows.columns(name).start
        terms = [t.name for t in problem.data_of(name) if t.name in rows.held]
        held = np.concatenate([rows.held[term].points for term in terms]) if terms else None
        found.append(process.witness(name, lambda points, own=own: discrete.values_at(trained, points)[:, own], held))
    return found


def _samples(discrete: DiscreteProblem, trained: Any) -> list[Samples]:
    evolution = discrete.plan.evolution
    return slab_samples(discrete, evolution, trained) if evolution and on_slabs(trained) else discrete.samples(trained)


def _landscape(discrete: DiscreteProblem, visited: Mapping[int, Visited], level: int) -> Landscape | None:
    """Of the finest level, up to the returned one, that is small enough."""
    found = (landscape(discrete, visited[k].field) for k in sorted(visited, reverse=True) if k <= level)
    return next((one for one in found if one is not None), None)


def _constants(discrete: DiscreteProblem, trained: Any) -> dict[str, float]:
    """The constants in the units of the user."""
    units, found = discrete.plan.units, {}
    for name in discrete.problem.constants:
        value = float(component(discrete.problem, trained, name))
        found[name] = value if units is None else float(units.shifts[name] + units.sizes[name] * value)
    return found


def _misfit(discrete: DiscreteProblem, trained: Any) -> tuple[float | None, float | None]:
    rows = discrete.rows
    if not rows.terms:
        return None, None
    # noise that neighbouring data show is typical noise too; with equations a few misses may be their fault
    of_all = rows.misfit if discrete.equations.any() else rows.typical_misfit
    misfit = of_all(trained, rows.held or rows.seen(None), discrete.misses)
    # what bends between few values looks like noise: not where noise is stated and equations miss neighbours alike
    alike = discrete.equations.any() and _alike(discrete, trained) > ALIKE
    return misfit, rows.stated if alike else max(rows.noise, rows.stated)


def _alike(discrete: DiscreteProblem, trained: Any) -> float:
    """How alike misfits of neighbours are, for the data missed most by their noise; zero where it is not stated."""
    if not all(term.typical_noise for term in discrete.rows.terms):
        return 0.0
    misses = [(term, discrete.misses(trained, term, measured(term))) for term in discrete.rows.terms]
    times = [np.sqrt(np.mean(missed**2)) / float(term.typical_noise or 1.0) for term, missed in misses]
    term, missed = misses[int(np.argmax(times))]
    return neighbour_correlation(term.points, missed)


def _widths(discrete: DiscreteProblem, visited: Mapping[int, Visited], level: int) -> list[np.ndarray]:
    """Shortest interval along each axis of the levels; none unless equations of first order are nonlinear.

    Those admit kinks. In equations of higher order a kink has an infinite residual, and in time it has to be followed.
    """
    plan, own = discrete.plan, [visited[k] for k in sorted(visited) if k <= level]
    meshes = [mesh(v.field) for v in own]
    if plan.linear or plan.order != 1 or plan.evolution is not None or any(m is None for m in meshes):
        return []
    return [np.array([np.diff(axis).min() for axis in m]) for m in meshes if m is not None]


def place_of(
    discrete: DiscreteProblem, failure: RESULTS, level: int, step: int, objective: AbstractObjective, theta: np.ndarray
) -> str:
    """Where a step failed, in words."""
    where = f"{failure.name} at level {level}, step {step}"
    return where + (f", term {_first_bad_term(discrete, objective, theta)}" if failure is RESULTS.nonfinite else "")


def _first_bad_term(discrete: DiscreteProblem, objective: AbstractObjective, theta: np.ndarray) -> str:
    """Name of the first term whose value is not finite, and the first of its points where it is not."""
    values = objective.values(theta)
    bad = np.flatnonzero(~np.isfinite(values))
    if not bad.size:
        return "unknown (its gradient)"
    samples: Samples = objective.samples[int(bad[0])]  # pyright: ignore
    rows = discrete.evaluate(flat_parameters(objective.field)[1](theta), samples)  # pyright: ignore
    where = np.flatnonzero(~np.all(np.isfinite(rows), axis=1))
    point = f", point {[float(f'{c:.4g}') for c in samples.points[where[0]]]}" if where.size else ""
    return repr(discrete.sampled.terms[int(bad[0])].name) + point
