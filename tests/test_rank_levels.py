"""The study of levels of rank: its short form, and that all arms have one size."""

from studies import rank_levels


def test_short_form(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_levels, "SECONDS", 1.0)
    result = rank_levels.run(tmp_path, True)
    (case,) = result["summary"]
    rows = result["rows"]
    assert [row["arm"] for row in rows] == [rank_levels.LEVELS, rank_levels.SINGLE, rank_levels.SWEPT]
    assert len({row["parameters"] for row in rows}) == 1
    assert rows[0]["error"] < 0.1
    assert result["summary"][case][rank_levels.LEVELS][2:] == [1.0, 1.0]
    assert all(ratio > 0.0 for found in result["summary"][case].values() for ratio in found)
    assert {file.suffix for file in tmp_path.iterdir()} >= {".png"}
