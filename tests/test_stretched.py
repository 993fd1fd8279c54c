"""Stretched spline grids: maps and their inverses, exact transfers, and layers that equal knots miss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import values_at

import hierax as hx
from hierax.fields import SplineGrid, Stretch, StretchedGrid, partition
from hierax.fields.spline_grid import with_coefficients
from hierax.hierarchy import FUNCTION_PRESERVING, IntervalDoubling, Level, MarkedKnots
from hierax.records import load, save

ONE, TWO, INNER = (
    Stretch(0.0, 1.0, [1.0], 0.01),
    Stretch(-1.0, 3.0, [-1.0, 3.0], 0.05),
    Stretch(0.0, 2.0, [0.7], 1e-3),
)


def field(seed=0):
    space = StretchedGrid.uniform([0.0, -1.0], [1.0, 3.0], (4, 5), 3, [ONE, TWO])
    values = np.random.default_rng(seed).normal(size=space.grid.coefficients.shape)
    return StretchedGrid(with_coefficients(space.grid, values), space.maps)


@pytest.mark.parametrize("stretch", [ONE, TWO, INNER])
def test_the_inverse_gives_the_points_back(stretch):
    s = np.linspace(stretch.lower, stretch.upper, 41)
    points = stretch.inverse(s)
    assert points[0] == stretch.lower
    assert points[-1] == stretch.upper
    assert np.all(np.diff(points) > 0)
    np.testing.assert_allclose(stretch(points), s, atol=1e-14 * (stretch.upper - stretch.lower))


def test_knots_crowd_at_the_places():
    points = StretchedGrid.uniform([0.0], [2.0], 32, 3, [INNER]).breakpoints()[0]
    lengths = np.diff(points)
    nearest = np.argmin(np.abs(0.5 * (points[1:] + points[:-1]) - 0.7))
    assert lengths[nearest] < 2e-3
    assert lengths.max() > 0.1
    assert np.max(np.maximum(lengths[1:] / lengths[:-1], lengths[:-1] / lengths[1:])) < 4.0  # no jumps in length


def test_refinement_keeps_the_function_and_the_maps():
    coarse = field()
    level, transfer = IntervalDoubling().refine(Level(coarse))
    points = jnp.asarray(np.random.default_rng(1).uniform([0.0, -1.0], [1.0, 3.0], (50, 2)))
    assert FUNCTION_PRESERVING in transfer.tags
    params = partition(coarse)[0]
    back = transfer.inject(transfer.prolong(params))
    np.testing.assert_allclose(back.grid.coefficients, params.grid.coefficients, atol=1e-12)
    np.testing.assert_allclose(values_at(level.field, points), values_at(coarse, points), rtol=0, atol=1e-12)
    assert level.field.maps == coarse.maps
    for old, new in zip(coarse.breakpoints(), level.field.breakpoints(), strict=True):
        np.testing.assert_allclose(new[::2], old, atol=1e-12)


def test_gathered_pieces_are_the_field():
    own = field()
    points = np.random.default_rng(2).uniform([0.0, -1.0], [1.0, 3.0], (20, 2))
    indices, local = own.gather(points)
    values = jax.vmap(lambda piece, x: piece(x))(local, jnp.asarray(points))
    np.testing.assert_allclose(values, values_at(own, points), atol=1e-13)
    assert indices.max() < own.grid.coefficients.size


def test_it_is_read_from_a_file_as_it_was(tmp_path):
    own = field()
    save(own, tmp_path / "kept.npz")
    point = jnp.array([0.99, 2.9])
    assert load(tmp_path / "kept.npz")(point) == own(point)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Stretch(0.0, 1.0, [2.0], 0.1), "place inside"),
        (lambda: Stretch(0.0, 1.0, [0.5], 0.0), "positive widths"),
        (lambda: StretchedGrid(SplineGrid.uniform([0.0], [1.0], 4, 3), []), "0 maps for 1"),
        (lambda: StretchedGrid.uniform([0.0], [2.0], 4, 3, [ONE]), "its map"),
        (lambda: StretchedGrid.uniform([0.0], [1.0], 4, 3, [ONE], periodic=[True]), "periodic"),
    ],
)
def test_maps_that_do_not_fit_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.slow
def test_a_boundary_layer_needs_few_knots():
    """`-nu u'' + u' = 0` with a layer of width `nu` at the right end, on 64 intervals."""
    nu = 1e-3

    def exact(x):
        return jnp.exp((x[0] - 1.0) / nu)

    terms = (
        hx.Residual("inside", lambda u, x: hx.derivative(u, "x")(x) - nu * hx.derivative(u, "xx")(x)),
        hx.Residual("ends", lambda u, x, normal: u(x) - exact(x), on="boundary"),
    )
    problem = hx.Problem(hx.Box([0.0], [1.0], names=("x",)), terms, reference=exact)
    start = StretchedGrid.uniform([0.0], [1.0], 16, 5, [Stretch(0.0, 1.0, [1.0], nu)])
    solution = hx.train(problem, hx.refine(start, levels=3), budget=600.0)
    assert solution.accuracy.relative_l2 is not None
    assert solution.accuracy.relative_l2 < 1e-5
    # equal intervals of 16 nu, as many, cannot do better than miss most of the layer
    assert isinstance(MarkedKnots().refine(Level(solution.field))[0].field, StretchedGrid)
