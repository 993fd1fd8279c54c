"""The study of shapes: its short form runs, and its numbers are those that the guide rests on."""

import json

from studies.__main__ import main


def test_errors_moments_and_cuts_of_the_short_form(tmp_path):
    assert main(["shapes", "--quick", "--out", str(tmp_path), "--json", str(tmp_path / "all.json")]) == 0
    summary = json.loads((tmp_path / "all.json").read_text())["summary"]
    assert summary["error"]["disk-hole"][0] < 1e-6
    assert summary["moments"] < 1e-8
    assert summary["condition_ratio"] < 2.0
    assert (tmp_path / "shapes.png").exists()
