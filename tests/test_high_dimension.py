"""The study of equations of many coordinates: its short form, and its solutions."""

import jax
import pytest

from hierax.testing import check_problem
from studies import high_dimension


@pytest.mark.parametrize("make", [lambda: high_dimension.constant(3), lambda: high_dimension.gaussian(4)])
def test_its_problems_are_sound(make):
    check_problem(make(), key=jax.random.key(0))


def test_short_form(tmp_path, monkeypatch):
    monkeypatch.setattr(high_dimension, "ARMS", {"default": None, "again": None})
    case = high_dimension.CASES[0]
    monkeypatch.setattr(high_dimension, "CASES", (high_dimension.Case(case.name, case.make, 20.0),))
    result = high_dimension.run(tmp_path, True)
    error, seconds = result["summary"][case.name]["default"]
    assert error < 1e-6
    assert seconds < 60.0
    assert {file.suffix for file in tmp_path.iterdir()} >= {".png"}
