"""The study `honesty`: its truths satisfy the equations that are given to `train`, and its short form is honest."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.problems import coordinates
from hierax.problems.unknowns import Constant
from studies.honesty import study
from studies.honesty.battery import CONFIDENT_WRONG, FALSE_ALARM, REFUSED, RIGHT, at, verdict
from studies.honesty.cases import cases

KNOWN = cases()


def test_verdicts():
    assert [verdict(0, True), verdict(0, False), verdict(3, True), verdict(1, False)] == [
        RIGHT,
        CONFIDENT_WRONG,
        FALSE_ALARM,
        REFUSED,
    ]


def test_the_battery_is_large_and_has_controls():
    assert len(KNOWN) >= 60
    assert sum(case.control for case in KNOWN.values()) >= 12


@functools.cache
def posed(name):
    return KNOWN[name].pose()


def unknowns(problem, truth, scales, change):
    """The truth as terms see it, each unknown changed by about `change` of its size, each in its own way."""
    lower, upper = problem.domain.bounds()

    def changed(value, scale, number):
        if not callable(value):
            return value * (1.0 + change)
        wave = lambda x: jnp.cos(jnp.sum((1.0 + number) * (x - lower) / (upper - lower)) + 0.4)  # noqa: E731
        return lambda x: value(x) + change * scale * wave(x)

    parts = {name: changed(value, scales.get(name), number) for number, (name, value) in enumerate(truth.items())}
    return SimpleNamespace(**parts) if problem.named else parts["u"]


def places(problem, term):
    """Points and normals at which a term is checked."""
    domain, rng = problem.domain, np.random.default_rng(7)
    for place in problem.places(term):
        if not isinstance(domain, hx.Box):
            pick = domain if place is None else domain.boundaries[place]
            some = rng.integers(0, len(pick.points), 60)
            yield pick.points[some], None if place is None else pick.normals[some]
            continue
        points = domain.lower + (domain.upper - domain.lower) * rng.uniform(0.02, 0.98, (60, domain.dim))
        if place is None:
            yield points, None
            continue
        axis, high = domain.axis(place.name), place.side == "upper"
        points[:, axis] = (domain.upper if high else domain.lower)[axis]
        yield points, np.eye(domain.dim)[[axis] * 60] * (1.0 if high else -1.0)


def sizes(case, truth, changes):
    """Root mean squares of the residuals by their terms, one for each change of the unknowns, by one program."""
    problem, seen = case.problem, case.where()[:100]
    scales = {name: np.sqrt(np.mean(at(value, seen) ** 2)) or 1.0 for name, value in truth.items() if callable(value)}
    residuals = [(term, list(places(problem, term))) for term in problem.terms if isinstance(term, hx.Residual)]

    def size(u, term, where):
        total = []
        for points, normals in where:
            if normals is None:
                value = jax.vmap(lambda x: jnp.asarray(term.function(u, x)))(points)
            else:
                value = jax.vmap(lambda x, n: jnp.asarray(term.function(u, x, n)))(points, normals)
            total.append(jnp.mean(value**2))
        return jnp.sqrt(jnp.mean(jnp.stack(total)))

    def each(change):
        u = unknowns(problem, truth, scales, change)
        return {term.name: size(u, term, where) for term, where in residuals}

    with coordinates(problem.domain.names):
        return jax.jit(jax.vmap(each))(jnp.asarray(changes))


@pytest.mark.parametrize("name", list(KNOWN))
def test_truths_satisfy_the_equations(name):
    """Each residual is at least a thousand times smaller at the truth than one percent beside it."""
    case = posed(name)
    if not case.satisfies:
        return
    for truth in case.truths:
        for term, (exact, beside) in sizes(case, truth, (0.0, 1e-2)).items():
            assert exact <= 1e-3 * beside, term


@pytest.mark.parametrize("name", list(KNOWN))
def test_truths_are_finite_functions_of_the_unknowns(name):
    case = posed(name)
    for truth in case.truths:
        assert set(truth) <= set(case.problem.unknowns)
        for key, value in truth.items():
            assert callable(value) != isinstance(case.problem.unknowns[key], Constant)
            if callable(value):
                assert np.all(np.isfinite(at(value, case.where())))


@pytest.mark.slow
def test_cases_in_processes_of_their_own_are_judged(tmp_path, monkeypatch):
    verdicts = {"slope-and-two-values": REFUSED, "smooth-curve": RIGHT}
    monkeypatch.setattr(study, "cases", lambda: {name: KNOWN[name] for name in verdicts})
    result = study.run(tmp_path, True)
    assert {row["case"]: row["verdict"] for row in result["rows"]} == verdicts
    assert result["summary"] == {RIGHT: 1, REFUSED: 1, FALSE_ALARM: 0, CONFIDENT_WRONG: 0}
