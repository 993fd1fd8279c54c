"""The study `failures` in its short form: what is said about a small loss with a wrong answer."""

from studies import failures


def test_noise_is_named_and_a_forgotten_condition_noted(tmp_path):
    result = failures.run(tmp_path, True)
    rows = {row["case"]: row for row in result["rows"]}
    noise, forgotten = rows["large network follows the noise"], rows["the condition was forgotten"]
    assert noise["limit"] == "noise"
    assert noise["relative_l2"] > 0.05
    # zero solves the equation, and so do its other solutions: the guard `determined` sees them
    assert forgotten["relative_l2"] == 1.0
    assert forgotten["exit_code"] == 3
    assert "may not determine the solution" in forgotten["says"]
    assert {file.suffix for file in tmp_path.iterdir()} == {".txt", ".csv", ".png"}
