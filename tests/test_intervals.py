"""Intervals of constants: against the sensitivities of solutions that are known in closed form."""

from types import SimpleNamespace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.special import stdtrit

import hierax as hx
from hierax.fields import Scalar
from hierax.results.intervals import Interval
from hierax.training.discrete import DiscreteProblem
from hierax.training.intervals import Widths
from hierax.training.other_constants import other_constants

RATE, NOISE, TIMES = 1.3, 0.02, np.linspace(0.05, 2.0, 30)


def decay(noise, unit=1.0):
    """`u' = -k u` with `u(0) = 1` from noisy values, all times `unit`."""
    values = unit * (np.exp(-RATE * TIMES) + NOISE * np.random.default_rng(3).normal(size=len(TIMES)))
    return hx.Problem(
        hx.Box([0.0], [2.0], names=("t",)),
        (
            hx.Residual("decay", lambda w, x: hx.derivative(w.u, "t")(x) + w.k * w.u(x)),
            hx.Residual("start", lambda w, x: w.u(x) - unit, on=hx.Face("t", "lower")),
            hx.Data("u", TIMES[:, None], values, noise=None if noise is None else unit * noise),
        ),
        unknowns={"u": hx.Function(), "k": hx.Constant(0.5)},
    )


@pytest.fixture(scope="module")
def trained():
    return hx.train(decay(None))


def deviation(k):
    """Standard deviation of the rate for noise one, from `du/dk = -t exp(-k t)`."""
    return 1.0 / np.sqrt(np.sum((TIMES * np.exp(-k * TIMES)) ** 2))


def test_interval_is_that_of_the_known_sensitivity(trained):
    found = trained.unknowns["k"]
    misfit = trained.evaluate(TIMES[:, None], "u") - trained.problem.terms[2].values
    spread = np.sqrt(np.sum(misfit**2) / (len(TIMES) - 1))
    half = stdtrit(len(TIMES) - 1, 0.975) * spread * deviation(found.value)
    assert found.high - found.value == pytest.approx(half, rel=0.03)
    assert found.value - found.low == pytest.approx(half, rel=0.03)
    assert found.low < RATE < found.high


def test_interval_is_told_in_text_and_json(trained):
    found = trained.unknowns["k"]
    assert trained.to_json()["unknowns"] == {"k": {"value": found.value, "low": found.low, "high": found.high}}
    assert f"k = {found.number} (95 %: " in str(trained)


def test_stated_noise_gives_the_normal_quantile_in_any_unit():
    unit = 1e6
    found = hx.train(decay(NOISE, unit)).unknowns["k"]
    assert found.high - found.low == pytest.approx(2 * 1.959964 * NOISE * deviation(found.value), rel=0.03)


def test_noise_that_the_misfit_contradicts_is_not_believed(trained):
    solution = hx.train(decay(NOISE / 20))
    known, found = trained.unknowns["k"], solution.unknowns["k"]
    assert found.high - found.low == pytest.approx(known.high - known.low, rel=0.05)
    assert [remark[:43] for remark in solution.remarks] == ["The residuals of 'u' are 23 times the noise"]
    assert trained.remarks == []


def test_one_noise_for_components_of_different_size_counts_in_their_own_units():
    sizes = np.array([1.0, 50.0])
    values = np.exp(-RATE * TIMES)[:, None] * sizes + NOISE * np.random.default_rng(4).normal(size=(len(TIMES), 2))
    terms = (
        hx.Residual("decay", lambda w, x: hx.derivative(w.u, "t")(x) + w.k * w.u(x)),
        hx.Residual("start", lambda w, x: w.u(x) - sizes, on=hx.Face("t", "lower")),
        hx.Data("u", TIMES[:, None], values, noise=NOISE),
    )
    unknowns = {"u": hx.Function(2), "k": hx.Constant(0.5)}
    solution = hx.train(hx.Problem(hx.Box([0.0], [2.0], names=("t",)), terms, unknowns=unknowns))
    found, half = solution.unknowns["k"], 1.959964 * NOISE * deviation(RATE) / np.linalg.norm(sizes)
    assert found.high - found.value == pytest.approx(half, rel=0.03)
    assert abs(found.value - RATE) < 1.5 * half
    assert solution.remarks == []


@pytest.mark.parametrize(("step", "moving"), [(0.04, ("k",)), (1e-5, ())])
def test_an_interval_holds_what_finer_levels_would_change(step, moving):
    values = 1.0 - step * 0.5 ** np.arange(4)
    visited = {k: SimpleNamespace(field=hx.Unknowns(k=Scalar(v))) for k, v in enumerate(values)}
    found = Widths({"k": 0.1 * step}, {}).wider(visited, {1: 0.1, 2: 0.1, 3: 0.1}, 3)  # pyright: ignore
    assert found.halves["k"] - 0.1 * step == pytest.approx(1.0 - values[-1])
    assert found.moving == moving


def test_instruments_count_by_the_noise_that_is_stated_for_each():
    rng, noises = np.random.default_rng(5), (0.005, 0.2)
    terms = [
        hx.Residual("decay", lambda w, x: hx.derivative(w.u, "t")(x) + w.k * w.u(x)),
        hx.Residual("start", lambda w, x: w.u(x) - 1.0, on=hx.Face("t", "lower")),
    ]
    for number, noise in enumerate(noises):
        values = np.exp(-RATE * TIMES) + noise * rng.normal(size=len(TIMES))
        terms.append(hx.Data(f"gauge {number}", TIMES[:, None], values, noise=noise, observe=lambda w, x: w.u(x)))
    unknowns = {"u": hx.Function(), "k": hx.Constant(0.5)}
    solution = hx.train(hx.Problem(hx.Box([0.0], [2.0], names=("t",)), terms, unknowns=unknowns))
    found = solution.unknowns["k"]
    half = 1.959964 * deviation(RATE) / np.linalg.norm(1.0 / np.array(noises))
    assert found.high - found.value == pytest.approx(half, rel=0.05)
    assert abs(found.value - RATE) < 1.5 * half


def test_interval_of_a_constant_with_bounds_stays_inside_them():
    problem = decay(None)
    unknowns = {"u": hx.Function(), "k": hx.Constant(0.5, bounds=(0.0, None))}
    found = hx.train(hx.Problem(problem.domain, problem.terms, unknowns=unknowns)).unknowns["k"]
    assert 0 < found.low < RATE < found.high


def test_a_constant_without_data_has_a_value_only():
    def interior(w, x):
        return hx.derivative(w.u, "x")(x) - w.c

    def ends(w, x, normal):
        return w.u(x) - 2.0 * x[0]

    problem = hx.Problem(
        hx.Box([0.0], [1.0]),
        (hx.Residual("interior", interior), hx.Residual("ends", ends, on="boundary")),
        unknowns={"u": hx.Function(), "c": hx.Constant(1.0)},
    )
    found = hx.train(problem).unknowns["c"]
    assert found.value == pytest.approx(2.0, rel=1e-8)
    assert np.isnan(found.low)
    assert np.isnan(found.high)
    assert str(found) == "2"


def test_an_interval_shows_the_digits_that_it_is_worth():
    assert str(Interval(0.0493635, 0.047797, 0.050982)) == "0.04936 (95 %: 0.0478 to 0.05098)"
    assert str(Interval(2.0)) == "2"
    assert Interval(1.0, 0.5, 2.0).restored(10.0, 3.0) == Interval(13.0, 8.0, 23.0)


def test_page_has_a_tile_for_each_constant(trained, tmp_path):
    trained.report(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert trained.unknowns["k"].number in text
    assert trained.unknowns["k"].bounds in text


def test_values_count_by_their_own_noise_to_the_end():
    """`u' = 1 - k u` of good and bad values: rate and interval are those of weighted least squares."""
    rng = np.random.default_rng(11)
    times, noise = rng.uniform(0.0, 3.0, (100, 1)), np.where(rng.uniform(size=100) < 0.5, 0.005, 0.3)

    def misfit(p):
        return ((p[1] - 1.0 / p[0]) * np.exp(-p[0] * times[:, 0]) + 1.0 / p[0] - values) / noise

    values = np.zeros(100)
    values = noise * misfit([2.0, 1.0]) + noise * rng.normal(size=100)
    terms = (
        hx.Residual("law", lambda w, x: hx.derivative(w.u, "t")(x) + w.k * w.u(x) - 1.0),
        hx.Data("u", times, values, noise=noise),
    )
    problem = hx.Problem(
        hx.Box([0.0], [3.0], names=("t",)), terms, unknowns={"u": hx.Function(), "k": hx.Constant(0.5)}
    )
    found = hx.train(problem)
    fit = least_squares(misfit, [1.0, 1.0])
    deviation = np.sqrt(np.linalg.inv(fit.jac.T @ fit.jac)[0, 0])
    rate = found.unknowns["k"]
    assert found.result is hx.RESULTS.successful
    assert rate.value == pytest.approx(fit.x[0], abs=0.05 * deviation)
    assert rate.high - rate.low == pytest.approx(2.0 * 1.96 * deviation, rel=0.05)


def test_other_constants_that_fit_as_well_are_told():
    times = np.linspace(0.1, 3.0, 12)[:, None]
    terms = (
        hx.Residual("decay", lambda w, x: hx.derivative(w.u, "t")(x) + w.k**2 * w.u(x)),
        hx.Data("u", times, np.exp(-0.25 * times[:, 0]), noise=0.01),
    )
    line = hx.Box([0.0], [3.0], names=("t",))
    problem = hx.Problem(line, terms, unknowns={"u": hx.Function(), "k": hx.Constant(0.8)})
    plan = hx.plan(problem)
    discrete = DiscreteProblem.of(plan.in_its_units(problem), plan, 0)
    field, size = plan.hierarchy.levels[0].field, float(plan.units.sizes["k"])
    told = {}
    for k in (-0.5, 0.5):
        own = eqx.tree_at(lambda f: f.parts["k"].value, field, jnp.asarray(k / size))
        level = SimpleNamespace(field=own, state=None)
        told[k] = other_constants(discrete, {0: level}, {"k": 0.01 / size}, lambda: (0.0, False))
    assert "k = 0.5 fit the data as well" in told[-0.5]
    assert not told[0.5]
