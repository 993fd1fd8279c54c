"""The study `schwarz-scaling` in its quick form: iterations with a coarse space do not grow; files and summary."""

import pytest

from studies import named_study


@pytest.mark.slow
def test_two_levels_do_not_grow_and_one_does(tmp_path):
    found = named_study("schwarz-scaling")(tmp_path, True)
    (iterations,), (error,) = found["summary"]["iteration_ratio"].values(), found["summary"]["error_ratio"].values()
    assert iterations <= 2.0
    assert error <= 3.0
    one = [row for row in found["rows"] if row["solver"] == "one level"]
    assert one[1]["iterations"] >= 2 * one[0]["iterations"]
    assert {path.suffix for path in tmp_path.iterdir()} == {".txt", ".csv", ".png"}
    assert "two levels, adaptive" in found["table"]
