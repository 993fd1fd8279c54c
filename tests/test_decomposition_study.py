"""The study `decomposition` in small: rows, summary and files, written as they come."""

import numpy as np
import pytest

from hierax.problems import oscillator
from hierax.studies import named_study
from hierax.studies.common import Arm
from hierax.studies.decomposition import Case, arms_of, cases, classical_row, runge_kutta, summary, table


def test_every_field_meets_every_solver_that_suits_it():
    names = [arm.name for arm in arms_of(cases()[0])]
    assert len(names) == len(set(names)) == 1 + 4 * 5 + 3 + 1
    assert "perceptrons, Schwarz" not in names
    assert all(isinstance(arm, Arm) for arm in arms_of(cases()[-1]))


def test_the_classical_row_is_measured_and_summed_up():
    case = Case("slow", oscillator(10.0), 4, 1.9, "nothing", lambda p: runge_kutta(p, 10.0))
    row = classical_row(case)
    assert row["relative_l2"] < 1e-10
    assert summary([row]) == {"error": {"slow": {row["arm"]: [row["relative_l2"], row["seconds"]]}}}
    assert "published: nothing" in table([row])


@pytest.mark.slow
def test_the_short_form_leaves_its_files(tmp_path):
    found = named_study("decomposition")(tmp_path, True)
    (errors,) = found["summary"]["error"].values()
    assert "spline grid, default" in errors
    assert errors["polynomials, Schwarz"][0] < 1e-4
    assert np.isfinite([pair[0] for pair in errors.values()]).all()
    assert {path.suffix for path in tmp_path.iterdir()} == {".txt", ".csv", ".png"}
