"""The study of levels of rank: its short form, and that both arms have one size."""

from studies import rank_levels


def test_short_form(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_levels, "SECONDS", 1.0)
    result = rank_levels.run(tmp_path, True)
    (case,) = result["summary"]
    rows = result["rows"]
    assert len(rows) == 2
    for levels, single in zip(rows[::2], rows[1::2], strict=True):
        assert levels["parameters"] == single["parameters"]
        assert levels["error"] < 0.1
    assert all(ratio > 0.0 for ratio in result["summary"][case])
    assert {file.suffix for file in tmp_path.iterdir()} >= {".png"}
