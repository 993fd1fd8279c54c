"""Every family of the catalogue as `hierax surrogate NAME` learns it: members, errors, and what a member costs.

Members are solved or simulated within the seconds. Errors are relative L2 errors at members that were not learned from,
of all unknowns together, each in units of its own size; `claimed` is the median of what predictions say of themselves
there, `over` the largest ratio of an error to that. For families of numbers `members` are those on every mesh in use; a
member's seconds are those on the finest of them, for functions those on the level that is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import hierax as hx
from hierax.models.catalogue import families
from hierax.results.figures import STYLE
from hierax.results.record import plain
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study
from studies.so_far import SoFar

NAME = "families"
BUDGET, SEEDS = 60.0, 1
SHORT, SHORT_BUDGET = ("darcy-two-phases",), 3.0


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """All families from every seed; the short form has one family in little time."""
    so_far, budget = SoFar(out, NAME), SHORT_BUDGET if quick else BUDGET
    names = SHORT if quick else sorted(families())
    for seed in range(1 if quick else SEEDS):
        for name in names:
            so_far.add({"family": name, "seed": seed}, lambda name=name, seed=seed: [measured(name, seed, budget)])
    rows = so_far.rows
    summary = {name: _over_seeds([row for row in rows if row["family"] == name]) for name in names}
    head = ["family", "members", "median", "worst", "claimed", "over", "seconds", "a member s"]
    cells = [[row["family"], row["members"], *(f"{row[key]:.1e}" for key in head[2:5]), f"{row['over']:.1f}",
              f"{row['seconds']:.0f}", f"{row['member']:.2g}"] for row in rows]  # fmt: skip
    title = f"Families of the catalogue in {budget:.0f} s" + (" (short form)" if quick else "")
    text = "\n".join(aligned([head, *cells]))
    paths = write_files(out, NAME, title, text, rows, lambda path: _draw(path, title, rows))
    return plain(record(NAME, quick, summary, paths, text, __doc__, rows=rows, reading=so_far.reading()))


def measured(name: str, seed: int, budget: float) -> Row:
    """One learning, by the members that it kept apart."""
    made: Any = hx.surrogate(families()[name](), budget=budget, key=seed)
    if isinstance(made, hx.Operator):
        errors, claims = made.errors, made.doubt.factor * made.doubt.left_out
        members, seconds = str(made.samples), made.seconds
        member = float(made.levels[-1][0]) if made.levels else float("nan")
    else:
        known, own = made.calibration, made.record
        errors, claims = known.errors, known.estimates
        members = " + ".join(str(count) for _, count in own.meshes)
        seconds, member = own.seconds, own.seconds_member
    return {"members": members, "median": float(np.median(errors)), "worst": float(np.max(errors)),
            "claimed": float(np.median(claims)), "over": float(np.max(errors / claims)), "seconds": float(seconds),
            "member": member}  # fmt: skip


def _over_seeds(rows: Sequence[Row]) -> dict[str, float]:
    return {key: float(np.median([row[key] for row in rows])) for key in ("median", "worst", "claimed", "seconds")}


def _draw(path: Path, title: str, rows: Sequence[Row]) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 0.9 + 0.25 * len({row["family"] for row in rows})), layout="constrained")
        axes = figure.subplots()
        for key, marker in (("median", "o"), ("worst", "x"), ("claimed", "|")):
            axes.semilogx([row[key] for row in rows], [row["family"] for row in rows], marker, label=key)
        axes.margins(y=0.2)
        axes.set(xlabel="relative error")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        save(figure, path, title)
