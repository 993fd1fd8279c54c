"""Laws of transfers, for the library's transfers and for wrong ones."""

from operator import attrgetter

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from hierax.fields import KAN, MLP, Scalar, SplineGrid, Unknowns, partition, to_power_relu
from hierax.fields.axis import Extended, SplineAxis, insertion
from hierax.fields.local_inverse import local_left_inverse
from hierax.hierarchy import (
    DUAL,
    FUNCTION_PRESERVING,
    INJECTIVE,
    LINEAR,
    METRIC,
    PRIMAL,
    RESET,
    SCALAR,
    AbstractTransfer,
    AxisTransfer,
    IntervalDoubling,
    KnotInsertion,
    LeafTransfer,
    Level,
    Stacked,
    tangent_of,
    transport,
)
from hierax.hierarchy.coarsening import prolongation
from hierax.testing import check_transfer

POINTS = np.random.default_rng(0).uniform(-1.3, 1.3, (40, 2))  # also outside of the knots


def filled(grid):
    return SplineGrid(grid.axes, np.random.default_rng(0).normal(size=grid.coefficients.shape))


def grid():
    return filled(SplineGrid.uniform([-1, -1], [1, 1], (4, 3), (3, 2)))


def periodic():
    return filled(SplineGrid.uniform([-1, -1], [1, 1], (5, 3), 4, out=2, periodic=(True, False)))


def network():
    return KAN([2, 3, 1], intervals=4, degree=3, key=0)


def unknowns():
    return Unknowns(u=grid(), kappa=KAN([2, 3, 1], intervals=3, degree=2, key=1, linear_first=True), nu=Scalar(0.4))


def verify(field, rule, tolerance=1e-12):
    level = Level(field, 100)
    fine, transfer = rule.refine(level)
    assert fine.points > 100
    check_transfer(transfer, field, fine.field, key=0, points=POINTS, tolerance=tolerance)
    return fine, transfer


@pytest.mark.parametrize("make", [grid, periodic, network, unknowns])
def test_doubling_obeys_all_laws(make):
    verify(make(), IntervalDoubling())


@settings(max_examples=8)
@given(st.lists(st.floats(-0.95, 0.95), min_size=7, max_size=7))
def test_insertion_anywhere_obeys_all_laws_on_grids(marks):
    # as many as doubling inserts, so that the compiled laws are used again
    apart = np.abs(np.subtract.outer(marks, [-1 / 3, -0.5, 0.0, 1 / 3, 0.5])).min() > 1e-3
    if apart and np.diff(np.sort(marks)).min() > 1e-3:
        verify(grid(), KnotInsertion([marks[:4], marks[4:]]))


@settings(max_examples=5)
@given(st.tuples(st.floats(-0.95, -0.65), st.floats(-0.05, 0.15)))
def test_insertion_anywhere_obeys_all_laws_in_networks(marks):
    fine, _ = verify(network(), KnotInsertion([marks, ()]))
    assert [layer.axis.intervals for layer in fine.field.layers] == [6, 4]


@pytest.mark.parametrize("degree", [1, 3])
def test_the_geometry_of_truncated_powers_transfers_too(degree):
    field = to_power_relu(KAN([2, 1], intervals=6, degree=degree, key=0))
    fine, transfer = verify(field, IntervalDoubling(), tolerance=1e-11)
    # knots inside the domain keep their weights up to the scale of the powers, and the new ones start at zero
    matrix = transfer.leaves[0].maps[0].sparse().toarray()
    assert np.count_nonzero(matrix[degree + 1 :]) == 5
    inner = matrix[degree + 1 :]
    np.testing.assert_allclose(inner[inner != 0], 0.5**degree)
    assert fine.field.geometry == field.geometry


class Shifted(AbstractTransfer):
    """An affine transfer whose tag is wrong, as for a new stage with random weights."""

    inner: AxisTransfer
    shift: float
    declared: frozenset = eqx.field(static=True)

    @property
    def tags(self):
        return self.declared

    def prolong(self, coarse):
        return jax.tree.map(lambda leaf: leaf + self.shift, self.inner.prolong(coarse))

    def inject(self, fine):
        return self.inner.inject(jax.tree.map(lambda leaf: leaf - self.shift, fine))

    def tangent(self, at):
        return tangent_of(self.prolong, at)

    def restrict(self, cotangent, at=None):
        return jax.vjp(self.prolong, at)[1](cotangent)[0]

    def lift(self, cotangent):
        return self.inner.lift(cotangent)


def doubled(field):
    fine, transfer = IntervalDoubling().refine(Level(field))
    return fine.field, transfer


def test_an_affine_transfer_is_caught_by_its_tag_only():
    field = grid()
    fine, transfer = doubled(field)
    honest = Shifted(transfer, 0.5, frozenset({INJECTIVE}))
    check_transfer(honest, field, fine, key=0, points=POINTS)
    wrong = Shifted(transfer, 0.5, frozenset({LINEAR, FUNCTION_PRESERVING}))
    with pytest.raises(AssertionError, match=r"P\(0\) = 0' does not hold: relative violation \d") as caught:
        check_transfer(wrong, field, fine, key=0, points=POINTS)
    assert "fine field equals the coarse field" in str(caught.value)


def test_wrong_matrices_are_caught():
    field = grid()
    fine, transfer = doubled(field)

    def changed(name, change):
        leaf = lambda t: attrgetter(name)(t.leaves[0].maps[0])  # noqa: E731
        return eqx.tree_at(leaf, transfer, change(leaf(transfer)))

    cases = {
        "fine field equals the coarse field": changed("matrix.weights", lambda m: 0.5 * m),
        "inject after prolong": changed("left_inverse.weights", lambda m: m + 1e-9),
    }
    for text, wrong in cases.items():
        with pytest.raises(AssertionError, match=text):
            check_transfer(wrong, field, fine, key=0, points=POINTS)


@pytest.mark.parametrize("periodic", [False, True])
def test_storage_of_knot_insertion_is_linear_in_the_knots(periodic):
    field = SplineGrid.uniform([0.0], [1.0], 4000, 3, periodic=[periodic])
    fine, transfer = doubled(field)
    stored = sum(leaf.size for leaf in jax.tree.leaves(transfer) if hasattr(leaf, "size"))
    assert fine.coefficients.shape[0] >= 8000
    assert stored < 250 * fine.coefficients.shape[0]
    below = prolongation(field.axes, fine.axes).axes[0]
    assert below is not None
    assert below.nnz < 4 * fine.coefficients.shape[0]
    leaf, values = transfer.leaves[0], np.random.default_rng(0).normal(size=field.coefficients.shape)
    assert np.abs(leaf.inject(leaf.prolong(values)) - values).max() < 1e-12


@pytest.mark.parametrize("degree", [2, 3, 5])
def test_local_left_inverses_are_near_that_of_least_squares(degree):
    points = np.linspace(0.0, 1.0, 101)
    coarse = SplineAxis(points, degree, Extended())
    fine = coarse.with_breakpoints(np.union1d(points, 0.5 * (points[1:] + points[:-1])))
    matrix = insertion(coarse, fine)
    inverse, whole = local_left_inverse(matrix, 2 * degree + 2, False), np.linalg.pinv(matrix.toarray())
    assert np.abs((inverse @ matrix).toarray() - np.eye(coarse.size)).max() < 1e-12
    assert np.linalg.norm(inverse.toarray() - whole) < 1e-2 * np.linalg.norm(whole)
    assert inverse.nnz < 50 * coarse.size < whole.size


def test_structures_are_compared_first():
    field = grid()
    fine, transfer = doubled(field)
    finer, _ = doubled(fine)
    with pytest.raises(AssertionError, match="prolong gives fine parameters"):
        check_transfer(transfer, field, finer, key=0, points=POINTS)
    with pytest.raises(ValueError, match="leaf transfers"):
        AxisTransfer(field, fine, [LeafTransfer(), LeafTransfer()])


@settings(max_examples=5)
@given(st.integers(0, 1000))
def test_pairs_of_a_quasi_newton_method_keep_their_curvature(seed):
    _, transfer = doubled(unknowns())
    params = partition(unknowns())[0]
    generator = np.random.default_rng(seed)
    draw = lambda: jax.tree.map(lambda leaf: jnp.asarray(generator.normal(size=(3, *leaf.shape))), params)  # noqa: E731
    state = {"steps": draw(), "changes": draw(), "count": 7, "moments": draw(), "cache": 1.0}
    kinds = {"steps": Stacked(PRIMAL), "changes": Stacked(DUAL), "count": SCALAR, "moments": METRIC, "cache": RESET}
    moved = transport(state, kinds, transfer)
    assert moved["moments"] is None
    assert moved["cache"] is None
    assert moved["count"] == 7
    assert transport(state, kinds, transfer, fresh={**state, "cache": 2.0})["cache"] == 2.0
    for k in range(3):
        s, y, fine_s, fine_y = (
            ravel_pytree(jax.tree.map(lambda leaf, k=k: leaf[k], tree))[0]
            for tree in (state["steps"], state["changes"], moved["steps"], moved["changes"])
        )
        assert abs(fine_s @ fine_y - s @ y) < 1e-12 * np.linalg.norm(fine_s) * np.linalg.norm(fine_y)
    # the same change of gradients prolonged as if it were a step would not
    naive = ravel_pytree(transfer.prolong(jax.tree.map(lambda leaf: leaf[0], state["changes"])))[0]
    s, y = (ravel_pytree(jax.tree.map(lambda leaf: leaf[0], state[name]))[0] for name in ("steps", "changes"))
    assert abs(ravel_pytree(jax.tree.map(lambda leaf: leaf[0], moved["steps"]))[0] @ naive - s @ y) > 1e-3 * abs(s @ y)


def test_fields_without_splines_are_not_refined_silently():
    with pytest.raises(ValueError, match="MLP has no spline axes"):
        IntervalDoubling().refine(Level(MLP([2, 3, 1], key=0)))
    with pytest.raises(ValueError, match="marks for 1 axes, but the field has 2"):
        KnotInsertion([[0.1]]).refine(Level(grid()))
    with pytest.raises(ValueError, match="strictly inside"):
        KnotInsertion([[1.0], []]).refine(Level(grid()))
