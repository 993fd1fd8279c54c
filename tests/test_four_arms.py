"""The study `four-arms` and its parts: the gap, the classical controls, all arms of a small problem, its numbers."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from hierax.cycles import Done, NestedIteration, Outcome, Visit
from hierax.fields import KAN, SplineGrid, Unknowns, parameter_count
from hierax.problems import Box, Function, Problem, Reference, Residual, catalogue
from hierax.solvers import Step
from studies import bouts, four_arms
from studies.bouts import ToTheEnd
from studies.classical import collocation, jump_differences, minus_laplacian, poisson_differences, scattered
from studies.common import Network, Shares
from studies.gap import best_error, fitted_grid, gap, held_out, reference_values, relative_error


def smooth(x):
    return jnp.sin(3.0 * x[0]) * jnp.exp(x[1])


def problem_of(function, **named):
    return Problem(
        Box([0.0, 0.0], [1.0, 2.0]),
        Residual("known", lambda u, x: 0.0 * x[0]),
        reference=Reference(function),
        **named,
    )


def test_the_best_grid_is_exact_for_splines():
    grid = SplineGrid.uniform([0.0, 0.0], [1.0, 2.0], (4, 3), 3, periodic=(True, False))
    rng = np.random.default_rng(0)
    truth = SplineGrid(grid.axes, rng.normal(size=grid.coefficients.shape))
    found = fitted_grid(grid, lambda points: reference_values(problem_of(truth), points))
    np.testing.assert_allclose(found.coefficients, truth.coefficients, rtol=0, atol=1e-12)


def test_the_best_error_falls_with_the_order_of_the_splines():
    problem = problem_of(smooth)
    coarse, fine = (SplineGrid.uniform([0.0, 0.0], [1.0, 2.0], n, 3) for n in (4, 8))
    assert 12 < best_error(problem, coarse) / best_error(problem, fine) < 22


def test_no_error_is_below_that_of_least_squares():
    problem = problem_of(smooth)
    grid = SplineGrid.uniform([0.0, 0.0], [1.0, 2.0], 3, 2)
    points, exact = held_out(problem)
    best = fitted_grid(grid, lambda p: reference_values(problem, p))
    moved = SplineGrid(grid.axes, best.coefficients + 5e-2)
    found = gap(problem, moved)
    assert found["error"] == pytest.approx(relative_error(problem, moved))
    assert found["gap"] == pytest.approx(found["error"] / found["best_error"])
    assert found["gap"] > 1.5
    assert gap(problem, best)["gap"] == pytest.approx(1.0, abs=1e-9)
    assert len(points) == len(exact)


def test_the_gap_of_a_network_comes_from_fits_of_several_starts():
    problem = problem_of(smooth, unknowns={"u": Function(), "q": Function()})
    fields = [
        Unknowns(u=KAN([2, 3, 1], intervals=3, degree=3, key=k, domain=([0, 0], [1, 2]), linear_first=True), q=grid)
        for k, grid in enumerate([SplineGrid.uniform([0.0, 0.0], [1.0, 2.0], 3, 2)] * 2)
    ]
    found = gap(problem, fields[0], fields[1:], seconds=4.0)
    assert found["parameters"] == parameter_count(fields[0])
    assert found["error"] > 0.3
    assert found["best_error"] < 0.03


def test_the_last_level_goes_on_until_two_visits_bring_nothing():
    cycle, actions, outcome = ToTheEnd(NestedIteration()), [], None
    state = cycle.init(2)
    for level, value in [(0, 5.0), (1, 3.0), (1, 2.0), (1, 1.9999), (1, 1.0), (1, 0.9999), (1, 1.1)]:
        state, action = cycle.next(state, outcome)
        actions.append(action)
        outcome = Outcome(level, 2, value=value, obstacle="levels")
    assert actions == [Visit(0), *[Visit(1)] * 6]
    assert cycle.next(state, outcome)[1] == Done("converged")


def error(problem, control):
    points, exact = held_out(problem)
    return np.linalg.norm(control.values(points) - exact[:, 0]) / np.linalg.norm(exact)


def test_collocation_is_spectrally_accurate():
    problem = catalogue()["poisson-2d"](scales=1)
    few, many = (error(problem, collocation(problem, n, minus_laplacian)) for n in (10, 20))
    assert few < 1e-2
    assert many < 1e-10
    known = catalogue()["semilinear-3d"]()
    assert error(known, collocation(known, 9, minus_laplacian, power=3)) < 1e-3


def test_differences_are_of_second_order():
    problem = catalogue()["poisson-2d"](scales=1)
    (n, seconds, coarse), (_, _, fine) = (poisson_differences(problem, cells) for cells in (16, 32))
    assert n == 15**2
    assert seconds > 0
    assert coarse / fine == pytest.approx(4.0, rel=0.05)
    jump = catalogue()["poisson-jump-mixed"]()
    assert error(jump, jump_differences(jump, 64)) / error(jump, jump_differences(jump, 128)) > 3.5


def test_scattered_data_are_interpolated():
    problem = catalogue()["rotated-regression"](points=4000)
    assert error(problem, scattered(problem)) < 0.02


def test_uniform_levels_end_at_about_the_same_size():
    adapted = SplineGrid.uniform([0.0, -1.0], [1.0, 1.0], (9, 60), 5, out=2, periodic=(False, True))
    problem = Problem(Box([0.0, -1.0], [1.0, 1.0]), [Residual("known", lambda u, x: 0.0 * x[0])])
    hierarchy = bouts.uniform_levels(Unknowns(q=adapted, u=bouts.zeros_like(adapted)), problem)
    finest = hierarchy.levels[-1]
    assert finest.parameters == pytest.approx(2 * parameter_count(adapted), rel=0.35)
    axes = finest.field.q.axes
    assert [axis.intervals for axis in axes] == [axes[0].intervals] * 2
    assert type(axes[1].ends) is type(adapted.axes[1].ends)
    assert len(hierarchy.levels) >= 2


class Endless:
    """Stands for a solver that never stops."""

    second_order = assembles = stencils = False

    def init(self, objective, theta):
        return 0

    def step(self, objective, theta, state):
        return Step(theta, state + 1, 1.0, 1.0, False)


def test_shares_end_coarse_visits_and_leave_the_finest_alone(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("hierax.clock.seconds_now", lambda: now[0])
    solver = Shares(Endless(), 0.01, finest=100)  # pyright: ignore
    for size, ends in ((50, True), (100, False)):
        objective = type("Sized", (), {"size": size})()
        state = solver.init(objective, np.zeros(size))
        assert not solver.step(objective, np.zeros(size), state).done
        now[0] += 0.02
        assert solver.step(objective, np.zeros(size), state).done is ends


@pytest.mark.slow
def test_all_arms_run_on_a_small_network():
    case = replace(
        bouts.CASES["rotated-regression"],
        make=bouts.known("rotated-regression", points=300),
        network=Network(3, 3, 3, True),
        levels=2,
        network_seconds=0.3,
    )
    rows, gaps = bouts.run_case("rotated-regression", case, 1, ("network",), short=True)
    arms = {row["arm"] for row in rows}
    assert {*bouts.SINGLE, bouts.MANY_FIRST, bouts.MANY_SECOND, bouts.CLASSICAL} <= arms
    assert all(0 < row["relative_l2"] < 2 for row in rows)
    assert gaps
    assert all(g["gap"] >= 1.0 for g in gaps)
    assert len({row["parameters"] for row in rows if row["arm"] in bouts.SINGLE}) == 1


def median(label, arm, value):
    return {"problem": label, "arm": arm, "relative_l2": value, "relative_l2_quartiles": [value, value]}


def test_gains_compare_the_best_arms_of_a_row(tmp_path):
    grid, network = "burgers, spline grid", "burgers, spline network"
    medians = [
        median(grid, bouts.ONE_FIRST, 1e-1),
        median(grid, bouts.ONE_SECOND, 1e-3),
        median(grid, bouts.MANY_SECOND, 1e-3),
        median(grid, bouts.OWN_KNOTS, 1e-4),
        median(network, bouts.ONE_FIRST, 1e-1),
        median(network, bouts.ONE_SECOND, 9e-1),
        median(network, bouts.MANY_FIRST, 5e-2),
        median(network, bouts.MANY_SECOND, 1e-1 / 90),
        median(network, bouts.CLASSICAL, 1e-9),
    ]
    found = four_arms.summary(medians, [])
    assert found["gain_linear_fields"]["burgers"] == pytest.approx(10.0)
    assert found["gain_nonlinear_fields"]["burgers"] == pytest.approx(90.0)
    assert found["gain"]["burgers"] == pytest.approx(30.0)
    assert found["gain_median"] == pytest.approx(30.0)
    assert found["error_ratios"]["levels_with_second_order"][network] == pytest.approx(810.0)
    assert "nonlinear in theirs: 90" in four_arms.answer(found)
    four_arms.draw(tmp_path / "figure.png", "title", medians)
    assert (tmp_path / "figure.png").stat().st_size > 10_000
