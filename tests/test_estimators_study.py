"""The study of estimators: its short form, and what its costs must show."""

import numpy as np
import pytest

from studies import estimators


def test_the_short_form_shows_that_levels_and_surrogates_pay(tmp_path):
    result = estimators.run(tmp_path, True)
    summary = result["summary"]
    assert summary["line, levels: cost over levels"] == 1.0
    assert summary["line, Monte Carlo: cost over levels"] > 1.5
    assert summary["line, levels, surrogate: cost over levels"] < 0.5
    assert -2.4 < summary["line, levels: slope"] < -1.2
    for row in result["rows"]:
        assert row["estimated"] <= row["tolerance"]
        assert row["error"] < 4.0 * row["tolerance"]
    assert {path.suffix for path in tmp_path.iterdir()} >= {".csv", ".png"}


def test_flow_through_a_square_is_that_of_layers():
    layers = np.array([1.0, 2.0, 4.0, 8.0])
    assert estimators._flow(np.tile(layers, (4, 1))) == pytest.approx(np.mean(layers))
    assert estimators._flow(np.tile(layers, (4, 1)).T) == pytest.approx(1.0 / np.mean(1.0 / layers))
