"""Fields: local pieces against the whole, parameters, geometry, cost."""

import copy
import pickle
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.interpolate import BSpline

from hierax.fields import (
    KAN,
    MLP,
    Clamped,
    Extended,
    Scalar,
    SplineAxis,
    SplineGrid,
    Unknowns,
    linear_in_parameters,
    parameter_count,
    partition,
    place,
    supports_local,
    to_bspline,
    to_power_relu,
    trainable,
)
from hierax.fields.spline_layer import squash

POINTS = jnp.asarray(np.random.default_rng(3).uniform(-1.2, 1.2, (12, 2)))


evaluate = eqx.filter_jit(lambda field, points: jax.vmap(field)(points))
localise = eqx.filter_jit(lambda field, points: jax.vmap(lambda x: field.at(field.locate(x))[1])(points))


def filled(grid):
    values = np.random.default_rng(0).normal(size=grid.coefficients.shape)
    return SplineGrid(grid.axes, values)


def uneven_grid():
    axes = (SplineAxis([-1.0, -0.2, 0.5, 1.0], 3, Clamped()), SplineAxis([-1.0, 0.1, 1.0], 2, Extended()))
    return filled(SplineGrid(axes, jnp.zeros((6, 4))))


def periodic_grid(intervals=(4, 3)):
    return filled(SplineGrid.uniform([-1, -1], [1, 1], intervals, 3, out=2, periodic=(True, False)))


def deep_kan(intervals=3):
    return KAN([2, 4, 3, 2], intervals=intervals, degree=3, key=1, domain=([-2.0, -2.0], [2.0, 2.0]))


def linear_kan(intervals=5):
    return KAN([2, 5, 1], intervals=intervals, degree=4, key=0, linear_first=True)


FIELDS = {
    "uneven grid": uneven_grid,
    "short periodic grid with channels": lambda: periodic_grid((2, 3)),
    "deep network": deep_kan,
    "linear first layer": linear_kan,
    "truncated powers": lambda: to_power_relu(linear_kan()),
    "unknowns": lambda: Unknowns(u=uneven_grid(), kappa=linear_kan(), nu=Scalar(0.3)),
}


@eqx.filter_jit
def local_and_dense_rows(field, points):
    params, rest = partition(field)
    flat, unravel = ravel_pytree(params)

    def values(candidate, x):
        return ravel_pytree(candidate(x))[0]

    def both(x):
        dense = jax.jacobian(lambda p: values(eqx.combine(unravel(p), rest), x))(flat)
        indices, local = field.at(field.locate(x))
        local_params, local_rest = partition(local)
        gathered, local_unravel = ravel_pytree(local_params)
        rows = jax.jacobian(lambda p: values(eqx.combine(local_unravel(p), local_rest), x))(gathered)
        scattered = jnp.zeros_like(dense).at[:, indices].add(rows)
        return dense, scattered, gathered, flat[indices], values(field, x), values(local, x)

    return jax.vmap(both)(points)


# the unknowns contain an uneven grid and a network with a linear first layer
@pytest.mark.parametrize("name", ["short periodic grid with channels", "deep network", "truncated powers", "unknowns"])
def test_rows_of_local_pieces_agree_with_dense_derivatives(name):
    dense, scattered, gathered, own, whole, piece = local_and_dense_rows(FIELDS[name](), POINTS)
    np.testing.assert_allclose(scattered, dense, rtol=0, atol=1e-13 * np.abs(dense).max())
    np.testing.assert_array_equal(gathered, own)
    np.testing.assert_array_equal(whole, piece)


def test_local_support_is_declared():
    expected = {name: name != "truncated powers" for name in FIELDS}
    assert {name: supports_local(make()) for name, make in FIELDS.items()} == expected
    assert not supports_local(MLP([2, 3, 1], key=0))
    assert not supports_local(Unknowns(u=linear_kan(), v=MLP([2, 3, 1], key=0)))
    assert linear_in_parameters(uneven_grid())
    assert linear_in_parameters(Unknowns(u=uneven_grid(), nu=Scalar(1.0)))
    assert not linear_in_parameters(linear_kan())
    assert not linear_in_parameters(lambda x: x)


@pytest.mark.parametrize(
    ("field", "count"),
    [
        (linear_kan(5), 55),
        (linear_kan(40), 230),
        (deep_kan(3), (8 + 12 + 6) * 6),
        (to_power_relu(linear_kan(5)), 55),
        (uneven_grid(), 24),
        (periodic_grid(), 4 * 6 * 2),
        (MLP([2, 8, 5, 1], key=0), 24 + 45 + 6),
        (Unknowns(u=uneven_grid(), nu=Scalar(0.3)), 25),
        (eqx.nn.Linear(3, 2, key=jax.random.key(0)), 8),
    ],
)
def test_parameters_are_counted_without_knots_and_boxes(field, count):
    assert parameter_count(field) == count


def test_knots_and_boxes_are_not_trained():
    spec = trainable(deep_kan())
    assert not any(jax.tree.leaves((spec.box, [layer.axis for layer in spec.layers])))
    assert all(layer.weights for layer in spec.layers)


def test_the_local_kernel_is_traced_once_for_all_levels():
    traces = []

    @jax.jit
    def kernel(local, points):
        traces.append(None)
        return jax.vmap(lambda piece, x: piece(x))(local, points)

    for make in (periodic_grid, deep_kan):
        traces.clear()
        for refinement in (4, 9):
            field = make((refinement, refinement)) if make is periodic_grid else make(refinement)
            assert np.all(np.isfinite(kernel(localise(field, POINTS), POINTS)))
        assert len(traces) == 1


def test_a_grid_agrees_with_scipy_along_an_axis():
    grid = uneven_grid()
    axis, other = grid.axes
    weights = jnp.ones(other.size)
    grid = SplineGrid(grid.axes, grid.coefficients[:, :1] * weights)
    reference = BSpline(np.asarray(axis.knots), np.asarray(grid.coefficients[:, 0]), 3)
    x = jnp.linspace(-0.99, 0.99, 17)
    points = jnp.stack([x, 0.3 * x], axis=1)
    np.testing.assert_allclose(evaluate(grid, points), reference(x), atol=1e-13)
    second = eqx.filter_jit(lambda field: jax.vmap(jax.hessian(field))(points))(grid)
    np.testing.assert_allclose(second[:, 0, 0], reference.derivative(2)(x), atol=1e-10)
    np.testing.assert_allclose(second[:, 0, 1], 0.0, atol=1e-11)


def test_positions_are_where_parameters_act():
    grid = periodic_grid()
    assert grid.positions().shape == (parameter_count(grid), 2)
    bounded = uneven_grid()
    for axis in range(2):
        field = SplineGrid(bounded.axes, bounded.positions()[:, axis].reshape(bounded.coefficients.shape))
        np.testing.assert_allclose(evaluate(field, POINTS), POINTS[:, axis], atol=1e-12)


def test_periodic_axes_close():
    ends = jnp.array([[-1.0, 0.4], [1.0, 0.4]])
    values = evaluate(periodic_grid(), ends)
    np.testing.assert_allclose(values[0], values[1], atol=1e-13)
    slopes = eqx.filter_jit(lambda field: jax.vmap(jax.jacobian(field))(ends))(periodic_grid())
    np.testing.assert_allclose(slopes[0, :, 0], slopes[1, :, 0], atol=1e-11)


def test_hidden_values_stay_on_the_knots_for_any_parameters():
    field = linear_kan()
    field = eqx.tree_at(lambda kan: kan.first.weights, field, 1e6 * field.first.weights)
    corners = jnp.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0]])
    assert np.abs(jax.vmap(field.first)(corners)).max() <= 1.0 + 1e-15
    assert float(jnp.abs(squash(jnp.array([-1e8, 0.0, 1e8]))).max()) <= 1.0


def test_random_networks_spread_their_hidden_values():
    points = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (500, 2)))

    @eqx.filter_jit
    def hidden(field):
        def values(z):
            for layer in field.layers[:-1]:
                z = squash(layer.pieces(layer.axis.locate(z))(z))
                yield z

        return jax.vmap(lambda x: jnp.stack(list(values(x))))(points)

    values = np.stack([hidden(KAN([2, 8, 8, 8, 1], intervals=4, key=seed)) for seed in range(4)])
    assert (np.abs(values) > 0.99).mean() < 0.05
    assert values.std(axis=1).mean(axis=(0, 2)).min() > 0.3


def test_the_geometry_of_truncated_powers_keeps_the_function():
    field = deep_kan()
    relu = to_power_relu(field)
    np.testing.assert_allclose(evaluate(relu, POINTS), evaluate(field, POINTS), atol=1e-11)
    for left, right in zip(*(jax.tree.leaves(partition(f)[0]) for f in (to_bspline(relu), field)), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-11)
    # on its domain a layer really is the sum of ReLU powers
    layer = to_power_relu(linear_kan()).layers[0]
    x, knots, spacing = np.linspace(-1, 1, 23), np.asarray(layer.axis.knots), 2.0 / 5
    powers = (np.maximum(x[:, None] - knots[: layer.axis.size], 0.0) / spacing) ** 4
    z = jnp.asarray(np.repeat(x[:, None], 5, axis=1))
    values = evaluate(lambda z: layer.pieces(layer.axis.locate(z))(z), z)
    np.testing.assert_allclose(values[:, 0], (powers @ np.asarray(layer.weights[0]).T).sum(axis=1), atol=1e-11)


def test_unknowns_behave_like_one_field():
    w = Unknowns(u=uneven_grid(), nu=Scalar(0.3))
    assert float(w.nu) == 0.3
    assert w.u.intervals == (3, 2)
    assert set(jax.eval_shape(w, jnp.zeros(2))) == {"u", "nu"}
    assert float(pickle.loads(pickle.dumps(w)).nu) == float(copy.deepcopy(w).nu) == 0.3
    assert float(jax.grad(lambda w: w.nu**2)(Unknowns(nu=Scalar(0.5))).nu) == 1.0
    with pytest.raises(AttributeError, match="no unknown 'kappa' among"):
        _ = w.kappa
    with pytest.raises(ValueError, match="'locate' is taken"):
        Unknowns(locate=Scalar(1.0))
    with pytest.raises(ValueError, match="at least one"):
        Unknowns()
    with pytest.raises(ValueError, match="one number"):
        Scalar([1.0, 2.0])


def test_networks_are_placed_on_a_domain_once():
    lower, upper = [0.0, 0.0], [2.0, 4.0]
    for field in (MLP([2, 3, 1], key=0), KAN([2, 3, 1], intervals=3, key=0)):
        placed = place(field, lower, upper)
        np.testing.assert_allclose(placed.box(jnp.array([1.5, 1.0])), [0.5, -0.5], atol=1e-14)
        assert jax.eval_shape(placed, jnp.zeros(2)).shape == ()
        assert place(placed, [5.0, 5.0], [6.0, 6.0]).box.upper.tolist() == upper
        assert place(Unknowns(u=field, nu=Scalar(1.0)), lower, upper).u.box is not None
    assert place(uneven_grid(), lower, upper).intervals == (3, 2)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: KAN([2, 1], intervals=4, key=0, linear_first=True), "no spline layer"),
        (lambda: KAN([2, 3, 1], intervals=4, key=0, domain=([0.0], [1.0])), "1 coordinates"),
        (lambda: MLP([2], key=0), "widths"),
        (lambda: MLP([2, 1], key=0, domain=([0.0, 1.0], [1.0, 1.0])), "coordinate 1"),
        (lambda: SplineGrid(uneven_grid().axes, jnp.zeros((5, 4))), r"expected \(6, 4\)"),
    ],
)
def test_bad_fields_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_the_cost_of_evaluation_does_not_depend_on_the_intervals():
    points = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (20000, 2)))
    fields = [linear_kan(8), linear_kan(512)]
    for field in fields:
        evaluate(field, points).block_until_ready()
    best = [np.inf, np.inf]
    for tries in range(300):  # interleaved, so that both see the same disturbances of the machine
        for number, field in enumerate(fields):
            start = time.perf_counter()
            evaluate(field, points).block_until_ready()
            best[number] = min(best[number], time.perf_counter() - start)
        if tries >= 30 and best[1] < 1.3 * best[0]:  # a neighbour that needs the memory may last for a second
            break
    assert best[1] < 1.3 * best[0]
