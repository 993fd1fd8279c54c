"""The short forms of the studies of materials leave what they promise."""

import json

import pytest

from studies import homogenisation, learned_law, material_networks


@pytest.mark.parametrize("made", [homogenisation, learned_law, material_networks], ids=lambda made: made.NAME)
def test_the_short_form_leaves_table_figure_and_rows(made, tmp_path):
    result = made.run(tmp_path, True)
    assert json.loads((tmp_path / f"{made.NAME}.json").read_text())["summary"] == result["summary"]
    assert (tmp_path / f"{made.NAME}.png").stat().st_size > 10_000
    assert all(row.get("converged", 1.0) == 1.0 and row.get("outside", 0) == 0 for row in result["rows"])
