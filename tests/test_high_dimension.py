"""The study of equations of many coordinates: its short form, and its solutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierax.testing import check_problem
from studies import high_dimension


@pytest.mark.parametrize(
    "make",
    [
        lambda: high_dimension.constant(3),
        lambda: high_dimension.gaussian(4, 1.0),
        high_dimension.elliptic,
        high_dimension.waves,
    ],
)
def test_its_problems_are_sound(make):
    check_problem(make(), key=jax.random.key(0))


def test_the_solution_for_a_rational_source():
    exact = high_dimension.rational(4).reference.named()["u"]
    x = jnp.array([0.2, 0.5, 0.7, 0.4])
    assert -jnp.trace(jax.hessian(exact)(x)) == pytest.approx(1.0 / 2.8, rel=1e-6)
    assert abs(exact(x.at[1].set(1e-9))) < 1e-8 * exact(x) + 1e-9


def test_the_solutions_of_burgers_are_those_of_one_viscosity():
    problem = high_dimension.burgers(0.05, 0.5)
    found = problem.reference.evaluate(np.array([[0.0, 0.3, -1.0], [0.5, 0.0, -2.0]]), "u")
    np.testing.assert_allclose(found, [-np.sin(0.3 * np.pi), 0.0], atol=1e-8)


def test_short_form(tmp_path, monkeypatch):
    case = high_dimension.CASES[0]
    own = high_dimension.Case(case.name, case.make, 20.0, case.asked)
    monkeypatch.setattr(high_dimension, "CASES", (own,))
    found = high_dimension.run(tmp_path, True)["summary"][case.name]
    assert found["error"] < 1e-6
    assert found["seconds"] < 60.0
    assert found["refused"] == 0
    assert {file.suffix for file in tmp_path.iterdir()} >= {".png"}
