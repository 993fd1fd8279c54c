"""Twenty commands as users give them: error, parameters and seconds of each, with the budget of 60 s and seed 0.

Every row is a process of its own, `hierax train ... --json`, on one core where the system can keep a process there.
Errors are relative L2 errors against a reference, at points that training did not use; for noisy data they are those
against the function without noise. Seconds are those of the processor (user and system), of the whole command with
imports, compilation and measurement of errors; those of compiling are elapsed ones. "linear" means that the field is a
spline grid: a collocation method on a hierarchy and not a neural network. A row loses where the default strategy has a
smaller error on the same problem. Errors of rows that ended with the budget depend on the machine.

A folder that is given by `--out` is taken up where it was: rows whose JSON is there are not run again.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hierax.results.files import write_json, written
from studies.common import Row, record
from studies.pages import ROOT, made
from studies.registry import study

NAME = "overview"
COMMANDS = (
    "burgers",
    "burgers --set viscosity=0.0031831",
    "burgers-merging",
    "allen-cahn",
    "poisson-2d",
    "poisson-2d --set scales=6",
    "poisson-jump",
    "anisotropic-diffusion",
    "rotated-wind",
    "elasticity",
    "semilinear-3d",
    "examples/poisson_4d.py:problem",
    "regression-1d --set noise=0.1",
    "regression-2d --set noise=0.1",
    "rotated-regression",
    "inverse-constant --set noise=0.01",
    "inverse-diffusion",
    "burgers --field kan",
    "burgers --field decoded",
    "burgers --field mlp --solver adam",
)
CHEAP = ("regression-1d --set noise=0.1", "inverse-diffusion", "anisotropic-diffusion")
"""Rows of the short form."""
SHOWN = {
    "burgers": "Burgers' equation with a layer",
    "burgers-merging": "two layers that merge",
    "semilinear-3d": "`-Lap u + u^3 = f`, three dimensions",
    "examples/poisson_4d.py:problem": "Poisson's equation, four dimensions",
    "regression-2d --set noise=0.1": "noisy data, two coordinates",
    "inverse-constant --set noise=0.01": "an unknown number, noisy data",
    "burgers --field kan": "the first problem, a spline network",
    "burgers --field mlp --solver adam": "the first problem, a perceptron by Adam",
}
"""Rows of the README."""
LONGEST = 600.0
"""Seconds after which a process is ended: ten budgets."""


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Run every command that has left no JSON in `out` yet; the table of all, and a part of it for the README."""
    chosen = CHEAP if quick else COMMANDS
    began = out / "made.json"
    if not began.exists():
        write_json(began, made(f"python -m studies {NAME}" + (" --quick" if quick else "")))
    for number, words in enumerate(chosen, 1):
        if not (out / f"{number:02}.json").exists():
            measure(words, out, f"{number:02}")
    rows = [row_of(words, out, f"{number:02}") for number, words in enumerate(chosen, 1)]
    text = table(rows)
    with written(out / f"{NAME}.md") as draft:
        draft.write_text(text + "\n", encoding="utf-8")
    shown = None if quick else excerpt(rows)
    kept = {"rows": rows, "reading": reading(rows), "excerpt": shown, "made": json.loads(began.read_text())}
    summary = {"rows": len(rows), "guards_pass": sum(row["result"] == "successful" for row in rows)}
    return record(NAME, quick, summary, [str(out / f"{NAME}.md")], text, __doc__, **kept)


def measure(words: str, out: Path, name: str) -> None:
    """Run one command in a process of its own; leaves its JSON, its output, and its seconds (user, system)."""
    keep = ["taskset", "-c", str(max(os.sched_getaffinity(0)))] if shutil.which("taskset") else []
    files = ["--json", str(out.resolve() / f"{name}.json"), "--run", str(out.resolve() / f"run{name}")]
    command = [*keep, sys.executable, "-m", "hierax", "train", *shlex.split(words), *files]
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    before = os.times()
    with (out / f"{name}.out").open("w", encoding="utf-8") as shown:
        subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, stdout=shown, stderr=shown, timeout=LONGEST
        )
    after = os.times()
    user, system = after.children_user - before.children_user, after.children_system - before.children_system
    with written(out / f"{name}.time") as draft:
        draft.write_text(f"{user:.3f} {system:.3f}\n", encoding="utf-8")


def row_of(words: str, out: Path, name: str) -> Row:
    """What one command reached."""
    found = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    user, system = (out / f"{name}.time").read_text(encoding="utf-8").split()[:2]
    return {
        "command": words,
        "relative_l2": found["relative_l2"],
        "parameters": found["parameters"],
        "linear_in_parameters": found["linear_in_parameters"],
        "seconds": float(user) + float(system),
        "seconds_compile": found["seconds_compile"],
        "stopped_by": found["stopped_by"],
        "result": found["result"],
    }


def table(rows: list[Row]) -> str:
    """All rows."""
    head = ["`hierax train` ...", "relative L2 error", "parameters", "linear", "seconds", "compiling", "ended by"]
    return markdown(head, [[*_cells(row), f"{row['seconds_compile']:.0f}", _end(row)] for row in rows])


def excerpt(rows: list[Row]) -> str:
    """The rows of the README, each with what it is and how it ended."""
    named = {row["command"]: row for row in rows}
    head = ["problem", "`hierax train` ...", "relative L2 error", "parameters", "linear", "seconds", "guards"]
    return markdown(head, [[what, *_cells(named[words]), verdict(named[words], rows)] for words, what in SHOWN.items()])


def verdict(row: Row, rows: list[Row]) -> str:
    """Whether guards pass, and whether the row loses."""
    guards = "pass" if row["result"] == "successful" else f"`{row['result'].removeprefix('guard_')}` fails"
    return f"{guards}; loses" if loses(row, rows) else guards


def loses(row: Row, rows: list[Row]) -> bool:
    """Whether the default strategy is better on the same problem."""
    default = row["command"].partition(" --field")[0]
    return any(r["command"] == default and r["relative_l2"] < row["relative_l2"] for r in rows)


def _cells(row: Row) -> list[str]:
    linear = "yes" if row["linear_in_parameters"] else "no"
    return [f"`{row['command']}`", number(row["relative_l2"]), str(row["parameters"]), linear, f"{row['seconds']:.0f}"]


def _end(row: Row) -> str:
    return row["stopped_by"] if row["result"] == "successful" else f"{row['stopped_by']}, `{row['result']}`"


def number(value: float) -> str:
    """A number as tables and text show it."""
    return f"{value:.1e}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)])


def reading(rows: list[Row]) -> str:
    """One paragraph from the numbers."""
    grids = sum(row["linear_in_parameters"] for row in rows)
    wrong = [row for row in rows if row["result"] != "successful"]
    text = [
        f"{grids} of {len(rows)} rows are spline grids; the median of all seconds is "
        f"{np.median([row['seconds'] for row in rows]):.0f}, the largest {max(row['seconds'] for row in rows):.0f}.",
        f"Guards pass in {len(rows) - len(wrong)} rows.",
    ]
    lost = [row for row in rows if loses(row, rows)]
    if lost:
        best, grid = min(lost, key=lambda row: row["relative_l2"]), next(r for r in rows if r["command"] == "burgers")
        text.append(
            f"{len(lost)} rows lose: the best of the networks on Burgers' equation (`{best['command']}`) comes to "
            f"{number(best['relative_l2'])}, where the grid comes to {number(grid['relative_l2'])}."
        )
    caught = sum(row in wrong for row in lost)
    return " ".join([*text, f"Guards refuse {caught} of them."] if lost else text)
