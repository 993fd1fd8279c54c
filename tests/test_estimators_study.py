"""The study of estimators: its short form, and what its costs must show."""

import numpy as np
import pytest

from studies import estimators, model_sets


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
    assert summary["line, levels: cost over hindsight"] < 1.5
    assert {path.suffix for path in tmp_path.iterdir()} >= {".csv", ".png"}


def test_flow_through_a_square_is_that_of_layers():
    layers = np.array([1.0, 2.0, 4.0, 8.0])
    assert estimators._flow(np.tile(layers, (4, 1))) == pytest.approx(np.mean(layers))
    assert estimators._flow(np.tile(layers, (4, 1)).T) == pytest.approx(1.0 / np.mean(1.0 / layers))


class _Truth:
    value = 1.0


def test_rows_that_are_there_are_not_made_again(tmp_path, monkeypatch):
    row = {"family": "line", "arm": "levels", "seed": 0, "estimated": 0.01, "error": 0.01, "hindsight": 1.1}
    estimators.written(tmp_path, [row | {"tolerance": t, "cost": 1.0 / t**2} for t in (0.03, 0.01)], False)
    monkeypatch.setattr(estimators, "CASES", {"line": estimators.CASES["line"]})
    monkeypatch.setattr(estimators, "_arms", lambda case, t, seed, truth: [row | {"tolerance": t, "cost": 1.0 / t**2}])
    monkeypatch.setattr(estimators.hx, "estimate", lambda *words, **asked: _Truth)
    result = estimators.run(tmp_path, False)
    assert len(result["rows"]) == 2 + 2 * estimators.SEEDS
    assert result["summary"]["line, levels: slope"] == pytest.approx(-2.0)


def test_designs_of_the_model_sets_are_no_worse_than_nested_samples_of_them():
    for one in model_sets.SETS:
        covariance, _ = one.covariance()
        reduction = covariance[0, 0] / model_sets.BUDGET / model_sets.designed(one, covariance)
        # multifidelity Monte Carlo by the formula of Peherstorfer, Willcox, Gunzburger (2016)
        square = np.r_[covariance[0] ** 2 / covariance[0, 0] / np.diag(covariance), 0.0]
        nested = np.sum(np.sqrt(np.array(one.costs) * np.maximum(square[:-1] - square[1:], 0.0))) ** -2
        assert reduction > 0.99 * nested
        assert one.name != "Ishigami" or reduction > 300.0
