"""The short forms of the studies: they run, leave their files, and their main numbers are what the text says."""

import json

import pytest

from studies.__main__ import main


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
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


def test_multilevel_gauss_newton_beats_adam_on_the_fine_level_at_equal_seconds(short):
    summary = short[2]["summary"]
    # a loaded machine leaves few steps to either; the long form shows the ratio on a quiet one
    assert summary["gain_over_adam"]["rotated-regression"] > 1.0
    assert summary["regression_mse_median"] < 5e-3


def test_control_is_labelled_linear_and_is_accurate(short):
    rows = {(row["problem"], row["arm"]): row for row in short[2]["rows"]}
    control = next(row for (problem, arm), row in rows.items() if problem == "burgers" and "control" in arm)
    assert control["linear_in_parameters"] is True
    assert control["relative_l2"] < 0.3
