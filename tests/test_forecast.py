"""What the differences of levels promise, and when a level that was made is not worth its training."""

import math

import pytest

from hierax.cycles import Done, Forecast, NestedIteration, Outcome, Visit


def test_differences_that_fall_by_a_factor_give_the_error_of_their_series():
    # u_k = u + q^k: the differences are (1 - q) q^(k - 1), the errors q^k
    q, last = 0.1, 5
    changes = [(1 - q) * q ** (k - 1) for k in range(1, last + 1)]
    forecast = Forecast.of(changes, (1.0, 4.0))
    assert forecast is not None
    assert forecast.error == pytest.approx(q**last)
    assert forecast.following == pytest.approx(q ** (last + 1))
    assert forecast.rate == pytest.approx(math.log(10) / math.log(4))


def test_one_lucky_level_promises_nothing():
    calm, lucky = Forecast.of([1e-2, 1e-3, 1e-4], (1.0, 4.0)), Forecast.of([1e-2, 5e-3, 1e-4], (1.0, 4.0))
    assert calm is not None
    assert lucky is not None
    assert lucky.error > 5 * calm.error


def test_without_enough_levels_there_is_no_forecast():
    assert Forecast.of([0.1], (1.0, 4.0)) is None
    assert Forecast.of([0.1, 0.0], (1.0, 4.0)) is None


def test_differences_that_grow_promise_nothing():
    forecast = Forecast.of([1e-3, 1e-2], (1.0, 4.0))
    assert forecast is not None
    assert math.isinf(forecast.error)
    assert forecast.rate == 0.0


@pytest.mark.parametrize(
    ("cycle", "changes", "reason"),
    [
        (NestedIteration(), (1e-4, 1e-6), None),
        (NestedIteration(), (1e-3, 5e-3), None),  # not yet resolved: the default goes on
        (NestedIteration(worth=0.2), (1e-3, 9e-4), "stalled"),
        (NestedIteration(worth=0.2), (1e-3, 1e-5), None),
        (NestedIteration(), (1e-6, 1e-9), "converged"),  # about 1e-12 is left: a hundredth of the tolerance
    ],
)
def test_a_cycle_judges_the_level_that_was_made(cycle, changes, reason):
    made = Outcome(4, 5, False, forecast=Forecast.of(changes, (1.0, 4.0)))
    action = cycle.next(4, made)[1]
    assert action == (Visit(4) if reason is None else Done(reason))
