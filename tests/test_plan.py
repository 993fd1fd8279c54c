"""A plan can be made, read, changed and printed before training, and `train` carries it out."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.planning.features import ProblemFeatures
from hierax.solvers import Tolerances


def wave(speed=3.0):
    """`u'' = -speed^2 sin(speed x)` with its values at both ends."""

    def inside(u, x):
        return hx.laplacian(u)(x) + speed**2 * jnp.sin(speed * x[0])

    ends = hx.Residual("ends", lambda u, x, normal: u(x) - jnp.sin(speed * x[0]), on="boundary")
    return hx.Problem(hx.Box([0.0], [1.0]), (hx.Residual("inside", inside), ends))


def same_bits(one, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_the_features_of_a_problem():
    seen = ProblemFeatures.of(wave())
    assert (seen.dim, seen.order, seen.equations, seen.conditions, seen.values) == (1, 2, 1, 1, 0)
    assert seen.linear
    assert seen.gauss_points.inside == 3
    assert seen.text == "Seen: 1 coordinate, 1 equation of order 2, 1 condition."


def test_what_is_planned_is_what_is_done():
    problem = wave()
    plan = hx.plan(problem, levels=2)
    by_plan, by_default = hx.train(problem, plan=plan), hx.train(problem, levels=2)
    assert same_bits(by_plan.field, by_default.field)
    assert by_plan.plan == by_default.plan == plan.text == str(plan)
    assert plan.text.endswith("Solver GaussNewton, cycle NestedIteration.")


@pytest.mark.parametrize("family", [hx.families.Perceptron(), hx.families.SplineNetwork()], ids=["mlp", "kan"])
def test_random_starts_are_planned_by_the_key(family):
    first = [hx.plan(wave(), family, key=key).hierarchy.levels[0].field for key in (0, 0, 1)]
    assert same_bits(first[0], first[1])
    assert not same_bits(first[0], first[2])


def test_a_change_is_obeyed_and_said():
    plan = hx.plan(wave(), hx.families.Perceptron())
    few = plan.changed(solver=hx.GaussNewton(tolerances=Tolerances(0.0, 3)))
    assert "Changed by hand: solver." in str(few)
    assert plan.solver != few.solver
    solution = hx.train(wave(), plan=few)
    assert [level.steps for level in solution.levels] == [3]
    # a plan is a frozen dataclass, and may be changed without a word as well
    assert replace(plan, label="mine").text == plan.text


def test_refusals():
    plan = hx.plan(wave())
    with pytest.raises(hx.InputError, match="a plan and levels"):
        hx.train(wave(), plan=plan, levels=2)
    with pytest.raises(hx.InputError, match="a plan has no colour"):
        plan.changed(colour="red")
    points = np.linspace(0.0, 1.0, 9)[:, None]
    runs = hx.Fidelities(hx.Box([0.0], [1.0]), [hx.Fidelity(points, points[:, 0], cost) for cost in (1.0, 2.0)])
    for use in (hx.plan, lambda problem: hx.train(problem, plan=plan)):
        with pytest.raises(hx.InputError, match="fidelities"):
            use(runs)


def test_what_was_not_measured_but_has_an_equation_of_its_own_needs_no_penalty():
    line, times = hx.Box([0.0], [4.0], names=("t",)), np.linspace(0.2, 4.0, 12)[:, None]
    seen = hx.Data("seen", times, np.exp(-times[:, 0]), noise=0.01, observe=lambda w, x: w.b(x))
    gut = hx.Residual("gut", lambda w, x: hx.derivative(w.a, "t")(x) + w.k * w.a(x))
    blood = hx.Residual("blood", lambda w, x: hx.derivative(w.b, "t")(x) - w.k * w.a(x) + w.b(x))
    unknowns = {"a": hx.Function(), "b": hx.Function(), "k": hx.Constant(1.0)}
    assert not hx.plan(hx.Problem(line, (gut, blood, seen), unknowns=unknowns)).penalties
    assert hx.plan(hx.Problem(line, (blood, seen), unknowns=unknowns)).penalties
