"""Growth of networks in width: laws, symmetry, and training."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hierax as hx
from hierax.fields import Clamped, Extended, SplineAxis
from hierax.hierarchy import (
    FUNCTION_PRESERVING,
    INJECTIVE,
    LINEAR,
    Level,
    unit_map,
)
from hierax.solvers.base import Tolerances
from hierax.testing import check_transfer

POINTS = np.random.default_rng(0).uniform(-1.3, 1.3, (40, 2))

NETWORKS = {
    "perceptron": lambda: hx.MLP([2, 5, 4, 2], key=0),
    "kan": lambda: hx.KAN([2, 3, 2, 1], intervals=3, key=0, linear_first=True, first_bias=True),
    "fourier": lambda: hx.FourierNetwork([2, 5, 1], modes=3, key=0),
    "adaptive basis": lambda: hx.AdaptiveBasis([2, 4, 5, 1], key=0),
    "unknowns": lambda: hx.Unknowns(u=hx.MLP([2, 3, 1], key=0), nu=hx.Scalar(0.3)),
}


def verify(field, rule, tags=frozenset({LINEAR, FUNCTION_PRESERVING, INJECTIVE})):
    fine, transfer = rule.refine(Level(field, 100), key=jax.random.key(3))
    assert transfer.tags == tags
    assert abs(fine.points - 100 * fine.parameters / Level(field).parameters) < 3
    check_transfer(transfer, field, fine.field, key=0, points=POINTS)
    return fine, transfer


@pytest.mark.parametrize("name", NETWORKS)
def test_width_growth_obeys_all_laws(name):
    # even and odd numbers of new units
    verify(NETWORKS[name](), hx.WidthGrowth(1.6))


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(1, 20), st.integers(0, 99))
def test_the_matrices_of_a_layer_keep_every_function(coarse, more, seed):
    units = unit_map(coarse, coarse + more, np.random.default_rng(seed), 1.0, 0.5)
    z = np.random.default_rng(seed).normal(size=coarse)
    for activation in (np.tanh, np.cos, np.exp):
        np.testing.assert_allclose(units.outgoing.T @ activation(units.incoming @ z), activation(z), rtol=1e-12)
    np.testing.assert_allclose(units.average @ units.incoming, np.eye(coarse), atol=1e-14)
    np.testing.assert_allclose(units.total @ units.outgoing, np.eye(coarse), atol=1e-14)


def test_widths_are_multiplied_and_numbers_follow_the_key():
    field = NETWORKS["perceptron"]()
    hierarchy = hx.refine(field, by=hx.WidthGrowth(2), levels=3)
    assert [level.field.widths for level in hierarchy.levels] == [(2, 5, 4, 2), (2, 10, 8, 2), (2, 20, 16, 2)]
    again = hx.refine(field, by=hx.WidthGrowth(2), levels=3)
    assert bool(eqx.tree_equal(hierarchy[2].field, again[2].field))
    assert not bool(eqx.tree_equal(hierarchy[2].field, hx.refine(field, hx.WidthGrowth(2), 3, key=1)[2].field))
    assert hx.WidthGrowth(1.01).refine(Level(field))[0].field.widths == (2, 6, 5, 2)


def grid(axes):
    shape = tuple(axis.size for axis in axes)
    return hx.SplineGrid(axes, np.random.default_rng(0).normal(size=shape))


SPLINES = {
    "extended": lambda: grid([SplineAxis(np.linspace(-1, 1, n), 3, Extended()) for n in (4, 5)]),
    # a repeated breakpoint, where the function has a kink in its second derivative
    "clamped": lambda: grid(
        [SplineAxis([-1, -0.2, 0.5, 0.5, 1], 3, Clamped()), SplineAxis([-1, 0.1, 1], 1, Extended())]
    ),
    "kan": lambda: hx.KAN([2, 3, 1], intervals=4, degree=2, key=0, linear_first=True),
}


def test_nested_iteration_over_widths_trains():
    front = lambda x: jnp.tanh(8.0 * (x[0] - 0.2)) + jnp.sin(5.0 * x[0])  # noqa: E731
    problem = hx.Problem(
        domain=hx.Box([-1.0], [1.0], names=("x",)),
        terms=(hx.Residual("misfit", lambda u, x: u(x) - front(x)),),
        reference=hx.Reference(front, 1e-14),
    )
    hierarchy = hx.refine(hx.MLP([1, 2, 1], key=0), by=hx.WidthGrowth(2), levels=3)
    solver = hx.GaussNewton(tolerances=Tolerances(steps=100))
    solution = hx.train(problem, hierarchy, solver=solver, key=0, budget=30.0)
    errors = [record.error for record in solution.levels]
    assert [record.parameters for record in solution.levels] == [7, 13, 25]
    assert errors[1] < 0.5 * errors[0]
    assert errors[2] < 0.5 * errors[1]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: hx.WidthGrowth(1.0), "above 1"),
        (lambda: hx.WidthGrowth().refine(Level(hx.SplineGrid.uniform([0.0], [1.0], 4, 2))), "no hidden units"),
    ],
)
def test_what_cannot_be_grown_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
