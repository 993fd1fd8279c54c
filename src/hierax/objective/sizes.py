r"""Sizes of the unknowns and of the equations of a problem, found before anything is trained.

A row `r` of an equation feels the unknown `u_j` with the curvature `c_rj`: the mean square of its derivative in smooth
functions that vary over the whole domain. Sizes `s_j` of unknowns and `R_r` of rows are in balance where

    R_r = s_j sqrt(c_rj)   for the unknowns that matter in the row,      R_r = what the row leaves at the start,

which are linear equations for logarithms. They are met in the sense of least absolute values, as a weak coupling says
nothing about sizes (equilibration of rows and columns: Curtis, Reid, J. Inst. Maths Applics 10, 1972). Whatever units
the problem was written in, what comes out is the same quantity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from scipy.linalg import null_space
from scipy.optimize import bisect

from hierax.geometry import AbstractShape, Part
from hierax.objective.build import is_equation
from hierax.objective.order import orders_of_rows
from hierax.objective.probed import Felt, Probed, Sizes
from hierax.problems.problem import Problem
from hierax.problems.remembered import once_for_each
from hierax.problems.terms import AbstractValues, Data, Energy, Residual, Term, Where
from hierax.problems.units import Units, by_place
from hierax.problems.unknowns import Function

PASSES, ROUNDS = 8, 30
"""Most passes in which sizes and curvature follow each other, rounds of reweighting towards least absolute values."""
AGREED = 0.01
"""Difference of logarithms of sizes up to which two passes say the same."""
NEARER = 0.5
"""Part of the first difference to which passes without an agreement have to bring it."""
LEAP = np.log(1e12)
"""Largest change of a logarithm in a pass."""
DECADES, CHANGED = 25, 0.03
"""Where the size of a column is looked for that no row sets, and the change (log2) of what is felt that tells it."""
APART = 0.125
"""Decades between two sizes that are tried."""
WIGGLE = 1.0
"""Size of the waves about the level of an unknown, where curvature is measured, in its own units."""


@once_for_each
def own_units(problem: Problem) -> Units:
    """Units of a problem in which its unknowns and equations have size one, before anything is trained.

    Where there are data alone the unknowns are counted from the mean of their values, in units of its spread.
    """
    plain = all(isinstance(term, Data) and term.observe is None for term in problem.terms)
    if plain and problem.constraint is None:
        return _standardised(problem)
    places = {t.name: on for t in problem.terms if len(on := _places_apart(problem, t)) > 1}
    if places:
        return replace(own_units(problem.changed(terms=by_place(problem, places))), places=places)
    probed = Probed(problem)
    state, known = _prescribed(problem, probed)
    still = [probed.felt(k, state, 0.0) for k in range(len(probed.terms))]
    known = _natural(probed, state, still, known)

    def following(logarithms: np.ndarray) -> np.ndarray:
        # nonlinear terms feel something else where the unknowns vary; what rows leave there is the waves' own
        here = replace(state, sizes=np.exp(logarithms))
        felt = [probed.felt(k, here, WIGGLE)._replace(left=s.left) for k, s in enumerate(still)]
        return np.log(_balanced(_balance(probed, felt, known), known, len(probed.columns)))

    sizes = np.exp(_settled(following, np.log(_balanced(_balance(probed, still, known), known, len(probed.columns)))))
    return _units(problem, probed, replace(state, sizes=sizes))


def _settled(following: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> np.ndarray:
    """Logarithms that follow from themselves, or what comes nearest to that.

    Where curvature goes with a power of an unknown, as `|u'|^(p-2)` in the p-Laplace operator, sizes that follow from
    each other swing about the right ones, or away from them. Differences of the passes before tell how: what is linear
    in logarithms is met as soon as there are more passes than unknowns (Anderson, J. ACM 12, 1965). A coefficient `h`
    in `u' + h u` follows from nothing but its own effect as soon as it is large: no size is in balance then, no pass
    comes nearer, and the start counts.
    """
    tried, misses = [start], [following(start) - start]
    while np.abs(misses[-1]).max(initial=0.0) > AGREED and len(tried) < PASSES:
        leap = misses[-1]
        if len(tried) > 1:
            steps, changes = np.diff(tried, axis=0).T, np.diff(misses, axis=0).T
            leap = leap - (steps + changes) @ np.linalg.lstsq(changes, leap, rcond=1e-6)[0]
        tried.append(tried[-1] + np.clip(leap, -LEAP, LEAP))
        misses.append(following(tried[-1]) - tried[-1])
    sizes = [np.abs(miss).max(initial=0.0) for miss in misses]
    best = int(np.argmin(sizes))
    if sizes[best] <= AGREED:
        return tried[best] + misses[best]
    return tried[best] if sizes[best] <= NEARER * sizes[0] else start


def _standardised(problem: Problem) -> Units:
    sizes, shifts = {}, {}
    for name, unknown in problem.unknowns.items():
        own = [t.values for t in problem.data_of(name)]
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


def _natural(probed: Probed, state: Sizes, still: list[Felt], known: Mapping[int, float]) -> dict[int, float]:
    """Sizes that are known, and those of columns that no row sets: where what rows feel begins to change.

    Nothing but its nonlinearity tells how large a bifurcating solution is, as an elastica or a double well; of linear
    equations without any source all sizes are right.
    """
    found, seen = dict(known), dict(known)
    while True:
        balance = _balance(probed, still, seen)
        sizes = _balanced(balance, seen, len(probed.columns))
        null = null_space(balance[0], rcond=1e-9)[: len(sizes)]
        free = np.linalg.norm(null, axis=1)
        if free.max(initial=0.0) < 1e-6:
            return found
        column = int(np.argmax(free > 0.9 * free.max()))
        direction = null @ null[column] / free[column] ** 2

        def changes(decades: float, sizes: np.ndarray = sizes, direction: np.ndarray = direction) -> bool:
            here = replace(state, sizes=sizes * 10.0 ** (decades * direction))
            for number, before in enumerate(still):
                pair = [one.waves @ here.sizes**2 for one in (before, probed.felt(number, here, WIGGLE))]
                linear, felt = np.sum(pair, axis=1, keepdims=True) if probed.is_energy(number) else np.array(pair)
                if np.any(np.abs(np.log2(felt[linear > 0.0] / linear[linear > 0.0])) > CHANGED):
                    return True
            return False

        # what is felt need not grow from there on, as that of an angle
        ends = np.arange(-DECADES, DECADES, APART)
        last = next((end for end in ends if changes(end)), ends[0])
        seen[column] = float(sizes[column])
        if last > ends[0]:
            last = float(bisect(lambda end: changes(end) - 0.5, last - APART, last, xtol=1e-9))  # pyright: ignore
            seen[column] = found[column] = float(sizes[column] * 10.0**last)


def _balanced(balance: tuple[np.ndarray, np.ndarray], known: Mapping[int, float], count: int) -> np.ndarray:
    """Sizes of the columns in balance with those of all rows."""
    matrix, right = balance
    weights, solution = np.ones(len(right)), np.zeros(matrix.shape[1])
    for _ in range(ROUNDS):
        solution = np.linalg.lstsq(matrix * weights[:, None], right * weights, rcond=1e-12)[0]
        weights = 1.0 / np.sqrt(np.maximum(np.abs(matrix @ solution - right), 1e-2))
    return np.exp(np.array([np.log(known[k]) if k in known else solution[k] for k in range(count)]))


def _balance(probed: Probed, felt: list[Felt], known: Mapping[int, float]) -> tuple[np.ndarray, np.ndarray]:
    """Equations for the logarithms of the sizes of columns and rows: matrix and right-hand side."""
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
    return matrix, right


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
            equation = is_equation(term, problem)
            if not equation and len(rows) > 1:
                orders = orders_of_rows(problem, term).max(axis=0)
                apart |= {term.name} if len(set(orders[orders >= 0])) > 1 else set()
            measure = problem.domain.measure if equation else 1.0
            terms[term.name] = np.where((rows > 0) & np.isfinite(rows), rows * np.sqrt(measure), 1.0)
    for term in probed.terms:
        if isinstance(term, Energy):
            terms[term.name] = np.asarray(energies if energies > 0 and np.isfinite(energies) else 1.0)
    sizes = _by_name(problem, probed, state.sizes)
    shifts = {name: np.zeros_like(size) for name, size in sizes.items()}
    return Units(sizes, shifts, terms, _by_name(problem, probed, state.levels), frozenset(apart))


def _places_apart(problem: Problem, term: Term) -> tuple[Where, ...]:
    """The places of a condition, those of like orders together; all of them unless orders of a row differ."""
    if not isinstance(term, Residual) or term.on is None:
        return (term.on,)
    places = tuple(p for p in problem.places(term) if p is not None)
    if isinstance(problem.domain, AbstractShape):
        # the whole boundary is that of the sides
        sides = tuple(map(Part, problem.domain.body.sides))
        places = tuple(side for p in places for side in (sides if p == Part() and all(s.name for s in sides) else (p,)))
    if len(places) == 1:
        return (term.on,)
    orders = orders_of_rows(problem, replace(term, on=places))
    if not any(len(set(row[row >= 0])) > 1 for row in orders.T):
        return (term.on,)
    kinds, which = np.unique(orders, axis=0, return_inverse=True)
    which = which.ravel()
    return tuple(tuple(p for p, k in zip(places, which, strict=True) if k == kind) for kind in range(len(kinds)))


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
