"""The terms of a problem as functions of a few coefficients, by which it is found what they feel."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import bisect

from hierax.geometry import AbstractShape, Part
from hierax.geometry.body import surface_rule
from hierax.objective.build import is_equation
from hierax.objective.compiled import compiled_quickly
from hierax.objective.pointwise import AbstractPointTerm, JetEnergy, Place, examples, point_term
from hierax.problems.domain import Box, Face, Interface
from hierax.problems.problem import Problem
from hierax.problems.sampling import points_in
from hierax.problems.terms import AbstractValues, Term
from hierax.problems.unknowns import Constant

POINTS, WAVES = 12, 3
"""Points of each term and place, and waves that each unknown is tried with."""
ROUNDING = 1e3
"""Times the precision of numbers: what parts of a row leave that cancel up to this is zero."""
DECADES = 10.0 ** np.arange(-9, 10)
"""Distances from the start at which a value is looked for that makes a condition zero."""


@dataclass(frozen=True, eq=False)
class Column:
    """One scalar unknown: a component of a function, or a constant."""

    name: str
    component: int | None
    bounds: tuple[float | None, float | None] | None
    initial: float | None = None
    scale: float | None = None
    of: tuple[int, ...] | None = None


class Felt(NamedTuple):
    """What a term feels: curvature `(rows, columns)` for waves and for constants, and what its rows leave `(rows,)`."""

    waves: np.ndarray
    constants: np.ndarray
    left: np.ndarray


@dataclass(frozen=True, eq=False)
class Sizes:
    """Level and size of every column."""

    levels: np.ndarray
    sizes: np.ndarray


class Probed:
    """The terms of a problem as functions of a few coefficients: for each column a constant and some waves.

    Parameters
    ----------
    problem:
        The problem; bounds of its unknowns are kept by the states at which it is tried, not by maps.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = _without_bounds(problem)
        self.columns = _columns(problem)
        self.low, self.high = problem.domain.bounds()
        rng = np.random.default_rng(0)
        dim = len(self.low)
        self._vectors = rng.uniform(2.0, 4.0, (WAVES, dim)) * rng.choice([-1.0, 1.0], (WAVES, dim))
        self._phases = rng.uniform(0.0, 2 * np.pi, WAVES)
        self.terms = [t for t in problem.terms if not isinstance(t, AbstractValues) or t.observe is not None]
        self._points = [point_term(self.problem, t) for t in self.terms]
        self._places = [places_of(problem, term) for term in self.terms]
        self._felt = [compiled_quickly(functools.partial(self._measure, point)) for point in self._points]

    def felt(self, number: int, state: Sizes, wiggle: float) -> Felt:
        """What a term feels near a state: waves of the size of each unknown, times `wiggle`, about its level."""
        c = self._state(state, wiggle)
        slopes, left = self._felt[number](c, self._places[number])
        slopes, left = np.nan_to_num(np.asarray(slopes)), np.asarray(left)
        parts = np.einsum("prkw,kw->pr", np.abs(slopes), np.abs(c))
        if self.is_energy(number):
            parts = np.einsum("prkw,pr->pkw", np.abs(slopes), parts).reshape(left.shape)
        left = np.where(np.abs(left) <= ROUNDING * np.finfo(left.dtype).eps * parts, 0.0, left)
        squares = np.mean(slopes**2, axis=0)
        finite = np.isfinite(left)
        size = np.sqrt(np.mean(np.where(finite, left, 0.0) ** 2, axis=0))
        return Felt(np.mean(squares[:, :, 1:], axis=2), squares[:, :, 0], size)

    def ratios(self, number: int) -> dict[int, np.ndarray]:
        """Values that a term prescribes: for a column that a row feels alone, by value, those that make it zero."""
        c = np.zeros((len(self.columns), 1 + WAVES))
        c[:, 0] = [k.initial or 0.0 for k in self.columns]
        slopes, left = (np.asarray(a) for a in self._felt[number](c, self._places[number]))
        found: dict[int, list[np.ndarray]] = {}
        for row in range(slopes.shape[1]):
            alone = np.flatnonzero(np.any(slopes[:, row] != 0.0, axis=(0, 2)))
            if len(alone) != 1:
                continue
            slope = slopes[:, row, alone[0], 0]
            if np.all(slope != 0.0):
                values = c[alone[0], 0] - left[:, row] / slope
                farthest = c.copy()
                farthest[alone[0], 0] = values[np.argmax(np.abs(values - c[alone[0], 0]))]
                there = self._felt[number](farthest, self._places[number])[0][:, row, alone[0], 0]
                if not np.allclose(there, slope, atol=0.0):
                    values = self._roots(number, row, int(alone[0]), c)
            elif is_equation(self.terms[number], self.problem):
                continue
            else:
                values = self._roots(number, row, int(alone[0]), c)
            found.setdefault(int(alone[0]), []).append(values[np.isfinite(values)])
        return {column: np.concatenate(values) for column, values in found.items()}

    def _roots(self, number: int, row: int, column: int, c: np.ndarray) -> np.ndarray:
        """The values of a column nearest to its start that make a row zero, point by point `(points,)`.

        The tangent of `2 sinh(u) - f`, or of a wall that radiates, `a n . grad T + b (T^4 - S^4) = 0`, says little of
        them. `nan` where there are none.
        """

        def left(value: float) -> np.ndarray:
            tried = c.copy()
            tried[column, 0] = value
            return np.asarray(self._felt[number](tried, self._places[number])[1])[:, row]

        sides = [float(c[column, 0]) + side * np.concatenate([[0.0], DECADES]) for side in (1.0, -1.0)]
        signs = [np.sign([left(end) for end in ends]) for ends in sides]
        found = np.full(signs[0].shape[1], np.nan)
        for point in range(len(found)):
            brackets = [_bracket(own[:, point], ends) for own, ends in zip(signs, sides, strict=True)]
            if near := [bracket for bracket in brackets if bracket is not None]:
                low, high = min(near, key=lambda bracket: abs(bracket[0] - c[column, 0]))
                found[point] = bisect(lambda value, i=point: left(value)[i], low, high, xtol=1e-300, rtol=1e-9)  # pyright: ignore
        return found

    def is_energy(self, number: int) -> bool:
        """Whether a term is an energy."""
        return isinstance(self._points[number], JetEnergy)

    def _state(self, state: Sizes, wiggle: float) -> np.ndarray:
        rng = np.random.default_rng(1)
        c = np.zeros((len(self.columns), 1 + WAVES))
        c[:, 0] = state.levels
        c[:, 1:] = wiggle * state.sizes[:, None] * rng.uniform(0.5, 1.0, (len(self.columns), WAVES)) / WAVES
        for k, column in enumerate(self.columns):
            low, high = column.bounds or (None, None)
            if low is None and high is None:
                continue
            room = min(abs(state.levels[k] - end) for end in (low, high) if end is not None)
            c[k, 1:] *= min(1.0, 0.5 * room / max(np.abs(c[k, 1:]).sum(), 1e-300))
        return c

    def _measure(self, point: AbstractPointTerm, c: Array, places: Place) -> tuple[Array, Array]:
        """Slopes `(points, rows, columns, 1 + waves)` and remainders `(points, rows)`; of an energy its gradient."""

        def one(place: Place) -> tuple[Array, Array]:
            flat = jnp.ravel(c)
            e = point.expand(self._build, flat, place)
            left = e.gradient if isinstance(point, JetEnergy) else e.residual
            return e.rows.reshape(-1, *c.shape), left

        return jax.vmap(one)(places)

    def _build(self, flat: Array) -> Any:
        c = flat.reshape(len(self.columns), 1 + WAVES)
        parts: dict[str, Any] = {}
        for name, unknown in self.problem.unknowns.items():
            own = [k for k, column in enumerate(self.columns) if column.name == name]
            if isinstance(unknown, Constant):
                parts[name] = c[own[0], 0]
            else:
                part = c[own[0]] if unknown.components is None else c[jnp.asarray(own)]
                parts[name] = self._function(part, self.columns[own[0]].of)
        return SimpleNamespace(**parts) if self.problem.named else next(iter(parts.values()))

    def _function(self, own: Array, of: tuple[int, ...] | None) -> Callable[[Array], Array]:
        length = self.high - self.low
        felt = np.ones(len(length)) if of is None else np.isin(np.arange(len(length)), of)

        def u(x: Float[Array, " dim"]) -> Array:
            phase = self._vectors @ (felt * (x - self.low) / length) + self._phases
            return own @ jnp.concatenate([jnp.ones(1), jnp.sin(phase)])

        return u


def _bracket(signs: np.ndarray, ends: np.ndarray) -> tuple[float, float] | None:
    """The first two of some ends between which a sign changes; zeros that no change follows are underflow."""
    if signs[0] == 0.0:
        return float(ends[0]), float(ends[0])
    there = np.flatnonzero(signs)
    changes = np.flatnonzero(signs[there[:-1]] * signs[there[1:]] < 0.0)
    return None if not len(changes) else (float(ends[there[changes[0]]]), float(ends[there[changes[0] + 1]]))


def places_of(problem: Problem, term: Term) -> Place:
    """Some points of a term with their normals, inside and on every face or boundary where it holds."""
    rng, domain = np.random.default_rng(2), problem.domain
    if isinstance(term, AbstractValues):
        none = np.zeros((0, domain.dim))
        return examples(problem, term, Place(none, none, none), POINTS)
    low, high = domain.bounds()
    points, normals = [], []
    for place in problem.places(term):
        x = low + (0.1 + 0.8 * rng.random((POINTS, len(low)))) * (high - low)
        n = np.zeros_like(x)
        if isinstance(place, Interface) and place.shape is not None:
            assert problem.regions is not None
            wall = problem.regions.wall(place.shape, None, 3)
            pick = rng.integers(0, len(wall.points), POINTS)
            x, n = wall.points[pick], wall.normals[pick]  # pyright: ignore
        elif isinstance(domain, AbstractShape):
            x = points_in(domain, 2, POINTS) if place is None else x
            if isinstance(place, Part):
                wall = surface_rule(domain, place, None, 3)
                pick = rng.integers(0, len(wall.points), POINTS)
                x, n = wall.points[pick], wall.normals[pick]  # pyright: ignore
        elif not isinstance(domain, Box):
            part = domain if place is None else domain.boundaries[place]  # pyright: ignore
            pick = rng.integers(0, len(part.points), POINTS)
            x, n = part.points[pick], n if place is None else part.normals[pick]  # pyright: ignore
        elif isinstance(place, Face | Interface):
            axis, at, sign = domain.plane(place)
            x[:, axis], n[:, axis] = at, sign
        points.append(x)
        normals.append(n)
    x = np.concatenate(points)
    return Place(x, np.concatenate(normals), np.zeros((len(x), 0)))


def _without_bounds(problem: Problem) -> Problem:
    unknowns = {name: replace(u, bounds=None) for name, u in problem.unknowns.items()} if problem.named else None
    return problem.changed(unknowns=unknowns, reference=None)


def _columns(problem: Problem) -> list[Column]:
    out = []
    for name, unknown in problem.unknowns.items():
        if isinstance(unknown, Constant):
            out.append(Column(name, None, unknown.bounds, unknown.initial, unknown.scale))
            continue
        of = None if unknown.of is None else tuple(problem.domain.axis(coordinate) for coordinate in unknown.of)
        low, high = unknown.bounds or (None, None)
        start = None if unknown.prior is None else unknown.prior[0]
        if low is not None and high is not None:
            start = 0.5 * (low + high)
        begun = _begun(problem, unknown.initial)
        for k in [None] if unknown.components is None else range(unknown.components):
            scale = unknown.scale
            if begun is not None:
                own = begun.reshape(len(begun), -1)[:, min(k or 0, begun[0].size - 1)]
                start, scale = float(np.mean(own)), scale or float(np.sqrt(np.mean(own**2))) or None
            out.append(Column(name, k, unknown.bounds, start, scale, of))
    return out


def _begun(problem: Problem, initial: Any) -> np.ndarray | None:
    """Values `(points, ...)` of the start of a function at some points; `None` without one."""
    if initial is None:
        return None
    low, high = problem.domain.bounds()
    points = low + (high - low) * np.random.default_rng(3).random((4 * POINTS, len(low)))
    points = points_in(problem.domain, 3, 4 * POINTS) if isinstance(problem.domain, AbstractShape) else points
    values = [initial(jnp.asarray(x)) if callable(initial) else initial for x in points]
    return np.asarray(values, dtype=float)
