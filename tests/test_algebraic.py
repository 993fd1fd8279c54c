"""Coarser perceptrons from the graph of the Gauss-Newton matrix: classical graphs, the laws, cycles on them."""

import numpy as np
import pytest

import hierax as hx
from hierax._errors import InputError
from hierax.hierarchy import Level
from hierax.hierarchy.algebraic import interpolation, node_graphs, splitting
from hierax.solvers import Tolerances
from hierax.testing import check_transfer

POINTS = np.random.default_rng(0).uniform(-1.0, 1.0, (120, 2))
PROBLEM = hx.Problem(
    hx.Box([-1.0, -1.0], [1.0, 1.0], names=("x", "y")),
    (hx.Data("data", POINTS, np.sin(4 * POINTS[:, 0] * POINTS[:, 1])),),
)


def laplacian(count: int) -> np.ndarray:
    return 2.0 * np.eye(count) - np.eye(count, k=1) - np.eye(count, k=-1)


def test_on_the_laplacian_of_a_line_it_is_classical_multigrid():
    graph = laplacian(9)
    coarse = splitting(graph, 0.25)
    assert coarse.tolist() == [1, 3, 5, 7]
    between = interpolation(graph, coarse, 0.25)
    np.testing.assert_allclose(between[2:7:2], 0.5 * (np.eye(4, k=0) + np.eye(4, k=1))[:3], atol=1e-15)
    np.testing.assert_allclose(between[[0, 8]], 0.5 * np.eye(4)[[0, 3]], atol=1e-15)  # towards zero at the ends


def test_positive_couplings_change_the_sign_of_what_is_carried():
    flipped = laplacian(9) * np.outer(*2 * [np.where(np.arange(9) % 2, 1.0, -1.0)])
    coarse = splitting(flipped, 0.25)
    np.testing.assert_allclose(
        np.abs(interpolation(flipped, coarse, 0.25)), interpolation(laplacian(9), coarse, 0.25), atol=1e-15
    )
    assert interpolation(flipped, coarse, 0.25)[2].min() == pytest.approx(-0.5)


@pytest.mark.parametrize("seed", range(5))
def test_every_fine_unit_depends_on_a_coarse_one(seed):
    rows = np.random.default_rng(seed).normal(size=(6, 20))
    graph = rows.T @ rows
    coarse, size = splitting(graph, 0.9), np.abs(graph - np.diag(np.diag(graph)))
    for unit in set(range(20)) - set(coarse.tolist()):
        assert size[unit, coarse].max() >= 0.9 * size[unit].max()


def hierarchy(widths, levels: int = 2) -> hx.Hierarchy:
    return hx.coarsened(PROBLEM, hx.MLP(widths, key=0), levels=levels)


def test_units_that_are_the_same_are_kept_once():
    field = hx.MLP([2, 4, 1], key=0)
    twin = hx.refine(field, by=hx.WidthGrowth(2.0, mixing=0.0), levels=2).levels[1].field
    made = hx.coarsened(PROBLEM, twin)
    kept = np.asarray(made.levels[0].field.layers[0].weight)
    assert len(np.unique(np.round(kept, 12), axis=0)) == len(kept)


@pytest.mark.parametrize("widths", [[2, 12, 1], [2, 8, 6, 1]])
def test_the_transfer_obeys_the_laws(widths):
    made = hierarchy(widths)
    coarse, fine = (level.field for level in made.levels)
    assert all(a <= b for a, b in zip(coarse.widths, fine.widths, strict=True))
    assert coarse.widths != fine.widths
    check_transfer(made.transfers[0], coarse, fine, key=0, points=POINTS[:10])
    # the coarse network is made of units of the fine one
    rows = {tuple(row) for row in np.asarray(fine.layers[0].weight).tolist()}
    assert {tuple(row) for row in np.asarray(coarse.layers[0].weight).tolist()} <= rows


def test_cycles_on_it_never_raise_the_objective():
    made, solver = hierarchy([2, 12, 1], 3), hx.GaussNewton(tolerances=Tolerances(1e-9, 50))
    cycle = hx.VCycle(cycles=3, share=0.0, coarsest=hx.Until(steps=2))
    solution = hx.train(PROBLEM, made, solver=solver, cycle=cycle, key=0, budget=60)
    top = len(made) - 1
    seen = np.array([step.loss for step in solution.history if step.level == top])
    assert np.all(np.diff(seen) <= 0)
    assert seen[-1] < 0.5 * seen[0]


def test_what_has_no_units_to_leave_out_is_refused():
    with pytest.raises(InputError, match="KAN is no perceptron"):
        hx.coarsened(PROBLEM, hx.KAN([2, 2, 1], intervals=3, degree=2, key=0))
    with pytest.raises(InputError, match="no unit depends on another one"):
        hx.coarsened(PROBLEM, hx.MLP([2, 1, 1], key=0))
    with pytest.raises(ValueError, match="one row a parameter"):
        hx.NodeCoarsening().coarsen(Level(hx.MLP([2, 3, 1], key=0)), np.eye(3))
    with pytest.raises(ValueError, match="strong must be in"):
        hx.NodeCoarsening(strong=0.0)
    assert [graph.shape for graph in node_graphs(hx.MLP([2, 3, 4, 1], key=0), np.eye(30))] == [(3, 3), (4, 4)]
