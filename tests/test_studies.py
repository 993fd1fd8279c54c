"""The short forms of the studies: they run, leave their files, and their main numbers are what the text says."""

import json
import math
from dataclasses import replace

import pytest

from hierax.cycles import SingleLevel, Until
from studies import multilevel_kan
from studies.__main__ import main
from studies.common import errors, trained

ENDLESS = 3600.0
"""A budget that no machine reaches: what is compared is work."""


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    cases = [replace(case, budget=0.5, levels=2) for case in multilevel_kan.short_cases()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multilevel_kan, "short_cases", lambda: cases)
        code = main(["multilevel-kan", "--quick", "--out", str(folder), "--json", str(folder / "all.json")])
    return code, folder, json.loads((folder / "all.json").read_text())


def test_short_study_leaves_table_figure_and_rows(short):
    code, folder, result = short
    assert code == 0
    assert {file.suffix for file in folder.iterdir()} >= {".json", ".png"}
    assert result["quick"] is True


def test_summary_has_the_agreed_names(short):
    summary = short[2]["summary"]
    wanted = {"regression_mse_median", "regression_mse_worst_over_median", "regression_seconds", "gain_over_adam"}
    assert wanted | {"burgers_relative_l2", "poisson_jump_relative_l2"} <= set(summary)


def test_multilevel_gauss_newton_beats_adam_on_the_fine_level_at_equal_work():
    case = replace(multilevel_kan.CASES[0], levels=2, options={"points": 1000})
    problem = case.make()
    arms = {arm.name: arm for arm in multilevel_kan.arms(case)}
    multilevel = replace(arms[multilevel_kan.MULTILEVEL], solver=multilevel_kan.gauss_newton())
    first = arms["fine only, Adam"]

    def adam(steps):
        return trained(problem, replace(first, cycle=SingleLevel(until=Until(steps=steps))), 0, ENDLESS)[0]

    best = trained(problem, multilevel, 0, ENDLESS)[0]
    slow = adam(math.ceil(best.work_units / adam(1).work_units))
    assert slow.work_units >= best.work_units
    assert errors(problem, best)["relative_l2"] < 0.05
    assert errors(problem, slow)["relative_l2"] > 1.5 * errors(problem, best)["relative_l2"]


def test_control_is_labelled_linear(short):
    rows = {(row["problem"], row["arm"]): row for row in short[2]["rows"]}
    control = next(row for (problem, arm), row in rows.items() if problem == "burgers" and "control" in arm)
    assert control["linear_in_parameters"] is True
