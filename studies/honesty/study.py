"""Can a verdict be relied on? Problems with a known truth where a wrong answer is likely, and easy controls.

Each is trained once with the default settings for 20 s of the processor, seed 0, in a process of its own. `right` ends
with exit code 0 within the tolerance, `confident_wrong` with exit code 0 outside of it, `false_alarm` is a right answer
that was refused, and `refused` is everything else. Where nothing determines the solution, or none exists, only a
refusal is right. Truths are derived by hand or computed by other methods to tolerances far below those asked; a test
puts them into the equations.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from hierax.results.figures import ACCENT, MUTED, STYLE, WARM
from studies.common import Row, aligned, record, save, write_files
from studies.honesty.battery import CONFIDENT_WRONG, FALSE_ALARM, REFUSED, RIGHT, VERDICTS
from studies.honesty.cases import cases
from studies.honesty.one import apart
from studies.registry import study
from studies.so_far import SoFar

NAME = "honesty"
COLORS = {RIGHT: ACCENT, REFUSED: MUTED, FALSE_ALARM: "#d9a441", CONFIDENT_WRONG: WARM}


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Judge the whole battery, one process after the other; the short form has a few cheap problems."""
    known = {name: case for name, case in cases().items() if case.quick or not quick}
    so_far = SoFar(out, NAME)
    for name in known:
        so_far.add({"case": name}, lambda name=name: [apart(name)])
    rows = sorted(so_far.rows, key=lambda row: list(known).index(row["case"]))
    head = ["problem", "kind", "verdict", "error", "result", "seconds"]
    text = "\n".join(aligned([head, *map(_cells, rows)]))
    title = "Right, refused, or confidently wrong"
    paths = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, rows))
    return record(NAME, quick, summary(rows), paths, text, __doc__, rows=rows, reading=so_far.reading())


def summary(rows: list[Row]) -> Row:
    """How many there are of each verdict."""
    counts = Counter(row["verdict"] for row in rows)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def _cells(row: Row) -> list[str]:
    error = "-" if row["error"] is None else f"{row['error']:.1e}"
    return [row["case"], row["kind"], row["verdict"], error, row["result"], f"{row['seconds']:.1f}"]


def draw(path: Path, title: str, rows: list[Row]) -> None:
    """Verdicts by kind, as bars side by side."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 1.2 + 0.3 * len(kinds)), layout="constrained")
        axes = figure.subplots()
        reached = [0] * len(kinds)
        for verdict in VERDICTS:
            counts = [sum(row["kind"] == kind and row["verdict"] == verdict for row in rows) for kind in kinds]
            axes.barh(kinds, counts, left=reached, color=COLORS[verdict], label=verdict.replace("_", " "))
            reached = [a + b for a, b in zip(reached, counts, strict=True)]
        axes.invert_yaxis()
        axes.set_xlabel("problems")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25 if len(kinds) < 6 else -0.1), ncols=4)
        save(figure, path, title)
