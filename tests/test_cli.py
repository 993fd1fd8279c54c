"""The command line: exit codes, files, messages; run in this process."""

import json
import os
import re
import sys

import numpy as np
import pytest
from handmade import exact_field, exact_problem, solution_of
from test_solution import KEYS

import hierax as hx
from hierax import cli
from hierax.records import Folder, Run, read_columns
from hierax.records.recorded import recorded_source
from studies import registry
from studies.__main__ import main as study_main

HEAT = """
import jax.numpy as jnp
import hierax as hx
from neighbour import SCALE

def problem(conductivity=0.1, modes=1, start="sine"):
    return hx.Problem(
        hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")),
        (hx.Residual("interior", lambda u, x: hx.derivative(u, "t")(x) - SCALE * conductivity),),
        reference=lambda x: conductivity * modes * x[0] * x[1] ** 2,
    )

def needs(size):
    return problem(size)

made = problem(0.5)
number = 3

def divides():
    return 1 / 0

def misspelt():
    return hx.Box([0.0], [1.0], names=("a b",))

def late():
    def interior(u, x):
        return hx.derivative(u, "q")(x)
    return hx.Problem(hx.Box([0.0], [1.0]), (hx.Residual("interior", interior),))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, with a user's file in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "heat.py").write_text(HEAT)
    (tmp_path / "mine" / "neighbour.py").write_text("SCALE = 1.0\n")
    yield tmp_path
    sys.modules.pop("neighbour", None)


@pytest.fixture
def asked(monkeypatch):
    """A `train` that answers at once; what it was asked is kept. Set `asked["result"]` to have it fail."""
    calls = {"result": hx.RESULTS.successful, "raises": None}

    def answer(problem, **arguments):
        calls.update(problem=problem, **arguments)
        if calls["raises"] is not None:
            raise calls["raises"]
        named = {name: exact_field() for name in problem.functions}
        return solution_of(problem, hx.Unknowns(**named) if problem.named else exact_field(), calls["result"])

    monkeypatch.setattr(cli, "train", answer)
    # Drawing is tested with the solution, and takes most of the time here.
    monkeypatch.setattr(Run, "write_figure", lambda run, solution: None)
    return calls


# results and their codes


@pytest.mark.parametrize(
    ("result", "code"),
    [("successful", 0), ("nonfinite", 2), ("singular", 2), ("guard_boundary", 3), ("interrupted", 130)],
)
def test_exit_codes_of_results(here, asked, capsys, result, code):
    asked["result"] = hx.RESULTS[result]
    assert cli.main(["train", "poisson-2d", "--json", "out.json"]) == code
    record = json.loads((here / "out.json").read_text())
    assert list(record) == KEYS
    assert record["result"] == result
    assert record["run"] == "runs/poisson-2d-1"
    assert record["seconds_import"] > 0
    assert json.loads((here / "runs/poisson-2d-1/solution.json").read_text()) == record
    shown = capsys.readouterr().out
    assert shown.index("level") < shown.index("boundary") < shown.index(result) < shown.index("runs/poisson-2d-1")


def test_control_c_gives_130(here, asked, capsys):
    asked["raises"] = KeyboardInterrupt()
    assert cli.main(["train", "poisson-2d"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_words_become_objects(here, asked):
    options = "--field kan --levels 3 --cycle single --solver lbfgs --seed 7 --budget-seconds 5 --run here"
    assert cli.main(["train", "burgers", "--set", "viscosity=0.1", *options.split()]) == 0
    assert isinstance(asked["hierarchy"], hx.families.SplineNetwork)
    assert isinstance(asked["cycle"], hx.SingleLevel)
    assert isinstance(asked["solver"], hx.Optax)
    assert (asked["levels"], asked["key"], asked["budget"]) == (3, 7, 5.0)
    assert (here / "here" / "solution.npz").exists()
    settings = json.loads((here / "here" / "solution.json").read_text())["options"]
    assert settings == {
        "set": ["viscosity=0.1"],
        "field": "kan",
        "levels": 3,
        "cycle": "single",
        "solver": "lbfgs",
        "seed": 7,
        "budget_seconds": 5.0,
    }


def test_what_is_not_said_is_left_to_the_strategy(here, asked):
    assert cli.main(["train", "burgers"]) == 0
    assert [asked[name] for name in ("hierarchy", "solver", "cycle", "levels")] == [None] * 4
    assert asked["budget"] == 60.0


# bad input

BAD = {
    "no command": ("", "Expected one of"),
    "unknown command": ("trian burgers", "trian"),
    "unknown option": ("train burgers --colour red", "colour"),
    "unknown word": ("train burgers --field tree", "tree"),
    "unknown problem": ("train burger", "Did you mean burgers|did you mean burgers"),
    "unknown setting": ("train burgers --set viscosty=1", "Did you mean viscosity"),
    "not a setting": ("train burgers --set viscosity", "KEY=VALUE"),
    "given twice": ("train burgers --set viscosity=1 --set viscosity=2", "given twice"),
    "not a number": ("train burgers --set viscosity=thick", "a number is needed"),
    "out of range": ("train burgers --set viscosity=-1", "viscosity is -1"),
    "continued without values": ("train burgers --continue viscosity", "KEY=VALUE,VALUE"),
    "continued twice": ("train burgers --continue viscosity=0.1,0.1", "different values"),
    "continued and set": ("train burgers --continue viscosity=0.1,0.01 --set viscosity=1", "given twice"),
    "no levels": ("train burgers --levels 0", "from 1 on"),
    "no budget": ("train burgers --budget-seconds 0", "positive number"),
    "nan budget": ("train burgers --budget-seconds nan", "positive number"),
    "json nowhere": ("train burgers --json no/where.json", "no folder"),
    "run in use": ("train burgers --run mine", "not empty"),
    "file missing": ("train nothing.py:problem", "no such file"),
    "object unknown": ("train mine/heat.py:problm", "Did you mean problem"),
    "object of another kind": ("train mine/heat.py:number", "gives a int"),
    "keyword unknown": ("train mine/heat.py:problem --set colour=1", "conductivity=0.1, modes=1, start='sine'"),
    "keyword needed": ("train mine/heat.py:needs", "needs a value for size"),
    "whole number": ("train mine/heat.py:problem --set modes=1.5", "a whole number is needed"),
    "nothing to set": ("train mine/heat.py:made --set a=1", "nothing to set"),
    "error in the file": ("train mine/heat.py:divides", "ZeroDivisionError(?s:.)*line 20, in divides: return 1 / 0"),
    "refused in the file": ("train mine/heat.py:misspelt", "line 23, in misspelt"),
    "syntax": ("train mine/syntax.py:problem", "SyntaxError(?s:.)*line 2"),
    "import": ("train mine/imports.py:problem", "No module named 'nowhere'(?s:.)*line 1"),
    "data missing": ("fit none.csv --inputs x --outputs u", "no such file"),
    "column unknown": ("fit data.csv --inputs X --outputs u", "Did you mean x"),
    "cell": ("fit bad.csv --inputs x --outputs u", "column 'u', row 2"),
    "constant": ("fit flat.csv --inputs x --outputs u", "All 2 values"),
    "outputs missing": ("fit data.csv --inputs x", "outputs"),
    "run missing": ("predict nothing data.csv --out o.csv", "no such run"),
    "no run": ("predict mine data.csv --out o.csv", "settings.json"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_1_and_a_message_without_traceback(here, asked, capsys, case):
    (here / "mine" / "syntax.py").write_text("x = 1\ndef problem(:\n")
    (here / "mine" / "imports.py").write_text("import nowhere\n")
    (here / "data.csv").write_text("x,u\n0,1\n1,2\n")
    (here / "bad.csv").write_text("x,u\n0,1\n1,?\n")
    (here / "flat.csv").write_text("x,u\n3,1\n3,2\n")
    words, says = BAD[case]
    assert cli.main(words.split()) == 1
    error = capsys.readouterr().err
    assert re.search(says, error), error
    assert "Traceback" not in error
    assert not (here / "runs").exists() or not list((here / "runs").iterdir())


def test_an_error_of_the_users_residual_is_told_with_its_line(here, asked, capsys, monkeypatch):
    def touch(problem, **arguments):
        problem.terms[0].function(lambda x: x[0], np.array([0.5]))

    monkeypatch.setattr(cli, "train", touch)
    assert cli.main(["train", "mine/heat.py:late"]) == 1
    assert "line 27, in interior" in capsys.readouterr().err
    assert not list((here / "runs").iterdir())


def test_an_error_of_the_library_is_not_blamed_on_the_user(here, asked):
    asked["raises"] = RuntimeError("a defect")
    with pytest.raises(RuntimeError, match="a defect"):
        cli.main(["train", "mine/heat.py:problem"])


# a user's file


def test_a_users_function_gets_its_settings(here, asked, capsys):
    words = ["train", "mine/heat.py:problem", "--set", "conductivity=2", "modes=3.0", "--set", "start=flat"]
    assert cli.main(words) == 0
    assert asked["problem"].name == "heat"
    np.testing.assert_allclose(asked["problem"].reference.evaluate(np.array([[1.0, 1.0]]), "u"), 6.0)
    again = source_again(here / "runs/heat-1", "mine/heat.py")
    np.testing.assert_allclose(again.load().reference.evaluate(np.array([[1.0, 1.0]]), "u"), 6.0)
    assert str(here / "mine") not in sys.path
    for given, says in {
        None: "not run unless you name it(?s:.)*--problem mine/heat.py:problem",
        "mine/heat.py:needs": "that of the run 'problem'",
        "mine/neighbour.py": "not the one that the run was started with",
    }.items():
        with pytest.raises(hx.InputError, match=says):
            source_again(here / "runs/heat-1", given)


def source_again(run, given):
    settings = Folder.open(run).settings
    return recorded_source(settings["source"], settings["options"], given)


def test_a_setting_is_followed_to_its_last_value(here, asked):
    words = "train mine/heat.py:problem --set modes=3 --continue conductivity=0.4,0.2 --run out"
    assert cli.main(words.split()) == 0
    assert isinstance(asked["problem"], hx.Continuation)
    assert asked["problem"].notes == ("conductivity 0.4", "conductivity 0.2")
    problem = source_again(here / "out", "mine/heat.py:problem").load()
    assert isinstance(problem, hx.Continuation)
    assert problem.reference is not None
    assert problem.reference.evaluate(np.ones((1, 2)), "u") == pytest.approx(0.2 * 3)


def test_a_problem_itself_will_do(here, asked):
    assert cli.main(["train", "mine/heat.py:made"]) == 0
    assert asked["problem"].name == "heat"


# prediction


@pytest.fixture
def trained(here, asked, monkeypatch):
    """A run folder whose field is known."""
    monkeypatch.setitem(cli.catalogue.__globals__["_CATALOGUE"], "handmade", exact_problem)
    assert cli.main(["train", "handmade", "--run", "run"]) == 0
    return here


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_predicted_values_and_derivatives_are_those_of_the_field(trained, suffix, capsys):
    (trained / "p.csv").write_text("x,t\n0.5,0.25\n1,1\n")
    assert cli.main(f"predict run p.csv --out v{suffix} --values u u_x u_xx".split()) == 0
    read = read_columns(trained / f"v{suffix}", ["t", "x", "u", "u_x", "u_xx"])
    t, x = read["t"], read["x"]
    np.testing.assert_array_equal(t, [0.25, 1])
    np.testing.assert_allclose(read["u"], t * x**2, atol=1e-14)
    np.testing.assert_allclose(read["u_x"], 2 * t * x, atol=1e-14)
    np.testing.assert_allclose(read["u_xx"], 2 * t, atol=1e-13)


def test_without_values_all_unknowns_are_predicted(trained):
    np.savez(trained / "p.npz", points=np.array([[0.25, 0.5]]))
    assert cli.main(["predict", "run", "p.npz", "--out", "v.csv"]) == 0
    assert (trained / "v.csv").read_text().splitlines()[0] == "t,x,u"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("p.csv --out v.csv --values u_q", "cannot be read"),
        ("p.csv --out v.csv --values w", "The unknowns are u"),
        ("p.csv --out v.txt", "not known here"),
        ("p.csv --out no/v.csv", "no folder"),
        ("outside.csv --out v.csv --outside refuse", "outside.csv, row 2: t = 0.5, x = 3"),
        ("lacks.csv --out v.csv", "no column 'x'"),
        ("none.csv --out v.csv", "no such file"),
    ],
)
def test_bad_requests_for_predictions_are_refused(trained, capsys, words, says):
    (trained / "p.csv").write_text("t,x\n0.5,0.5\n")
    (trained / "outside.csv").write_text("t,x\n0.5,0.5\n0.5,3\n")
    (trained / "lacks.csv").write_text("t,y\n0.5,0.5\n")
    capsys.readouterr()
    assert cli.main(["predict", "run", *words.split()]) == 1
    assert says in capsys.readouterr().err
    assert not (trained / "v.csv").exists()


def test_rows_outside_are_marked(trained, capsys):
    (trained / "p.csv").write_text("t [s],x\n0.5,0.5\n0.5,3\n")
    for words, value in {"": np.nan, " --outside clip": 0.5}.items():
        assert cli.main(f"predict run p.csv --out v.npz{words}".split()) == 0
        assert "1 of 2 rows are outside of Box(t: 0..1, x: 0..1)" in capsys.readouterr().err
        with np.load(trained / "v.npz") as read:
            np.testing.assert_allclose(read["u"], [0.125, value], atol=1e-14)
            np.testing.assert_array_equal(read["outside"], [0, 1])
            assert list(read) == ["t", "x", "u", "outside"]


def test_a_table_of_a_laboratory_is_fitted_as_it_is(here, capsys):
    x = np.linspace(1.0, 10.0, 50)
    rows = [f"{a:.3f};{np.exp(-0.3 * a):.6f};" for a in x]
    rows[7] = "2,0;;"
    table = "\n".join(["# run 7", "Position x [mm];flow rate [l/h];note", "mm;l/h;-", *rows]).replace(".", ",")
    (here / "lab.csv").write_text(table)
    words = ["--inputs", "x", "--outputs", "q", "--log", "q", "--levels", "2", "--drop-missing", "--run", "run"]
    names = ["--rename", "Position x=x", "flow rate=q"]
    assert cli.main(["fit", "lab.csv", *words, *names]) == 0
    shown = capsys.readouterr().out
    assert "Line 3 of lab.csv is read as units" in shown
    assert "1 of 50 rows of lab.csv have missing values" in shown
    assert cli.main(["predict", "run", "lab.csv", "--out", "v.csv", *names]) == 0
    read = read_columns(here / "v.csv", ["x", "log_q", "q"])
    np.testing.assert_allclose(read["q"], np.exp(-0.3 * read["x"]), rtol=1e-3)
    np.testing.assert_allclose(read["log_q"], -0.3 * read["x"], atol=1e-3)


def test_help_may_lose_its_reader(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        assert cli.main(["estimate", "--help"]) == 0


def test_a_damaged_run_is_refused(trained, capsys):
    (trained / "p.csv").write_text("t,x\n0.5,0.5\n")
    (trained / "run" / "solution.json").write_bytes(b"x")
    assert cli.main(["predict", "run", "p.csv", "--out", "v.csv"]) == 0
    assert "solution.json is damaged" in capsys.readouterr().err
    (trained / "run" / "solution.npz").write_bytes(b"x")
    assert cli.main(["predict", "run", "p.csv", "--out", "v.csv"]) == 1
    assert "damaged" in capsys.readouterr().err


def test_inputs_and_files_of_runs_are_not_overwritten(trained, capsys):
    (trained / "p.csv").write_text("t,x\n0.5,0.5\n")
    for words, says in {
        "predict run p.csv --out p.csv": "an input",
        "predict run p.csv --out run/v.csv": "that of a run",
        "report run --out run/plan.html": "that of a run",
        "train handmade --json run/solution.json": "that of a run",
        "train mine/heat.py:problem --json mine/heat.py": "an input",
    }.items():
        assert cli.main(words.split()) == 1
        assert says in capsys.readouterr().err
    assert cli.main(["predict", "run", "p.csv", "--out", "p.csv", "--force"]) == 0
    assert (trained / "p.csv").read_text().startswith("t,x,u")


# the rest


def test_a_fit_from_data_to_prediction(here, capsys):
    x = np.linspace(0.0, 1.0, 60)
    table = "\n".join(["x,T", *(f"{a},{np.sin(3 * a)}" for a in x)])
    (here / "data.csv").write_text(table)
    assert cli.main(["fit", "data.csv", "--inputs", "x", "--outputs", "T", "--levels", "2", "--json", "fit.json"]) == 0
    record = json.loads((here / "fit.json").read_text())
    assert list(record) == KEYS
    assert record["problem"] == "data"
    assert all("validation_error" in level for level in record["levels"])
    left = {path.name for path in (here / record["run"]).iterdir()}
    files = {"settings.json", "problem.npz", "plan.txt", "events.jsonl", "solution.npz", "solution.json", "figure.png"}
    assert left >= files | {"diagnosis.txt", "manifest.json", "state-0001.npz"}
    assert not Folder.open(here / record["run"]).faults
    (here / "data.csv").rename(here / "moved.csv")
    (here / "data.csv").write_text("x\n" + "\n".join(map(str, x)))
    assert cli.main(["predict", record["run"], "data.csv", "--out", "v.csv", "--values", "T", "T_x"]) == 0
    read = read_columns(here / "v.csv", ["T", "T_x"])
    np.testing.assert_allclose(read["T"], np.sin(3 * x), atol=1e-4)
    np.testing.assert_allclose(read["T_x"], 3 * np.cos(3 * x), atol=1e-2)


def test_far_from_all_rows_of_a_table_nothing_is_claimed(here, capsys):
    place = np.random.default_rng(5).uniform(size=(400, 2))
    x, y = place[np.hypot(*(place - 0.5).T) > 0.3].T
    lines = (f"{a},{b},{np.sin(4.0 * a) + b}" for a, b in zip(x, y, strict=True))
    (here / "data.csv").write_text("\n".join(["x,y,u", *lines]))
    fit = ["fit", "data.csv", "--inputs", "x", "y", "--outputs", "u", "--levels", "1", "--run", "run"]
    cli.main(fit)
    (here / "p.csv").write_text("x,y\n0.5,0.5\n0.1,0.1\n0.9,0.5")
    assert cli.main(["predict", "run", "p.csv", "--out", "v.csv"]) == 0
    assert "1 of 3 rows are in the box of the table and far from all its rows" in capsys.readouterr().err
    np.testing.assert_array_equal(read_columns(here / "v.csv", ["unseen"])["unseen"], [1, 0, 0])


def test_between_the_values_of_a_count_nothing_is_claimed_or_asked(here, capsys):
    rng = np.random.default_rng(3)
    count, a = rng.integers(4, size=160), rng.uniform(size=160)
    values = np.array([1.0, 3.0, -1.0, 2.0])[count] * np.sin(3.0 * a)
    names = np.array(["red", "green", "blue", "grey"])[count]
    table = ["n,name,a,y", *(f"{n},{word},{x},{y}" for n, word, x, y in zip(count, names, a, values, strict=True))]
    (here / "data.csv").write_text("\n".join(table))
    fit = ["fit", "data.csv", "--outputs", "y", "--levels", "1", "--run", "run", "--json", "fit.json"]
    assert cli.main([*fit, "--inputs", "n", "a"]) == 0
    guards = json.loads((here / "fit.json").read_text())["guards"]
    assert "At the values of n that occur" in guards["everywhere"]["sentence"]
    (here / "p.csv").write_text("n,a\n1,0.5\n1.5,0.5\n3,0.5")
    capsys.readouterr()
    assert cli.main(["predict", "run", "p.csv", "--out", "v.csv"]) == 0
    assert "1 of 3 rows are between the values of n" in capsys.readouterr().err
    read = read_columns(here / "v.csv", ["y", "unseen"])
    np.testing.assert_array_equal(read["unseen"], [0, 1, 0])
    np.testing.assert_allclose(read["y"][[0, 2]], np.array([3.0, 2.0]) * np.sin(1.5), atol=1e-4)
    assert cli.main(["fit", "data.csv", "--inputs", "name", "a", "--outputs", "y"]) == 1
    assert "a column of 0 and 1 for each of its words" in capsys.readouterr().err


def test_a_study_leaves_its_json(here, monkeypatch, capsys):
    def run(out, quick):
        (out / "table.txt").write_text("1")
        return {"summary": {"gain": np.float64(2.0), "quick": quick}, "rows": [float("nan")]}

    monkeypatch.setitem(registry._STUDIES, "toy", run)
    assert study_main(["toy", "--quick", "--json", "toy.json", "--out", "out"]) == 0
    record = json.loads((here / "toy.json").read_text())
    assert record.pop("made")["command"] == "python -m studies toy --quick"
    assert record == {"summary": {"gain": 2.0, "quick": True}, "rows": [None]}
    kept = json.loads((here / "out" / "toy.json").read_text())
    assert {name: kept[name] for name in record} == record
    assert "gain: 2.0" in capsys.readouterr().out
    assert study_main(["nothing"]) == 1
    assert "Study 'nothing' is unknown" in capsys.readouterr().err


def test_list_names_problems_and_settings(capsys):
    assert cli.main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "burgers" in shown
    assert "viscosity=0.01" in shown


def test_doctor_passes_here_and_fails_where_nothing_can_be_written(here, capsys):
    assert cli.main(["doctor"]) == 0
    assert "64 bits" in capsys.readouterr().out
    (here / "runs").write_text("a file in the way")
    assert cli.main(["doctor"]) == 2
    assert "FAIL  run folder" in capsys.readouterr().out


def test_help_is_no_error(capsys):
    assert cli.main(["--help"]) == 0
    assert "train" in capsys.readouterr().out
