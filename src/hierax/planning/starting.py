"""The fields that training starts from: of a family, with the start, the coordinates and the prior of each unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.fields import LowRank, Scalar, SplineGrid, Unknowns
from hierax.fields.axis import collocation
from hierax.fields.broken_grid import BrokenGrid
from hierax.fields.spline_grid import depending_on
from hierax.objective.build import is_equation
from hierax.objective.compiled import compiled_quickly
from hierax.objective.interfaces import stated
from hierax.objective.missed import Feature
from hierax.objective.view import unbounded
from hierax.planning.data import has_process
from hierax.planning.families import AbstractFamily
from hierax.planning.features import ProblemFeatures
from hierax.planning.knots import bends, breaks, creases, edges, with_knots
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.terms import Energy
from hierax.problems.units import Units
from hierax.problems.unknowns import Function
from hierax.solvers.alternating import alternated

AWAY = 0.5
"""Least mean of the values that conditions give, over their root mean square, from which training starts."""
POINTS = 4
"""Points an interval and axis at which the start of a function is fitted."""


@final
@dataclass(frozen=True, eq=False)
class Examined:
    """What fields are made for.

    Attributes
    ----------
    problem:
        The problem in the units it is trained in.
    seen, features:
        What it shows; its peaks and jumps.
    units:
        Those units; `None` where the problem has its own.
    key:
        Of initial values.
    """

    problem: Problem
    seen: ProblemFeatures
    features: Sequence[Feature]
    units: Units | None
    key: Key


def start_field(family: AbstractFamily, given: Examined) -> Any:
    """The field of the coarsest level, with knots at peaks and jumps of the terms, and broken at interfaces.

    Where the problem is nonlinear, spline grids start from the values that conditions give in the mean, if these are
    far from zero: near zero a temperature in kelvin has no meaning.

    Raises
    ------
    InputError
        For what an unknown says that fields of the family cannot follow.
    """
    problem, seen, units = given.problem, given.seen, given.units
    keys = [jax.random.key(seed_of(given.key, k)) for k in range(len(problem.unknowns))]
    corners = edges(problem)
    weak = all(isinstance(t, Energy) for t in problem.terms if is_equation(t, problem))
    creased = creases(corners, seen.order) if weak else ()
    planes = breaks(problem, given.features, stated(problem), seen.order)
    parts: dict[str, Any] = {}
    for (name, unknown), k in zip(problem.unknowns.items(), keys, strict=True):
        if not isinstance(unknown, Function):
            parts[name] = Scalar(float(unbounded(unknown.bounds)(unknown.initial)))
            continue
        values = seen.values if seen.only_data else None
        part = family.part(problem, name, seen.order, values, k)
        if isinstance(part, SplineGrid):
            part = with_knots(part, given.features, planes, bends(problem), corners, creased)
        if isinstance(part, LowRank) and has_process(problem, name):
            part = alternated(part, *_rows(problem, name), key=k)
        level = None if units is None or seen.linear or seen.only_data else _far_from_zero(units.start(name))
        part = _begun(problem, name, part, name in seen.hidden, level)
        whole = name in seen.hidden or unknown.of is not None or problem.regions is None
        parts[name] = part if whole else BrokenGrid.of(part, problem.regions)  # pyright: ignore
    return Unknowns(**parts) if problem.named else next(iter(parts.values()))


def _rows(problem: Problem, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Points and values of an output of a table."""
    terms = problem.data_of(name)
    return np.concatenate([t.points for t in terms]), np.concatenate([t.values for t in terms]).ravel()


def _far_from_zero(level: np.ndarray) -> np.ndarray:
    """The level of an unknown in its units, zero where the values that conditions give are as well on either side."""
    return np.where(np.abs(level) > AWAY, level, 0.0)


def refuse_unused(problem: Problem) -> None:
    """Refuse starts and coordinates of unknowns beside fields that the user gives, which have their own.

    Raises
    ------
    InputError
        For the first unknown that has either.
    """
    for name, unknown in problem.functions.items():
        if unknown.of is not None or unknown.initial is not None:
            raise InputError(
                what=f"the unknown {name!r} says of what it is a function, or where it starts, and its field is given",
                where="train(..., hierarchy=...)",
                remedy="leave out of= and initial= and give a field that has both, or leave out the hierarchy",
            )


def _begun(problem: Problem, name: str, part: Any, hidden: bool, level: np.ndarray | None) -> Any:
    """The field of a function, on its own coordinates and at its start: its own, or the level of the conditions."""
    unknown = problem.functions[name]
    if not isinstance(part, SplineGrid):
        if unknown.of is not None or unknown.initial is not None or unknown.prior is not None:
            raise InputError(
                what=f"a {type(part).__name__} follows no of=, initial= or prior= of the unknown {name!r}",
                where="Function(of=..., initial=..., prior=...)",
                remedy="leave them out, or take a spline grid (--field grid), which serves up to three coordinates",
            )
        return part
    if unknown.of is not None:
        part = depending_on(part, [problem.domain.axis(coordinate) for coordinate in unknown.of])
    to_parameters = unbounded(unknown.bounds)
    if callable(unknown.initial):
        return fitted(part, lambda x: to_parameters(jnp.asarray(unknown.initial(x))))  # pyright: ignore
    given = unknown.prior[0] if unknown.initial is None and unknown.prior and hidden else unknown.initial
    if given is not None:
        start = to_parameters(given)
    elif hidden:
        # one is a natural start for a coefficient, and harmless for a source; at zero its equation would degenerate
        start = 1.0 if unknown.bounds is None else None
    else:
        start = level if unknown.bounds is None else None
    if start is None:
        return part
    return SplineGrid(part.axes, np.broadcast_to(np.asarray(start, float), part.coefficients.shape))


def fitted(grid: SplineGrid, function: Any) -> SplineGrid:
    """The grid nearest to a function, by least squares at points of every cell."""
    inside = (np.arange(POINTS) + 0.5) / POINTS
    points = [(b[:-1, None] + np.diff(b)[:, None] * inside).ravel() for b in grid.breakpoints()]
    places = np.stack(np.meshgrid(*points, indexing="ij"), axis=-1).reshape(-1, len(points))
    values = np.asarray(compiled_quickly(jax.vmap(function))(places)).reshape(*map(len, points), *grid.channels)
    for k, (axis, x) in enumerate(zip(grid.axes, points, strict=True)):
        values = np.moveaxis(np.tensordot(np.linalg.pinv(collocation(axis, x)), values, axes=(1, k)), 0, k)
    return SplineGrid(grid.axes, jnp.asarray(values))
