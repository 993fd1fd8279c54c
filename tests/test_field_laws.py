"""The laws of `hierax.testing.check_field`: every kind of field keeps them, and so does one from outside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hermite_grid import HermiteGrid
from test_periodic import FIELDS, LOWER, UPPER, WRAPS

import hierax as hx
from hierax.objective import LocalObjective
from hierax.solvers import Tolerances
from hierax.testing import check_field
from hierax.training import discrete

POINTS = np.random.default_rng(0).uniform(LOWER, UPPER, (24, 2))


@pytest.mark.parametrize("name", FIELDS)
def test_every_kind_of_field_keeps_the_laws(name):
    check_field(FIELDS[name](), key=0, points=POINTS, lower=LOWER, upper=UPPER, periodic=WRAPS)


def outside(intervals=(4, 6), periodic=WRAPS):
    return HermiteGrid.uniform(LOWER, UPPER, intervals, periodic)


def test_a_field_from_outside_keeps_the_laws():
    check_field(outside(), key=0, points=POINTS, lower=LOWER, upper=UPPER, periodic=WRAPS)
    with pytest.raises(AssertionError, match="ends of coordinate 1"):
        check_field(outside(periodic=(False, False)), key=0, points=POINTS, lower=LOWER, upper=UPPER, periodic=WRAPS)


def equation(u, x):
    """-u_tt - u_xx + u = f for u = sin(t) sin(2 pi (x + 1) / 5), which is periodic in x."""
    k = 2 * jnp.pi / 5
    exact = jnp.sin(x[0]) * jnp.sin(k * (x[1] + 1))
    return -hx.laplacian(u)(x) + u(x) - (2 + k * k) * exact


def wall(u, x, normal):
    return u(x) - jnp.sin(x[0]) * jnp.sin(2 * jnp.pi / 5 * (x[1] + 1))


def test_a_field_from_outside_trains_by_gauss_newton_on_the_path_of_grids(monkeypatch):
    seen = []

    class Seen(LocalObjective):
        def __init__(self, *args):
            seen.append(type(args[0]))
            super().__init__(*args)

    monkeypatch.setattr(discrete, "LocalObjective", Seen)
    box = hx.Box(LOWER, UPPER, names=("s", "x"), periodic=("x",))
    terms = (hx.Residual("equation", equation), hx.Residual("wall", wall, on="boundary"))
    solver = hx.GaussNewton(damping=0.0, tolerances=Tolerances(1e-8, 10))
    solution = hx.train(hx.Problem(box, terms), outside((8, 16)), solver=solver)
    assert set(seen) == {HermiteGrid}
    assert solution.linear_in_parameters
    exact = np.sin(POINTS[:, 0]) * np.sin(2 * np.pi / 5 * (POINTS[:, 1] + 1))
    values = jax.jit(jax.vmap(solution.field))(jnp.asarray(POINTS))
    assert np.abs(values - exact).max() < 2e-3


class Bent(HermiteGrid):
    """Says that it is linear, and is not."""

    def __call__(self, x):
        return jnp.sin(super().__call__(x))


class Elsewhere(HermiteGrid):
    """Gathers numbers that are not those of its pieces."""

    def at(self, cell):
        index, piece = super().at(cell)
        return index[::-1], piece


@pytest.mark.parametrize(("kind", "law"), [(Bent, "linear"), (Elsewhere, "not those at its indices")])
def test_wrong_fields_are_found(kind, law):
    with pytest.raises(AssertionError, match=law):
        check_field(kind.uniform(LOWER, UPPER, (3, 4), (False, False)), key=0, points=POINTS, lower=LOWER, upper=UPPER)
