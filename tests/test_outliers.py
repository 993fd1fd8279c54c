"""Single wrong values beside equations: they are left out and told of, and what the data show stays in."""

import dataclasses

import numpy as np
import pytest

import hierax as hx
from hierax.checks.guards.outliers import Outliers
from hierax.training.contradicted import lonely
from studies import coverage

CASE = coverage.logistic()
WRONG = np.array([5, 23, 42])


def spoiled(by):
    values = CASE.values(0)
    values[WRONG] += by * np.array([1.0, -1.0, 1.0])
    return values


@pytest.fixture(scope="module")
def without():
    """Constants from the other values alone."""
    left = np.setdiff1d(np.arange(len(CASE.points)), WRONG)
    case = dataclasses.replace(CASE, points=CASE.points[left])
    data = hx.Data("u", case.points, CASE.values(0)[left])
    problem = CASE.make(CASE.values(0)).changed(terms=[CASE.make(CASE.values(0)).terms[0], data])
    return hx.train(problem).unknowns


@pytest.mark.parametrize("by", [1.0, 50.0])
def test_wrong_values_do_not_move_constants(by, without):
    """By 50 the training with all values leads nowhere, and values far from their neighbours are looked for."""
    found = hx.train(CASE.make(spoiled(by)))
    assert found.result is hx.RESULTS.successful
    assert found.remarks[0].startswith("3 of 60 values of 'u' (numbers 5, 23, 42, counted from 0) were left out")
    assert found.to_json()["outliers"] == {"u": WRONG.tolist()}
    limit = found.diagnose()
    assert limit is None or limit.limit.name != "balance"
    for name, interval in found.unknowns.items():
        assert interval.value == pytest.approx(without[name].value, rel=1e-3)
        assert interval.high - interval.low == pytest.approx(without[name].high - without[name].low, rel=0.02)


def test_right_values_stay_in():
    found = hx.train(CASE.make(CASE.values(1)))
    assert found.remarks == []
    assert found.guards["outliers"].value == 0.0


def test_where_time_is_over_wrong_values_are_no_success():
    """A training that the budget ends with them in is not confirmed."""
    judged = [Outliers().judge(dataclasses.make_dataclass("Seen", ["outlying"])(share)) for share in (None, 0.1, 0.7)]
    assert judged[0] is None
    assert [guard.passed for guard in judged[1:]] == [True, False]


def test_values_far_from_their_neighbours():
    points = np.linspace(0.0, 1.0, 60)[:, None]
    smooth = np.sin(6.0 * points[:, 0])
    assert not lonely(hx.Data("u", points, smooth)).any()
    step = np.where(points[:, 0] > 0.4, 5.0, 0.0)
    assert not lonely(hx.Data("u", points, step + smooth)).any()
    np.testing.assert_array_equal(np.flatnonzero(lonely(hx.Data("u", points, spoiled(9.0)))), WRONG)
