"""Outcomes and refusals: their names, codes and texts are an interface."""

import pickle

import pytest
from handmade import solution_of

import hierax as hx
from hierax._errors import InputError
from hierax._results import RESULTS

CODES = {
    "successful": 0,
    "nonfinite": 2,
    "singular": 2,
    "no_decrease": 2,
    "guard_fresh_residual": 3,
    "guard_boundary": 3,
    "guard_levels": 3,
    "guard_validation": 3,
    "guard_stationary": 3,
    "guard_coverage": 3,
    "guard_determined": 3,
    "guard_admissible": 3,
    "unchecked": 3,
    "interrupted": 130,
}


def test_names_and_exit_codes():
    # By __members__, which also lists aliases: two members with the same text would silently become one.
    assert {name: member.exit_code for name, member in RESULTS.__members__.items()} == CODES
    assert len(RESULTS) == len(CODES)


@pytest.mark.parametrize("result", [r for r in RESULTS if r is not RESULTS.successful])
def test_failures_say_causes_and_remedy(result):
    happened, _, rest = result.value.partition("Likely causes:")
    assert happened.strip().endswith(".")
    causes, _, remedy = rest.strip().partition(". ")
    assert causes
    assert remedy.endswith(".")


def test_input_error_says_what_where_and_remedy():
    error = InputError("Two columns have the same name.", "data.csv, column 3", "Rename one of them.")
    assert isinstance(error, ValueError)
    assert (error.what, error.where, error.remedy) == error.args
    assert all(part in str(error) for part in error.args)


def test_input_error_survives_pickling():
    error = InputError("what", "where", "remedy")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, InputError)
    assert str(copy) == str(error)


@pytest.mark.parametrize("result", list(hx.RESULTS))
def test_results_are_raised_on_request_only(result, monkeypatch):
    monkeypatch.setattr("hierax.training.train.carried_out", lambda *given, **asked: solution_of(result=result))
    problem = hx.Problem(hx.Box([0.0], [1.0]), (hx.Data("u", [[0.0], [0.5], [1.0]], [1.0, 2.0, 3.0]),))
    assert hx.train(problem).result is result
    if result is hx.RESULTS.successful:
        assert hx.train(problem, throw=True).result is result
        return
    with pytest.raises(hx.TrainingError) as caught:
        hx.train(problem, throw=True)
    assert str(caught.value) == result.value
