"""Decoded grids: local pieces, exact refinement, assembly with shared parameters, files, and what they are good for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import values_at

import hierax as hx
from hierax.fields import DecodedGrid, Scalar, Unknowns, parameter_count
from hierax.fields.decoded_grid import felt_channels
from hierax.hierarchy import IntervalDoubling, KnotInsertion, Level, MarkedKnots, spline_axes
from hierax.objective import LocalObjective, flat_parameters
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.rows import RowObjective
from hierax.planning.families import DecodedFeatures
from hierax.records import load, save
from hierax.solvers import GaussNewton, Tolerances
from hierax.testing import check_transfer

POINTS = np.random.default_rng(0).uniform(-0.2, 1.2, (30, 2))


def square(**settings):
    """Three cells an axis with random coefficients."""
    settings = {"channels": 2, "hidden": (3,), "key": 0} | settings
    field = DecodedGrid.uniform([0.0, 0.0], [1.0, 1.0], 3, 3, **settings)
    theta, build = flat_parameters(field)
    return build(theta + 0.3 * np.random.default_rng(1).standard_normal(len(theta)))


@pytest.mark.parametrize(
    "rule", [IntervalDoubling(), KnotInsertion([[0.2], [0.5, 0.9]]), MarkedKnots()], ids=lambda r: type(r).__name__
)
@pytest.mark.parametrize("settings", [{}, {"out": 2, "coordinates": True, "periodic": (True, False)}])
def test_refining_the_grid_obeys_all_laws(rule, settings):
    field = square(**settings)
    fine, transfer = rule.refine(Level(field, 50))
    assert fine.points > 50
    assert parameter_count(fine.field.decoder) == parameter_count(field.decoder)
    check_transfer(transfer, field, fine.field, key=0, points=POINTS)


def test_unknowns_share_one_mesh_with_a_decoded_grid():
    field = Unknowns(u=square(), v=hx.SplineGrid.uniform([0, 0], [1, 1], 3, 2), nu=Scalar(0.1))
    fine, _ = MarkedKnots().refine(Level(field))
    assert len({axis.intervals for axis in spline_axes(fine.field)}) <= 2
    values = values_at(field.parts["u"], POINTS)
    np.testing.assert_allclose(values_at(fine.field.parts["u"], POINTS), values, atol=1e-12)


@pytest.mark.parametrize(("out", "shape"), [(None, ()), (1, (1,)), (2, (2,))])
def test_values_have_the_shape_of_the_unknown(out, shape):
    for dim in (1, 2, 3):
        field = DecodedGrid.uniform([0.0] * dim, [2.0] * dim, 2, 3, key=0, out=out)
        assert field(jnp.full(dim, 0.3)).shape == shape
        assert not field.linear_in_parameters


def test_the_first_channels_are_added_as_they_are():
    field = square()
    bump = np.zeros(field.grid.coefficients.shape)
    bump[..., 0] = 1.0
    silent = jax.tree.map(jnp.zeros_like, field.decoder.network)
    raised = DecodedGrid(hx.SplineGrid(field.grid.axes, bump), type(field.decoder)(None, silent))
    np.testing.assert_allclose(values_at(raised, POINTS), 1.0, atol=1e-13)


def test_channels_start_as_affine_functions_that_wrap_where_the_axis_does():
    plain = DecodedGrid.uniform([0.0, 0.0], [1.0, 1.0], 3, 3, key=0).grid
    left, middle, right = (values_at(plain, POINTS + step) for step in (-0.1, 0.0, 0.1))
    np.testing.assert_allclose(left + right, 2 * middle, atol=1e-12)
    wrapped = DecodedGrid.uniform([0.0], [1.0], 8, 3, key=0, periodic=(True,))
    np.testing.assert_allclose(wrapped(jnp.array([0.0])), wrapped(jnp.array([1.0])), atol=1e-13)


def test_pieces_gathered_in_numpy_are_those_of_at_and_locate():
    field = square(coordinates=True)
    index, local = field.gather(POINTS)
    wanted, pieces = values_at(lambda x: field.at(field.locate(x)), POINTS)
    np.testing.assert_array_equal(index, wanted)
    for a, b in zip(jax.tree.leaves(local), jax.tree.leaves(pieces), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-15)
    values = jax.vmap(lambda piece, x: piece(x))(local, jnp.asarray(POINTS))
    np.testing.assert_allclose(values, values_at(field, POINTS), atol=1e-14)


@pytest.mark.parametrize("named", [False, True])
def test_elements_with_shared_parameters_agree_with_dense_differentiation(named):
    term = hx.Residual("law", lambda u, x: hx.laplacian(u)(x) + u(x) ** 3 - x[0])
    problem, field = hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), (term,)), square()
    if named:
        law = hx.Residual("law", lambda w, x: w.nu * hx.laplacian(w.u)(x) + w.u(x) ** 3 - w.v(x))
        unknowns = {"nu": hx.Constant(0.2), "u": hx.Function(), "v": hx.Function()}
        problem = hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), (law,), unknowns=unknowns)
        field = Unknowns(u=field, v=hx.SplineGrid.uniform([0, 0], [1, 1], 2, 2), nu=Scalar(0.2))
    samples = SampledProblem(problem).sample(field, Sampling(), 0)
    assert samples[0].count > 2 * parameter_count(field)
    theta = flat_parameters(field)[0]
    local, dense = LocalObjective(field, samples, [False, False]), RowObjective(field, samples, local=False)
    a, b = local.linearise(theta), dense.linearise(theta)
    matrix = np.stack([a.curvature.mv(unit) for unit in np.eye(len(theta))])
    exact = np.stack([b.curvature.mv(unit) for unit in np.eye(len(theta))])
    assert local.ordering.dense == parameter_count(square().decoder) + named
    assert np.abs(matrix - exact).max() < 1e-12 * np.abs(exact).max()
    np.testing.assert_allclose(a.gradient, b.gradient, atol=1e-10 * np.abs(b.gradient).max())


def test_a_field_in_a_file_is_the_same_field(tmp_path):
    field = square(coordinates=True, periodic=(True, False))
    save(field, tmp_path / "kept.npz")
    np.testing.assert_array_equal(values_at(load(tmp_path / "kept.npz"), POINTS), values_at(field, POINTS))


def test_channels_are_weighed_by_what_the_values_feel():
    field = square()
    felt = felt_channels(field)
    mute = jax.tree.map(jnp.zeros_like, field.decoder.network)
    unheard = felt_channels(DecodedGrid(field.grid, type(field.decoder)(None, mute)))
    assert np.all(np.abs(felt.coefficients).max(axis=(0, 1)) > 0)
    np.testing.assert_allclose(unheard.coefficients[..., 0], field.grid.coefficients[..., 0])
    assert np.all(np.asarray(unheard.coefficients[..., 1:]) == 0)


def test_shapes_that_do_not_fit_are_refused():
    field = square()
    with pytest.raises(ValueError, match=r"channels \(2,\) do not fit a network of 3 inputs"):
        DecodedGrid(hx.SplineGrid.uniform([0, 0], [1, 1], 3, 2, out=2), field.decoder)
    with pytest.raises(ValueError, match="one output for scalar"):
        DecodedGrid(square(out=2).grid, square(out=2).decoder, scalar=True)


def test_a_curved_front_on_a_coarse_grid():
    """Ten times better than a spline grid of more parameters."""

    def front(x):
        return jnp.tanh(12 * (x[0] ** 2 + x[1] ** 2 - 0.5)) + 0.3 * jnp.sin(3 * x[0] + 2 * x[1])

    fit = hx.Residual("fit", lambda u, x: u(x) - front(x))
    problem = hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), (fit,), reference=front)
    start = DecodedGrid.uniform([0.0, 0.0], [1.0, 1.0], 4, 3, key=2, channels=1, hidden=(8,))
    decoded = hx.train(problem, start, solver=GaussNewton(tolerances=Tolerances(1e-4, 40)), budget=60)
    spline = hx.train(problem, hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], 12, 3))
    assert spline.parameters > 1.5 * decoded.parameters
    assert decoded.accuracy.relative_l2 < 0.1 * spline.accuracy.relative_l2


def test_the_family_serves_one_to_three_dimensions():
    for dim in (1, 2, 3):
        law = hx.Residual("law", lambda u, x: hx.laplacian(u)(x) - 1.0)
        problem = hx.Problem(hx.Box([0.0] * dim, [1.0] * dim), (law,))
        field = DecodedFeatures().part(problem, "u", 2, None, jax.random.key(0))
        assert len(field.grid.axes) == dim
        assert field.grid.degree[0] == 4
    assert isinstance(DecodedFeatures().rule(), MarkedKnots)
