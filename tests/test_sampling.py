"""Points and weights: prefixes, measures, exactness, normals."""

import itertools

import jax
import numpy as np
import pytest

from hierax.problems import Box, Face, Gauss, Sobol
from hierax.problems.sampling import Batch, on_face, thinned, uniform_cells, without

KEY = jax.random.key(3)
BOX = Box([0.0, -1.0, 2.0], [1.0, 2.0, 2.5])
SQUARE = Box([0.0, -1.0], [1.0, 2.0])


@pytest.mark.parametrize(("few", "many"), [(8, 64), (10, 37), (1, 5), (33, 100)])
def test_sobol_points_are_prefixes(few, many):
    small, large = Sobol(BOX).sample(KEY, 0, few), Sobol(BOX).sample(KEY, 0, many)
    np.testing.assert_array_equal(small.points, large.points[:few])
    np.testing.assert_array_equal(small.index, large.index[:few])


@pytest.mark.filterwarnings("ignore:The balance properties")
def test_sobol_points_can_be_drawn_in_parts():
    whole = Sobol(BOX).sample(KEY, 0, 64)
    part = Sobol(BOX).sample(KEY, 24, 40)
    np.testing.assert_array_equal(part.points, whole.points[24:])
    np.testing.assert_array_equal(part.index, np.arange(24, 64))


def test_sobol_depends_on_the_key_and_stays_inside():
    a, b = Sobol(BOX).sample(KEY, 0, 32), Sobol(BOX).sample(jax.random.key(4), 0, 32)
    assert not np.array_equal(a.points, b.points)
    assert BOX.contains(a.points).all()


@pytest.mark.parametrize("sampler", [Sobol(BOX), Gauss(3)])
@pytest.mark.parametrize("count", [27, 50])
def test_weights_add_to_the_measure(sampler, count):
    batch = sampler.sample(KEY, 0, count, uniform_cells(BOX, (2, 3, 1)))
    assert np.sum(batch.weights) == pytest.approx(BOX.measure, rel=1e-13)
    assert batch.points.shape == (len(batch.weights), 3)
    assert BOX.contains(batch.points).all()


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_gauss_is_exact_to_degree_2q_minus_1(order):
    breaks = [np.array([0.0, 0.3, 1.0]), np.array([-1.0, 0.5, 2.0])]
    batch = Gauss(order).sample(KEY, 0, 0, breaks)
    top = 2 * order - 1
    for i, j in itertools.product((0, top - 1, top), repeat=2):
        found = np.sum(batch.weights * batch.points[:, 0] ** i * batch.points[:, 1] ** j)
        exact = 1.0 / (i + 1) * (2.0 ** (j + 1) - (-1.0) ** (j + 1)) / (j + 1)
        assert found == pytest.approx(exact, rel=1e-12, abs=1e-13)
    beyond = np.sum(Gauss(order).sample(KEY, 0, 0, [np.array([0.0, 1.0])]).points[:, 0] ** (top + 1) / 1.0)
    assert beyond != pytest.approx(1.0 / (top + 2), rel=1e-6)


def test_gauss_points_come_cell_after_cell():
    batch = Gauss(2).sample(KEY, 0, 0, uniform_cells(SQUARE, (2, 3)))
    corners = [(x, y) for x in (0.0, 0.5) for y in (-1.0, 0.0, 1.0)]
    for cell, (x, y) in zip(batch.points.reshape(6, 4, 2), corners, strict=True):
        assert np.all((cell >= [x, y]) & (cell <= [x + 0.5, y + 1.0]))


def test_gauss_needs_cells():
    with pytest.raises(ValueError, match="cells"):
        Gauss(2).sample(KEY, 0, 4)


@pytest.mark.parametrize("face", SQUARE.faces())
def test_faces_have_outward_unit_normals(face):
    axis = SQUARE.axis(face.name)
    batch = on_face(SQUARE, face, Sobol(without(SQUARE, axis)), KEY, 16, None)
    sign = 1.0 if face.side == "upper" else -1.0
    assert batch.normals is not None
    np.testing.assert_array_equal(batch.normals[:, axis], sign)
    np.testing.assert_array_equal(np.linalg.norm(batch.normals, axis=1), 1.0)
    np.testing.assert_array_equal(batch.points[:, axis], (SQUARE.upper if sign > 0 else SQUARE.lower)[axis])
    other = (SQUARE.upper - SQUARE.lower)[1 - axis]
    assert np.sum(batch.weights) == pytest.approx(other, rel=1e-13)
    # a step outwards leaves the box
    assert not SQUARE.contains(batch.points + 1e-3 * batch.normals).any()


def test_gauss_points_on_a_face_follow_its_cells():
    cells = uniform_cells(SQUARE, (4, 3))
    batch = on_face(SQUARE, Face("y", "upper"), Gauss(2), KEY, 0, cells)
    assert len(batch.points) == 8
    assert np.sum(batch.weights * batch.points[:, 0] ** 3) == pytest.approx(0.25, rel=1e-13)


def test_an_interval_has_points_as_faces():
    line = Box([0.0], [2.0])
    batch = on_face(line, Face("x", "upper"), Sobol(line), KEY, 16, None)
    assert (batch.points, batch.weights, batch.normals) == (np.array([[2.0]]), np.ones(1), np.ones((1, 1)))


def test_divergence_theorem_holds_with_the_normals():
    """The integral of div F over the box is that of F.n over its faces, for a polynomial F."""
    cells = uniform_cells(SQUARE, (1, 1))
    inside = Gauss(3).sample(KEY, 0, 0, cells)
    x, y = inside.points.T
    volume = np.sum(inside.weights * (2 * x * y + 3 * y**2))
    flux = 0.0
    for face in SQUARE.faces():
        batch = on_face(SQUARE, face, Gauss(3), KEY, 0, cells)
        x, y = batch.points.T
        flux += np.sum(batch.weights * np.sum(batch.normals * np.stack([x**2 * y, y**3], axis=1), axis=1))
    assert volume == pytest.approx(flux, rel=1e-13)


@pytest.mark.parametrize("parts", [1, 3, 50])
def test_thinned_clouds_keep_the_weight_of_every_cell(parts):
    rng = np.random.default_rng(0)
    points = np.concatenate([SQUARE.lower + rng.random((3000, 2)) * [1.0, 3.0], [[0.9, 1.9]] * 40])
    cloud = Batch(points, rng.random(len(points)), np.arange(len(points)))
    cells = uniform_cells(SQUARE, [4, 5])
    few = thinned(cloud, cells, parts, parts**2)

    def weights(batch):
        return np.histogram2d(*batch.points.T, bins=cells, weights=batch.weights)[0]

    np.testing.assert_allclose(weights(few), weights(cloud), rtol=1e-12)
    np.testing.assert_array_equal(points[few.index], few.points)
    counts = np.histogram2d(*few.points.T, bins=cells)[0]
    assert counts.max() <= max(parts**2, 1)
    assert (len(few.points) == len(points)) == (parts == 50)
