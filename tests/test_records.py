"""Run folders, fields in files, tables, sources of problems, progress."""

import functools
import importlib
import io
import json
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import exact_field, exact_problem, solution_of
from rich.console import Console

import hierax as hx
from hierax._errors import InputError
from hierax.events import Decision, LevelFinished, LevelRecord, LevelStarted, RunFinished, RunStarted, StepTaken
from hierax.fields import PowerReLUBasis
from hierax.records import Folder, LevelBoard, Progress, Run, TensorBoard, load, read_columns, save, write_columns
from hierax.records.columns import Reading
from hierax.records.live import sparkline
from hierax.records.manifest import Entry, Manifest
from hierax.records.sources import CatalogueSource, DataSource, source_of
from hierax.records.tables import Table
from hierax.results import files
from hierax.results.archive import pack, unpack
from hierax.results.evaluation import wrapped

EVENTS = [
    RunStarted("handmade", "do this\nthen that", 60.0),
    LevelStarted(0, 4, 20),
    StepTaken(0, 1, 0.5, float("inf"), 0.1),
    LevelFinished(LevelRecord(0, 4, 20, 1, 0.5, 0.2, 0.1, error=0.25), exact_field()),
    Decision("The budget is spent."),
    RunFinished(hx.RESULTS.successful, "budget", solution_of().guards, 0.3),
]

FIELDS = {
    "grid": lambda: exact_field(),
    "periodic": lambda: hx.SplineGrid.uniform([0, 0], [1, 2], (3, 4), (2, 3), out=2, periodic=(True, False)),
    "kan": lambda: hx.KAN([2, 3, 1], intervals=3, degree=3, key=0, domain=([0, 0], [1, 1])),
    "power": lambda: hx.KAN([2, 3, 1], intervals=3, degree=2, key=1, linear_first=True, geometry=PowerReLUBasis()),
    "mlp": lambda: hx.MLP([2, 4, 1], key=0, activation=jax.nn.silu),
    "fourier": lambda: hx.FourierNetwork([2, 3, 1], modes=2, key=0),
    "siren": lambda: hx.siren([2, 3, 1], key=0),
    "adaptive basis": lambda: hx.AdaptiveBasis([2, 3, 1], key=0),
    "unknowns": lambda: hx.Unknowns(u=exact_field(), nu=hx.Scalar(0.3)),
}


# fields


@pytest.mark.parametrize("kind", FIELDS)
def test_a_field_comes_back_bit_by_bit(kind, tmp_path):
    field = FIELDS[kind]()
    save(field, tmp_path / "field.npz")
    assert bool(eqx.tree_equal(load(tmp_path / "field.npz"), field))
    assert not {"description"} ^ {name for name in np.load(tmp_path / "field.npz").files if name[0] != "a"}


def test_a_field_with_a_function_of_ones_own_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be kept"):
        save(hx.MLP([1, 2, 1], key=0, activation=lambda z: z * z), tmp_path / "field.npz")
    assert not list(tmp_path.iterdir())


class Own(eqx.Module):
    """A field of a user's own class."""

    slope: jax.Array

    def __call__(self, x):
        return self.slope @ x


def test_a_module_of_ones_own_comes_back_where_its_class_is_given(tmp_path):
    path = tmp_path / "own.npz"
    save(Own(jnp.array([1.0, 2.0])), path)
    with pytest.raises(InputError, match=r"class 'Own'(?s:.)*classes="):
        load(path)
    np.testing.assert_array_equal(load(path, classes=(Own,)).slope, [1.0, 2.0])


def test_every_bit_of_a_file_is_watched(tmp_path):
    path = tmp_path / "field.npz"
    save(exact_field(), path)
    content = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, 8 * len(content), 60):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << (place % 8)
        with pytest.raises(InputError, match=r"damaged|no file of hierax"):
            unpack(bytes(flipped), "here")
    for length in (0, 1, len(content) // 2, len(content) - 1):
        with pytest.raises(InputError, match=r"damaged|no file of hierax"):
            unpack(content[:length], "here")


class Described:
    """Stands for the codec: writes the description that it is given."""

    def __init__(self, description):
        self.description = description

    def describe(self, node, arrays):
        return self.description


@pytest.mark.parametrize(
    ("description", "says"),
    [
        ({"kind": "object", "class": "Popen", "members": {}}, "class 'Popen'"),
        ({"kind": "array", "name": "zz", "of": "jax"}, "cannot be read"),
        ({"kind": "object", "class": "SplineGrid", "members": {}}, "lacks"),
        ({"kind": "made", "class": "SplineGrid", "members": {}}, "constructor"),
        ({"kind": "function", "name": "os.system"}, "cannot be read"),
        ({"kind": "rocket"}, "cannot be read"),
        ([], "cannot be read"),
        ({"kind": "made", "class": "Box", "members": {"lower": [], "upper": []}}, "cannot be read|shape"),
    ],
)
def test_a_bad_description_is_refused(description, says):
    content = pack(None, Described(description))
    with pytest.raises(InputError, match=says):
        unpack(content, "here")


def test_what_is_compressed_or_too_large_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "bomb.npz", u=np.zeros(1 << 20), x=np.zeros(3))
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path / "bomb.npz")
    monkeypatch.setattr(files, "MOST_ARRAYS", 1 << 20)
    with pytest.raises(InputError, match="read at most"):
        read_columns(tmp_path / "bomb.npz", ["u"])
    assert len(read_columns(tmp_path / "bomb.npz", ["x"])["x"]) == 3


# run folders


def test_numbers_of_run_folders_count_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [Run.create("a b/c").path.as_posix() for _ in range(2)] == ["runs/a-b-c-1", "runs/a-b-c-2"]
    (tmp_path / "runs" / "a-b-c-7").mkdir()
    assert Run.create("a b/c").path.name == "a-b-c-8"


def recorded(path, problem=None):
    """The folder of a run that was made by hand."""
    solution = solution_of(problem)
    run = Run.create("x", path)
    run.write_settings(CatalogueSource("poisson-2d", ("scales=2",)), solution.problem, {"seed": 0})
    for event in EVENTS:
        run(event)
    run.write_solution(solution, solution.to_json(run=str(run.path)))
    run.close()
    return solution


def test_a_run_folder_holds_everything_that_prediction_needs(tmp_path):
    path = tmp_path / "run"
    solution = recorded(path)
    lines = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == [type(event).__name__ for event in EVENTS]
    assert lines[2]["decrease"] is None
    assert not any("field" in line for line in lines)
    assert lines[-1]["result"] == "successful"
    assert lines[-1]["guards"]["boundary"]["passed"] is True
    assert (path / "plan.txt").read_text() == "do this\nthen that\n"
    again = load(path)
    assert bool(eqx.tree_equal(again.field, solution.field))
    assert str(again) == str(solution)
    points = np.array([[0.5, 0.25]])
    np.testing.assert_array_equal(again.evaluate(points, "u_x"), solution.evaluate(points, "u_x"))
    with pytest.raises(InputError, match=r"equation 'interior' is code(?s:.)*problem="):
        again.problem.terms[0].function(None, points[0])
    assert load(path, problem=exact_problem()).problem.terms[0].function is not again.problem.terms[0].function
    with pytest.raises(InputError, match="come to its end, and nothing is kept to go on from"):
        Folder.open(path).state()
    with pytest.raises(InputError, match="not that of the file"):
        load(path, problem=hx.problems.burgers())


def test_run_folders_that_are_in_use_are_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(InputError, match="not empty"):
        Run.create("x", tmp_path / "full")
    with pytest.raises(InputError, match="not a folder"):
        Run.create("x", tmp_path / "full" / "x")
    with pytest.raises(InputError, match="cannot be made"):
        Run.create("x", tmp_path / "full" / "x" / "y")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file or run"):
        load(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"has no settings\.json"):
        load(tmp_path)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(InputError, match="before a level was trained"):
        load(tmp_path)


def test_every_damage_to_a_folder_is_found_and_named(tmp_path):
    recorded(tmp_path / "run")
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert {"manifest.json", "problem.npz", "solution.npz", "solution.json", "events.jsonl"} <= set(names)
    rng = np.random.default_rng(0)
    for name in names:
        path = tmp_path / "run" / name
        content = path.read_bytes()
        flips = [bytearray(content) for _ in range(12)]
        for flipped in flips:
            flipped[rng.integers(len(content))] ^= 1 << rng.integers(8)
        for damaged in (*flips, content[: len(content) // 2], content + b"x", None):
            path.unlink()
            if damaged is not None:
                path.write_bytes(bytes(damaged))
            assert list(Folder.open(tmp_path / "run").faults) == [name]
            path.write_bytes(content)
    assert not Folder.open(tmp_path / "run").faults


def test_links_in_a_folder_are_not_followed(tmp_path):
    recorded(tmp_path / "run")
    (tmp_path / "run" / "problem.npz").rename(tmp_path / "elsewhere.npz")
    (tmp_path / "run" / "problem.npz").symlink_to(tmp_path / "elsewhere.npz")
    with pytest.raises(InputError, match="a link, which is not followed"):
        load(tmp_path / "run")


def test_a_manifest_that_leads_elsewhere_is_damaged(tmp_path):
    recorded(tmp_path / "run")
    Manifest({"../x": Entry(0, "")}).write(tmp_path / "run")
    assert "manifest.json" in Folder.open(tmp_path / "run").faults


# tables


def write(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


BAD_CSV = {
    "empty file": ("", "file is empty"),
    "blank": ("\n\n", "no rows"),
    "headings alone": ("x,u\n", "headings but no rows"),
    "no headings": ("1,2\n3,4\n", "place of names"),
    "unknown column": ("X,u\n1,2\n", "no column 'x'(?s:.)*Did you mean X"),
    "duplicate heading": ("x,u,x\n1,2,3\n", "'x' occurs more than once(?s:.)*columns 1 and 3"),
    "text": ("x,u\n1,2\n3,abc\n", "'abc', which is no number(?s:.)*column 'u', row 2"),
    "underscore": ("x,u\n1_0,2\n", "'1_0', which is no number"),
    "empty cell": ("x,u\n1,2\n,4\n", "cell is empty(?s:.)*column 'x', row 2"),
    "nan": ("x,u\n1,2\n3,nan\n", "nan, which is not finite(?s:.)*column 'u', row 2"),
    "inf": ("x,u\n1,2\n-inf,1\n", "-inf, which is not finite(?s:.)*column 'x', row 2"),
    "short row": ("x,u\n1,2\n3\n", "1 cells, the header 2(?s:.)*row 2"),
    "decimal comma": ("x;u\n1;2,5\n3;4.5\n", "2,5(?s:.)*write a point"),
    "commas twice": ("x,u\n1,2,5\n3,4,5\n", "3 cells, the header 2(?s:.)*2 such rows(?s:.)*by semicolons"),
    "all at once": (
        "x,u\n1,a\n2,\n3,inf\n4,5\n",
        "'a', which is no number(?s:.)*3 of 4 rows are wrong(?s:.)*row 2(?s:.)*row 3",
    ),
    "all missing": ("x,u\n1,\n2,\n", "cell is empty(?s:.)*--drop-missing"),
    "not utf-8": (b"x,u\n1,\xff\n", "no CSV text"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_csv_is_refused_with_place_and_remedy(case, tmp_path):
    text, says = BAD_CSV[case]
    path = write(tmp_path / "data.csv", text)
    with pytest.raises(InputError, match=says) as caught:
        read_columns(path, ["x", "u"])
    assert str(path) in caught.value.where
    assert caught.value.remedy


BAD_NPZ = {
    "lengths": ({"x": np.ones(3), "u": np.ones(2)}, "'x' has 3 rows, column 'u' has 2"),
    "shape": ({"x": np.ones((3, 2)), "u": np.ones(3)}, r"shape \(3, 2\)"),
    "empty": ({"x": np.ones(0), "u": np.ones(0)}, r"shape \(0,\)"),
    "kind": ({"x": np.array(["a"]), "u": np.ones(1)}, "in place of real numbers"),
    "complex": ({"x": np.array([1j]), "u": np.ones(1)}, "complex128"),
    "unknown": ({"y": np.ones(1), "u": np.ones(1)}, "no column 'x'"),
    "points": ({"points": np.ones((2, 3)), "u": np.ones(2)}, r"shape \(2, 3\), but \(n, 1\)"),
    "nan": ({"x": np.array([1.0, np.nan]), "u": np.ones(2)}, "column 'x', row 2"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_npz_is_refused(case, tmp_path):
    arrays, says = BAD_NPZ[case]
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(InputError, match=says):
        read_columns(tmp_path / "data.npz", ["x", "u"], points=["x"])


def test_files_that_are_missing_or_of_another_kind_are_refused(tmp_path):
    write(tmp_path / "data.csv", "x\n1\n")
    with pytest.raises(InputError, match=r"no such file(?s:.)*Did you mean data\.csv"):
        read_columns(tmp_path / "dat.csv", ["x"])
    with pytest.raises(InputError, match="is a folder"):
        read_columns(tmp_path, ["x"])
    for name in ("data.xlsx", "data"):
        with pytest.raises(InputError, match="not known here"):
            read_columns(write(tmp_path / name, "x"), ["x"])
    for name in ("bad.npz", "bad.h5"):
        with pytest.raises(InputError, match="cannot be read"):
            read_columns(write(tmp_path / name, "x"), ["x"])


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".h5", ".parquet"])
def test_tables_come_back_bit_by_bit(suffix, tmp_path):
    pytest.importorskip({".h5": "h5py", ".parquet": "pyarrow"}.get(suffix, "numpy"))
    table = {"x": np.array([0.1, 1 / 3, 1e-300]), "u[0]": np.array([-np.pi, 2.0, 5e17])}
    write_columns(tmp_path / f"t{suffix}", table)
    read = read_columns(tmp_path / f"t{suffix}", ["u[0]", "x"])
    assert list(read) == ["u[0]", "x"]
    for name, column in table.items():
        np.testing.assert_array_equal(read[name], column)


def test_other_separators_marks_and_columns_are_read(tmp_path):
    path = write(tmp_path / "t.csv", "﻿name; x ;u\nfirst; 1 ;2e-1\n\nsecond;3;4\n")
    read = read_columns(path, ["x", "u"])
    np.testing.assert_array_equal(read["x"], [1, 3])
    np.testing.assert_array_equal(read["u"], [0.2, 4])


TABLES = {
    "units in headings": ("x [m],T (K)\n1,2\n3,4\n", ["x", "T"]),
    "whole headings": ("x [m],T (K)\n1,2\n3,4\n", ["x [m]", "T (K)"]),
    "units in a row": ("x,T\nm,K\n1,2\n3,4\n", ["x", "T"]),
    "comments": ("# made by hand\nx,T\n# note\n1,2\n3,4\n", ["x", "T"]),
    "headings in a comment": ("# x, T\n1,2\n3,4\n", ["x", "T"]),
    "decimal commas": ("x;T\n1,0;2,0\n3;4e0\n", ["x", "T"]),
    "spaces": ("x   T\n1   2\n 3  4\n", ["x", "T"]),
    "tabs": ("x\tT\n1\t2\n3\t4\n", ["x", "T"]),
    "quoted": ('"x","T"\n"1","2"\n3,4\n', ["x", "T"]),
    "renamed": ("x,flow rate [l/h]\n1,2\n3,4\n", ["x", "q"]),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_are_read_as_they_come(case, tmp_path):
    text, names = TABLES[case]
    table = Table(write(tmp_path / "t.csv", text), Reading.of(["flow rate=q"]))
    read = table.numbers(names)
    assert [read[name].tolist() for name in names] == [[1, 3], [2, 4]]
    assert next(iter(table.names.values())) == "x"
    assert len(table.notes) == (case == "units in a row")


def test_rows_with_missing_values_are_left_out_where_that_is_asked(tmp_path):
    path = write(tmp_path / "t.csv", "x,u,kind\n1,2,a\n,3,b\n4,nan,c\n5,NA,d\n6,7,e\n")
    table = Table(path, Reading(drop_missing=True))
    assert table.numbers(["x", "u"])["u"].tolist() == [2, 7]
    assert table.labels("kind").tolist() == ["a", "e"]
    assert "3 of 5 rows" in table.notes[0]
    path = write(tmp_path / "w.csv", "x,u\n1,2\n3,wrong\n")
    with pytest.raises(InputError, match="'wrong', which is no number"):
        Table(path, Reading(drop_missing=True)).numbers(["x", "u"])


def test_logarithms_of_columns(tmp_path):
    path = write(tmp_path / "t.csv", "x,u\n1,2\n3,4\n")
    assert read_columns(path, ["log_u"])["log_u"].tolist() == np.log([2, 4]).tolist()
    with pytest.raises(InputError, match=r"-2, which has no logarithm(?s:.)*row 1"):
        read_columns(write(tmp_path / "n.csv", "x,u\n1,-2\n3,4\n"), ["log_u"])


def test_columns_that_could_be_several_are_refused(tmp_path):
    path = write(tmp_path / "t.csv", "T [K],T [C]\n1,2\n")
    with pytest.raises(InputError, match=r"Several columns are called 'T': T \[K\], T \[C\]"):
        read_columns(path, ["T"])
    with pytest.raises(InputError, match="renames nothing"):
        Reading.of(["T"])


def test_one_array_of_points_stands_for_the_coordinates(tmp_path):
    np.savez(tmp_path / "t.npz", points=np.array([[1, 2], [3, 4]]), u=np.array([5, 6]))
    read = read_columns(tmp_path / "t.npz", ["x", "y", "u"], points=["x", "y"])
    assert {name: column.tolist() for name, column in read.items()} == {"x": [1, 3], "y": [2, 4], "u": [5, 6]}


# sources


@pytest.mark.parametrize(
    ("inputs", "outputs", "says"),
    [
        (("x", "c"), ("u",), r"All 2 values of this input are 7(?s:.)*column 'c'"),
        (("x",), ("x",), "named twice"),
        ((), ("u",), "No column"),
        (("x",), ("a b",), "cannot be the name(?s:.)*--rename"),
        (("x",), ("parts",), "taken by the library"),
    ],
)
def test_columns_that_make_no_problem_are_refused(inputs, outputs, says, tmp_path):
    path = write(tmp_path / "d.csv", "x,c,u,a b,parts\n1,7,2,3,4\n2,7,3,4,5\n")
    with pytest.raises(InputError, match=says):
        DataSource(path, inputs, outputs).load()


def test_a_fit_names_its_unknowns_after_the_columns(tmp_path):
    path = write(tmp_path / "d.csv", "x,y,a,b\n1,7,2,3\n2,8,3,4\n")
    problem = DataSource(path, ("x", "y"), ("a", "b")).load()
    assert list(problem.unknowns) == ["a", "b"]
    assert problem.domain.names == ("x", "y")
    np.testing.assert_array_equal(problem.domain.bounds(), [[1, 7], [2, 8]])
    assert problem.name == "d"


def test_a_file_alone_means_its_problem(tmp_path):
    (tmp_path / "heat.py").write_text("def heat():\n    pass\n")
    with pytest.raises(InputError, match=r"no 'problem'(?s:.)*It has heat"):
        source_of(str(tmp_path / "heat.py"), []).load()


def test_a_stated_noise_is_one_number_or_one_for_each_row(tmp_path):
    path = write(tmp_path / "d.csv", "x,u,s,t,v,g\n1,7,0.1,1,0,a\n2,8,0.1,2,1,b\n")
    (even,) = DataSource(path, ("x",), ("u",), sigma="s", group="g").load().terms
    assert even.noise == 0.1
    np.testing.assert_array_equal(even.groups, [0, 1])
    (each,) = DataSource(path, ("x",), ("u",), sigma="t").load().terms
    np.testing.assert_array_equal(each.noise, [1.0, 2.0])
    with pytest.raises(InputError, match="between 0 and 1"):
        DataSource(path, ("x",), ("u",), sigma="v").load()
    with pytest.raises(InputError, match="Leave --group or --level out"):
        DataSource(path, ("x",), ("u",), level="t", group="g").load()


# progress


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_leaves_plan_levels_and_decisions(terminal):
    text = io.StringIO()
    with Progress(Console(file=text, force_terminal=terminal, width=200)) as progress:
        for event in EVENTS:
            progress(event)
    shown = text.getvalue()
    for part in ("do this\nthen that", "level 0: 4 parameters", "error 0.25", "The budget is spent."):
        assert part in shown
    assert terminal or "step 1" not in shown


def test_the_handmade_field_solves_its_problem():
    exact = exact_problem().reference
    points = np.random.default_rng(0).uniform(size=(5, 2))
    values = jax.jit(jax.vmap(exact_field()))(jnp.asarray(points))
    np.testing.assert_allclose(values, exact.evaluate(points, "u"), atol=1e-14)


# displays


def test_a_board_shows_levels_losses_and_guards():
    board = LevelBoard()
    shown = []
    for event in (*EVENTS[:3], StepTaken(0, 2, 5e-3, 0.1, 0.2), *EVENTS[3:]):
        text = io.StringIO()
        Console(file=text, width=100).print(board.see(event))
        shown.append(text.getvalue())
    assert [line.split() for line in shown[3].splitlines()[1:2]] == [["0", "4", "2", "0.005", "█▁"]]
    assert ["0", "4", "1", "0.5", "0.25", "0.20", "█▁"] in [line.split() for line in shown[-1].splitlines()]
    assert "pass  boundary" in shown[-1]
    assert "0.3 s" in shown[-1]


def test_a_curve_in_one_line_of_text():
    assert sparkline([1e-7, 1e-3, 1.0], "01234567") == "047"
    assert sparkline([1.0, 0.0, float("nan"), 1.0], "01234567") == "0  0"
    assert sparkline([10.0**-k for k in range(60)], "01234567", width=8) == "76543210"
    assert sparkline([]) == ""


@pytest.mark.parametrize("terminal", [False, True])
def test_a_board_takes_the_place_of_level_lines_on_terminals_only(terminal):
    text = io.StringIO()
    with Progress(Console(file=text, force_terminal=terminal, width=100, color_system=None), LevelBoard()) as progress:
        for event in EVENTS:
            progress(event)
    assert ("level 0: 4 parameters" in text.getvalue()) is not terminal
    assert ("step by step" in text.getvalue()) is terminal
    assert "The budget is spent." in text.getvalue()


def test_scalars_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    accumulator = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    tensor_util = importlib.import_module("tensorboard.util.tensor_util")
    with TensorBoard(tmp_path / "logs") as board:
        for event in EVENTS:
            board(event)
    read = accumulator.EventAccumulator(str(tmp_path / "logs")).Reload()
    tags = set(read.tensors.Keys())
    assert {"step/loss", "step/level", "level/error", "level/parameters", "guard/boundary"} <= tags
    (loss,) = read.Tensors("step/loss")
    assert (loss.step, *tensor_util.make_ndarray(loss.tensor_proto).ravel()) == (1, 0.5)


def test_without_its_extra_tensorboard_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    with pytest.raises(InputError, match=r"pip install 'hierax\[tensorboard\]'"):
        TensorBoard(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_domains_and_periods_of_tables(tmp_path):
    phi = np.array([350.0, 370.0, -5.0, 100.0])
    write_columns(tmp_path / "t.csv", {"phi": phi, "r": np.array([1.0, 2.0, 4.0, 3.0]), "u": np.cos(np.radians(phi))})
    made = functools.partial(DataSource, tmp_path / "t.csv", ("phi", "r"), ("u",))
    problem, notes = made(domain=("r=0.5:4",), periodic=("phi=360",)).read()
    assert repr(problem.domain) == "Box(phi: -5..355 periodic, r: 0.5..4)"
    np.testing.assert_allclose(problem.terms[0].points[:, 0], [350.0, 10.0, -5.0, 100.0])
    assert "rows reach from 1 to 4, the domain from 0.5 to 4" in notes[0]
    np.testing.assert_allclose(wrapped(problem, np.array([[715.0, 9.0]])), [[-5.0, 9.0]])
    log = made(log=("r",), domain=("r=0.5:4",)).load()
    np.testing.assert_allclose(log.domain.bounds()[0][1], np.log(0.5))
    for words, says in {
        "--domain r": "says nothing of a column", "--domain u=0:1": "none of the inputs",
        "--domain r=2:1": "no interval",
        "--domain r=2:9": "1 of 4 rows are outside", "--periodic phi=-1": "no period", "--periodic phi=0": "no period",
    }.items():  # fmt: skip
        option, word = words.split()
        with pytest.raises(InputError, match=says):
            made(**{option.removeprefix("--"): (word,)}).load()
    with pytest.raises(InputError, match="length 5, its period is 360"):
        made(domain=("phi=0:5",), periodic=("phi=360",)).load()
