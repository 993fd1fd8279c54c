"""Continuation in a parameter along the levels: where plain nested iteration ends elsewhere, and how it is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax import RESULTS
from hierax._errors import InputError
from hierax.events import LevelFinished
from hierax.problems import burgers
from studies import coverage


def buckled(force, width=0.08):
    """`width^2 u'' + u - u^3 + force = 0`, `u = 0` at both ends: without force zero is a solution among others."""

    def inside(u, x):
        return width**2 * hx.laplacian(u)(x) + u(x) - u(x) ** 3 + force

    terms = (hx.Residual("inside", inside), hx.Residual("ends", lambda u, x, normal: u(x), on="boundary"))
    return hx.Problem(hx.Box([0.0], [1.0]), terms)


def decay(rate):
    """`u' = -rate u`, `u(0) = 1`."""
    return hx.Problem(
        hx.Box([0.0], [1.0], names=("t",)),
        (
            hx.Residual("decay", lambda u, x: hx.derivative(u, "t")(x) + rate * u(x)),
            hx.Residual("start", lambda u, x, normal: u(x) - 1.0, on=hx.Face("t", "lower")),
        ),
        reference=lambda x: jnp.exp(-rate * x[0]),
    )


def family(value):
    return buckled(value[1], value[0])


PATH = [(0.5, 1.0), (0.2, 0.5), (0.08, 0.0)]


@pytest.mark.slow
def test_a_branch_is_followed_that_training_from_zero_does_not_find():
    points = np.linspace(0.1, 0.9, 17)[:, None]
    finished = []
    solution = hx.train(
        hx.Continuation(family, PATH, parameter="width, force"),
        # the first two values share the first of two levels
        hx.refine(hx.SplineGrid.uniform([0.0], [1.0], 8, 5), levels=2),
        budget=600.0,
        subscribers=[lambda event: finished.append(event.record) if isinstance(event, LevelFinished) else None],
    )
    notes = [f"width, force {value}" for value in PATH]
    assert [(r.level, r.note) for r in finished] == [(0, notes[0]), (0, notes[1]), (1, notes[2])]
    assert [r.note for r in solution.levels] == notes
    # zero, which is where training starts otherwise, solves the equation too, and no guard would object to it
    values = solution.evaluate(points)
    assert values.min() > 0.6
    assert values.max() == pytest.approx(1.0, abs=2e-2)
    np.testing.assert_allclose(values, values[::-1], atol=1e-6)


def test_the_last_problem_is_trained_where_there_are_fewer_levels():
    solution = hx.train(hx.Continuation(decay, [1.0, 2.0]), levels=1, budget=600.0)
    assert [r.note for r in solution.levels] == ["value 1", "value 2"]
    # every row is measured against the solution of its own problem
    assert all(record.error is not None and record.error < 1e-4 for record in solution.levels)


def test_a_budget_that_ends_before_the_last_problem_fails():
    solution = hx.train(hx.Continuation(decay, [1.0, 2.0]), budget=1e-9)
    assert solution.result is RESULTS.guard_levels
    assert [r.note for r in solution.levels] == ["value 1"]


@pytest.mark.parametrize(
    ("make", "values", "says"),
    [
        (buckled, [], "no values"),
        (lambda value: value, [1.0], "not a Problem"),
        (lambda value: burgers() if value else buckled(0.0), [1, 0], "the domain is"),
    ],
)
def test_families_that_cannot_be_followed_are_refused(make, values, says):
    with pytest.raises(InputError, match=says):
        hx.Continuation(make, values)


def test_equations_wait_for_a_level_that_is_fine_enough_for_them():
    """`T h'' - S h + g = 0`, `T` and `S` unknown, with a source `g` that the first grid has no room for."""

    def law(h, x, T, S):
        return T * hx.derivative(h, "xx")(x) - S * h(x) + jnp.exp(-0.5 * ((x[0] - 0.42) / 0.04) ** 2)

    line = hx.Box([0.0], [1.0], names=("x",))
    known = hx.Problem(line, (hx.Residual("law", lambda h, x: law(h, x, 0.02, 0.5)), hx.dirichlet("boundary", 0.0)))
    points, rng = np.random.default_rng(3).uniform(size=(60, 1)), np.random.default_rng(4)
    values = hx.train(known).evaluate(points)
    values = values + 0.005 * np.std(values) * rng.normal(size=60)
    terms = (
        hx.Residual("law", lambda w, x: law(w.h, x, w.T, w.S)),
        hx.dirichlet("boundary", 0.0, unknown="h"),
        hx.Data("h", points, values),
    )
    positive = {name: hx.Constant(1.0, bounds=(0.0, None)) for name in "TS"}
    said = []
    found = hx.train(
        hx.Problem(line, terms, unknowns={"h": hx.Function(), **positive}),
        subscribers=[lambda event: said.append(getattr(event, "sentence", ""))],
    )
    assert found.result is hx.RESULTS.successful
    assert any("wait for a finer level" in sentence for sentence in said)
    assert found.unknowns["T"].value == pytest.approx(0.02, rel=0.02)
    assert found.unknowns["S"].value == pytest.approx(0.5, rel=0.01)


def test_a_constant_that_noise_has_led_to_its_bound_begins_anew():
    """A diffusivity from noisy values: where the equation weighs little none at all is best, which has no way back."""
    case, begun = coverage.diffusion(), []

    def seen(event):
        if isinstance(event, LevelFinished):
            begun.append(float(event.field.parts["nu"].value))

    found = hx.train(case.make(case.values(12)), subscribers=[seen], budget=600.0)
    assert min(begun) < -10.0
    assert found.result is hx.RESULTS.successful, str(found)
    assert found.unknowns["nu"].low < 0.05 < found.unknowns["nu"].high


def test_equations_that_contradict_the_data_wait_in_vain_and_are_refused():
    """`u' = -k u` of values of `3 / (1 + t)`: no rate fits them."""
    rng = np.random.default_rng(10)
    times = np.sort(rng.uniform(0.0, 10.0, (90, 1)), axis=0)
    terms = (
        hx.Residual("law", lambda w, x: hx.derivative(w.u, "t")(x) + w.k * w.u(x)),
        hx.Data("u", times, 3.0 / (1.0 + times[:, 0]) + 0.02 * rng.normal(size=90), noise=0.02),
    )
    unknowns = {"u": hx.Function(), "k": hx.Constant(0.2)}
    found = hx.train(hx.Problem(hx.Box([0.0], [10.0], names=("t",)), terms, unknowns=unknowns))
    assert found.result is RESULTS.guard_validation
    assert not found.guards["data"].passed
