"""The study of intervals: draws share their kernels and are trained as a problem with these data would be."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from studies import coverage


@pytest.fixture(scope="module")
def rows():
    draws = coverage.drawn(coverage.decay())
    return [row for draw in range(3) for row in draws(draw)]


def test_every_draw_is_the_least_squares_fit_to_its_values(rows):
    case = coverage.decay()
    times = case.points[:, 0]
    for row in rows:
        found, variance = curve_fit(lambda t, k: np.exp(-k * t), times, case.values(row["draw"]), [1.0])
        assert row["value"] == pytest.approx(found[0], abs=0.05 * np.sqrt(variance[0, 0]))
        # the quantile of Student's t with 29 degrees of freedom
        assert row["high"] - row["low"] == pytest.approx(2 * 2.0452 * np.sqrt(variance[0, 0]), rel=0.05)


def test_summary_is_the_share_of_intervals_that_hold_the_truth(rows, tmp_path):
    result = coverage.written(tmp_path, "some draws", rows, quick=True)
    assert result["summary"] == {"coverage": {"decay k": np.mean([row["holds"] for row in rows])}}
    assert {path.suffix for path in tmp_path.iterdir()} >= {".csv", ".png"}
