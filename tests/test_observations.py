"""Data of what is no unknown itself: derivatives, fluxes, means, and quantities that depend on more than the point."""

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.objective.prescribed import with_prescribed_values
from hierax.objective.sizes import own_units
from hierax.objective.traced import measured
from hierax.records.fingerprint import fingerprint


def slopes(noise=0.0, size=1.0, pinned=True, count=120):
    """`u = size sin 3x`, of which slopes are measured, and the value at one end is known."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.0, 1.0, (count, 1))
    values = size * (3.0 * np.cos(3.0 * x[:, 0]) + noise * rng.standard_normal(count))
    data = hx.Data("slope", x, values, observe=lambda u, x: hx.derivative(u, "x")(x))
    pin = (hx.Values("u", np.zeros((1, 1)), np.zeros(1)),) if pinned else ()
    reference = hx.Reference(lambda x: size * jnp.sin(3.0 * x[0]), 1e-12)
    return hx.Problem(hx.Box([0.0], [1.0]), (data, *pin), reference=reference)


def test_slopes_without_noise_give_the_function_in_any_unit():
    """Exact slopes give the function to many digits, also where it is of the order of a thousand."""
    solution = hx.train(slopes(size=1e3), budget=20)
    assert solution.result.exit_code == 0, str(solution)
    assert solution.accuracy.relative_l2 < 1e-7


def test_what_slopes_leave_free_is_refused():
    """A function is free up to a constant where its slopes alone are measured."""
    solution = hx.train(slopes(pinned=False), budget=20)
    assert solution.result is hx.RESULTS.guard_determined
    assert "u, free up to a constant" in solution.guards["determined"].sentence


def row_problem(size=1.0):
    """Values `given W'(x)` that depend on a number of each row, and `W(0) = 0`."""
    rng = np.random.default_rng(1)
    x, row = rng.uniform(0.0, 1.0, (80, 1)), rng.uniform(1.0, 2.0, (80, 1))
    values = size * row[:, 0] * np.exp(x[:, 0])

    def observe(u, x, given):
        return given[0] * hx.derivative(u, "x")(x)

    terms = (hx.Data("force", x, values, observe=observe, given=row), hx.Values("u", np.zeros((1, 1)), np.zeros(1)))
    return hx.Problem(hx.Box([0.0], [1.0]), terms, reference=lambda x: size * (jnp.exp(x[0]) - 1.0))


def test_rows_bring_what_their_values_depend_on():
    """Numbers given with each row reach its observation, on every level and at rows kept back."""
    solution = hx.train(row_problem(size=50.0), budget=20)
    assert solution.result.exit_code == 0, str(solution)
    assert solution.accuracy.relative_l2 < 1e-6


def test_an_observation_is_converted_with_the_unknowns():
    """In units of its own an observation has size one, whatever the unknown is measured in."""
    problem = slopes(size=1e6)
    units = own_units(problem)
    data = units.converted(problem).terms[0]
    assert np.std(data.values) == pytest.approx(1.0)
    assert 1e5 < units.sizes["u"] < 1e7


def two(observe, **more):
    box = hx.Box([0.0], [1.0])
    x = np.linspace(0.0, 1.0, 30)[:, None]
    data = hx.Data("seen", x, np.sin(x[:, 0]), observe=observe, **more)
    decay = hx.Residual("decay", lambda w, x: hx.derivative(w.a, "x")(x) + w.a(x))
    return hx.Problem(box, (decay, data), unknowns={"a": hx.Function(), "b": hx.Function()})


def test_only_what_is_looked_at_alone_is_measured():
    """A slope of one unknown measures it; a product of two measures neither."""
    assert measured(two(lambda w, x: hx.derivative(w.b, "x")(x))) == {"b"}
    assert measured(two(lambda w, x: w.a(x) * w.b(x))) == set()


def test_observations_without_noise_are_prescribed():
    """Noise 0 makes a condition of an observation, which keeps what it observes."""
    changed = with_prescribed_values(two(lambda w, x: w.b(x) - w.a(x), noise=0.0))
    assert isinstance(changed.terms[1], hx.Values)
    assert changed.terms[1].observe is not None


def test_an_observation_tells_problems_apart():
    """A run is not resumed with another observation."""
    first, same, other = (two(lambda w, x, k=k: k * w.b(x)) for k in (1.0, 1.0, 2.0))
    assert fingerprint(first) == fingerprint(same)
    assert fingerprint(first)["term seen"] != fingerprint(other)["term seen"]


def test_mistakes_are_refused_before_training():
    """Wrong shapes, no unknown, and numbers that belong to nothing are named with their term."""
    x, v = np.linspace(0.0, 1.0, 5)[:, None], np.zeros(5)
    with pytest.raises(hx.InputError, match="observes them"):
        hx.Data("u", x, v, given=x)
    with pytest.raises(hx.InputError, match="3 arguments"):
        hx.Data("u", x, v, given=x, observe=lambda u, x: u(x))
    with pytest.raises(hx.InputError, match="depends on no unknown"):
        hx.train(two(lambda w, x: x[0]))
    with pytest.raises(hx.InputError, match="as many as were measured"):
        hx.train(two(lambda w, x: jnp.stack([w.a(x), w.b(x)])))


def test_files_keep_the_data_and_not_the_observation(tmp_path):
    """A solution is read without the user's code, and says so where the observation would be needed."""
    solution = hx.train(slopes(), budget=10)
    solution.save(tmp_path / "slopes.hx")
    found = hx.load(tmp_path / "slopes.hx")
    assert found.evaluate([[0.5]]) == pytest.approx(solution.evaluate([[0.5]]), rel=1e-14)
    with pytest.raises(hx.InputError, match="observation 'slope' is code"):
        found.problem.terms[0].observe(None, None)
