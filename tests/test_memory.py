"""What a training compiles and finds out goes when its problem and solution go."""

import gc
import weakref

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx


def ordinary():
    return hx.Problem(
        hx.Box([0.0], [1.0]),
        [
            hx.Residual("inside", lambda u, x: hx.laplacian(u)(x) + u(x) ** 2 - 1.0),
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


def in_time():
    return hx.Problem(
        hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")),
        [
            hx.Residual("inside", lambda u, x: hx.derivative(u, "t")(x) - 0.1 * hx.derivative(u, "xx")(x) + u(x) ** 3),
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


@pytest.mark.parametrize("make", [ordinary, in_time])
def test_a_second_training_of_a_problem_compiles_nothing(compilations, make):
    problem, solutions, counts = make(), [], [sum(compilations.values())]
    for _ in range(2):
        solutions.append(hx.train(problem, levels=2, budget=60.0))
        counts.append(sum(compilations.values()))
    assert np.diff(counts)[1] == 0
    points = np.linspace(0.0, 1.0, 7 * problem.domain.dim).reshape(7, -1)
    assert np.array_equal(*(s.evaluate(points) for s in solutions))
