"""Levels, hierarchies and their growth."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierax.fields import KAN, MLP, Scalar, SplineGrid, Unknowns, parameter_count
from hierax.hierarchy import Hierarchy, IntervalDoubling, KnotInsertion, Level, refine, spline_axes


def small_grid():
    return SplineGrid.uniform([0.0, 0.0], [1.0, 2.0], (4, 2), 3)


def test_a_hierarchy_is_built_coarsest_first():
    hierarchy = refine(KAN([2, 5, 1], intervals=5, degree=4, key=0, linear_first=True), levels=4, points=1000)
    assert len(hierarchy) == 4
    assert [level.parameters for level in hierarchy.levels] == [55, 80, 130, 230]
    assert [level.field.intervals for level in hierarchy.levels] == [5, 10, 20, 40]
    # points follow the parameters, so that a coarse level costs proportionally less
    np.testing.assert_allclose([level.points for level in hierarchy.levels], [1000, 1455, 2364, 4182], atol=2)
    assert all(level.field.layers[0].axis.equidistant for level in hierarchy.levels)
    evaluate = eqx.filter_jit(lambda field: field(jnp.array([0.3, -0.8])))
    np.testing.assert_allclose(evaluate(hierarchy[3].field), evaluate(hierarchy[0].field), rtol=1e-12)


def test_the_table_of_a_hierarchy():
    lines = repr(refine(small_grid(), levels=3, points=50)).splitlines()
    assert lines[0].split() == ["level", "parameters", "intervals", "points", "cost", "share"]
    assert [line.split()[:2] for line in lines[1:]] == [["0", "35"], ["1", "77"], ["2", "209"]]
    assert "16 x 8" in lines[3]
    shares = [float(line.split()[-2]) for line in lines[1:]]
    assert abs(sum(shares) - 100.0) < 0.2
    assert len({len(line) for line in lines}) == 1
    assert "-" in repr(Hierarchy([Level(MLP([1, 2, 1], key=0))]))


def test_levels_split_trained_and_fixed_arrays():
    field = MLP([1, 4, 1], key=0)
    spec = eqx.tree_at(lambda net: net.layers[0], jax.tree.map(eqx.is_inexact_array, field), replace_fn=lambda _: False)
    level = Level(field, trained=spec)
    assert level.parameters == 5
    params, rest = level.partition()
    assert params.layers[0].weight is None
    np.testing.assert_array_equal(eqx.combine(params, rest).layers[0].weight, field.layers[0].weight)
    assert Level(field).parameters == parameter_count(field) == 13


def test_cells_come_from_the_grids():
    level = Level(small_grid())
    np.testing.assert_allclose(level.cells[0], np.linspace(0, 1, 5))
    fine = refine(level, levels=2)[1]
    np.testing.assert_allclose(fine.cells[1], np.linspace(0, 2, 5))
    other = SplineGrid.uniform([0.0, 0.0], [1.0, 2.0], (3, 2), 2)
    joint = Level(Unknowns(u=small_grid(), v=other, nu=Scalar(1.0))).cells
    np.testing.assert_allclose(joint[0], [0, 0.25, 1 / 3, 0.5, 2 / 3, 0.75, 1])
    assert Level(MLP([1, 2, 1], key=0)).cells is None
    np.testing.assert_allclose(Level(small_grid(), cells=([0, 1], [0, 2])).cells[1], [0, 2])


def test_growth_and_rules():
    hierarchy = Hierarchy([Level(small_grid())])
    hierarchy = hierarchy.grow(KnotInsertion([[0.1, 0.15], []]))
    hierarchy = hierarchy.grow(IntervalDoubling(), key=3)
    assert [level.field.intervals for level in hierarchy.levels] == [(4, 2), (6, 2), (12, 4)]
    assert [axis.intervals for axis in spline_axes(Unknowns(b=small_grid(), a=small_grid()))] == [4, 2, 4, 2]


def test_wrong_hierarchies_are_refused():
    with pytest.raises(ValueError, match="need 1 transfers"):
        Hierarchy([Level(small_grid()), Level(small_grid())])
    with pytest.raises(ValueError, match="at least one level"):
        refine(small_grid(), levels=0)
    level = Level(small_grid(), trained=jax.tree.map(eqx.is_inexact_array, small_grid()))
    with pytest.raises(ValueError, match="refine first"):
        IntervalDoubling().refine(level)
