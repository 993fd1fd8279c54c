"""What a term looks at: the order of its derivatives, and whether it stays at its own point. Found by trying."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.flatten_util import ravel_pytree

from hierax.objective.build import is_equation
from hierax.objective.compiled import compiled_quickly
from hierax.objective.pointwise import (
    TRIED,
    AbstractPointTerm,
    JetEnergy,
    Place,
    SquaredResidual,
    examples,
    orders_up_to,
    point_term,
)
from hierax.objective.probed import places_of
from hierax.problems.problem import Problem
from hierax.problems.remembered import once_for_each
from hierax.problems.sampling import points_in
from hierax.problems.terms import AbstractValues, Residual, Term

HIGHEST = 6
SAME = 1e-9
"""Points that are nearer to each other, in units of the domain, count as the same."""
TYPICAL = 3
"""Points at which first derivatives are compared with second ones."""
LARGE = 1e5
"""Size of the unknowns, beside about one, at which linearity is tried: `T^4` is a billionth of `1300^4` near zero."""
SIZES = [-0.6, 0.5, 1.6, -0.6 * LARGE, 0.5 * LARGE, 1.6 * LARGE]
"""Factors of the unknowns at which linearity is tried."""
ROUNDING = 1e-12
"""Part of its size by which what is linear may differ from it."""


@dataclass(frozen=True)
class Reach:
    """What was found.

    Attributes
    ----------
    order:
        Of the highest derivative of any unknown.
    local:
        Whether nothing is evaluated away from the point.
    linear:
        Whether the residual is an affine function of the unknowns, or the energy a convex quadratic one: one step of
        Gauss and Newton then is the solution.
    convection:
        How much first derivatives outweigh second ones across the whole domain, along one oblique direction (a Peclet
        number; first derivatives in time count as others do); 0 unless of second order.
    """

    order: int
    local: bool
    linear: bool = False
    convection: float = 0.0


@once_for_each
def reach(problem: Problem, term: Term) -> Reach:
    """Order and locality of a term.

    The unknowns are smooth functions plus `c_m (a . (z - x))^m [z = x]` for `m = 1 .. 6`, which touch derivatives of
    order `m` at `x` and nothing else, plus `c_0 (1 - [z = x])`, which vanishes at `x` with all derivatives. The order
    is the largest `m` whose `c_m` the density feels at random points; it is not local when it feels `c_0`. Data have
    order 0, unless something else than an unknown is observed; a density that cannot be evaluated this way counts as
    local and of order 2. Linearity is tried with unknowns of either sign, so that absolute values and the like are
    seen, and with very large ones; so are energies that are quadratic and convex.
    """
    if isinstance(term, AbstractValues) and term.observe is not None:
        point = point_term(problem, term)
        return _reached(problem, point, examples(problem, term, _places(problem, 0), TRIED))
    if isinstance(term, AbstractValues):
        return Reach(0, True, all(u.bounds is None for u in problem.unknowns.values()) and problem.constraint is None)
    return reach_at_points(problem, point_term(problem, term), 0)


@once_for_each
def reach_at_points(problem: Problem, point: AbstractPointTerm, targets: int) -> Reach:
    """Order and locality of a term at a point that is given so many measured values; see `reach`."""
    return _reached(problem, point, _places(problem, targets))


def _places(problem: Problem, targets: int) -> Place:
    x = points_in(problem.domain, 0, TRIED)
    normals = np.random.default_rng(0).normal(size=x.shape)
    return Place(x, normals / np.linalg.norm(normals, axis=1, keepdims=True), np.zeros((len(x), targets)))


def _reached(problem: Problem, point: AbstractPointTerm, places: Place) -> Reach:
    try:
        slopes, defect, _ = _tried(problem, point, places)
    except (TypeError, ValueError, ZeroDivisionError, FloatingPointError):
        return Reach(2, True)
    each = np.max(np.abs(np.nan_to_num(slopes)), axis=2)
    size, typical = each.max(axis=0), each[:TYPICAL].max(axis=0)
    orders = np.flatnonzero(size[1:]) + 1
    order = int(orders.max(initial=0))
    # the second derivative of t^2 is 2
    convection = float(2.0 * typical[1] / typical[2]) if order == 2 and typical[2] > 0 else 0.0
    affine = isinstance(point, SquaredResidual) and bool(np.all(defect < ROUNDING))
    linear = affine or (isinstance(point, JetEnergy) and _is_convex(problem, point, places))
    return Reach(order, not bool(size[0] > 0), linear, convection)


def _is_convex(problem: Problem, energy: JetEnergy, places: Place) -> bool:
    """Whether an energy is a convex quadratic function of the unknowns and their derivatives.

    Its second derivative is then the same positive semidefinite matrix at unknowns of any size and either sign.
    """
    orders, rng = len(orders_up_to(problem.domain.dim, energy.order)), np.random.default_rng(1)
    parts = {name: jnp.zeros((*_lead(function.components), orders)) for name, function in problem.functions.items()}
    parts |= {name: jnp.zeros(()) for name in problem.constants}
    _, unravel = ravel_pytree(parts)
    units = energy.units_of_jets({name: part.shape for name, part in parts.items()})
    jets = rng.normal(size=(len(SIZES), len(places.x), units.size)) * np.array(SIZES)[:, None, None]
    second = jax.vmap(jax.hessian(lambda j, place: energy.of_jets(unravel(units * j), place)))
    every = compiled_quickly(jax.vmap(second, in_axes=(0, None)))
    found = np.asarray(every(jets, places))
    size = np.max(np.abs(found), axis=(0, 2, 3))
    if not np.all(np.ptp(found, axis=0) <= ROUNDING * size[:, None, None]):
        return False
    return bool(np.all(np.linalg.eigvalsh(found[0]) >= -ROUNDING * size[:, None]))


@once_for_each
def orders_of_rows(problem: Problem, term: Residual) -> np.ndarray:
    """Of each place where a condition holds the order of the highest derivative in each row, `(places, rows)`.

    -1 where a row feels nothing there; no rows where it could not be tried.
    """
    places = problem.places(term)
    try:
        slopes, _, varied = _tried(problem, point_term(problem, term), places_of(problem, term))
    except (TypeError, ValueError, ZeroDivisionError, FloatingPointError):
        return np.zeros((len(places), 0), int)
    felt = np.nan_to_num(slopes) != 0.0
    felt[:, 0] = varied
    felt = np.any(felt.reshape(len(places), -1, *slopes.shape[1:]), axis=1)
    return np.max(np.where(felt, np.arange(HIGHEST + 1)[:, None], -1), axis=1)


def _tried(problem: Problem, point: AbstractPointTerm, places: Place) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Derivatives of the density in the `c_m`, how far it is from affine in the size of the unknowns, if it feels that.

    The term is traced once; its values, and its slope along one `c_m`, then come from one program for all.
    """
    low, high = problem.domain.bounds()
    direction = np.linspace(0.7, 1.3, len(low)) / (high - low)

    def values(c: jax.Array, size: jax.Array, place: Place) -> jax.Array:
        parts, powers = {}, list(c)
        for k, (name, unknown) in enumerate(problem.unknowns.items()):
            if name in problem.constants:
                parts[name] = size * (0.3 + 0.1 * k)
                continue
            parts[name] = _trial(powers, size, k, unknown.components, direction, place.x)  # pyright: ignore
        unknowns = SimpleNamespace(**parts) if problem.named else next(iter(parts.values()))
        return point.residual(unknowns, place)

    none, one = np.zeros(HIGHEST + 1), jax.tree.map(lambda a: a[0], places)
    traced = jaxpr_as_fun(jax.make_jaxpr(values)(none, jnp.ones(()), one))

    def along(place: Place, size: jax.Array, tangent: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, slope = jax.jvp(lambda c: traced(c, size, *jax.tree.leaves(place))[0], (none,), (tangent,))
        return value, slope

    # the slopes at size one, then values of either sign, for kinks at zero, and of far larger ones, where a nonlinear
    # part outgrows what hides it otherwise
    sizes = np.array([1.0] * (HIGHEST + 1) + SIZES)
    tangents = np.eye(len(sizes), HIGHEST + 1)
    every = jax.vmap(jax.vmap(along, in_axes=(None, 0, 0)), in_axes=(0, None, None))
    count = len(places.x)
    found, slopes = (
        np.asarray(a).reshape(count, len(sizes), -1) for a in compiled_quickly(every)(places, sizes, tangents)
    )
    small, middle, large = np.moveaxis(found[:, HIGHEST + 1 :].reshape(count, 2, 3, -1), 2, 0)
    with np.errstate(invalid="ignore", over="ignore"):
        defect = np.abs(small - 2 * middle + large) / (np.abs(small) + np.abs(middle) + np.abs(large) + 1e-300)
    return slopes[:, : HIGHEST + 1], np.where(np.isfinite(defect), defect, np.inf), np.any(small != middle, axis=1)


def _trial(
    c: list[jax.Array], size: jax.Array, number: int, components: int | None, direction: np.ndarray, x: jax.Array
) -> Any:
    lead = _lead(components)
    phase = np.arange(np.prod(lead, dtype=int)).reshape(lead) + number
    axes = np.arange(len(direction))
    phases, waves = axes + phase[..., None], (0.5 + 0.2 * axes) * direction

    def u(z: jax.Array) -> jax.Array:
        # a term may convert its coordinates to other units and back, which rounds
        here = jnp.all(jnp.abs(jax.lax.stop_gradient(z - x) * direction) < SAME)
        t = jnp.dot(direction, z - x)
        t = jnp.where(here, t - jax.lax.stop_gradient(t), t)
        # a wave along every axis as well: of a function of one direction all Hessian determinants vanish
        bends = jnp.sum(jnp.sin(phases + waves * z), axis=-1)
        powers = c[-1] * t
        for own in reversed(c[1:-1]):
            powers = (powers + own) * t
        return size * (0.5 + 0.2 * jnp.exp(0.3 * t + phase) + 0.1 * bends) + jnp.where(here, powers, c[0])

    return u


def _lead(components: int | None) -> tuple[int, ...]:
    return () if components is None else (components,)


@once_for_each
def order_along(problem: Problem, axis: int, highest: int) -> int:
    """Highest order, up to `highest`, of the derivatives along one axis that any equation or energy feels."""
    x, found = jnp.asarray(points_in(problem.domain, 4, TRIED)), 0
    for term in (t for t in problem.terms if is_equation(t, problem)):
        felt = compiled_quickly(jax.vmap(lambda at, t=term: _felt_along(problem, t, axis, highest, at)))
        orders = np.flatnonzero(np.any(np.nan_to_num(np.asarray(felt(x))) != 0.0, axis=(0, 1))) + 1
        found = max(found, int(orders.max(initial=0)))
    return found


def _felt_along(problem: Problem, term: Term, axis: int, highest: int, at: jax.Array) -> jax.Array:
    """Slopes `(rows, highest)` of a term in powers of one coordinate, counted from the point, beside a wave."""
    low, high = problem.domain.bounds()

    def function(c: jax.Array, number: int, components: int | None) -> Any:
        factors = jnp.ones(()) if components is None else 1.0 + jnp.arange(components)

        def u(z: jax.Array) -> jax.Array:
            s = (z - low) / (high - low)
            t = s[axis] - (at[axis] - low[axis]) / (high - low)[axis]
            bumps = sum((c[m] * t ** (m + 1) for m in range(highest)), start=jnp.zeros(()))
            return (number + factors) * (0.7 + 0.3 * jnp.sin(1.0 + jnp.sum(s)) + bumps)

        return u

    def residual(c: jax.Array) -> jax.Array:
        parts = {
            name: jnp.asarray(problem.constants[name].initial, float)
            if name in problem.constants
            else function(c, k, problem.functions[name].components)
            for k, name in enumerate(problem.unknowns)
        }
        seen = SimpleNamespace(**parts) if problem.named else next(iter(parts.values()))
        return point_term(problem, term).residual(seen, Place(at, jnp.zeros_like(at), jnp.zeros(0)))

    return jax.jacfwd(residual)(jnp.zeros(highest))
