r"""Sizes of the unknowns and of the equations of a problem, found before anything is trained.

A row `r` of an equation feels the unknown `u_j` with the curvature `c_rj`: the mean square of its derivative in smooth
functions that vary over the whole domain. Sizes `s_j` of unknowns and `R_r` of rows are in balance where

    R_r = s_j sqrt(c_rj)   for the unknowns that matter in the row,      R_r = what the row leaves at the start,

which are linear equations for logarithms. They are met in the sense of least absolute values, as a weak coupling says
nothing about sizes (equilibration of rows and columns: Curtis, Reid, J. Inst. Maths Applics 10, 1972). Whatever units
the problem was written in, what comes out is the same quantity.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import brentq

from hierax.geometry import AbstractShape, Part
from hierax.geometry.body import surface_rule
from hierax.objective.build import is_equation
from hierax.objective.compiled import compiled_quickly
from hierax.objective.pointwise import AbstractPointTerm, JetEnergy, Place, examples, point_term
from hierax.problems.domain import Box, Face, Interface
from hierax.problems.problem import Problem
from hierax.problems.remembered import once_for_each
from hierax.problems.sampling import points_in
from hierax.problems.terms import AbstractValues, Data, Energy, Term
from hierax.problems.units import Units
from hierax.problems.unknowns import Constant, Function

POINTS, WAVES, PASSES, ROUNDS = 12, 3, 3, 30
"""Points of each term and place, waves that each unknown is tried with, passes in which sizes and curvature follow each
other, rounds of reweighting towards least absolute values."""
DECADES = 10.0 ** np.arange(-9, 10)
"""Distances from the start at which a value is looked for that makes a condition zero."""
WIGGLE = 1.0
"""Size of the waves about the level of an unknown, where curvature is measured, in its own units."""


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
            if np.all(slopes[:, row, alone[0], 0] != 0.0):
                values = c[alone[0], 0] - left[:, row] / slopes[:, row, alone[0], 0]
            elif is_equation(self.terms[number], self.problem):
                continue
            else:
                values = self._root(number, row, int(alone[0]), c)
            found.setdefault(int(alone[0]), []).append(values[np.isfinite(values)])
        return {column: np.concatenate(values) for column, values in found.items()}

    def _root(self, number: int, row: int, column: int, c: np.ndarray) -> np.ndarray:
        """The value of a column nearest to its start that makes a row zero in the mean, which feels none of it there.

        As a wall that radiates, `a n . grad T + b (T^4 - S^4) = 0`, at zero. `(1,)`, or `(0,)` where there is none.
        """

        def mean(value: float) -> float:
            tried = c.copy()
            tried[column, 0] = value
            return float(np.mean(np.asarray(self._felt[number](tried, self._places[number])[1])[:, row]))

        start = float(c[column, 0])
        for side in (1.0, -1.0):
            ends = start + side * np.concatenate([[0.0], DECADES])
            values = np.array([mean(end) for end in ends])
            change = np.flatnonzero(values[:-1] * values[1:] < 0.0)
            if len(change):
                return np.array([brentq(mean, *ends[change[0] : change[0] + 2])])
        return np.zeros(0)

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


@once_for_each
def own_units(problem: Problem) -> Units:
    """Units of a problem in which its unknowns and equations have size one, before anything is trained.

    Where there are data alone the unknowns are counted from the mean of their values, in units of its spread.
    """
    plain = all(isinstance(term, Data) and term.observe is None for term in problem.terms)
    if plain and problem.constraint is None:
        return _standardised(problem)
    probed = Probed(problem)
    state, known = _prescribed(problem, probed)
    still = [probed.felt(k, state, 0.0) for k in range(len(probed.terms))]
    felt = still
    for _ in range(PASSES):
        state = replace(state, sizes=_balanced(probed, felt, known))
        # nonlinear terms feel something else where the unknowns vary; what rows leave there is the waves' own
        felt = [probed.felt(k, state, WIGGLE)._replace(left=s.left) for k, s in enumerate(still)]
    return _units(problem, probed, state)


def _standardised(problem: Problem) -> Units:
    sizes, shifts = {}, {}
    for name, unknown in problem.unknowns.items():
        own = [t.values for t in problem.terms if isinstance(t, Data) and problem.data_unknown(t) == name]
        components = unknown.components if isinstance(unknown, Function) else None
        shape = () if components is None else (components,)
        sizes[name], shifts[name] = np.ones(shape), np.zeros(shape)
        if own:
            values = np.concatenate([v.reshape(len(v), -1) for v in own])
            spread, mean = values.std(axis=0), values.mean(axis=0)
            free = unknown.bounds is None
            size = np.where(spread > 1e-12 * np.abs(mean), spread, np.where(mean != 0.0, np.abs(mean), 1.0))
            sizes[name] = np.reshape(size, shape)
            shifts[name] = np.reshape(mean if free else np.zeros_like(mean), shape)
    return Units(sizes, shifts, {}, shifts)


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


def _prescribed(problem: Problem, probed: Probed) -> tuple[Sizes, dict[int, float]]:
    """Levels that conditions, data, bounds and starts give to the columns, and the sizes that are known from them."""
    count = len(probed.columns)
    values: list[list[np.ndarray]] = [[] for _ in range(count)]
    for number in range(len(probed.terms)):
        if not probed.is_energy(number):
            for k, found in probed.ratios(number).items():
                values[k].append(found)
    for term in problem.terms:
        if isinstance(term, AbstractValues) and term.observe is None:
            own = [k for k, c in enumerate(probed.columns) if c.name == problem.data_unknown(term)]
            for k, column in zip(own, np.reshape(term.values, (len(term.values), -1)).T, strict=False):
                values[k].append(column)
    levels, known = np.zeros(count), {}
    for k, column in enumerate(probed.columns):
        low, high = column.bounds or (None, None)
        met = np.concatenate(values[k]) if values[k] else np.zeros(0)
        size = float(np.sqrt(np.mean(met**2))) if met.size else 0.0
        if low is not None and high is not None:
            size = 0.5 * (high - low)
        elif column.initial:
            size = abs(column.initial)
        size = column.scale or size
        if column.initial is not None:
            levels[k] = column.initial
        elif met.size:
            levels[k] = float(np.mean(met))
        if size > 0 and np.isfinite(size):
            known[k] = size
    return Sizes(levels, np.array([known.get(k, 0.0) for k in range(count)])), known


def _balanced(probed: Probed, felt: list[Felt], known: Mapping[int, float]) -> np.ndarray:
    """Sizes of the columns in balance with those of all rows."""
    count = len(probed.columns)
    entries: list[tuple[dict[int, float], float]] = [({k: 1.0}, np.log(size)) for k, size in known.items()]
    row = count
    for number, own in enumerate(felt):
        energy = probed.is_energy(number)
        for r in range(1 if energy else len(own.waves)):
            curvature = own.waves.sum(axis=0) if energy else own.waves[r]
            curvature = np.where(curvature > 0, curvature, own.constants.sum(axis=0) if energy else own.constants[r])
            felt_by = _regular(curvature)
            entries += [({row: 1.0, int(j): -1.0}, 0.5 * float(np.log(curvature[j]))) for j in felt_by]
            if energy:
                slope = own.left.reshape(count, -1)
                size = np.sqrt(np.mean(slope**2, axis=1))
                entries += [({row: 2.0, int(j): -1.0}, float(np.log(size[j]))) for j in _regular(size)]
            elif own.left[r] > 0 and np.isfinite(own.left[r]):
                entries.append(({row: 1.0}, float(np.log(own.left[r]))))
            row += 1
    matrix, right = np.zeros((len(entries), row)), np.array([value for _, value in entries])
    for i, (places, _) in enumerate(entries):
        for j, value in places.items():
            matrix[i, j] = value
    weights = np.ones(len(entries))
    solution = np.zeros(row)
    for _ in range(ROUNDS):
        solution = np.linalg.lstsq(matrix * weights[:, None], right * weights, rcond=1e-12)[0]
        weights = 1.0 / np.sqrt(np.maximum(np.abs(matrix @ solution - right), 1e-2))
    return np.exp(np.array([np.log(known[k]) if k in known else solution[k] for k in range(count)]))


def _regular(sizes: np.ndarray) -> np.ndarray:
    """Places of those that are finite and not zero."""
    return np.flatnonzero((sizes > 0) & np.isfinite(sizes))


def _units(problem: Problem, probed: Probed, state: Sizes) -> Units:
    """Units with these sizes of the unknowns, and the sizes of rows that follow from them."""
    terms: dict[str, np.ndarray] = {}
    energies, apart = 0.0, set()
    for number, term in enumerate(probed.terms):
        felt = probed.felt(number, state, WIGGLE)
        curvature = np.where(felt.waves > 0, felt.waves, felt.constants)
        rows = np.sqrt(curvature @ state.sizes**2)
        if isinstance(term, Energy):
            energies += problem.domain.measure * float(rows @ rows)
        elif isinstance(term, AbstractValues):
            terms[term.name] = spread(term)
        else:
            # an equation counts as its mean square over the domain, however large that is
            equation, on_values = is_equation(term, problem), np.any(felt.constants != 0.0, axis=1)
            if not equation and 0 < np.sum(on_values) < len(on_values):
                apart.add(term.name)
            measure = problem.domain.measure if equation else 1.0
            terms[term.name] = np.where((rows > 0) & np.isfinite(rows), rows * np.sqrt(measure), 1.0)
    for term in probed.terms:
        if isinstance(term, Energy):
            terms[term.name] = np.asarray(energies if energies > 0 and np.isfinite(energies) else 1.0)
    sizes = _by_name(problem, probed, state.sizes)
    shifts = {name: np.zeros_like(size) for name, size in sizes.items()}
    return Units(sizes, shifts, terms, _by_name(problem, probed, state.levels), frozenset(apart))


def spread(term: AbstractValues) -> np.ndarray:
    """Size of the values of an observation, `(m,)`; where one noise of all components is stated, one for all."""
    values = term.values.reshape(len(term.values), -1)
    own = np.std(values, axis=0)
    own = np.where(own > 1e-10 * np.max(np.abs(values), axis=0), own, np.sqrt(np.mean(values**2, axis=0)))
    if getattr(term, "noise", None) is not None:
        own = np.full(len(own), np.sqrt(np.mean(own**2)))
    return np.reshape(np.where(own > 0, own, 1.0), term.values.shape[1:])


def _by_name(problem: Problem, probed: Probed, numbers: np.ndarray) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for name in problem.unknowns:
        own = [numbers[k] for k, column in enumerate(probed.columns) if column.name == name]
        scalar = next(c for c in probed.columns if c.name == name).component is None
        out[name] = np.asarray(own[0] if scalar else own)
    return out
