"""Intervals of fits: how often they hold the function, and the columns that `hierax predict --intervals` writes."""

import numpy as np
import pytest
from handmade import solution_of

import hierax as hx
from hierax import cli
from hierax._errors import InputError
from hierax.records import load
from hierax.training.processes import table_process
from studies import fit_intervals


def problem_of(x, values):
    box = hx.Box([0.0] * x.shape[1], [1.0] * x.shape[1], names=("x", "y", "z", "w")[: x.shape[1]])
    return hx.Problem(box, (hx.Data("u", x, values),))


def test_bands_hold_the_function_as_often_as_they_say_under_noise_of_all_kinds():
    held = []
    for number in (0, 3):
        one = fit_intervals.table(number)
        for kind in fit_intervals.KINDS:
            rng = np.random.default_rng([5, number, len(held)])
            x, fresh = rng.random((one.rows, one.dim)), rng.random((500, one.dim))
            values, truth = one.function(x), one.function(fresh)
            process = table_process(problem_of(x, values + fit_intervals.noise(kind, values, rng)), "u")
            assert process is not None
            low, high = process.band(fresh, 0.95)
            wide_low, wide_high = process.band(fresh, 0.99)
            assert np.all((wide_low <= low) & (high <= wide_high))
            held.append(np.mean((low <= truth) & (truth <= high)))
    assert 0.92 <= np.mean(held) <= 0.98
    assert np.min(held) > 0.5


def test_bands_of_nothing_but_noise_hold_its_mean():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(4):
        x = rng.random((100, 2))
        process = table_process(problem_of(x, 3.0 + rng.normal(size=100)), "u")
        assert process is not None
        assert process.process.silent
        low, high = process.band(rng.random((50, 2)), 0.95)
        assert np.all(high - low > 0.3)
        held.append(np.mean((low <= 3.0) & (high >= 3.0)))
    assert np.mean(held) > 0.9


def law(x):
    return np.exp(np.sin(4.0 * x[:, 0]) + x[:, 1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bands")
    rng = np.random.default_rng(0)
    x = rng.random((120, 2))
    values = law(x)
    columns = np.c_[x, np.log(values) + 0.05 * rng.normal(size=120), 1e3 * values]
    np.savetxt(path / "t.csv", columns, delimiter=",", header="x,y,u,w", comments="")
    np.savetxt(path / "p.csv", [[0.5, 0.5], [0.2, 0.7], [3.0, 0.1]], delimiter=",", header="x,y", comments="")
    words = ["fit", str(path / "t.csv"), "--inputs", "x", "y", "--outputs", "u", "w", "--log", "w"]
    assert cli.main([*words, "--run", str(path / "run"), "--budget-seconds", "40"]) == 0
    return path


def test_predictions_have_columns_of_intervals_in_the_units_of_the_table(folder):
    out = folder / "v.csv"
    assert (
        cli.main(["predict", str(folder / "run"), str(folder / "p.csv"), "--out", str(out), "--intervals", "95"]) == 0
    )
    found = np.genfromtxt(out, delimiter=",", names=True)
    assert np.all(np.isnan([found[name][2] for name in ("u", "u_low", "w_high")]))
    inside = found[:2]
    truth = law(np.c_[inside["x"], inside["y"]])
    half = 0.5 * (inside["u_high"] - inside["u_low"])
    assert np.all(np.abs(inside["u"] - np.log(truth)) < 3.0 * half)
    assert np.all((inside["w_low"] <= inside["w"]) & (inside["w"] <= inside["w_high"]))
    assert np.all(np.abs(inside["w_high"] / inside["w_low"] - 1.0) < 1e-2)
    assert np.all((half > 0.005) & (half < 0.15))
    # those of the solution in the folder, by Python
    low, high = hx.intervals(load(folder / "run"), np.c_[inside["x"], inside["y"]], "u")
    np.testing.assert_allclose([low, high], [inside["u_low"], inside["u_high"]], rtol=1e-8)


@pytest.mark.parametrize("words", [["--values", "u_x", "--intervals", "95"], ["--intervals", "100"]])
def test_what_has_no_intervals_is_refused(folder, words, capsys):
    assert (
        cli.main(["predict", str(folder / "run"), str(folder / "p.csv"), "--out", str(folder / "no.csv"), *words]) == 1
    )
    assert "intervals" in capsys.readouterr().err
    assert not (folder / "no.csv").exists()


def test_equations_and_fidelities_have_none():
    x = np.random.default_rng(0).random((2, 20, 1))
    parts = [hx.Fidelity(own, np.sin(5.0 * own[:, 0]), cost) for own, cost in zip(x, (1.0, 9.0), strict=True)]
    coupled = hx.train(hx.Fidelities(hx.Box([0.0], [1.0]), parts))
    for solution in (solution_of(), coupled):
        with pytest.raises(InputError, match="There are no intervals"):
            hx.intervals(solution, [[0.5]])
