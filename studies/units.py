"""Do the units of a problem change anything? Catalogue and honesty battery, each written in ten random units.

Coordinates, unknowns and terms are multiplied by factors from 1e-9 to 1e9 (`hierax.testing.units.Written`). The problem
as it is and as it is written are trained on three levels, in three coordinates on two. A row counts the units in which
verdict, levels and steps are the same, and has the largest relative difference of any unknown. Budgets are long enough
to play no part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hierax.problems.problem import Problem
from hierax.problems.registry import catalogue
from hierax.results.files import written
from hierax.testing.units import Written, course, differences
from hierax.training.train import train
from studies.common import Row, aligned, record
from studies.honesty.cases import cases
from studies.registry import study
from studies.so_far import SoFar

NAME = "units"
SCALINGS, BUDGET = 10, 600.0
KINDS = ("controls", "units", "energies", "systems", "given values", "inverse")
"""Kinds of the battery that are tried besides the catalogue."""
OTHERS = ("four-fidelities", "constitutive")
"""Of the catalogue: not trained as one problem, or until its budget ends, however long."""
QUICK = ("poisson-1d", "cooling")
AGREE = 1e-8


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train every problem in its own units and in others; the short form has two problems in one other unit."""
    so_far = SoFar(out, NAME)
    for name, make in problems():
        if name in QUICK or not quick:
            so_far.add({"problem": name}, lambda make=make: [compared(make(), 1 if quick else SCALINGS)])
    rows = so_far.rows
    head = ["problem", "units", "same course", "largest difference", "seconds"]
    text = "\n".join(aligned([head, *map(_cells, rows)]))
    with written(out / f"{NAME}.txt") as draft:
        draft.write_text(text + "\n", encoding="utf-8")
    agree = [row["same"] == row["units"] and row["difference"] < AGREE for row in rows]
    return record(
        NAME, quick, {"problems": len(rows), "agree": sum(agree)}, [str(out / f"{NAME}.txt")], text, __doc__, rows=rows,
        reading=so_far.reading(),
    )  # fmt: skip


def problems() -> Iterator[tuple[str, Callable[[], Problem]]]:
    """Names and makers."""
    yield from ((name, make) for name, make in catalogue().items() if name not in OTHERS)
    for case in cases().values():
        if case.kind in KINDS:
            yield case.name, lambda own=case: own.pose().problem


def compared(problem: Problem, scalings: int) -> Row:
    """How often the course of a training is the same in other units, and the largest difference of its answers."""
    began = time.process_time()
    settings = {"levels": 3 if problem.domain.dim < 3 else 2, "budget": BUDGET}
    first, same, worst = train(problem, **settings), 0, 0.0
    for seed in range(scalings):
        other = Written.at_random(problem, seed)
        second = train(other.problem, **settings)
        same += course(first) == course(second)
        worst = max(worst, *differences(problem, other, first, second).values())
    return {"units": scalings, "same": same, "difference": worst, "seconds": time.process_time() - began}


def _cells(row: Row) -> list[str]:
    return [row["problem"], str(row["units"]), str(row["same"]), f"{row['difference']:.1e}", f"{row['seconds']:.0f}"]
