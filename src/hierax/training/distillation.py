r"""From one kind of field to another: what a field has learned as the start of a network.

A spline grid is linear in its parameters, so equations are solved on it without local minima. A network needs far fewer
parameters, but its training from random weights may end in a minimum that is no solution. `distil` fits a network to
the jet of a trained field,

.. math::
    \min_\theta \sum_{k \le m} \frac{\sum_q |D^k v_\theta(x_q) - D^k u(x_q)|^2}{\sum_q |D^k u(x_q)|^2} ,

with derivatives up to the order of the equation, since its residual feels them. This is a regression without noise, at
as many points as are wanted; afterwards `train` goes on from there with the equation itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hierax._errors import InputError
from hierax.fields.base import parameter_count
from hierax.fields.inputs import place
from hierax.fields.unknowns import Scalar, Unknowns
from hierax.objective.assembly import local_residuals
from hierax.objective.build import mesh
from hierax.objective.gather import has_fixed_cells
from hierax.objective.objective import flat_parameters
from hierax.objective.pointwise import Place, SquaredResidual
from hierax.objective.rows import RowObjective
from hierax.objective.samples import Samples, make_samples
from hierax.planning.choose import choose
from hierax.planning.families import AbstractFamily, periodic_axes
from hierax.planning.features import ProblemFeatures
from hierax.problems.domain import Box
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.sampling import Sobol
from hierax.results.solution import Solution
from hierax.solvers import AbstractSolver, GaussNewton, Guided, Tolerances

RATIO, LEAST = 2.5, 1000
"""Points for each parameter of the network, and fewest of them."""
MOST = 2
"""Highest derivatives that are matched where nothing else is said."""
STEPS = GaussNewton(tolerances=Tolerances(1e-3, 300))


class Learned(NamedTuple):
    """What a run folder keeps of a solution: the problem and the field that was trained for it."""

    problem: Problem
    field: Any


def distil(
    source: Solution | Learned,
    field: Any,
    *,
    derivatives: int | None = None,
    solver: AbstractSolver = STEPS,
    key: Key = 0,
    budget: float = 30.0,
) -> Any:
    """Fit a field to what another one has learned; see the head of this file.

    Parameters
    ----------
    source : Solution or Learned
        Of the problem that the field is wanted for, with a trained field of any kind.
    field : callable pytree or AbstractFamily
        A network with initial weights, or `Unknowns` of such where the unknowns have names; unknown constants take the
        values of the source. Or a family of fields, whose first one is taken.
    derivatives : int, optional
        Highest order that is matched; by default that of the equation, at most 2.
    solver : AbstractSolver
        Of the fit.
    key : int or key
        Of the points: half of them uniform, half as dense as the cells of the source, which crowd where it is steep.
    budget : float
        Seconds after which the fit ends with what it has.

    Returns
    -------
    callable pytree
        The field with fitted parameters, to be passed to `train`.

    Raises
    ------
    InputError
        For a field that is not of the kind that the problem's unknowns want.

    Notes
    -----
    `python -m studies distillation` measures when it pays: where training the network with the equation gets stuck,
    and not where Gauss-Newton gets there by itself.

    References
    ----------
    Hinton, Vinyals, Dean, arXiv 1503.02531 (2015) (distillation); Czarnecki, Osindero, Jaderberg, Swirszcz, Pascanu,
    NeurIPS 2017, arXiv 1706.04859 (with derivatives).
    """
    problem, target = source.problem, source.field
    if isinstance(field, AbstractFamily):
        field = choose(problem, key=key, hierarchy=field).hierarchy.levels[0].field
    field = _with_constants(place(field, *problem.domain.bounds(), periodic_axes(problem)), target, problem)
    order = min(ProblemFeatures.of(problem).order, MOST) if derivatives is None else derivatives
    points = _spread(problem, target, max(LEAST, int(RATIO * parameter_count(field))), key)
    objective = RowObjective(field, _jets(target, field, points, order))
    theta, build = flat_parameters(field)
    state, began = solver.init(objective, theta), time.perf_counter()
    while True:
        step = solver.step(objective, theta, state)
        theta, state = step.theta, step.state
        if step.done or step.failure is not None or time.perf_counter() - began > budget:
            return build(theta)


def guided(
    source: Solution | Learned,
    field: Any,
    *,
    solver: AbstractSolver | None = None,
    derivatives: int = 0,
    key: Key = 0,
) -> Guided:
    """A solver that trains a field with its equation and follows what another one has learned, ever less.

    Parameters
    ----------
    source : Solution or Learned
        Of the same problem, on a spline grid for example.
    field : callable pytree
        That is to be trained: its number of parameters says how many points are compared.
    solver : AbstractSolver, optional
        Makes the steps; Gauss-Newton if not given.
    derivatives : int
        Highest order that is compared besides the values.
    key : int or key
        Of the points, as for `distil`.

    Returns
    -------
    Guided
        To be passed to `train` with the field: `train(problem, field, solver=guided(source, field))`.

    Notes
    -----
    It pays where training with the equation alone ends in a false minimum (`allen-cahn` in `python -m studies
    distillation`), even from a start that was fitted to the solution. Elsewhere Gauss-Newton is sooner there alone.
    """
    problem, target = source.problem, source.field
    points = _spread(problem, target, max(LEAST, int(RATIO * parameter_count(field))), key)
    samples = tuple(_jets(target, field, points, derivatives))
    return Guided(samples) if solver is None else Guided(samples, solver)


def _with_constants(field: Any, source: Any, problem: Problem) -> Any:
    """The field with the constants of the source, which nothing is to be fitted for."""
    if problem.named != isinstance(field, Unknowns):
        wanted = "named unknowns" if problem.named else "one unknown"
        raise InputError(
            what=f"a {type(field).__name__} where the problem has {wanted}",
            where="distil(solution, field)",
            remedy="give Unknowns(name=field, ...) for named unknowns, and one field for a single one",
        )
    if not isinstance(field, Unknowns):
        return field
    own, other = (", ".join(sorted(part.parts)) for part in (field, source))
    if own != other:
        raise InputError(
            what=f"unknowns {own} for a problem with {other}",
            where="distil(solution, field)",
            remedy="give one field for each unknown, by its name",
        )
    constants = {name: part for name, part in source.parts.items() if isinstance(part, Scalar)}
    return eqx.tree_at(lambda w: w.parts, field, {**field.parts, **constants})


def _spread(problem: Problem, field: Any, count: int, key: Key) -> Float[np.ndarray, "n dim"]:
    """Points: half of them uniform, half as dense as the cells of the field."""
    domain = problem.domain
    if not isinstance(domain, Box):
        return domain.points[:: max(1, len(domain.points) // count)]
    cells = mesh(field)
    uniform = Sobol(domain).sample(seed_of(key, 1), 0, count if cells is None else count - count // 2).points
    if cells is None:
        return uniform
    unit = Box(np.zeros(domain.dim), np.ones(domain.dim))
    places = Sobol(unit).sample(seed_of(key, 2), 0, count // 2).points.T
    crowded = [np.interp(u * (len(c) - 1), np.arange(len(c)), c) for u, c in zip(places, cells, strict=True)]
    return np.concatenate([uniform, np.stack(crowded, axis=1)])


def _jets(source: Any, field: Any, points: np.ndarray, order: int) -> list[Samples]:
    """A term for every unknown function and order of derivatives, with the values of the source as targets."""
    parts = field.parts if isinstance(field, Unknowns) else {"": field}
    weights, out = np.full(len(points), 1.0 / len(points)), []
    for name in [name for name, part in parts.items() if not isinstance(part, Scalar)]:
        for k in range(order + 1):
            term = SquaredResidual(f"{name or 'values'}, order {k}", _misfit(name, k))
            values = _values(source, make_samples(term, points, weights, targets=np.zeros((len(points), 1))))
            size = max(float(np.mean(np.sum(values**2, axis=1))), 1e-300)
            out.append(make_samples(term, points, weights, targets=values, scale=1.0 / size))
    return out


def _misfit(name: str, order: int) -> Callable[[Any, Place], Any]:
    def misfit(field: Any, place: Place) -> Any:
        function = getattr(field, name) if name else field
        for _ in range(order):
            function = jax.jacfwd(function)
        return jnp.ravel(function(place.x)) - place.target

    return misfit


def _values(source: Any, samples: Samples) -> Float[np.ndarray, "n m"]:
    """Residuals of the trained source: its jet, where targets are zero."""
    if has_fixed_cells(source):
        return local_residuals(source, samples)
    return RowObjective(source, [samples]).residuals(flat_parameters(source)[0])[0]
