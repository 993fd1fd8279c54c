"""Growth of networks in width, depth, degree and modes: laws, symmetry, choice among rules, and training."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

import hierax as hx
from hierax.fields import Clamped, Extended, SplineAxis, partition, to_power_relu
from hierax.hierarchy import (
    FUNCTION_PRESERVING,
    INJECTIVE,
    LINEAR,
    GradientEvidence,
    Level,
    nearest_in_range,
    unit_map,
)
from hierax.solvers.base import Tolerances
from hierax.testing import check_transfer

POINTS = np.random.default_rng(0).uniform(-1.3, 1.3, (40, 2))

NETWORKS = {
    "perceptron": lambda: hx.MLP([2, 5, 4, 2], key=0),
    "residual": lambda: hx.ResidualNetwork([2, 5, 5, 5, 1], key=0),
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


def test_depth_growth_keeps_the_equation_and_tells_that_it_changes_the_function():
    first = hx.ResidualNetwork([2, 4, 4, 1], key=0)

    def change(blocks, rule):
        depth = 1.0 + 0.5 * (np.arange(blocks) + 0.5) / blocks
        smooth = lambda leaf: jnp.asarray(depth.reshape(-1, *[1] * (leaf.ndim - 1)) * leaf)  # noqa: E731
        field = eqx.tree_at(lambda f: f.blocks, first, jax.tree.map(smooth, first.blocks))
        fine = rule.refine(Level(field))[0].field
        return float(jnp.abs(jax.vmap(fine)(POINTS) - jax.vmap(field)(POINTS)).max())

    for rule in (hx.DepthGrowth(), hx.DepthGrowth(interpolate=False)):
        verify(NETWORKS["residual"](), rule, frozenset({LINEAR, INJECTIVE}))
        changes = [change(blocks, rule) for blocks in (8, 16, 32)]
        np.testing.assert_allclose(np.log2(np.divide(changes[:2], changes[1:])), 1.0, atol=0.25)


def test_inserted_blocks_do_nothing_yet_and_can_learn():
    fine, _ = verify(NETWORKS["residual"](), hx.BlockInsertion())
    assert fine.field.widths == (2, 5, 5, 5, 5, 5, 1)
    slope = jax.grad(lambda scales: eqx.tree_at(lambda f: f.blocks.scales, fine.field, scales)(jnp.ones(2)))
    assert np.abs(slope(fine.field.blocks.scales)).min() > 1e-6


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


@pytest.mark.parametrize("name", SPLINES)
def test_degree_elevation_keeps_the_function_and_its_smoothness(name):
    fine, _ = verify(SPLINES[name](), hx.DegreeElevation())
    if name == "extended":
        assert [(axis.degree, axis.intervals, axis.size) for axis in fine.field.axes] == [(4, 5, 9), (4, 7, 11)]


def test_an_elevated_spline_is_refined_further():
    rule = hx.Composite([hx.DegreeElevation(), hx.DegreeElevation(), hx.IntervalDoubling()])
    field = hx.KAN([2, 1], intervals=3, degree=2, key=0)
    fine, _ = rule.refine(Level(field))
    np.testing.assert_allclose(jax.vmap(fine.field)(POINTS), jax.vmap(field)(POINTS), atol=1e-13)
    assert fine.field.degree == 4
    assert len(np.unique(fine.field.layers[0].axis.breakpoints())) == 7


def test_new_modes_start_with_zero_weights():
    field = NETWORKS["fourier"]()
    fine, _ = verify(field, hx.ModeGrowth(2.0))
    np.testing.assert_array_equal(fine.field.features.frequencies[:3], field.features.frequencies)
    assert fine.field.features.frequencies.shape == (6, 2)
    assert not fine.field.network.layers[0].weight[:, 6:].any()


def test_composite_rules_refine_together():
    rule = hx.Composite([hx.WidthGrowth(2), hx.IntervalDoubling(), hx.DegreeElevation()])
    fine, transfer = rule.refine(Level(hx.KAN([2, 3, 1], intervals=4, key=0)))
    assert (fine.field.widths, fine.field.degree, fine.field.layers[0].axis.size) == ((2, 6, 1), 4, 19)
    assert FUNCTION_PRESERVING in transfer.tags
    rule = hx.Composite([hx.DepthGrowth(), hx.WidthGrowth(1.5)])
    verify(NETWORKS["residual"](), rule, frozenset({LINEAR, INJECTIVE}))


def slopes(target):
    points = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (200, 2)))

    @eqx.filter_jit
    def gradient(field):
        params, rest = partition(field)
        values = jax.vmap(target)(points)
        misfit = lambda p: jnp.mean((jax.vmap(eqx.combine(p, rest))(points) - values) ** 2)  # noqa: E731
        return jax.grad(misfit)(params)

    return GradientEvidence(gradient)


def test_the_best_of_several_rules_has_the_largest_gain_for_its_parameters():
    field = hx.FourierNetwork([2, 6, 1], modes=3, scale=0.3, key=0)
    evidence = slopes(lambda x: jnp.sin(7.0 * x[0] - 3.0 * x[1]))
    level, copies, modes = Level(field), hx.WidthGrowth(2.0, mixing=0.0, size=0.0), hx.ModeGrowth(2.0, stretch=8.0)
    found = [rule.refine(level) for rule in (copies, modes)]
    gains = [evidence.gain(level, *pair) / (pair[0].parameters - level.parameters) for pair in found]
    assert gains[1] > 1.5 * gains[0] > 0
    for rules in ([copies, modes], [modes, copies]):
        fine, _ = hx.BestOf(rules).refine(level, evidence=evidence)
        assert fine.field.features.frequencies.shape == (6, 2)
    grown = hx.Hierarchy([level]).grow(hx.BestOf([modes, copies]), evidence=evidence)
    assert len(grown) == 2


def test_the_nearest_vector_in_the_range_of_prolong():
    field = NETWORKS["perceptron"]()
    fine, transfer = hx.WidthGrowth(2.0).refine(Level(field))
    at, vector = partition(field)[0], partition(fine.field)[0]
    inside = nearest_in_range(transfer, at, transfer.prolong(at))
    np.testing.assert_allclose(ravel_pytree(inside)[0], ravel_pytree(vector)[0], atol=1e-12)
    noise = jax.tree.map(lambda leaf: jnp.asarray(np.random.default_rng(0).normal(size=leaf.shape)), vector)
    rest = jax.tree.map(jnp.subtract, noise, nearest_in_range(transfer, at, noise))
    np.testing.assert_allclose(ravel_pytree(transfer.restrict(rest))[0], 0.0, atol=1e-12)


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
        (lambda: hx.WidthGrowth().refine(Level(SPLINES["extended"]())), "no hidden units"),
        (lambda: hx.DepthGrowth().refine(Level(NETWORKS["kan"]())), "no depth"),
        (lambda: hx.ModeGrowth().refine(Level(NETWORKS["kan"]())), "no modes"),
        (lambda: hx.ModeGrowth(0.5), "above 1"),
        (lambda: hx.Composite([]), "at least one rule"),
        (lambda: hx.BestOf([hx.WidthGrowth()]).refine(Level(NETWORKS["kan"]())), "no evidence"),
        (lambda: hx.DegreeElevation().refine(Level(to_power_relu(SPLINES["kan"]()))), "repeated"),
        (
            lambda: hx.DegreeElevation().refine(Level(hx.SplineGrid.uniform([0], [1], 4, 2, periodic=(True,)))),
            "periodic",
        ),
    ],
)
def test_what_cannot_be_grown_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
