"""Coarse objectives are consistent with the finer one: value and gradient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import hierax as hx
from hierax.objective.corrected import FirstOrder
from hierax.objective.flat_transfer import FlatTransfer
from hierax.planning.choose import choose
from hierax.solvers import AbstractSolver, GaussNewton, Multigrid, adam
from hierax.training.discrete import DiscreteProblem


class Ladder:
    """Objectives of three levels of one hierarchy."""

    def __init__(self, problem: hx.Problem, field, solver: AbstractSolver | None = None) -> None:
        hierarchy = field if isinstance(field, hx.Hierarchy) else hx.refine(field, levels=3)
        plan = choose(problem, key=0, hierarchy=hierarchy, solver=solver or GaussNewton())
        bench = DiscreteProblem.of(problem, plan, 0)
        fields = [level.field for level in plan.hierarchy.levels]
        prepared = [bench.prepare(f) for f in fields]
        scales = list(prepared[-1].objective.scales)
        self.objectives = [p.objective.rescaled(scales) for p in prepared]
        self.transfers = [
            FlatTransfer(t, *pair) for t, *pair in zip(plan.hierarchy.transfers, fields[:-1], fields[1:], strict=True)
        ]
        self.sizes = [len(p.theta) for p in prepared]


def equation(u, x):
    return hx.laplacian(u)(x) + u(x) ** 3 - x[0]


def plane() -> hx.Problem:
    terms = (hx.Residual("inside", equation), hx.Residual("wall", lambda u, x, n: u(x) - x[1], on="boundary"))
    return hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("x", "y")), terms)


def fit(count: int) -> hx.Problem:
    points = np.random.default_rng(0).uniform(0, 1, (count, 2))
    data = hx.Data("data", points, np.sin(5 * points[:, 0] * points[:, 1]))
    return hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("x", "y")), (data,))


MADE = {
    "band": lambda: Ladder(plane(), hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], (4, 5), 3)),
    "stencil": lambda: Ladder(
        plane(), hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], (8, 8), 3), GaussNewton(linear=Multigrid())
    ),
    "network": lambda: Ladder(fit(200), hx.KAN([2, 2, 1], intervals=3, degree=2, key=0)),
    "kernel": lambda: Ladder(fit(60), hx.KAN([2, 2, 1], intervals=3, degree=2, key=1)),
}
LADDERS: dict[str, Ladder] = {}


def ladder(name: str) -> Ladder:
    if name not in LADDERS:
        LADDERS[name] = MADE[name]()
    return LADDERS[name]


def relative(a: np.ndarray, b: np.ndarray, size: float = 0.0) -> float:
    return float(np.abs(a - b).max() / max(np.abs(a).max(), np.abs(b).max(), size))


@pytest.mark.parametrize("name", MADE)
@settings(max_examples=4, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**20), size=st.floats(0.1, 3.0))
def test_coarse_gradient_is_the_restricted_fine_gradient(name, seed, size):
    made, rng = ladder(name), np.random.default_rng(seed)
    objective, theta = made.objectives[2], size * rng.normal(size=made.sizes[2])
    for level in (1, 0):
        transfer, base = made.transfers[level], made.objectives[level]
        coarse = FirstOrder().coarse(objective, theta, transfer, base)
        value, gradient = coarse.value_and_gradient(coarse.origin)
        above, fine = objective.value_and_gradient(theta)
        expected = transfer.restrict(fine, coarse.origin)
        own = np.abs(base.value_and_gradient(coarse.origin)[1]).max()
        assert relative(gradient, expected, own) < 1e-12
        assert value == pytest.approx(above, rel=1e-11)
        # the next coarser problem is that of the corrected one, away from its origin
        objective, theta = coarse, coarse.origin + 0.1 * rng.normal(size=len(coarse.origin))


@pytest.mark.parametrize("name", ["network", "stencil"])
def test_gradient_of_a_corrected_objective_is_its_derivative(name):
    made, rng = ladder(name), np.random.default_rng(4)
    fine, transfer = made.objectives[1], made.transfers[0]
    coarse = FirstOrder().coarse(fine, 0.3 * rng.normal(size=made.sizes[1]), transfer, made.objectives[0])
    theta, step = coarse.origin + 0.1, rng.normal(size=made.sizes[0])
    slope = (coarse.value(theta + 1e-5 * step) - coarse.value(theta - 1e-5 * step)) / 2e-5
    assert coarse.value_and_gradient(theta)[1] @ step == pytest.approx(slope, rel=1e-5)
    assert coarse.linearise(theta).gradient == pytest.approx(coarse.value_and_gradient(theta)[1], rel=1e-9)


def test_one_function_for_optimisers():
    made, rng = ladder("network"), np.random.default_rng(5)
    theta = 0.3 * rng.normal(size=made.sizes[1])
    coarse = FirstOrder().coarse(made.objectives[1], theta, made.transfers[0], made.objectives[0])
    program, data = coarse.program()
    at = coarse.origin + 0.1
    assert float(program(at, data)) == pytest.approx(coarse.value(at), rel=1e-11)
    step = adam(1e-3).step(coarse, coarse.origin, adam(1e-3).init(coarse, coarse.origin))
    assert coarse.value(step.theta) < coarse.value(coarse.origin)


@pytest.mark.parametrize("name", MADE)
def test_flat_transfers_are_their_matrices(name):
    made, rng = ladder(name), np.random.default_rng(6)
    transfer = made.transfers[1]
    coarse, fine = rng.normal(size=made.sizes[1]), rng.normal(size=made.sizes[2])
    matrix = transfer.matrix(coarse)
    assert relative(transfer.prolong(coarse), matrix @ coarse) < 1e-13
    assert relative(transfer.restrict(fine, coarse), matrix.T @ fine) < 1e-13
    assert relative(transfer.inject(transfer.prolong(coarse)), coarse) < 1e-11
    assert relative(transfer.change(coarse, 2 * coarse), -transfer.prolong(coarse)) < 1e-12
