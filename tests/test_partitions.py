"""Partitions of unity: covers, windows, local pieces against the whole, assembly, files."""

import typing

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.cli import Options
from hierax.events import LevelFinished
from hierax.fields import (
    Copies,
    Cover,
    PartitionOfUnity,
    Perceptrons,
    Polynomials,
    RandomFeatures,
    RandomWaves,
    partition,
    supports_local,
)
from hierax.fields.base import has_fixed_cells
from hierax.fields.partition_of_unity import subdomain_parameters
from hierax.fields.windows import PowerWindow
from hierax.objective import flat_parameters
from hierax.planning.families import Subdomains
from hierax.planning.words import FIELDS
from hierax.records import load, save

UNIT = ([0.0, 0.0], [1.0, 1.0])
POINTS = np.random.default_rng(0).uniform(0.0, 1.0, (40, 2))
evaluate = eqx.filter_jit(lambda field, points: jax.vmap(field)(points))
localise = eqx.filter_jit(lambda field, points: jax.vmap(lambda x: field.at(field.locate(x)))(points))


def filled(field, seed=1):
    theta, build = flat_parameters(field)
    return build(np.random.default_rng(seed).normal(size=len(theta)))


def contain(cover, points):
    lower, upper = cover.bounds()
    return ((points[:, None] > lower) & (points[:, None] < upper)).all(axis=2)


def weights(cover, points):
    """All windows `(points, subdomains)`."""

    def at(x):
        ids = cover.locate(x)
        near = cover.at(ids)
        return jnp.zeros(cover.subdomains).at[ids].add(near.weights(near.coordinates(x)))

    return np.asarray(jax.jit(jax.vmap(at))(jnp.asarray(points)))


def split_cover():
    """Nine boxes, the middle one exchanged for four."""
    cover = Cover.uniform(*UNIT, 3, 1.5)
    centres, half = np.asarray(cover.centres), np.asarray(cover.half_widths)
    offsets = half[4] / 3 * np.array([[i, j] for i in (-1, 1) for j in (-1, 1)])
    return Cover(
        np.concatenate([np.delete(centres, 4, 0), centres[4] + offsets]),
        np.concatenate([np.delete(half, 4, 0), np.tile(0.7 * half[4], (4, 1))]),
    )


@pytest.mark.parametrize(("overlap", "window"), [(1.2, PowerWindow(3)), (2.0, PowerWindow(2)), (2.9, PowerWindow())])
def test_windows_are_a_partition_of_unity_on_the_subdomains_that_contain_a_point(overlap, window):
    cover = Cover.uniform(*UNIT, (5, 2), overlap, window=window)
    assert cover.members == int(np.ceil(overlap)) * 2
    found = weights(cover, POINTS)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-14)
    assert not np.any(found[~contain(cover, POINTS)] > 1e-14)
    wide = contain(Cover(cover.centres, 0.9 * np.asarray(cover.half_widths)), POINTS)
    assert np.all(found[wide] > 1e-9)


def test_a_table_of_cells_finds_what_arithmetic_finds():
    cover = Cover.uniform(*UNIT, (5, 3), 1.9)
    table = Cover(cover.centres, cover.half_widths)
    assert table.members == cover.members == 4
    np.testing.assert_allclose(weights(table, POINTS), weights(cover, POINTS), atol=1e-15)
    for way in (table, cover):
        np.testing.assert_array_equal(way.locate(POINTS), eqx.filter_jit(way.locate)(jnp.asarray(POINTS)))


def test_boxes_of_different_sizes_and_lost_ones_are_found():
    for cover in (split_cover(), Cover.uniform(*UNIT, 6, 2.9).keep(lambda low, high: low.min(axis=1) < 0.5)):
        inside = POINTS[POINTS.min(axis=1) < 0.5] if cover.subdomains > 12 else POINTS
        found = weights(cover, inside)
        np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-14)
        ids = cover.locate(inside)
        members = np.asarray(contain(cover, inside))
        for row, own in zip(list(members), ids, strict=True):
            assert set(np.flatnonzero(row)) <= set(own)
        # what fills up the table is near, so the band stays narrow
        distance = np.abs(np.asarray(cover.centres)[ids] - inside[:, None]).max()
        assert distance < 0.75


def test_periodic_windows_wrap_around():
    field = filled(PartitionOfUnity.uniform(*UNIT, (4, 3), 1.9, local=Polynomials(2), periodic=(True, False)))
    jet = eqx.filter_jit(lambda f, x: (f(x), jax.grad(f)(x)))
    for left, right in zip(*(jet(field, jnp.array([x, 0.3])) for x in (0.0, 1.0)), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12)
    np.testing.assert_allclose(weights(field.cover, POINTS).sum(axis=1), 1.0, atol=1e-14)


RECIPES = [
    RandomFeatures(5),
    RandomWaves(2),
    Polynomials((2, 1)),
    Perceptrons((3,)),
    Copies(hx.SplineGrid.uniform([-1, -1], [1, 1], 2, 2)),
]


@pytest.mark.parametrize("local", RECIPES, ids=lambda local: type(getattr(local, "field", local)).__name__)
def test_local_pieces_are_the_field_and_hold_the_parameters_they_name(local, tmp_path):
    field = filled(PartitionOfUnity.uniform(*UNIT, (3, 2), 1.9, local=local, key=1))
    assert supports_local(field)
    theta = flat_parameters(field)[0]
    index, pieces = localise(field, POINTS)
    own = np.concatenate([np.reshape(leaf, (40, -1)) for leaf in jax.tree.leaves(partition(pieces)[0])], axis=1)
    np.testing.assert_array_equal(theta[np.asarray(index)], own)
    gathered, local_fields = field.gather(POINTS)
    np.testing.assert_array_equal(gathered, index)
    for a, b in zip(jax.tree.leaves(local_fields), jax.tree.leaves(pieces), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-14)
    keys = field.cell_keys(POINTS)
    same = (keys[:, None] == keys) == (np.asarray(index)[:, None] == np.asarray(index)).all(axis=2)
    assert same.all()
    assert field.linear_in_parameters == (not isinstance(local, Perceptrons))
    save(field, tmp_path / "kept.npz")
    np.testing.assert_array_equal(evaluate(load(tmp_path / "kept.npz"), POINTS[:3]), evaluate(field, POINTS[:3]))


def test_local_coordinates_and_numbers_of_subdomain_parameters():
    field = PartitionOfUnity.uniform([0.0], [2.0], 4, 1.5, local=Polynomials(1), out=2)
    theta, build = flat_parameters(field)
    numbers = subdomain_parameters(field.locals)
    assert numbers.shape == (4, 4)
    assert sorted(numbers.ravel()) == list(range(len(theta)))
    # every local field is 3 x - 1 and x: c + h z on its subdomain
    middles, half = np.arange(0.25, 2.0, 0.5), 0.375
    for j, own in enumerate(numbers):
        theta[own] = [3 * middles[j] - 1, 3 * half, middles[j], half]
    x = jnp.linspace(0.0, 2.0, 9)[:, None]
    np.testing.assert_allclose(evaluate(build(theta), x), np.c_[3 * x - 1, x], atol=1e-14)


def test_readouts_of_networks_enter_linearly():
    field = PartitionOfUnity.uniform(*UNIT, 2, local=Perceptrons((3,)))
    answer = field.linear_parameters()
    assert [bool(leaf) for leaf in jax.tree.leaves(answer.locals)] == [False, False, True, True]
    assert not any(jax.tree.leaves(answer.cover))
    assert partition(field)[0].cover.centres is None


def test_a_moving_cell_inside_of_a_fixed_one():
    field = filled(
        PartitionOfUnity.uniform([0.0], [1.0], 3, 1.9, local=Copies(hx.KAN([1, 2, 1], intervals=2, degree=2, key=0)))
    )
    index, pieces = localise(field, POINTS[:5, :1])
    theta = flat_parameters(field)[0]
    first = jax.tree.map(lambda leaf: leaf[0], pieces)
    np.testing.assert_array_equal(theta[np.asarray(index[0])], flat_parameters(first)[0])
    assert not has_fixed_cells(field)


def test_the_strategy_halves_subdomains_and_compiles_their_kernel_once(compilations):
    def law(u, x):
        return hx.derivative(u, "xx")(x) + u(x) + 3.0 * jnp.sin(2.0 * x[0])

    # u'' + u = -3 sin 2x
    reference = hx.Reference(lambda x: jnp.sin(2.0 * x[0]), 1e-14)
    walls = hx.Residual("walls", lambda u, x, normal: u(x) - jnp.sin(2.0 * x[0]), on="boundary")
    problem = hx.Problem(hx.Box([0.0], [3.0]), (hx.Residual("law", law), walls), reference=reference)
    kernels = {}

    def count(event):
        if isinstance(event, LevelFinished):
            kernels[event.record.level] = compilations["expansions"]

    solution = hx.train(problem, Subdomains(), budget=60.0, subscribers=[count])
    assert solution.linear_in_parameters
    assert len(solution.levels) >= 3
    assert (solution.accuracy.relative_l2 or 1.0) < 1e-9
    # the values by which levels are compared are a term as well, first needed on the second level
    assert len({count for level, count in kernels.items() if level > 0}) == 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="overlap"):
        Cover.uniform([0.0], [1.0], 3, 1.0)
    with pytest.raises(ValueError, match="at least 3 subdomains"):
        Cover.uniform([0.0], [1.0], 2, 2.9, periodic=[True])
    with pytest.raises(ValueError, match="subdomain 1 has half widths"):
        Cover([[0.0], [1.0]], [[1.0], [0.0]])
    with pytest.raises(ValueError, match="length \\[3\\], the cover has 4"):
        PartitionOfUnity(Cover.uniform([0.0], [1.0], 4), Polynomials(2).draw(1, None, 3, np.random.default_rng(0)))
    with pytest.raises(ValueError, match="values of shape"):
        PartitionOfUnity.uniform([0.0], [1.0], 2, local=Copies(hx.MLP([1, 2, 2], key=0)))
    with pytest.raises(ValueError, match="no subdomain is left"):
        Cover.uniform([0.0], [1.0], 4).keep(lambda low, high: np.zeros(len(low), bool))


def test_the_command_line_offers_every_field_it_knows():
    assert set(typing.get_args(typing.get_type_hints(Options)["field"])) == set(FIELDS)
    assert isinstance(FIELDS["pou"](), Subdomains)
