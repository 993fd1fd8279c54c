"""A field that solves a small problem exactly, a `Solution` made by hand, for tests that need no training; values."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import hierax as hx
from hierax.events import Guard, LevelRecord, StepTaken
from hierax.results.solution import Accuracy, Solution


@eqx.filter_jit
def values_at(function, points):
    """Values of a field, or of another function, at points: step by step each operation would be compiled by itself."""
    return jax.vmap(function)(jnp.asarray(points))


# u(t, x) = t x^2
EXACT = {
    "u": lambda t, x: t * x**2,
    "u_t": lambda t, x: x**2,
    "u_xx": lambda t, x: 2 * t,
    "u_tx": lambda t, x: 2 * x,
}


def exact_problem() -> hx.Problem:
    """`u_t = x^2`, `u = 0` at the start, on the unit square."""
    return hx.Problem(
        hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")),
        (
            hx.Residual("interior", lambda u, x: hx.derivative(u, "t")(x) - x[1] ** 2),
            hx.Residual("start", lambda u, x, normal: u(x), on=hx.Face("t", "lower")),
        ),
        reference=lambda x: x[0] * x[1] ** 2,
        name="handmade",
    )


def exact_field() -> hx.SplineGrid:
    """`t x^2` as a spline of one interval and degree two: products of Bernstein coefficients."""
    space = hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], 1, 2)
    return hx.SplineGrid(space.axes, jnp.asarray(np.outer([0.0, 0.5, 1.0], [0.0, 0.0, 1.0])))


def solution_of(problem: hx.Problem | None = None, field=None, result: hx.RESULTS = hx.RESULTS.successful) -> Solution:
    """A solution with two levels."""
    passed = not result.name.startswith("guard_")
    return Solution(
        problem=problem or exact_problem(),
        field=field if field is not None else exact_field(),
        result=result,
        stopped_by="converged",
        levels=[
            LevelRecord(0, 4, 20, 2, 1e-2, 0.5, 0.4, error=1e-1),
            LevelRecord(1, 9, 40, 3, 1e-6, 0.7, 0.1, error=1e-3),
        ],
        guards={"boundary": Guard(1e-4 if passed else 0.5, 1e-2, passed, "The start is met.")},
        history=[StepTaken(k // 3, 1 + k % 3, 10.0**-k, 0.5, 0.2 * k) for k in range(6)],
        plan="two levels",
        solver="GaussNewton",
        cycle="NestedIteration",
        field_kind="SplineGrid",
        seed=0,
        linear_in_parameters=True,
        parameters=9,
        loss=1e-6,
        accuracy=Accuracy(1e-3, 2e-3, 1e-14),
        fresh_residual_ratio=1.1,
        seconds_total=1.2,
        seconds_compile=0.5,
        work_units=123.0,
    )
