"""Levels, hierarchies and their growth."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.fields import KAN, MLP, Scalar, SplineGrid, Unknowns
from hierax.fields.base import mesh
from hierax.hierarchy import Hierarchy, IntervalDoubling, KnotInsertion, Level, refine, spline_axes
from hierax.problems import poisson_1d


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


def test_cells_come_from_the_grids():
    np.testing.assert_allclose(mesh(small_grid())[0], np.linspace(0, 1, 5))
    np.testing.assert_allclose(mesh(refine(small_grid(), levels=2)[1].field)[1], np.linspace(0, 2, 5))
    other = SplineGrid.uniform([0.0, 0.0], [1.0, 2.0], (3, 2), 2)
    joint = mesh(Unknowns(u=small_grid(), v=other, nu=Scalar(1.0)))
    np.testing.assert_allclose(joint[0], [0, 0.25, 1 / 3, 0.5, 2 / 3, 0.75, 1])
    assert mesh(MLP([1, 2, 1], key=0)) is None


def test_a_part_of_the_data_is_refused_where_there_are_none():
    problem = poisson_1d()
    with pytest.raises(hx.InputError, match="has no data"):
        hx.train(problem, refine(SplineGrid.uniform([0.0], [1.0], 4, 5), levels=3, points=1000))


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
