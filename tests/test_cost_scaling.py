"""Exponents of cost: known power laws, known noise, known work."""

import numpy as np
import pytest

from hierax.dynamics import fit_power_law, seconds_to, work_units

SIZES = np.array([1e3, 3e3, 1e4, 3e4, 1e5])


def test_a_power_law_is_found_exactly():
    fit = fit_power_law(SIZES, 2e-4 * SIZES**1.25)
    assert fit is not None
    assert fit.slope == pytest.approx(1.25, abs=1e-12)
    assert fit.factor == pytest.approx(2e-4, rel=1e-10)
    assert fit.high - fit.low < 1e-10
    assert fit.seconds(1e6) == pytest.approx(2e-4 * 1e6**1.25, rel=1e-9)


def test_the_interval_holds_the_slope_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        fit = fit_power_law(SIZES, SIZES**1.1 * np.exp(0.2 * rng.standard_normal(5)), confidence=0.9)
        inside += fit.low <= 1.1 <= fit.high
    assert 0.86 < inside / 400 < 0.94


def test_the_interval_is_that_of_the_textbook():
    # y = (0, 1, 3) at x = (0, 1, 2): slope 1.5, residuals (1, -2, 1) / 6, one degree of freedom
    fit = fit_power_law(np.exp([0.0, 1.0, 2.0]), np.exp([0.0, 1.0, 3.0]))
    assert fit.slope == pytest.approx(1.5)
    assert fit.high - fit.slope == pytest.approx(12.7062 * np.sqrt(6 / 36 / 2), rel=1e-4)


def test_sizes_that_did_not_reach_the_target_are_left_out():
    seconds = 1e-3 * SIZES
    seconds[-1] = np.nan
    fit = fit_power_law(SIZES, seconds)
    assert fit.sizes == 4
    assert fit.slope == pytest.approx(1.0)
    seconds[2:] = np.inf
    assert fit_power_law(SIZES, seconds) is None


def test_two_sizes_give_no_exponent():
    assert fit_power_law([10, 10, 100], [1.0, 1.1, 12.0]) is None


@pytest.mark.parametrize(("sizes", "seconds"), [([1.0, 2.0], [1.0]), ([0.0, 1.0, 2.0], [1.0, 1.0, 1.0])])
def test_what_is_no_record_is_refused(sizes, seconds):
    with pytest.raises(ValueError, match="fit_power_law"):
        fit_power_law(sizes, seconds)


def test_work_is_counted_in_steps_on_the_finest_level():
    assert work_units([100, 200, 400], [32, 16, 8]) == pytest.approx(8 + 8 + 8)
    assert work_units([100, 200, 400], [32, 16, 8], power=2.0) == pytest.approx(2 + 4 + 8)
    assert work_units([400], [5]) == 5.0


def test_the_first_moment_below_the_target_counts():
    seconds, errors = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1e-1, 1e-3, 1e-2])
    assert seconds_to(1e-2, seconds, errors) == pytest.approx(2.5)
    assert seconds_to(1e-4, seconds, errors) is None
    assert seconds_to(2.0, seconds, errors) == 1.0
