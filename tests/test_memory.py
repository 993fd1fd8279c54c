"""What a training compiles and finds out goes when its problem and solution go."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.objective.compiled import compiled


def ordinary(load=0.9):
    return hx.Problem(
        hx.Box([0.0], [1.0]),
        [
            hx.Residual("inside", lambda u, x: hx.laplacian(u)(x) + u(x) ** 2 - load),
            hx.Residual("wall", lambda u, x, normal: u(x), on="boundary"),
        ],
    )


def unknown_constant():
    x = np.linspace(0.0, 1.0, 20)[:, None]
    return hx.Problem(
        hx.Box([0.0], [1.0], names=("t",)),
        [
            hx.Residual("inside", lambda w, x: hx.derivative(w.u, "t")(x) + w.rate * w.u(x)),
            hx.Data("u", x, np.exp(-1.3 * x[:, 0])),
        ],
        unknowns={"u": hx.Function(), "rate": hx.Constant(1.0)},
    )


def table():
    x = np.random.default_rng(0).random((30, 2))
    return hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), [hx.Data("u", x, np.sin(3.0 * x[:, 0]) + x[:, 1])])


def on_a_disk():
    return hx.Problem(
        hx.Disk((0.0, 0.0), 1.0),
        [
            hx.Residual("inside", lambda u, x: hx.laplacian(u)(x) + 4.0),
            hx.Residual("wall", lambda u, x, normal: u(x), on="boundary"),
        ],
    )


def in_four_coordinates():
    return hx.Problem(
        hx.Box([0.0] * 4, [1.0] * 4),
        [
            hx.Residual("inside", lambda u, x: hx.laplacian(u)(x) + jnp.sum(x)),
            hx.Residual("wall", lambda u, x, normal: u(x), on="boundary"),
        ],
    )


def in_time(conductivity=0.1):
    return hx.Problem(
        hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")),
        [
            hx.Residual(
                "inside",
                lambda u, x: hx.derivative(u, "t")(x) - conductivity * hx.derivative(u, "xx")(x) + u(x) ** 3,
            ),
            hx.Residual("wall", lambda u, x, n: u(x), on=(hx.Face("x", "lower"), hx.Face("x", "upper"))),
            hx.Residual("start", lambda u, x, n: u(x) - jnp.sin(jnp.pi * x[1]), on=hx.Face("t", "lower")),
        ],
    )


CASES = {
    "equation": (ordinary, {}),
    "unknown constant": (unknown_constant, {}),
    "table": (table, {}),
    "shape": (on_a_disk, {}),
    "four coordinates": (in_four_coordinates, {}),
    "network": (ordinary, {"field": "mlp", "solver": "adam"}),
    "network, Gauss-Newton": (ordinary, {"field": "mlp"}),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_keeps_a_problem_that_was_trained(case):
    make, how = CASES[case]
    problem = make()
    solution = hx.train(problem, budget=1.0, **how)
    solution.evaluate(np.full((3, problem.domain.dim), 0.3))
    held = weakref.ref(problem), weakref.ref(solution.problem)
    del problem, solution
    gc.collect()
    assert [one() for one in held] == [None, None]


@pytest.mark.parametrize(("make", "another"), [(ordinary, 0.8), (in_time, 0.15)])
def test_a_second_training_compiles_nothing_nor_does_one_with_another_number(compilations, make, another):
    problem, solutions, counts = make(), [], []
    for one in (problem, problem, make(another)):
        solutions.append(hx.train(one, levels=2, budget=60.0))
        counts.append(sum(compilations.values()))
    assert np.all(np.diff(counts) == 0)
    points = np.linspace(0.0, 1.0, 7 * problem.domain.dim).reshape(7, -1)
    first, again, other = (s.evaluate(points) for s in solutions)
    assert np.array_equal(first, again)
    assert np.max(np.abs(other - first)) > 1e-3


def _written(number, array):
    """A function with a call, a loop, a power and a derivative, of numbers and arrays that come with it."""

    def function(x):
        loop = jax.lax.scan(lambda sum, row: (sum + jnp.sin(2.0 * row), None), 0.3 * x[0], x)[0]
        return number * jax.nn.relu(x @ array) + jax.grad(lambda z: jnp.sum(z ** (number - 0.5)))(x)[0] / number + loop

    return function


def test_functions_share_a_program_and_give_what_they_give_alone(compilations):
    x, rng = np.linspace(0.1, 1.0, 5), np.random.default_rng(0)
    functions = [_written(number, rng.normal(size=5)) for number in (0.7, 1.3, 2.5)]
    found = [compiled(function)(x) for function in functions]
    assert np.allclose(found, [function(x) for function in functions], rtol=1e-14)
    before = sum(compilations.values())
    assert np.isfinite(compiled(_written(0.7, rng.normal(size=5)))(x))
    assert sum(compilations.values()) == before


def test_a_function_that_calls_back_has_a_program_of_its_own():
    def written(factor):
        return lambda x: jax.pure_callback(lambda z: factor * z, jax.ShapeDtypeStruct((3,), float), x)

    x = np.arange(3.0)
    assert [compiled(written(c))(x)[2] for c in (2.0, 5.0)] == [4.0, 10.0]
