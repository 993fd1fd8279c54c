"""The estimator: what scikit-learn asks of one, errors that it states, and itself without scikit-learn."""

import dataclasses
import pickle
import warnings

import numpy as np
import pytest

import hierax as hx
from hierax.events import Guard
from hierax.sklearn import bases, regressor

RNG = np.random.default_rng(0)
ROWS = RNG.uniform(0.0, 1.0, (60, 2))
VALUES = np.sin(4.0 * ROWS[:, 0]) + ROWS[:, 1] ** 2
FRESH = RNG.uniform(0.1, 0.9, (40, 2))
TRUTH = np.sin(4.0 * FRESH[:, 0]) + FRESH[:, 1] ** 2


def model(**settings):
    # so few seconds that kriging alone is tried
    return hx.sklearn.HieraxRegressor(**{"budget": 3.9, **settings})


@pytest.mark.slow
def test_scikit_learn_finds_what_it_expects():
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = checks.check_estimator(model(), on_fail=None, on_skip=None)
    failed = {result["check_name"]: str(result["exception"]) for result in found if result["status"] == "failed"}
    assert not failed
    assert len(found) > 40


def test_pipelines_searches_and_frames():
    pipeline, selection = pytest.importorskip("sklearn.pipeline"), pytest.importorskip("sklearn.model_selection")
    pandas, scaler = pytest.importorskip("pandas"), pytest.importorskip("sklearn.preprocessing").StandardScaler()
    frame = pandas.DataFrame(ROWS, columns=["length", "width [m]"])
    fitted = pipeline.Pipeline([("scaled", scaler), ("fit", model())]).fit(frame, VALUES)
    assert fitted.score(pandas.DataFrame(FRESH, columns=frame.columns), TRUTH) > 0.9999
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = selection.GridSearchCV(model(), {"random_state": [0, 1]}, cv=2).fit(ROWS, VALUES)
    assert search.best_score_ > 0.99
    own = model().fit(frame.rename(columns={"width [m]": "width"}), VALUES)
    assert own.solution_.problem.domain.names == ("length", "width")
    with pytest.raises(ValueError, match="same order"):
        own.predict(pandas.DataFrame(FRESH, columns=["width", "length"]))


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_deviations_hold_the_truth(noise):
    fitted = model().fit(ROWS, VALUES + noise * np.random.default_rng(1).normal(size=60))
    mean, deviation = fitted.predict(FRESH, return_std=True)
    assert np.mean(np.abs(mean - TRUTH) < 2.0 * deviation) > 0.8
    assert np.sqrt(np.mean(deviation**2)) < 5.0 * np.sqrt(np.mean((mean - TRUTH) ** 2))
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(FRESH), mean)


def test_rows_outside_and_fits_that_fail_are_told(monkeypatch):
    fitted = model().fit(ROWS, VALUES)
    with pytest.warns(UserWarning, match="1 of 2 rows are outside"):
        found = fitted.predict([[0.5, 0.5], [0.5, 9.0]])
    assert found[1] == pytest.approx(fitted.predict([[0.5, ROWS[:, 1].max()]])[0], rel=1e-9)
    guards = {"between": Guard(1.0, 0.1, False, "Too little is known between the rows.")}
    failed = dataclasses.replace(fitted.solution_, result=hx.RESULTS.guard_validation, guards=guards)
    monkeypatch.setattr(regressor, "train", lambda problem, **settings: failed)
    with pytest.warns(UserWarning, match="guard_validation: Too little is known"):
        model().fit(ROWS, VALUES)
    with pytest.raises(hx.InputError, match="are the same"):
        model().fit(np.ones((5, 2)), np.arange(5.0))


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setattr(regressor, "validate_data", bases.validated)
    monkeypatch.setattr(regressor, "check_is_fitted", bases.is_fitted)
    members = {name: item for name, item in vars(hx.sklearn.HieraxRegressor).items() if name != "__dict__"}
    plain = type("Plain", (bases.PlainRegressor, bases.PlainEstimator), members)(budget=1.0)
    with pytest.raises(hx.InputError, match="not fitted"):
        plain.predict(FRESH)
    assert plain.set_params(budget=3.9).get_params()["budget"] == 3.9
    # a constant column tells nothing
    rows, fresh = (np.insert(points, 1, 7.0, axis=1) for points in (ROWS, FRESH))
    assert plain.fit(rows, np.stack([VALUES, ROWS[:, 0]], axis=1)).predict(fresh).shape == (40, 2)
    assert plain.score(fresh, np.stack([TRUTH, FRESH[:, 0]], axis=1)) > 0.9999
    for bad in (FRESH, FRESH[0], np.full((2, 3), np.nan)):
        with pytest.raises(hx.InputError, match="X has"):
            plain.predict(bad)
