"""Covers of regions that are not boxes, learned partitions, figures of both."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.fields import Cover, LearnedPartition, PartitionOfUnity, Perceptrons, Polynomials, partition, regions
from hierax.objective import flat_parameters
from hierax.results.figures import draw_cover
from studies.subdomain_layout import gathered_pairs, library, prepare, sorted_in_blocks

POINTS = np.random.default_rng(0).uniform(-1.0, 1.0, (400, 2))
SQUARE = regions.box([-1.0, -1.0], [1.0, 1.0])
REGIONS = {
    "L": regions.difference(SQUARE, regions.box([0.0, -1.5], [1.5, 0.0])),
    "disc": regions.ball([0.0, 0.0], 1.0),
    "plate": regions.difference(SQUARE, regions.ball([0.4, 0.4], 0.45), regions.ball([-0.4, -0.4], 0.45)),
}


@pytest.mark.parametrize("name", REGIONS)
def test_boxes_that_meet_a_region_cover_it_and_the_others_are_dropped(name):
    region, whole = REGIONS[name], Cover.uniform([-1.0, -1.0], [1.0, 1.0], 10, 1.5)
    cover = whole.meeting(region)
    assert 50 < cover.subdomains < 100
    assert cover.members == whole.members
    inside = POINTS[region(POINTS) < 0]
    lower, upper = cover.bounds()
    held = np.asarray(((inside[:, None] > lower) & (inside[:, None] < upper)).all(axis=2))
    assert np.all(held.any(axis=1))
    # no box is left whose nearest point is farther away than what a lattice can miss
    corners = lower + np.random.default_rng(1).uniform(size=(200, 1, 2)) * (upper - lower)
    nearest = region(corners.reshape(-1, 2)).reshape(200, -1).min(axis=0)
    assert nearest.max() < 0.1


def test_boxes_around_the_points_of_a_cloud():
    whole = Cover.uniform([-1.0, -1.0], [1.0, 1.0], 10, 1.5)
    cloud = POINTS[REGIONS["disc"](POINTS) < -0.3]
    cover = whole.containing(cloud)
    assert cover.subdomains < 70
    field = PartitionOfUnity.on(cover, Polynomials(1))
    theta, build = flat_parameters(field)
    values = eqx.filter_jit(lambda u, x: jax.vmap(u)(x))(build(np.ones_like(theta)), jnp.asarray(cloud))
    assert np.all(np.isfinite(values))


def test_signed_distances():
    points = np.array([[0.5, -0.5], [-0.5, -0.5], [2.0, 1.0]])
    np.testing.assert_allclose(REGIONS["L"](points), [0.5, -0.5, 1.0])
    both = regions.union(regions.ball([0.0, 0.0], 0.1), regions.ball([2.0, 1.0], 0.5))
    np.testing.assert_allclose(both(points)[2], -0.5)


def test_a_learned_partition_names_its_polynomials_and_holds_them_exactly():
    field = LearnedPartition([0.0, 0.0], [2.0, 1.0], parts=3, degree=1, key=0)
    linear = field.linear_parameters()
    assert [jnp.shape(leaf) for leaf in jax.tree.leaves(eqx.filter(field, linear))] == [(3, 4)]
    assert partition(field)[0].box.lower is None
    # each part is x + 2 y = 2 + z_1 + z_2, and so is any blend of them
    same = eqx.tree_at(lambda f: f.coefficients, field, jnp.tile(jnp.array([2.0, 1.0, 1.0, 0.0]), (3, 1)))
    x = jnp.array([0.3, 0.8])
    np.testing.assert_allclose(same(x), x[0] + 2 * x[1], rtol=1e-14)
    np.testing.assert_allclose(field.weights(x).sum(), 1.0, rtol=1e-14)
    with pytest.raises(ValueError, match="at least two parts"):
        LearnedPartition([0.0], [1.0], parts=1, key=0)


def test_figures_of_covers(tmp_path):
    draw_cover(Cover.splines([0.0], [1.0], 3, 2), tmp_path / "windows.png")
    draw_cover(Cover.uniform([0.0, 0.0], [1.0, 1.0], 3).meeting(regions.ball([0.0, 0.0], 0.5)), tmp_path / "boxes.png")
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("windows.png", "boxes.png"))
    with pytest.raises(hx.InputError, match="no format"):
        draw_cover(Cover.uniform([0.0], [1.0], 2), tmp_path / "cover.words")


@pytest.mark.slow
def test_layouts_of_the_study_give_the_same_gradient():
    work = prepare(60, 3)
    locals_ = PartitionOfUnity.on(work.cover, Perceptrons((2,)), key=0).locals
    found = []
    for make in (gathered_pairs, sorted_in_blocks, partial(library, hidden=2)):
        loss, data = make(work)
        found.append(eqx.filter_jit(jax.value_and_grad(loss))(locals_, data))
    for a, b, c in zip(*map(jax.tree.leaves, found), strict=True):
        for other in (b, c):
            np.testing.assert_allclose(a, other, rtol=1e-9, atol=1e-11 * float(jnp.abs(a).max()))
