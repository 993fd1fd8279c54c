"""Levels of networks on data: local means, parts of the data, and which of units and data is refined."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.events import AbstractWatcher
from hierax.fields import partition
from hierax.hierarchy import (
    FUNCTION_PRESERVING,
    INJECTIVE,
    LINEAR,
    Fit,
    Level,
    MoreData,
    WiderOrMoreData,
    WidthGrowth,
    refine,
)
from hierax.objective.data_rows import DataRows
from hierax.objective.local_means import Measurements, local_means
from hierax.planning.choose import choose
from hierax.planning.families import Perceptron
from hierax.problems.terms import Data


def scattered(count: int, dim: int, seed: int = 0) -> Measurements:
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(count, dim))
    return Measurements.equal(x, np.stack([np.sin(3 * x[:, 0]), x.sum(axis=1)], axis=1))


def test_local_means_keep_all_moments_of_first_order():
    samples = scattered(1000, 2)
    means = local_means(samples, 60)
    assert len(means.points) == 64
    assert np.ptp(means.weights) <= 1.0 / 1000 + 1e-15, "cells hold equal numbers of samples"
    assert means.weights.sum() == pytest.approx(1.0, abs=1e-14)
    for coarse, fine in ((means.points, samples.points), (means.values, samples.values)):
        np.testing.assert_allclose(means.weights @ coarse, samples.weights @ fine, atol=1e-14)


def test_means_of_a_linear_function_are_its_values_and_means_of_noise_are_small():
    x = np.random.default_rng(1).uniform(size=(4096, 3)) * [1.0, 1e3, 1e-3]
    means = local_means(Measurements.equal(x, x @ [2.0, 1e-3, 1e3] - 1.0), 256)
    np.testing.assert_allclose(means.values, means.points @ [2.0, 1e-3, 1e3] - 1.0, atol=1e-12)
    noise = local_means(Measurements.equal(x, np.random.default_rng(2).normal(size=4096)), 256)
    assert np.std(noise.values) == pytest.approx(0.25, rel=0.15)
    # cells are about as many in every coordinate, whatever its unit
    sides = [len(np.unique(np.round(means.points[:, k] / np.ptp(x[:, k]) * 6))) for k in range(3)]
    assert min(sides) >= 5


def test_coarse_cells_are_unions_of_finer_ones():
    samples = scattered(512, 2)
    coarse, fine = local_means(samples, 8), local_means(samples, 32)
    again = fine.points.reshape(8, 4, 2).mean(axis=1)
    np.testing.assert_allclose(again, coarse.points, atol=1e-13)
    assert local_means(samples, 300) is samples, "cells of one sample are the samples"


def problem(dim: int, count: int = 300, components: int | None = None) -> hx.Problem:
    rng = np.random.default_rng(dim)
    x = rng.uniform(size=(count, dim))
    one = np.sin(2 * x[:, 0] + x[:, 1] ** 2) + x[:, 2]
    values = one if components is None else np.stack([one, *([x[:, 0] * x[:, -1]] * (components - 1))], axis=1)
    unknowns = None if components is None else {"u": hx.Function(components)}
    box = hx.Box([0.0] * dim, [1.0] * dim)
    return hx.Problem(domain=box, terms=(Data("u", x, values),), unknowns=unknowns)


def test_rows_of_coarse_levels_are_the_first_of_those_of_finer_ones():
    rows = DataRows(problem(4), 0.2, 0)
    few, more, everything = (rows.seen(count)["u"].points for count in (20, 60, None))
    assert [len(part) for part in (few, more, everything)] == [20, 60, 240]
    as_sets = [{tuple(row) for row in part} for part in (few, more, everything, rows.held["u"].points)]
    assert as_sets[0] < as_sets[1] < as_sets[2]
    assert as_sets[2].isdisjoint(as_sets[3])
    assert len(DataRows(problem(3), 0.2, 0).seen(20)["u"].points) == 32, "in few dimensions these are means"


def test_many_data_tell_levels_apart_that_few_do_not():
    def truth(x):
        return np.sin(3.0 * x[:, :1])

    def told(count, excess):
        points = np.random.default_rng(1).random((count, 1))
        noisy = truth(points) + 0.3 * np.random.default_rng(2).normal(size=(count, 1))
        box = hx.Box([0.0], [1.0])
        rows = DataRows(hx.Problem(box, (Data("u", points, noisy[:, 0]),)), 0.5, jax.random.key(0))

        # the fields are numbers here: how much their values are wrong
        def misses(wrong, term, seen):
            del term
            return truth(seen.points) + wrong * np.cos(20.0 * seen.points) - seen.values.reshape(-1, 1)

        return rows.tells_apart(excess, 0.0, misses)

    assert told(20_000, 0.05)
    assert not told(40, 0.05)
    assert told(40, 1.0)
    assert not told(20_000, 0.0)


def test_whichever_limits_the_error_is_refined():
    level = Level(hx.MLP([4, 4, 4, 1], key=0), points=50)
    rule = WiderOrMoreData(WidthGrowth(2.0), largest=500)
    wider, _ = rule.refine(level, evidence=Fit(0.1, 0.15, 240))
    assert wider.parameters > level.parameters
    assert wider.points == round(50 * wider.parameters / level.parameters)
    more, transfer = rule.refine(level, evidence=Fit(0.1, 0.5, 240))
    assert (more.parameters, more.points) == (level.parameters, 200)
    params = partition(level.field)[0]
    assert all(map(np.array_equal, *map(jax.tree.leaves, (transfer.prolong(params), params))))
    assert transfer.tags == {LINEAR, FUNCTION_PRESERVING, INJECTIVE}
    assert rule.refine(level, evidence=Fit(0.1, 0.5, 40))[0].points != 200, "there are no further data"
    small = WiderOrMoreData(WidthGrowth(2.0), largest=60)
    assert small.refine(level, evidence=Fit(0.1, 0.1, 240))[0].parameters == level.parameters
    with pytest.raises(ValueError, match="has all data"):
        MoreData().refine(Level(level.field))


def test_the_default_grows_units_and_data_for_vector_values():
    family = Perceptron(coarse=4, largest=100)
    assert isinstance(choose(problem(4, 400, 2), key=0).rule, WiderOrMoreData)
    solution = hx.train(problem(4, 400, 2), family, key=0, budget=60.0)
    points = [level.points for level in solution.levels]
    assert len(points) >= 2
    assert points == sorted(points)
    assert points[0] < 120 < points[-1]
    assert (solution.accuracy.validation_error or 1.0) < 0.05
    assert solution.evaluate(jnp.full((3, 4), 0.5), "u").shape == (3, 2)
    assert "gets more data" in solution.plan


def test_a_given_number_of_levels_ends_with_all_data():
    plan = choose(problem(4, 2000), key=0, hierarchy=Perceptron(), levels=2)
    assert [level.points is None for level in plan.hierarchy.levels] == [False, True]
    assert plan.rule is None
    assert choose(problem(4, 2000), key=0, levels=1).hierarchy.levels[0].points is None
    # levels pay only where a part of the data is enough to begin with
    assert choose(problem(4, 200), key=0).hierarchy.levels[0].points is None
    assert choose(problem(4, 4000, 6), key=0).hierarchy.levels[0].points is not None


def test_levels_with_points_of_their_own_see_so_much_of_the_data():
    hierarchy = refine(hx.MLP([4, 3, 1], key=0), by=MoreData(3.0), levels=2, points=30)
    solution = hx.train(problem(4, 200), hierarchy, key=0, budget=20.0)
    assert [level.points for level in solution.levels] == [30, 90]


class Objectives(AbstractWatcher):
    """The first objective that each level was trained on."""

    def __init__(self):
        self.seen = {}

    def __call__(self, event):
        del event

    def look(self, event, view):
        self.seen.setdefault(event.level, view.objective)


def test_cycles_see_the_data_of_each_level_and_correct_what_these_leave_out():
    x = np.random.default_rng(0).uniform(size=(200, 2))
    problem = hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("x", "y")), (Data("data", x, np.sin(7 * x.prod(1))),))
    made = refine(hx.MLP([2, 5, 1], key=0), by=MoreData(4.0), levels=2, points=40)
    cycle = hx.VCycle(cycles=2, share=0.0, coarsest=hx.Until(steps=2))
    watcher = Objectives()
    solution = hx.train(problem, made, solver=hx.GaussNewton(), cycle=cycle, key=0, budget=60, subscribers=[watcher])
    assert [level.points for level in solution.levels] == [64, 170]  # means of 40 cells and more, then all
    fine = [step.loss for step in solution.history if step.level == 1]
    assert len(fine) == 4
    assert np.all(np.diff(fine) <= 0)
    # the same network on both levels: where the correction was made the objectives have one value and one gradient
    coarse, finest = watcher.seen[0], watcher.seen[1]
    own, whole = (o.value_and_gradient(coarse.origin) for o in (coarse, finest))
    assert own[0] == pytest.approx(whole[0], rel=1e-12)
    np.testing.assert_allclose(own[1], whole[1], rtol=0, atol=1e-12 * np.abs(whole[1]).max())
    assert coarse.base.value(coarse.origin) != pytest.approx(whole[0], rel=1e-3)
