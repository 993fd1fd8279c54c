"""What limited a training: eight prepared runs, two of each limit, and the rules one by one."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.checks.diagnosis import Course, Limit, diagnose
from hierax.solvers import Tolerances

BUDGET = 60.0
X = np.random.default_rng(0).uniform(0.0, 1.0, (300, 1))
NOISE = 0.1 * np.random.default_rng(1).normal(size=300)


def data(values):
    return hx.Problem(hx.Box([0.0], [1.0]), (hx.Data("u", X, values),))


def decay(rate):
    """`u' = -rate u`, `u(0) = 1`."""
    terms = (
        hx.Residual("decay", lambda u, x: hx.derivative(u, "t")(x) + rate * u(x)),
        hx.Residual("start", lambda u, x, normal: u(x) - 1.0, on=hx.Face("t", "lower")),
    )
    return hx.Problem(hx.Box([0.0], [1.0], names=("t",)), terms, reference=lambda x: jnp.exp(-rate * x[0]))


def network(width=6):
    return hx.MLP([1, width, 1], key=0)


WAVE = np.sin(25.0 * X[:, 0])
NEWTON, SINGLE = hx.GaussNewton(tolerances=Tolerances(1e-6, 300)), hx.SingleLevel()
RUNS = {
    "noise, default strategy": (Limit.noise, data(WAVE + NOISE), {}),
    "noise, network": (
        Limit.noise,
        data(np.exp(X[:, 0]) + NOISE),
        {"hierarchy": network(), "solver": hx.GaussNewton(tolerances=Tolerances(1e-6, 30))},
    ),
    "precision, data": (Limit.precision, data(np.exp(X[:, 0])), {}),
    "precision, equation": (Limit.precision, decay(2.0), {}),
    "capacity, network": (Limit.capacity, data(WAVE), {"hierarchy": network(2), "solver": NEWTON}),
    "capacity, grid": (
        Limit.capacity,
        decay(60.0),
        {"hierarchy": hx.SplineGrid.uniform([0.0], [1.0], 6, 4), "cycle": SINGLE},
    ),
    "optimisation, Adam": (Limit.optimisation, data(WAVE), {"hierarchy": network(30), "solver": hx.adam(1e-3, 200)}),
    "optimisation, few steps": (
        Limit.optimisation,
        data(WAVE),
        {"hierarchy": network(10), "solver": hx.GaussNewton(tolerances=Tolerances(1e-6, 5))},
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_prepared_runs(name):
    limit, problem, settings = RUNS[name]
    solution = hx.train(problem, budget=BUDGET, **settings)
    found = solution.diagnose()
    assert found.limit is limit, f"{found}\n{solution}"
    assert f"limited by {limit.name}" in str(solution)


SEEN = Course([0, 0, 1, 1], [1.0, 0.5, 0.3, 0.2], [0.5, 1e-7, 0.5, 1e-7], [0.5, 0.2], [])


def test_the_rules_in_their_order():
    assert diagnose(SEEN).limit is Limit.capacity
    assert "divided the residual by 1.6" in str(diagnose(SEEN))
    assert diagnose(replace(SEEN, step_decreases=[0.5, 1e-7, 0.5, 1e-2])).limit is Limit.optimisation
    # without curvature a small decrease may be a plateau
    slow = replace(SEEN, step_decreases=[1e-5] * 4, second_order=False)
    assert diagnose(slow).limit is Limit.optimisation
    assert diagnose(replace(slow, second_order=True)).limit is Limit.capacity
    assert diagnose(replace(SEEN, level_losses=[0.5, 1e-30])).limit is Limit.precision
    # the same loss in 32 bits: rounding much earlier
    assert diagnose(replace(SEEN, level_losses=[0.5, 1e-9])).limit is Limit.capacity
    assert diagnose(replace(SEEN, level_losses=[0.5, 1e-9], epsilon=1.2e-7)).limit is Limit.precision


def test_noise_is_what_kept_data_and_levels_agree_on():
    noisy = replace(SEEN, validation_error=0.11, noise=0.1, level_errors=[0.12, 0.11])
    assert diagnose(noisy).limit is Limit.noise
    # an error far below the estimate shows that the estimate counts how the function bends
    assert diagnose(replace(noisy, validation_error=0.01)).limit is Limit.capacity
    assert diagnose(replace(noisy, validation_error=0.3)).limit is Limit.capacity
    # a finer level that follows the data better and misses those kept back shows that there are too few
    raised = replace(noisy, validation_error=0.01, level_errors=[0.01, 0.03])
    assert diagnose(raised).limit is Limit.noise
    assert "their number" in str(diagnose(raised))
    assert diagnose(replace(raised, level_losses=[0.2, 0.5])).limit is Limit.capacity
    # refinement still halves it
    assert diagnose(replace(noisy, level_errors=[0.3, 0.11])).limit is Limit.capacity


def test_a_linear_level_is_solved_in_one_step():
    solved = replace(SEEN, step_levels=[0, 1], step_losses=[1.0, 0.2], step_decreases=[0.5, 0.5])
    assert diagnose(solved).limit is Limit.optimisation
    assert diagnose(replace(solved, linear=True)).limit is Limit.capacity


def test_too_little_is_no_diagnosis():
    assert diagnose(Course([], [], [], [], [])) is None
    assert diagnose(replace(SEEN, level_losses=[0.5, float("nan")])) is None
    # terms that ask for nothing
    assert diagnose(replace(SEEN, step_losses=[0.0] * 4, level_losses=[0.0, 0.0])) is None
