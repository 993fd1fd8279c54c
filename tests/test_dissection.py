"""Factorisation by cuts through the domain, and curvature on the diagonals that elements meet."""

import numpy as np
import pytest
import scipy.sparse as sp

from hierax.objective.diagonals import BandSum, SparseSum
from hierax.objective.extension import sparse
from hierax.objective.ordering import narrow_order
from hierax.solvers.linear.dissection import Dissected


def laplacian(counts, wraps=False):
    """Of a box of nodes, with their places."""
    total = sp.csr_array((1, 1))
    for n in counts:
        line = sp.diags_array(
            [np.full(n, 2.01), np.full(n - 1, -1.0), np.full(n - 1, -1.0)], offsets=[0, 1, -1]
        ).tolil()
        if wraps:
            line[0, n - 1] = line[n - 1, 0] = -1.0
        total = sp.kron(total, sp.eye_array(n)) + sp.kron(sp.eye_array(total.shape[0]), line)
    places = np.stack(np.meshgrid(*[np.arange(float(n)) for n in counts], indexing="ij"), axis=-1)
    return sp.csr_array(total), places.reshape(-1, len(counts))


@pytest.mark.parametrize(("counts", "wraps"), [((900,), False), ((40, 33), True), ((12, 9, 14), False)])
def test_cuts_factor_any_grid(counts, wraps):
    matrix, places = laplacian(counts, wraps)
    factor = Dissected.of(matrix, places)
    assert len(factor.fronts) > 1
    b = np.random.default_rng(0).normal(size=(len(places), 2))
    np.testing.assert_allclose(matrix @ factor.solve(b), b, atol=1e-11)
    np.testing.assert_allclose(factor.solve(b[:, 0]), factor.solve(b)[:, 0], rtol=1e-12, atol=1e-13)


def test_cuts_cost_less_than_a_band_in_space():
    matrix, places = laplacian((24, 24, 24))
    assert Dissected.of(matrix, places).entries < 0.65 * len(places) * 24**2


def test_what_acts_everywhere_is_eliminated_last():
    matrix, places = laplacian((30, 20))
    border = np.random.default_rng(1).normal(size=(600, 2))
    whole = sp.csr_array(sp.block_array([[matrix, border], [border.T, 1e4 * np.eye(2)]]))
    factor = Dissected.of(whole, np.concatenate([places, np.full((2, 2), np.nan)]))
    assert set(factor.order[-2:]) == {600, 601}
    b = np.random.default_rng(0).normal(size=602)
    np.testing.assert_allclose(whole @ factor.solve(b), b, atol=1e-9)


def test_a_matrix_that_is_not_positive_is_refused():
    matrix, places = laplacian((30, 30))
    with pytest.raises(np.linalg.LinAlgError):
        Dissected.of(sp.csr_array(matrix - 1.0 * sp.eye_array(900)), places)


@pytest.mark.parametrize("dense", [0, 2])
def test_diagonals_are_those_of_the_band(dense):
    rng, n = np.random.default_rng(0), 40
    cells = np.arange(6)[:, None] * 6 + np.arange(0, 36)[None, :]
    cells = np.concatenate([np.sort(cells % n, axis=1), np.tile(n + np.arange(dense), (6, 1))], axis=1)
    places = np.concatenate([np.arange(float(n))[:, None], np.full((dense, 1), np.nan)])
    tall = rng.normal(size=(6, 5, cells.shape[1]))
    matrices = np.swapaxes(tall, 1, 2) @ tall
    few, band = SparseSum(places, [cells]), BandSum(narrow_order(places, [cells], [False]))
    for total in (few, band):
        total.add(cells, matrices, 2.0)
    expected = np.zeros((n + dense, n + dense))
    for index, own in zip(cells, matrices, strict=True):
        expected[np.ix_(index, index)] += 2.0 * own
    for total in (few, band):
        np.testing.assert_allclose(sparse(total.result()).toarray(), expected, atol=1e-11)
