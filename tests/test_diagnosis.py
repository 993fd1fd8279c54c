"""What limited a training: eight prepared runs, and the rules one by one."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.checks.diagnosis import Course, Limit, diagnose
from hierax.objective.noise import neighbour_correlation
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
    "tolerance, data": (Limit.tolerance, data(np.exp(X[:, 0])), {}),
    "tolerance, equation": (Limit.tolerance, decay(2.0), {}),
    "precision, equation": (Limit.precision, decay(2.0), {"cycle": hx.NestedIteration(tolerance=0.0)}),
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
    # one step has solved the first level, and all that later ones promise is rounding
    solved = replace(SEEN, step_losses=[1e-32] * 4, level_losses=[1e-32, 1e-32], step_decreases=[0.5] * 4)
    assert diagnose(solved).limit is Limit.precision


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


def test_rounding_is_blamed_only_where_refinement_changes_nothing():
    tiny = replace(SEEN, step_decreases=[0.5, 1e-2, 0.5, 1e-7], stopped_by="converged", level_changes=[4e-9, 2e-9])
    assert diagnose(tiny).limit is Limit.precision
    assert "changed the solution by 4e-09 and 2e-09" in str(diagnose(tiny))
    # the same end, with errors that fall from level to level, or changes that do
    assert diagnose(replace(tiny, level_errors=[2e-9, 8e-11])).limit is Limit.tolerance
    assert diagnose(replace(tiny, level_changes=[2e-9, 8e-11])).limit is Limit.tolerance
    assert diagnose(replace(tiny, level_changes=[2e-9, 8e-11], stopped_by="levels")).limit is Limit.capacity
    assert diagnose(replace(tiny, level_changes=[4e-5, 2e-5])).limit is Limit.capacity
    assert diagnose(replace(tiny, level_changes=[])).limit is Limit.capacity
    stays = str(diagnose(replace(tiny, level_errors=[9e-11, 8e-11])))
    assert "The error stays at 8e-11." in stays


def test_nothing_is_done_where_a_guard_fails():
    for changes in ([2e-9, 8e-11], [1e-9, 1e-14]):
        seen = replace(SEEN, level_changes=changes, stopped_by="converged")
        assert "Nothing has to be done" in str(diagnose(seen)) or "earlier would have done" in str(diagnose(seen))
        assert str(diagnose(replace(seen, failed=True))).endswith("see what the guards that fail ask for.")
    assert diagnose(replace(SEEN, level_changes=[1e-9, 1e-14])).limit is Limit.precision


def test_misfits_below_what_neighbours_show_are_noise_where_they_have_no_pattern():
    quiet = replace(SEEN, noise=0.5, validation_error=0.05, level_errors=[0.5, 0.05, 0.05], alike=0.05)
    assert diagnose(quiet).limit is Limit.noise
    assert diagnose(replace(quiet, alike=0.4)).limit is not Limit.noise
    assert diagnose(replace(quiet, level_errors=[0.5, 0.2, 0.05])).limit is not Limit.noise


def test_what_no_longer_changes_and_misses_its_equations_is_no_matter_of_precision():
    ended = replace(SEEN, stopped_by="converged", level_changes=[4e-9, 2e-9])
    assert diagnose(ended).limit is Limit.precision
    assert diagnose(replace(ended, missed=True)).limit is Limit.minimum
    assert "left 0.45 of the first residual" in str(diagnose(replace(ended, missed=True)))
    assert diagnose(replace(ended, missed=True, level_changes=[4e-3, 2e-3])).limit is not Limit.minimum


def test_misfits_that_follow_a_pattern_are_no_noise():
    biased = replace(SEEN, validation_error=0.11, noise=0.1, level_errors=[0.12, 0.11], alike=0.9)
    assert diagnose(biased).limit is Limit.balance
    assert "correlation 0.9" in str(diagnose(biased))
    assert diagnose(replace(biased, alike=0.1)).limit is Limit.noise
    assert diagnose(replace(biased, level_errors=[0.3, 0.11])).limit is Limit.capacity
    assert diagnose(replace(biased, validation_error=1e-6, level_errors=[1e-6, 1e-6])).limit is Limit.capacity


def test_neighbours_are_alike_in_a_smooth_misfit_and_not_in_noise():
    rng = np.random.default_rng(2)
    points = rng.random((400, 2)) * [1.0, 1e6]
    smooth = np.sin(3 * points[:, :1] + 2e-6 * points[:, 1:])
    assert neighbour_correlation(points, smooth) > 0.95
    assert abs(neighbour_correlation(points, rng.normal(size=(400, 1)))) < 0.2
    assert neighbour_correlation(points[:5], smooth[:5]) == 0.0


def test_equations_that_contradict_their_data_are_not_called_noise():
    """Data of `exp(-x)`, exact, with the equation `u' = 0`: the misfit is a curve, however noisy neighbours look."""
    term = hx.Residual("constant", lambda u, x: hx.derivative(u, "x")(x))
    problem = hx.Problem(hx.Box([0.0], [1.0]), (term, hx.Data("u", X[:60], np.exp(-X[:60, 0]), noise=1e-3)))
    found = hx.train(problem, levels=2, budget=BUDGET).diagnose()
    assert found.limit is Limit.balance, found


def test_nothing_is_called_solved_because_its_field_is_linear():
    """Radiation: the field is linear in its parameters, the terms are not."""
    terms = (
        hx.Residual("conduction", lambda u, x: hx.derivative(u, "xx")(x) - u(x) ** 4),
        hx.Residual("ends", lambda u, x, normal: u(x) - 1.0, on="boundary"),
    )
    solution = hx.train(hx.Problem(hx.Box([0.0], [1.0]), terms), levels=2, budget=BUDGET)
    assert solution.linear_in_parameters
    assert not solution.linear_problem
    assert "it is linear" not in str(solution)
    # a level that took one step is solved by it only if the terms are linear as well
    once = replace(SEEN, step_levels=[0, 1], step_losses=[1.0, 0.2], step_decreases=[float("inf")] * 2)
    assert diagnose(once) is None
    assert "it is linear and was solved" in str(diagnose(replace(once, linear=True)))


def test_a_linear_level_is_solved_in_one_step():
    solved = replace(SEEN, step_levels=[0, 1], step_losses=[1.0, 0.2], step_decreases=[0.5, 0.5])
    assert diagnose(solved).limit is Limit.optimisation
    assert diagnose(replace(solved, linear=True)).limit is Limit.capacity


def test_too_little_is_no_diagnosis():
    assert diagnose(Course([], [], [], [], [])) is None
    assert diagnose(replace(SEEN, level_losses=[0.5, float("nan")])) is None
    # terms that ask for nothing
    assert diagnose(replace(SEEN, step_losses=[0.0] * 4, level_losses=[0.0, 0.0])) is None
