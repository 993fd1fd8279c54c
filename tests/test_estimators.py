"""Estimators on levels: designs, coverage of intervals, cost against tolerance, and what is said of bad levels."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

import hierax as hx
from hierax import cli
from hierax._errors import InputError
from hierax.models import Simulation
from hierax.models.inputs import Normal, Uniform
from hierax.records.tables import write_columns
from hierax.statistics import Mean, Probability, Quantile, Variance, estimate
from hierax.statistics.blue import best_design, candidates, weights
from hierax.statistics.models import Models
from hierax.statistics.samples import Part
from hierax.statistics.tails import unseen_above

INPUTS = {"a": Normal(0.0, 1.0), "b": Normal(0.5, 1.0)}
MEAN, VARIANCE = 1.25, 0.5 * (1.0 - np.exp(-2.0)) + 3.0


def levels(inputs, level):
    """`sin a + b^2` with an error of second order."""
    a, b, h = inputs["a"], inputs["b"], 2.0**-level
    return np.sin(a) + b**2 + 0.3 * h**2 * np.cos(3 * a) + 0.2 * h**2 * b


def chain(simulate=levels, **others):
    return Simulation(simulate, INPUTS, 10, costs=[4.0**k for k in range(10)], batch=True, **others)


def test_two_models_are_the_known_optimum_of_a_control_variate():
    correlation, costs = 0.95, np.array([1.0, 0.01, 1.01])
    covariance = np.array([[2.0, correlation * np.sqrt(6.0)], [correlation * np.sqrt(6.0), 3.0]])
    design = best_design(covariance, ((0,), (1,), (0, 1)), costs)
    # Peherstorfer, Willcox, Gunzburger, SIAM J. Sci. Comput. 38 (2016), with the second model free of the first's cost
    known = 2.0 * (np.sqrt(1.0 - correlation**2) + correlation * np.sqrt(0.01)) ** 2
    assert design.product == pytest.approx(known, rel=5e-3)
    assert set(design.groups) == {(1,), (0, 1)}


@pytest.mark.parametrize("apart", [1.0, 1e-3, 1e-6, 0.0])
def test_weights_sum_to_one_for_the_truth_and_to_zero_for_others(apart):
    rng = np.random.default_rng(0)
    root = rng.normal(size=4) + apart * rng.normal(size=(4, 4))
    groups = candidates(4)
    found = weights(root @ root.T, groups, rng.uniform(1.0, 9.0, len(groups)))
    total = np.zeros(4)
    for group, own in zip(groups, found, strict=True):
        total[list(group)] += own
    np.testing.assert_allclose(total, [1.0, 0.0, 0.0, 0.0], atol=1e-4)


@pytest.mark.parametrize("quasi", [False, True])
def test_more_samples_continue_the_same_stream(quasi):
    part = Part((1, 0), np.array([[1.0, -1.0]]), quasi)
    simulator = Models(chain())
    at_once = part.extended(simulator, (0,), 128, 3)
    later = part.extended(simulator, (0,), 32, 3).extended(simulator, (0,), 128, 3)
    np.testing.assert_array_equal(at_once.groups[(0,)].values, later.groups[(0,)].values)


def covered(simulator, truth, tolerance, repetitions, statistic=None):
    asked = {"tolerance": tolerance, "budget": 1e9, "quasi": False}
    found = [estimate(simulator, None, statistic, key=k, **asked) for k in range(repetitions)]
    errors = np.array([one.value - truth for one in found])
    inside = np.mean([one.low <= truth <= one.high for one in found])
    return float(inside), float(np.sqrt(np.mean(errors**2)))


@pytest.mark.parametrize(("statistic", "truth", "tolerance"), [(Mean(), 0.5, 0.02), (Variance(), 1.0 / 12.0, 0.006)])
def test_intervals_hold_the_truth_as_often_as_they_say(statistic, truth, tolerance):
    one = Simulation(lambda inputs, level: inputs["x"], {"x": Uniform(0.0, 1.0)}, 1, costs=[1.0], batch=True)
    inside, error = covered(one, truth, tolerance, 200, statistic)
    assert 0.92 <= inside <= 0.98
    assert error < 1.1 * tolerance


def test_intervals_of_a_limit_hold_it():
    inside, error = covered(chain(), MEAN, 0.1, 60)
    assert 0.88 <= inside <= 0.99
    assert error < 0.1


def test_cost_grows_like_the_inverse_square_of_the_tolerance():
    tolerances = np.array([0.08, 0.02, 0.005])
    costs = [np.median([estimate(chain(), tolerance=t, budget=1e9, key=k, quasi=False).spent for k in range(5)])
             for t in tolerances]  # fmt: skip
    slope = np.polyfit(np.log(tolerances), np.log(costs), 1)[0]
    assert -2.15 < slope < -1.5
    last = estimate(chain(), tolerance=0.005, budget=1e9, quasi=False)
    assert last.spent < last.plain / 20
    assert last.rates[1] == pytest.approx(4.0, abs=0.5)


@pytest.mark.parametrize(
    ("statistic", "truth"),
    [(Mean(), MEAN), (Variance(), VARIANCE), (Probability(4.0), 0.0773), (Quantile(0.9), 3.4965)],
)
def test_statistics_are_found_within_their_intervals(statistic, truth):
    tolerance = {Probability: 0.02, Quantile: 0.3}.get(type(statistic), 0.2)
    found = estimate(chain(), None, statistic, tolerance=tolerance, budget=1e9, key=1)
    assert abs(found.value - truth) < 3.5 * tolerance
    assert found.error <= tolerance
    assert found.low < found.value < found.high


def test_quantiles_on_levels_cost_less_than_plain_samples_and_keep_their_intervals():
    tolerance = 0.2
    found = [estimate(chain(), None, Quantile(0.9), tolerance=tolerance, budget=1e9, key=k) for k in range(12)]
    assert np.sqrt(np.mean([(one.value - 3.4965) ** 2 for one in found])) < tolerance
    assert sum(one.low < 3.4965 < one.high for one in found) >= 10
    assert np.median([one.spent / one.plain for one in found]) < 0.25


def test_values_of_few_kinds_have_quantiles_too():
    steps = hx.Simulation(lambda inputs, level: np.floor(6.0 * inputs["u"]) + 0.0 * level, {"u": hx.Uniform(0.0, 1.0)},
                          4, costs=[1.0, 2.0, 4.0, 8.0], batch=True)  # fmt: skip
    found = estimate(steps, None, Quantile(0.75), budget=20000.0)
    assert found.value == pytest.approx(4.0, abs=0.02)
    assert found.low < 4.0 + 1e-6
    assert found.high > 4.0 - 1e-6


def test_a_surrogate_makes_it_cheaper_and_a_wrong_one_does_not_make_it_wrong():
    plain = estimate(chain(), tolerance=0.02, budget=1e9, quasi=False)
    asked = {"tolerance": 0.02, "budget": 1e9}
    good = estimate(chain(), surrogate=lambda inputs: np.sin(inputs["a"]) + inputs["b"] ** 2, quasi=False, **asked)
    wrong = estimate(chain(), surrogate=lambda inputs: 5.0 + np.exp(inputs["a"]), quasi=False, **asked)
    assert good.spent < 0.2 * plain.spent
    assert good.rows[0].name == "surrogate"
    assert wrong.rows[0].name == "0"
    for one in (good, wrong):
        assert one.low - 0.05 < MEAN < one.high + 0.05


@pytest.mark.parametrize("count", [1, 10])
def test_intervals_with_a_surrogate_hold_the_truth_as_often_as_they_say(count):
    made = Simulation(lambda inputs, level: levels(inputs, level + 10 // count), INPUTS, count, batch=True,
                      costs=[4.0**k for k in range(count)])  # fmt: skip
    asked = {"surrogate": lambda inputs: 0.95 * np.sin(inputs["a"]) + inputs["b"] ** 2, "quasi": False}
    found = [estimate(made, tolerance=0.05, budget=1e9, key=k, **asked) for k in range(60)]
    assert 0.88 <= np.mean([one.low <= MEAN <= one.high for one in found]) <= 0.99
    assert np.sqrt(np.mean([(one.value - MEAN) ** 2 for one in found])) < 0.05


class Counted:
    """`levels` one by one, and how often it was asked; the user interrupts at one of them."""

    def __init__(self, end):
        self.calls, self.end = 0, end

    def __call__(self, inputs, level):
        self.calls += 1
        if self.calls == self.end:
            raise KeyboardInterrupt
        return levels(inputs, level)


def test_an_estimation_that_was_cut_off_goes_on_to_the_same_bits(tmp_path):
    def estimated(end, keep):
        counted = Counted(end)
        made = Simulation(counted, INPUTS, 10, costs=[4.0**k for k in range(10)])
        try:
            return estimate(made, tolerance=0.2, budget=1e9, keep=keep), counted.calls
        except KeyboardInterrupt:
            return None, counted.calls - 1

    whole, calls = estimated(0, None)
    _, first = estimated(calls // 2, tmp_path)
    (torn,) = tmp_path.glob("0_0_0.values")
    torn.write_bytes(torn.read_bytes()[:-3])
    again, rest = estimated(0, tmp_path)
    assert (again.value, again.spent) == (whole.value, whole.spent)
    assert calls <= first + rest <= calls + 1
    assert estimated(0, tmp_path)[1] == 0


def test_an_ensemble_uses_its_cheap_models():
    powers = Simulation(
        lambda inputs, level: inputs["x"] ** (level + 1), {"x": Uniform(0.0, 1.0)}, 3, ensemble=True,
        costs=[1e-3, 3e-2, 1.0], batch=True,
    )  # fmt: skip
    found = estimate(powers, tolerance=0.004, budget=1e9)
    assert found.low < 0.25 < found.high
    assert found.spent < 0.4 * found.plain


def test_fields_keep_their_shape():
    def simulate(inputs, level):
        x = np.linspace(0.0, 1.0, 6).reshape(2, 3)
        return (1.0 + 0.3 * 4.0**-level) * inputs["a"][:, None, None] * x + 1.0

    found = estimate(chain(simulate), tolerance=0.05, budget=1e9)
    assert np.shape(found.value) == np.shape(found.low) == (2, 3)
    assert np.all(np.abs(found.value - 1.0) < 0.2)
    assert "6 components" in str(found)


@pytest.mark.parametrize(
    ("simulate", "words"),
    [
        (lambda inputs, level: np.exp(3.0 * inputs["a"]), "Tails are heavy"),
        (lambda inputs, level: inputs["a"] + 2.0**level * inputs["b"], "do not converge"),
        (lambda inputs, level: np.where(inputs["a"] > 1.0, np.nan, inputs["b"]), "no finite value"),
        (lambda inputs, level: inputs["b"] + 2.0 ** (-0.5 * level), "is missed"),
        (lambda inputs, level: np.where(inputs["b"] > 5.0, 1e3, 0.0), "are equal"),
    ],
)
def test_what_cannot_be_trusted_is_said(simulate, words):
    found = estimate(chain(simulate), tolerance=0.02, budget=3e4, quasi=False)
    assert not found.reached
    assert any(words in sentence for sentence in found.sentences)


def test_members_without_a_value_are_left_out_of_independent_samples():
    told = []
    found = estimate(chain(lambda inputs, level: np.where(inputs["a"] > 2.0, np.nan, inputs["b"])), tolerance=0.05,
                     budget=1e5, tell=told.append)  # fmt: skip
    assert found.failed > 0
    assert not found.reached
    assert found.low < 0.5 < found.high
    assert "independent samples" in told[0]


def test_what_falls_with_the_number_of_levels_tells_no_limit():
    """`1 / l` has no rate; the interval of 41 levels missed the mean of one half by three times its half width."""
    slow = Simulation(lambda inputs, level: inputs["a"] * (1.0 + 0.5 / (1.0 + level)), {"a": Uniform(0.0, 1.0)}, 60,
                      costs=[1.0] * 60, batch=True)  # fmt: skip
    found = estimate(slow, tolerance=1e-3, budget=1e6)
    assert found.error < 1e-3
    assert not found.reached
    assert any("too slowly" in sentence for sentence in found.sentences)


def test_slow_levels_and_levels_that_do_not_help_are_said():
    found = estimate(chain(lambda inputs, level: inputs["a"] + np.cos(40.0 * 1.5**level * inputs["b"])), tolerance=0.1,
                     budget=1e5, quasi=False)  # fmt: skip
    assert any("little in common" in sentence for sentence in found.sentences)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: estimate(chain(), tolerance=0.0), "tolerance"),
        (lambda: Simulation(levels, {}), "Nothing varies"),
        (lambda: Simulation(levels, {"a": 3.0}), "The input 'a'"),  # pyright: ignore
        (lambda: Simulation(levels, INPUTS, 3, costs=[1.0]), "costs"),
        (lambda: Quantile(1.5), "probability"),
        (lambda: estimate(chain(lambda inputs, level: np.ones((3, 2)))), "one value for each member"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(InputError) as caught:
        call()
    assert words in str(caught.value)


def test_random_fields_are_inputs_of_a_simulation():
    field = hx.GaussianField(0.3, modes=6, deviation=0.5, box=hx.Box([0.0], [1.0]))

    def simulate(inputs, level):
        return np.mean(inputs["k"].on_cells((4 * 2**level,)))

    found = hx.estimate(hx.Simulation(simulate, {"k": field}, levels=5), tolerance=5e-3)
    # the mean of an exponential of a normal number, less the variance that six modes leave out
    assert found.reached
    assert np.exp(0.125 * field.share) - 0.03 < found.value < np.exp(0.125) + 0.02


EXAMPLE = Path(__file__).parents[1] / "examples" / "random_conductivity.py"


def test_the_command_keeps_its_record_and_says_what_was_missed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["estimate", f"{EXAMPLE}:simulator", "--json", "out.json"]
    assert cli.main([*words, "--tolerance", "2e-3"]) == 0
    record = json.loads(Path("out.json").read_text())
    assert record["low"] < 0.135 < record["high"]
    assert record["error"] <= 2e-3
    assert json.loads(Path(record["run"], "estimate.json").read_text()) == record
    assert cli.main([*words, "--force", "--tolerance", "1e-9", "--budget-seconds", "0.3"]) == 3
    assert "is missed, the budget is spent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([f"{EXAMPLE}:middle"], "Nothing varies"),
        ([f"{EXAMPLE}:MODES"], "is a int"),
        ([f"{EXAMPLE}:simulator", "--variance", "--above", "1.0"], "More than one statistic"),
        ([f"{EXAMPLE}:simulator", "--tolerance", "-1"], "tolerance"),
        (["burgers"], "Nothing varies"),
    ],
)
def test_the_command_refuses_what_it_cannot_estimate(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["estimate", *words]) == 1
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*"))


def test_a_command_that_its_budget_ended_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--run", "r", "--tolerance", "1e-4", "--budget-seconds", "0.07"]
    assert cli.main(["estimate", f"{EXAMPLE}:simulator", *words]) == 3
    kept = sum(path.stat().st_size for path in Path("r/values").iterdir())
    resume = ["resume", "r", "--problem", f"{EXAMPLE}:simulator", "--budget-seconds", "60", "--json", "out.json"]
    assert cli.main(resume) == 0
    record = json.loads(Path("out.json").read_text())
    assert record["error"] <= 1e-4
    assert kept < sum(path.stat().st_size for path in Path("r/values").iterdir())
    assert cli.main(["report", "r"]) == 0
    page = Path("r/report.html").read_text()
    assert all(part in page for part in (f"{record['value']:.6g}", "Distribution of the quantity", "<td>beta</td>"))
    assert cli.main(["resume", "r"]) == 1
    assert "is not run unless you name it" in capsys.readouterr().err


def test_a_family_is_asked_in_words_and_its_surrogate_makes_that_cheaper(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("rod.py").write_text(
        "import hierax as hx\n"
        "def rod(k):\n"
        "    heat = hx.Residual('heat', lambda u, x: k * hx.derivative(u, 'xx')(x) + 1.0)\n"
        "    ends = hx.Residual('ends', lambda u, x, normal: u(x), on='boundary')\n"
        "    return hx.Problem(domain=hx.Box([0.0], [1.0], names=('x',)), terms=(heat, ends))\n"
        "family = hx.Family(rod, {'k': hx.Uniform(1.0, 2.0)})\n"
    )
    asked = ["estimate", "rod.py:family", "--json", "out.json", "--tolerance", "1e-5", "--force"]
    point = ["--quantity", "u at x=0.5"]
    # u = x (1 - x) / (2 k), and 1 / k has the mean log 2
    truth = pytest.approx(0.125 * np.log(2.0), abs=4e-5)
    assert cli.main([*asked, *point]) == 0
    plain = json.loads(Path("out.json").read_text())
    assert plain["value"] == truth
    assert cli.main(["surrogate", "rod.py:family", "--run", "s", "--budget-seconds", "12", "--tolerance", "1e-4"]) == 0
    assert cli.main([*asked, *point, "--surrogate", "s"]) == 0
    record = json.loads(Path("out.json").read_text())
    assert record["value"] == truth
    assert record["spent"] < plain["spent"] / 5
    for quantity in ("v at x=0.5", "u at x=3", "slope(u)"):
        assert cli.main([*asked, "--quantity", quantity]) == 1


def table_of_samples(seed, chain):
    """Three models of `exp(z / 2)` whose errors fall fourfold, at inputs that not all of them share."""
    rng = np.random.default_rng(seed)
    counts = {(2, 1): 40, (1, 0): 200, (0,): 2000} if chain else {(2, 1, 0): 40, (1, 0): 200, (0,): 2000, (2,): 20}
    columns = [[], [], [], []]
    for group, count in counts.items():
        z, names = rng.standard_normal(count), np.arange(count) + 10_000 * len(columns[0])
        for level in group:
            values = np.exp(0.5 * z) + 0.2 * 4.0**-level * np.sin(2.0 * z)
            for column, own in zip(
                columns, (names, np.full(count, level), values, np.full(count, 4.0**level)), strict=True
            ):
                column.extend(own)
    return [np.array(column) for column in columns]


@pytest.mark.parametrize("chain", [False, True])
def test_samples_that_are_there_are_estimated_without_bias(chain):
    """Not nested, with and without samples of all models: intervals hold, errors are far below those of dear ones."""
    found = [hx.estimate_samples(*table_of_samples(seed, chain)) for seed in range(200)]
    truth = np.exp(0.125)
    errors, claimed = [one.value - truth for one in found], [one.error for one in found]
    assert 0.92 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.985
    assert 0.85 < np.sqrt(np.mean(np.square(errors))) / np.mean(claimed) < 1.15
    assert np.mean(claimed) < 0.25 * np.exp(0.125) * np.sqrt(np.expm1(0.25) / 60)
    assert [row.name for row in found[0].rows] == ["0", "1", "2"]


def test_a_table_of_samples_on_the_command_line(tmp_path, capsys):
    """Columns by name, the record in a run folder; what a table has not is refused."""
    columns = table_of_samples(0, True)
    path = tmp_path / "samples.csv"
    write_columns(path, dict(zip(("sample", "level", "drag", "cost"), columns, strict=True)))
    run = tmp_path / "run"
    assert cli.main(["estimate", str(path), "--quantity", "drag", "--run", str(run)]) == 0
    record = json.loads((run / "estimate.json").read_text())
    assert record["value"] == hx.estimate_samples(*columns).value
    assert "Sum of differences of levels" in capsys.readouterr().out
    assert cli.main(["report", str(run)]) == 0
    assert cli.main(["resume", str(run)]) == 1
    assert cli.main(["estimate", str(path), "--quantity", "drag", "--tolerance", "0.1"]) == 1
    assert "leave --vary" in capsys.readouterr().err
    with pytest.raises(hx.InputError, match="0 samples have level 2 and 0"):
        hx.estimate_samples(*[column[columns[1] != 1] for column in columns])
    with pytest.raises(hx.InputError, match="two values"):
        hx.estimate_samples(*[np.tile(column, 2) for column in columns])


def test_heavy_tails_are_said_of_sobol_sequences():
    """The variance of a number without fourth moments, and not that of a normal one."""
    laws, inputs = {"heavy": lambda z: np.sinh(1.2 * z), "normal": lambda z: z}, {"z": Normal(0.0, 1.0)}
    said = {}
    for name, law in laws.items():
        made = hx.Simulation(lambda one, level, law=law: law(one["z"]), inputs, 1, costs=[1.0], batch=True)
        found = [hx.estimate(made, statistic=hx.Variance(), budget=512.0, quasi=True, key=k) for k in range(20)]
        said[name] = sum("heavy" in " ".join(one.sentences) for one in found)
    assert said["heavy"] >= 15
    assert said["normal"] == 0


def test_a_surrogate_that_seems_exact_is_not_taken_for_exact():
    """Whether a number is above one: few samples show where a surrogate of it is wrong, and none is not never."""
    above = lambda z: np.asarray(z > 1.0, float)  # noqa: E731
    made = hx.Simulation(lambda one, level: above(one["z"]), {"z": Normal(0.0, 1.0)}, 2, costs=[1.0, 2.0], batch=True)
    truth = ndtr(-1.0)
    found = [
        hx.estimate(
            made, tolerance=0.02, budget=1e9, surrogate=lambda one: above(0.97 * one["z"]), quasi=False, key=key
        )
        for key in range(100)
    ]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.93


def test_what_lies_beyond_the_samples_is_that_of_the_law():
    """Pareto with a finite mean lacks what theory has, in the mean over draws; bounded laws and events lack nothing."""
    rng, count, shape = np.random.default_rng(0), 1000, 0.5
    pareto = (rng.random((count, 400)) ** -shape - 1.0) / shape
    # expected excess beyond the quantile 1 - 1 / n, less that of an exponential tail
    known = shape / (1.0 - shape) * count**shape / count
    assert 0.8 * known < np.median(unseen_above(pareto)) < 2.0 * known
    assert np.all(unseen_above(-pareto) < 1e-3 * known)
    assert np.all(unseen_above(rng.random((count, 40))) == 0.0)
    assert np.all(unseen_above(np.asarray(rng.random((count, 40)) < 0.02, float)) == 0.0)


def test_beginnings_of_levels_are_compared_by_the_same_samples():
    """Sixteen samples of a heavy tail show a small variance, which is no merit of the level that they are of."""
    made = chain(lambda inputs, level: np.exp(inputs["a"]) * (1.0 + 0.05 * 4.0**-level * np.cos(inputs["a"])))
    found = [estimate(made, statistic=hx.Variance(), tolerance=3.0, budget=1e9, key=key, quasi=False)
             for key in range(40)]  # fmt: skip
    # level 0 is nearly right at a quarter of the cost of level 1
    assert sum(one.rows[0].name == "0" for one in found) >= 36


def test_levels_that_differences_show_to_be_needless_are_not_added():
    """The noise of means says little where root mean squares are far below what is asked."""
    inputs = {"a": Normal(0.0, 1.0), "b": Normal(0.0, 1.0)}
    made = Simulation(
        lambda one, level: np.exp(one["a"]) + 0.1 * 32.0**-level * np.sin(3.0 * one["b"] + one["a"]), inputs, 8,
        costs=[4.0**k for k in range(8)], batch=True,
    )  # fmt: skip
    found = [estimate(made, tolerance=0.02, budget=1e9, key=key, quasi=False) for key in range(12)]
    assert max(len(one.rows) for one in found) <= 3
