"""Intervals of estimators of skewed numbers: what stops an estimation must not spoil them."""

import pytest

from studies import coverage_estimators


@pytest.mark.parametrize(("arm", "statistic", "number"), [
    ("levels", "mean", "square"), ("Monte Carlo", "mean", "log-normal"), ("Monte Carlo", "variance", "normal"),
])  # fmt: skip
def test_errors_of_skewed_numbers_are_not_above_what_they_seem(arm, statistic, number):
    row = coverage_estimators.measured(arm, statistic, number, 300, 200)
    assert 0.92 <= row["held"] <= 0.98
    assert row["error"] < 1.08


def test_short_form_has_a_row_for_each_and_does_not_make_them_again(tmp_path, monkeypatch):
    numbers = coverage_estimators.NUMBERS
    monkeypatch.setattr(coverage_estimators, "NUMBERS", {name: numbers[name] for name in ("normal", "indicator")})
    monkeypatch.setattr(coverage_estimators, "QUICK", 2)
    first = coverage_estimators.run(tmp_path, True)
    assert len(first["rows"]) == 2 * (2 + 1) * 2
    monkeypatch.setattr(coverage_estimators, "measured", None)
    assert coverage_estimators.run(tmp_path, True)["summary"] == first["summary"]
    assert {path.suffix for path in tmp_path.iterdir()} >= {".csv", ".png"}
