"""Predicted against realised gain of levels, and rules that choose by it within a training."""

import jax
import numpy as np
import pytest

import hierax as hx
from hierax.planning.families import AbstractFamily
from studies import level_gain


@pytest.mark.slow
def test_the_short_form_foretells_what_levels_bring(tmp_path):
    found = level_gain.run(tmp_path, True)
    main = found["summary"]
    assert main["rank_correlation"] > 0.75
    rows = {(r["function"], r["field"], r["refinement"]): r for r in found["rows"]}
    # a grid is linear in its parameters: the model is exact but for its damping
    for (_, field, _), row in rows.items():
        if field == "spline grid":
            assert abs(row["predicted"] - row["realised"]) < 0.1
    # the front is in the right half; copies are a stationary point of the wider network
    assert rows["front", "spline grid", "right half"]["realised"] > 0.5
    assert rows["front", "spline grid", "left half"]["predicted"] < 0.3
    assert main["cases"] == 12
    assert rows["wave", "perceptron", "copies"]["predicted"] < 0.1
    assert all((tmp_path / f"level-gain.{suffix}").stat().st_size > 100 for suffix in ("txt", "csv", "png"))


class Halves(AbstractFamily):
    """A spline grid that is refined in one half of the interval, whichever promises more."""

    label = "grid of halves"

    def part(self, problem, components, order, values, key):
        return hx.SplineGrid.uniform([0.0], [1.0], 4, 3)

    def rule(self):
        return hx.BestOf([hx.KnotInsertion([[0.125, 0.375]]), hx.KnotInsertion([[0.625, 0.875]])])


def test_training_passes_evidence_to_a_rule_that_chooses():
    def residual(u, x):
        return u(x) - jax.numpy.tanh(20.0 * (x[0] - 0.75))

    problem = hx.Problem(hx.Box([0.0], [1.0], names=("x",)), (hx.Residual("fit", residual),))
    solution = hx.train(problem, Halves(), levels=2, key=0)
    np.testing.assert_allclose(solution.field.breakpoints()[0], [0.0, 0.25, 0.5, 0.625, 0.75, 0.875, 1.0])
    assert hx.Composite([Halves().rule(), hx.IntervalDoubling()]).judges
    assert not hx.Composite([hx.IntervalDoubling(), Halves().rule()]).judges
