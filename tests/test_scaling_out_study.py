"""The study `scaling-out` in its quick form: parts of a step, and a prediction that follows from them."""

from studies import named_study
from studies.scaling_out import efficiency


def test_predicted_efficiency_is_one_without_what_is_told_and_falls_with_devices(tmp_path):
    found = named_study("scaling-out")(tmp_path, True)
    for row in found["rows"]:
        assert row["divided"] > 0.0
        assert row["bytes"] >= 8 * (1 + row["parameters"])
        assert efficiency(row, 1) == 1.0
        four, many, most = (row["efficiency"][str(d)] for d in (4, 64, 1024))
        assert 1.0 > four > many > most > 0.0
    assert all(row["factors"] > 0.0 and row["peak"] > 0.0 for row in found["steps"])
    assert [row["programs"] for row in found["trainings"]][1:] == [0, 0]
    assert {path.suffix for path in tmp_path.iterdir()} == {".txt", ".csv", ".png"}
