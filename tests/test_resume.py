"""Runs that were cut off: killed at any moment, by signals, without space, without a reader; and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax import cli
from hierax.events import LevelFinished, Reached
from hierax.objective.compiled import LEAN
from hierax.planning.words import SOLVERS
from hierax.records import Folder, Run
from hierax.records.fingerprint import fingerprint
from hierax.records.resumption import Resumption
from hierax.records.terminal import ended_by_signals
from hierax.training.parts import AbstractParts, Asked, in_parts

OWN = """
import jax.numpy as jnp
import hierax as hx

def problem(wave=3.0):
    def interior(u, x):
        return hx.derivative(u, "xx")(x) + wave**2 * jnp.sin(wave * x[0]) - u(x) ** 3 + jnp.sin(wave * x[0]) ** 3
    return hx.Problem(
        hx.Box([0.0], [1.0], names=("x",)),
        (
            hx.Residual("interior", interior),
            hx.Residual("ends", lambda u, x, normal: u(x) - jnp.sin(wave * x[0]), on="boundary"),
        ),
    )
"""
WORDS = ["train", "own.py:problem", "--levels", "5", "--run"]
TOLD = []
"""The events of the whole run, and its solution at the end."""


def told_again(problem, subscribers, **rest):
    """The whole training once more, without its steps: for tests of what becomes of its events."""
    for event in TOLD[:-1]:
        for subscriber in subscribers:
            subscriber(event)
    return TOLD[-1]


def kept(problem, subscribers, **rest):
    """The training, of which all is kept."""
    TOLD.clear()
    TOLD.append(hx.train(problem, subscribers=[*subscribers, TOLD.append], **rest))
    return TOLD[-1]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a problem, and in `whole` a run of it that nothing has cut off."""
    path = tmp_path_factory.mktemp("resume")
    (path / "own.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setattr(Run, "write_figure", lambda run, solution: None)
        patch.setattr("hierax.records.run.SHARE", 10.0)
        patch.setattr(cli, "train", kept)
        assert cli.main([*WORDS, "whole"]) == 0
    return path


@pytest.fixture
def here(home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setattr(Run, "write_figure", lambda run, solution: None)
    # a short training: every state is kept, however long that takes
    monkeypatch.setattr("hierax.records.run.SHARE", 10.0)
    return home


def bits(solution):
    """All that a training leads to; seconds are none of it."""
    steps = [(s.level, s.step, s.loss, s.decrease, s.iterations) for s in solution.history]
    levels = [(level.level, level.parameters, level.points, level.steps, level.loss) for level in solution.levels]
    guards = {name: guard.value for name, guard in solution.guards.items()}
    fields = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(solution.field)]
    return fields, steps, levels, guards, solution.result, solution.stopped_by


def cut_off(path, level, words=WORDS, train=told_again):
    """A run that is stopped, as a kill would, right after a level was kept."""

    def stop(event):
        if isinstance(event, Reached) and not event.within and event.state.current == level:
            raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "train", lambda problem, subscribers, **rest: train(
            problem, subscribers=[*subscribers, stop], **rest))  # fmt: skip
        assert cli.main([*words, str(path)]) == 0
    return path


@pytest.mark.parametrize("level", [0, 2])
def test_a_run_that_was_cut_off_goes_on_to_the_same_bits(here, tmp_path, level, capsys):
    run = cut_off(tmp_path / "run", level)
    assert hx.load(run).result is hx.RESULTS.interrupted
    assert hx.load(run).levels[-1].level == level
    assert cli.main(["resume", str(run)]) == 1
    assert "not run unless you name it" in capsys.readouterr().err
    assert cli.main(["resume", str(run), "--problem", "own.py:problem"]) == 0
    assert bits(hx.load(run)) == bits(hx.load("whole"))
    assert not Folder.open(run).faults
    kinds = [json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()]
    assert kinds.count("LevelFinished") == 4


def test_the_state_before_is_offered_where_the_last_one_is_damaged(here, tmp_path):
    run = cut_off(tmp_path / "run", 2)
    last, before = Folder.open(run).states
    (run / f"state-{last:04d}.npz").write_bytes(b"PK")
    with pytest.raises(hx.InputError, match=rf"state-{last:04d}(?s:.)*--state {before}"):
        hx.resume(run, "own.py:problem")
    with pytest.raises(hx.InputError, match=rf"--state {before}"):
        hx.load(run)
    assert hx.load(run, state=before).levels[-1].level == 1
    assert bits(hx.resume(run, "own.py:problem", state=before)) == bits(hx.load("whole"))


def test_a_larger_budget_goes_on_to_the_bits_of_a_run_that_had_it(here, tmp_path):
    run = cut_off(tmp_path / "run", 1, [*WORDS[:-1], "--budget-seconds", "1e-3", "--run"])
    assert Folder.open(run).settings["options"]["budget_seconds"] == 1e-3
    assert bits(hx.resume(run, "own.py:problem", budget=60.0)) == bits(hx.load("whole"))


def test_a_run_that_reached_nothing_begins_anew(here, tmp_path):
    run = tmp_path / "run"
    assert cli.main([*WORDS[:-1], "--budget-seconds", "1e-6", "--run", str(run)]) == 3
    assert not Folder.open(run).states
    assert cli.main(["resume", str(run), "--problem", "own.py:problem", "--budget-seconds", "60"]) == 0
    assert bits(hx.load(run)) == bits(hx.load("whole"))
    assert not Folder.open(run).faults


def test_a_visit_that_the_budget_cut_off_is_made_again(here, tmp_path):
    problem = hx.Problem(hx.Box([0.0], [1.0]), (hx.Data("u", np.linspace(0, 1, 40)[:, None], np.ones(40)),))
    seen = []
    hx.train(problem, subscribers=[lambda e: seen.append(e) if isinstance(e, Reached | LevelFinished) else None],
             budget=1e-9, field="grid")  # fmt: skip
    assert [type(event) for event in seen] == [LevelFinished]


def test_another_problem_data_or_version_is_refused_by_name(here, tmp_path):
    run = cut_off(tmp_path / "run", 0)
    other = tmp_path / "own.py"
    other.write_text(OWN.replace("3.0", "2.0"))
    with pytest.raises(hx.InputError, match="not the one that the run was started with"):
        hx.resume(run, f"{other}:problem")
    problem = Resumption.of(run, "own.py:problem")
    problem.run.close()
    changed = hx.Problem(problem.problem.domain, [problem.problem.terms[0], hx.Residual("ends", lambda u, x: u(x),
                         on="boundary")])  # fmt: skip
    with pytest.raises(hx.InputError, match="not that of the run: term ends differs"):
        hx.resume(run, changed)
    with pytest.raises(hx.InputError, match="plan is not the one"):
        hx.resume(run, problem.problem, plan=hx.plan(problem.problem, levels=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hierax.records.resumption.environment", lambda: {**Folder.open(run).settings["environment"],
                                                                    "hierax": "9.9"})  # fmt: skip
        with pytest.raises(hx.InputError, match=r"here is 9\.9 \(hierax\)"):
            hx.resume(run, "own.py:problem")


def test_a_fit_goes_on_only_with_its_table(here, tmp_path, capsys):
    x = np.linspace(0, 1, 60)
    table = tmp_path / "data.csv"
    table.write_text("x,u\n" + "\n".join(f"{a},{np.sin(9 * a)}" for a in x))
    words = ["fit", str(table), "--inputs", "x", "--outputs", "u", "--levels", "3", "--run"]
    assert cli.main([*words, str(tmp_path / "whole")]) == 0
    run = cut_off(tmp_path / "run", 0, words, hx.train)
    table.rename(tmp_path / "moved.csv")
    assert cli.main(["resume", str(run)]) == 1
    assert "The table of this run is gone" in capsys.readouterr().err
    assert cli.main(["resume", str(run), "--problem", str(tmp_path / "moved.csv")]) == 0
    assert bits(hx.load(run)) == bits(hx.load(tmp_path / "whole"))
    (tmp_path / "moved.csv").write_text("x,u\n0,1\n1,2\n")
    assert cli.main(["resume", str(run), "--problem", str(tmp_path / "moved.csv")]) == 1
    assert "has changed since" in capsys.readouterr().err


@pytest.mark.parametrize("outputs", [("u", "v"), ("u",)])
def test_tables_go_on_with_what_is_done_of_them(here, tmp_path, outputs):
    """Two outputs, and two fidelities of one: cut off after kriging, and after the first output or fidelity."""
    x, level = np.linspace(0, 1, 24), np.repeat([1, 2], [16, 8])
    columns = np.stack([x, np.sin(9 * x), np.cos(4 * x), level], axis=1)
    np.savetxt(tmp_path / "data.csv", columns, delimiter=",", header="x,u,v,level", comments="")
    options = ["--level", "level"] if len(outputs) == 1 else []
    words = ["fit", str(tmp_path / "data.csv"), "--inputs", "x", "--outputs", *outputs, *options, "--run"]
    cli.main([*words, str(tmp_path / "whole")])
    for done in (0, 1) if len(outputs) == 2 else (1,):
        run = cut_off(tmp_path / f"run{done}", done, words, hx.train)
        reached = hx.load(run)
        assert reached.result is hx.RESULTS.interrupted
        assert list(reached.problem.unknowns) == ["u"]
        assert cli.main(["resume", str(run)]) in (0, 3)
        assert bits(hx.load(run)) == bits(hx.load(tmp_path / "whole"))
        assert hx.load(run).candidates == () or len(hx.load(run).candidates) == 4


def test_parts_that_the_budget_cut_off_are_made_again():
    class Parts(AbstractParts):
        problem, count, text = SimpleNamespace(name="p"), 3, ""

        def __init__(self, budget):
            self.asked = Asked(budget=budget)

        def trained(self, state):
            return state.current, "budget" if self.asked.budget < 2.0 and state.current == 1 else "levels"

        def ended_by(self, part):
            return part[1]

        def joined(self, done):
            return SimpleNamespace(result=hx.RESULTS.successful, stopped_by="levels", guards={}, done=done)

    first, states = Parts(1.0), []
    first.asked = Asked(budget=1.0, emit=lambda event: states.append(event) if isinstance(event, Reached) else None)
    in_parts(first)
    state = states[-1].state
    assert [part[1] for part in in_parts(Parts(1.0), state).done] == ["levels", "budget", "levels"]
    assert [part[1] for part in in_parts(Parts(2.0), state).done] == ["levels"] * 3


def test_fingerprints_tell_equations_and_numbers_apart():
    def made(factor, points=(0.1, 0.2)):
        terms = (hx.Residual("r", lambda u, x: u(x) - factor * x[0]), hx.Data("u", np.array([points]).T, np.ones(2)))
        return fingerprint(hx.Problem(hx.Box([0.0], [1.0]), terms))

    assert made(2.0) == made(2.0)
    assert {k for k, v in made(2.0).items() if made(np.array(3.0))[k] != v} == {"term r"}
    assert {k for k, v in made(2.0).items() if made(2.0, (0.1, 0.3))[k] != v} == {"term u"}


def test_fingerprints_tell_arrays_of_compiled_functions_apart():
    def made(table):
        within = jax.jit(lambda y: jnp.interp(y, grid, table))
        return fingerprint(hx.Problem(hx.Box([0.0], [1.0]), [hx.Residual("r", lambda u, x: u(x) - within(x[0]))]))

    grid = np.linspace(0.0, 1.0, 2000)
    table = np.sin(grid)
    first = made(table)
    assert made(table.copy()) == first
    table[1000] += 1e-9
    assert made(table) != first


def test_what_was_written_in_part_is_not_there(here, tmp_path):
    """A kill in the middle of a state: the draft, or the state that the manifest does not name yet."""
    run = cut_off(tmp_path / "run", 1)
    newest = Folder.open(run).states[0]
    content = (run / f"state-{newest:04d}.npz").read_bytes()
    (run / ".state-0009.npz.x1.npz").write_bytes(content[:100])
    (run / f"state-{newest + 1:04d}.npz").write_bytes(content)
    assert Folder.open(run).states[0] == newest
    assert bits(hx.resume(run, "own.py:problem")) == bits(hx.load("whole"))
    assert not Folder.open(run).faults


def test_no_network_is_needed(here, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError("no network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert cli.main([*WORDS, str(tmp_path / "run")]) == 0
    assert cli.main(["report", str(tmp_path / "run")]) == 0
    shown = (tmp_path / "run" / "report.html").read_text()
    assert "<td>residual ends</td><td>on the boundary</td>" in shown
    assert "return hx.derivative(u, &quot;xx&quot;)(x) + wave**2" in shown


@pytest.mark.slow
def test_a_long_visit_is_kept_on_the_way(here, tmp_path, monkeypatch):
    """Killed within the only visit: the field is that of its steps, and resuming makes the visit again."""
    monkeypatch.setattr("hierax.records.run.PERIOD", 0.0)
    monkeypatch.setitem(SOLVERS, "lbfgs", lambda: hx.lbfgs(steps=100))
    monkeypatch.setattr("hierax.records.run.SHARE", 0.04)
    words = [*WORDS[:2], "--field", "mlp", "--solver", "lbfgs", "--cycle", "single", "--run"]
    assert cli.main([*words, str(tmp_path / "whole")]) in (0, 3)
    steps = []

    def stop(event):
        steps.extend([event] if isinstance(event, Reached) and event.within else [])
        if len(steps) == 6:
            raise SystemExit

    monkeypatch.setattr(cli, "train", lambda problem, subscribers, **rest: hx.train(
        problem, subscribers=[*subscribers, stop], **rest))  # fmt: skip
    run = tmp_path / "run"
    assert cli.main([*words, str(run)]) == 0
    solution = hx.load(run)
    assert solution.levels[0].steps in range(1, 7)
    assert solution.loss == steps[solution.levels[0].steps - 1].solution().loss
    assert bits(hx.resume(run, "own.py:problem")) == bits(hx.load(tmp_path / "whole"))


# from outside


def test_a_second_signal_is_not_caught():
    before = signal.getsignal(signal.SIGTERM)
    with ended_by_signals() as came:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert came == ["SIGTERM"]
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is before


def started(home, folder, *words):
    """The command line in a process of its own, with kernels that were compiled before, by the settings of here."""
    program = (
        f"from hierax.objective import compiled; compiled.LEAN.update({LEAN!r}); "
        "import runpy; runpy.run_module('hierax', run_name='__main__')"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", program, *WORDS, str(folder), *words], cwd=home, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def reached(process, folder):
    """Wait until a state is there: its file, and its name in the list of what is whole, which is written after it."""
    manifest = folder / "manifest.json"
    while process.poll() is None:
        if manifest.exists() and "state-0001.npz" in manifest.read_text():
            return
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_leave_what_was_reached(home, tmp_path, number):
    folder = tmp_path / "run"
    process = started(home, folder)
    reached(process, folder)
    process.send_signal(number)
    output = process.communicate(timeout=60)[1]
    solution = hx.load(folder)
    # a signal that comes when all is written ends the process as the system does
    assert process.returncode in ({130, 0, -number} if number == signal.SIGTERM else {-number})
    if process.returncode == 130:
        assert "interrupted by SIGTERM" in output
        assert f"hierax resume {folder}" in output
        assert solution.result is hx.RESULTS.interrupted
    assert solution.evaluate([[0.5]]) == pytest.approx(np.sin(1.5), abs=0.1)
    (tmp_path / "p.csv").write_text("x\n0.5\n")
    assert cli.main(["predict", str(folder), str(tmp_path / "p.csv"), "--out", str(tmp_path / "v.csv")]) == 0
    assert cli.main(["report", str(folder)]) == 0


def test_a_reader_that_leaves_costs_nothing(home, tmp_path):
    with started(home, tmp_path / "run") as process:
        process.stdout.readline()
        process.stdout.close()
        assert "closed by its reader" in process.stderr.read()
    assert process.returncode == 0
    assert bits(hx.load(tmp_path / "run")) == bits(hx.load(home / "whole"))


@pytest.mark.parametrize("after", [0, 2, 3, 4, 5, 6, 8, 9, 10])
def test_a_full_disk_costs_no_result(here, tmp_path, monkeypatch, after, capsys):
    """Writing fails from some file on."""
    counted = []

    def written(draft, content, whole=Path.write_bytes):
        counted.append(draft)
        if len(counted) > after:
            raise OSError(28, "No space left on device")
        return whole(draft, content)

    monkeypatch.setattr(cli, "train", told_again)
    monkeypatch.setattr(Path, "write_bytes", written)
    code = cli.main([*WORDS, str(tmp_path / "run")])
    monkeypatch.undo()
    shown = capsys.readouterr()
    assert "No space left" in shown.err
    if after < 3:
        assert code == 1
        assert not (tmp_path / "run").exists()
        return
    assert "successful" in shown.out
    assert code in (0, 2)
    assert not Folder.open(tmp_path / "run").faults
    states = Folder.open(tmp_path / "run").states
    assert len(states) == min(1, max(0, after - 4)) or after > 9
    if states:
        assert hx.load(tmp_path / "run").evaluate([[0.5]]) == pytest.approx(np.sin(1.5), abs=0.1)


def test_the_older_state_makes_room(here, tmp_path, monkeypatch, capsys):
    """Space for two states and not for three, nor for a solution beside two."""
    folder = tmp_path / "run"

    def written(draft, content, whole=Path.write_bytes):
        if len(content) + sum(path.stat().st_size for path in folder.glob("state*")) > 100_000:
            raise OSError(28, "No space left on device")
        return whole(draft, content)

    monkeypatch.setattr(cli, "train", told_again)
    monkeypatch.setattr(Path, "write_bytes", written)
    assert cli.main([*WORDS, str(folder)]) == 0
    monkeypatch.undo()
    assert bits(hx.load(folder)) == bits(hx.load(here / "whole"))
    assert len(Folder.open(folder).states) < 2
    assert not Folder.open(folder).faults


def test_without_space_nothing_is_begun(here, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hierax.records.run.LEAST_SPACE", 2**80)
    assert cli.main([*WORDS, str(tmp_path / "run")]) == 1
    assert "are needed" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_figure_that_cannot_be_drawn_costs_nothing(here, tmp_path, monkeypatch, capsys):
    monkeypatch.undo()
    monkeypatch.chdir(here)

    def fails(solution, path):
        raise RuntimeError("no font")

    monkeypatch.setattr(cli, "train", told_again)
    monkeypatch.setattr(hx.Solution, "plot", fails)
    assert cli.main([*WORDS, str(tmp_path / "run")]) == 0
    assert "figure.png could not be written: RuntimeError: no font" in capsys.readouterr().err
    assert bits(hx.load(tmp_path / "run")) == bits(hx.load("whole"))
