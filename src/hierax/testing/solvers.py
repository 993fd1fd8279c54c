"""Laws of solvers, for the library's own and for users' new ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hierax._results import RESULTS
from hierax.fields import SplineGrid
from hierax.fields.base import partition
from hierax.fields.initial import Key, generator_of
from hierax.hierarchy import IntervalDoubling, refine, transport
from hierax.hierarchy.transfer import AbstractTransfer
from hierax.objective import AbstractObjective, LocalObjective, flat_parameters, make_samples
from hierax.objective.pointwise import Place, SquaredResidual
from hierax.objective.rows import RowObjective
from hierax.solvers import AbstractSolver, Step

POINTS = 64


def _value(field: Any, place: Place) -> jax.Array:
    return jnp.ravel(field(place.x)) - place.target


def _cubic(field: Any, place: Place) -> jax.Array:
    u = jnp.ravel(field(place.x))
    return u + u**3 - place.target


# made once, so that kernels are compiled once for all solvers that are checked
LINEAR, CUBIC = SquaredResidual("linear", _value), SquaredResidual("cubic", _cubic)


class _Case(NamedTuple):
    """An objective with its smallest value and minimiser, and the field it belongs to."""

    name: str
    field: Any
    objective: Any
    start: np.ndarray
    least: float
    minimiser: np.ndarray


def check_solver(
    solver: AbstractSolver, *, key: Key, limit: int = 200, fraction: float = 0.9, rise: float = 0.02
) -> None:
    """Train two small least-squares problems for a spline of nine parameters, and verify what a solver promises.

    The linear one fits 64 values with noise, its minimiser comes from a QR factorisation; the nonlinear one,
    `u + u^3 = f`, has a known solution. Second-order solvers get the curvature of the first as a band and of the second
    as a dense matrix. Verified are: the values never rise and are those of the objective; `done` is reported; the
    minimum is reached; an objective that is not finite ends in `RESULTS.nonfinite` and keeps the parameters; `kinds`
    fits the state, `transport` carries it to a finer level, and the solver goes on from there.

    Parameters
    ----------
    solver : AbstractSolver
    key : key or int
        For the data.
    limit : int
        Most calls of `step` until it has to report `done`.
    fraction : float
        Share of the possible decrease that a first-order solver has to reach. Second-order solvers have to come within
        1e-8 of it.
    rise : float
        Share of the first value by which a first-order solver may let the values rise in a step. For second-order
        solvers it is 1e-10.

    Raises
    ------
    AssertionError
        With a sentence that says which law is broken, on which problem and step.
    """
    name = type(solver).__name__
    rise = 1e-10 if solver.second_order else rise
    linear, nonlinear = _cases(solver, generator_of(key))
    theta, _ = _trained(name, solver, linear, limit, rise)
    _reached(name, solver, linear, theta, fraction)
    theta, state = _trained(name, solver, nonlinear, limit, rise)
    _reached(name, solver, nonlinear, theta, fraction)
    # on the linear one a second-order solver needs no state
    _carried(name, solver, nonlinear, theta, state, rise)
    _not_finite(name, solver)


def _cases(solver: AbstractSolver, generator: np.random.Generator) -> Iterator[_Case]:
    field = SplineGrid.uniform([0.0], [1.0], 6, 3)
    theta, _ = flat_parameters(field)
    truth = generator.uniform(-0.7, 0.7, len(theta))
    row = _objective(solver, field, LINEAR, np.zeros(POINTS), local=False)
    matrix = np.stack([row.residuals(unit)[0][:, 0] for unit in np.eye(len(theta))], axis=1)
    values = matrix @ truth + 0.05 * generator.standard_normal(POINTS)
    best = np.linalg.lstsq(matrix, values, rcond=None)[0]
    linear = _objective(solver, field, LINEAR, values, local=solver.assembles)
    yield _Case("linear problem", field, linear, theta, linear.value(best), best)
    u = matrix @ truth
    cubic = _objective(solver, field, CUBIC, u + u**3, local=False)
    yield _Case("nonlinear problem", field, cubic, theta, 0.0, truth)


def _objective(solver: AbstractSolver, field: Any, term: SquaredResidual, targets: np.ndarray, local: bool) -> Any:
    points = (np.arange(len(targets)) + 0.5)[:, None] / len(targets)
    samples = [make_samples(term, points, np.full(len(targets), 1.0 / len(targets)), None, targets)]
    if not local:
        return RowObjective(field, samples)
    return LocalObjective(field, samples, [False], quadratic=term is LINEAR and solver.second_order)


def _step(name: str, solver: AbstractSolver, objective: AbstractObjective, theta: Any, state: Any, where: str) -> Step:
    try:
        return solver.step(objective, theta, state)
    except Exception as error:
        raise AssertionError(
            f"{name}: step raised {type(error).__name__} {where}: {error}; a failure belongs into Step.failure"
        ) from error


def _trained(name: str, solver: AbstractSolver, case: _Case, limit: int, rise: float) -> tuple[np.ndarray, Any]:
    theta, first = case.start, case.objective.value(case.start)
    state, value = solver.init(case.objective, theta), first
    for number in range(1, limit + 1):
        where = f"on the {case.name}, step {number}"
        step = _step(name, solver, case.objective, theta, state, where)
        assert step.failure is None, f"{name}: failure {step.failure} {where}, although the problem is well posed"
        assert step.value <= value + rise * first, (
            f"{name}: the value rose from {value:.6g} to {step.value:.6g} {where}, and no failure was reported"
        )
        theta, state, value = np.asarray(step.theta), step.state, float(step.value)
        actual = case.objective.value(theta)
        assert abs(actual - value) <= rise * first, (
            f"{name}: the step reports value {value:.6g} {where}, but the objective is {actual:.6g}"
        )
        if step.done:
            return theta, state
    raise AssertionError(f"{name}: {limit} steps on the {case.name} and none of them reported done")


def _reached(name: str, solver: AbstractSolver, case: _Case, theta: np.ndarray, fraction: float) -> None:
    first = case.objective.value(case.start)
    share = (first - case.objective.value(theta)) / (first - case.least)
    wanted = 1 - 1e-8 if solver.second_order else fraction
    assert share >= wanted, (
        f"{name}: done on the {case.name} after {share:.10g} of the possible decrease, less than {wanted:.10g}"
    )
    if solver.second_order:
        away = np.linalg.norm(theta - case.minimiser) / np.linalg.norm(case.minimiser)
        assert away <= 1e-3, f"{name}: done on the {case.name}, {away:.2g} away from its minimiser (relative)"


def _carried(name: str, solver: AbstractSolver, case: _Case, theta: np.ndarray, state: Any, rise: float) -> None:
    hierarchy = refine(case.field, by=IntervalDoubling(), levels=2)
    transfer, fine = hierarchy.transfers[0], hierarchy.levels[1].field
    above = _prolonged(transfer, case.field, fine, theta)
    samples = case.objective.samples
    objective: Any = RowObjective(fine, samples)
    if case.objective.assembled:
        objective = LocalObjective(fine, samples, [False], quadratic=case.objective.quadratic)
    fresh = solver.init(objective, above)
    try:
        carried = transport(state, solver.kinds(state), transfer, fresh)
    except Exception as error:
        raise AssertionError(
            f"{name}: kinds does not fit the state, transport raised {type(error).__name__}: {error}"
        ) from error
    before = objective.value(above)
    step = _step(name, solver, objective, above, carried, f"on a finer level of the {case.name} with a carried state")
    assert step.failure is None, f"{name}: failure {step.failure} on a finer level of the {case.name}"
    allowed = before + rise * max(before, case.objective.value(case.start))
    assert step.value <= allowed, (
        f"{name}: the value rose from {before:.6g} to {step.value:.6g} in the first step on a finer level of the "
        f"{case.name}; kinds carries a part of the state that belongs to the coarse level"
    )


def _prolonged(transfer: AbstractTransfer, coarse: Any, fine: Any, theta: np.ndarray) -> np.ndarray:
    params, _ = partition(flat_parameters(coarse)[1](theta))
    return flat_parameters(eqx.combine(transfer.prolong(params), partition(fine)[1]))[0]


def _not_finite(name: str, solver: AbstractSolver) -> None:
    field = SplineGrid.uniform([0.0], [1.0], 6, 3)
    targets = np.full(POINTS, np.nan)
    objective = _objective(solver, field, LINEAR, targets, local=solver.assembles)
    theta, _ = flat_parameters(field)
    step = _step(name, solver, objective, theta, solver.init(objective, theta), "for an objective that is not finite")
    assert step.failure is RESULTS.nonfinite, (
        f"{name}: an objective that is not finite gave failure {step.failure}, not {RESULTS.nonfinite}"
    )
    assert np.array_equal(np.asarray(step.theta), theta), (
        f"{name}: after a step that was not finite the parameters are not the last good ones"
    )
