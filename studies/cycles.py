"""Do cycles pay? Nested iteration against V-, F- and full-multigrid cycles, at equal seconds, on one row after another.

- A row is a problem, a hierarchy (knots or width; networks, and spline grids as a control) and a solver, of the
  whole batch or on samples drawn anew for every step. All trainings of a row end on a level of the same size.
- Seconds are processor seconds of the training, compilation in them; every training compiles what belongs to its
  problem, and ends after equal seconds without compilation. The column `warm` is the best ratio without it. Errors are
  relative L2 errors of the finest level, measured after the training at up to 24 marks.
- Nested iteration trains each coarse level until its solver is done, or until an equal share of half the time is spent,
  and the finest for the rest. Cycles take one step (of an Optax solver a block) before and after each correction;
  corrections agree to first order and are accepted by line search. Full multigrid goes on with V-cycles on the finest
  level. V- and F-cycles start on the finest level, with the initial values of the coarsest.
- The error that is to be reached is 1.25 times the one at which nested iteration ends, by the median over seeds. A row
  is won if the best of the three cycles needs less than 1 / 1.1 of the seconds of nested iteration, by medians over
  seeds (one that never gets there counts as infinite), and lost if it needs more than 1.1 times as many.
- The reason of a row is the largest of three differences between the best cycle and nested iteration: in compiling, in
  the way to the finest level, in the time there. Beside it stand what a cycle does to the loss, what nested iteration
  does in the same time, and how much of the decrease that a Gauss-Newton step on the finest level promises could be
  had on the level below, where nested iteration ended.
- Networks are run with five seeds. Grids start from zero and have Gauss points: they are run once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hierax.objective.flat_transfer import FlatTransfer
from hierax.problems.problem import Problem
from hierax.results.figures import ACCENT, INK, MUTED, STYLE, WARM
from studies.common import Row, aligned, record, save, write_files
from studies.laps import CASES, NESTED, SHORT, Case, Lap, Mark, Ruler, lap
from studies.registry import study

NAME = "cycles"
CYCLES = ("V", "F", "full multigrid")
MARGIN, SLACK = 1.1, 1.25
SEEDS = 5
DENSE = 1500
"""Most parameters for which a dense Gauss-Newton step is computed."""


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Run all rows, leave table, figure and trainings in `out`, main numbers under `summary`.

    The short form has two rows in one dimension, one seed, and a second for each training.
    """
    return compare(out, _short() if quick else CASES, 1 if quick else SEEDS, quick)


def compare(out: Path, cases: Mapping[str, Case], seeds: int, quick: bool = False) -> dict[str, Any]:
    """Run some rows with so many seeds; what is in `out` is written after every row, so that none is lost."""
    found: list[Row] = []
    rows: list[Row] = []
    told: dict[str, Any] = {}
    for name, case in cases.items():
        more = row(name, case, 1 if case.fixed else seeds, (NESTED, *CYCLES))
        found.append(more.pop("summary"))
        rows += more["trainings"]
        told = leave(out, found, rows, quick)
    return told


def leave(out: Path, found: list[Row], rows: list[Row], quick: bool) -> dict[str, Any]:
    """Table, figure and trainings of the rows that were run, and the JSON."""
    main = summary(found)
    text = "\n\n".join([table(found), reasons(found), answer(main)])
    title = "Nested iteration against cycles, at equal seconds" + (" (short form)" if quick else "")
    paths = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, found))
    return record(NAME, quick, main, paths, text, __doc__, cases=found, rows=rows)


def _short() -> dict[str, Case]:
    return {name: replace(case, seconds=1.0) for name, case in SHORT.items()}


def row(name: str, case: Case, seeds: int, arms: tuple[str, ...]) -> dict[str, Any]:
    """All trainings of a row, and what follows from them."""
    problem = case.make()
    ruler = Ruler(problem)
    lap(case, problem, ruler, NESTED, 0, 1e-3)  # compiles what all trainings of a process share
    laps = {arm: [lap(case, problem, ruler, arm, seed, case.seconds) for seed in range(seeds)] for arm in arms}
    target = SLACK * float(np.median([found.error for found in laps[NESTED]]))
    medians = {arm: measured(found, target) for arm, found in laps.items()}
    inside = share_below(case, problem, laps[NESTED][0])
    whole = {"row": name, "seeds": seeds, "budget_seconds": case.seconds, "target": target, "share_below": inside}
    whole |= {"parameters": laps[NESTED][0].watch.finest, "arms": medians}
    whole |= verdict(medians)
    trainings = [
        {"row": name, "arm": arm, "seed": seed, "error": found.error, "seconds_to_target": found.reached(target)[0]}
        | {"marks": len(found.losses), "seconds": found.seconds.tolist(), "errors": found.errors.tolist()}
        for arm, own in laps.items()
        for seed, found in enumerate(own)
    ]
    return {"summary": whole, "trainings": trainings}


def measured(laps: list[Lap], target: float) -> Row:
    """Medians over seeds of one arm: seconds to the target and their parts, and what a cycle does to the loss."""
    parts = [_parts(found, target) for found in laps]
    middle = {key: float(np.median([part[key] for part in parts])) for key in parts[0]}
    return middle | {"reached": sum(math.isfinite(part["seconds"]) for part in parts)}


def _parts(found: Lap, target: float) -> dict[str, float]:
    """Seconds to the target: compiling, the way to the finest level, and the time there."""
    seconds, compiling = found.reached(target)
    marks = found.watch.marks
    if not marks:
        nothing = dict.fromkeys(("seconds", "way", "there", "error"), math.inf)
        return nothing | {"compiling": compiling, "factor": 1.0, "cycle_seconds": found.watch.limit, "rate": 0.0}
    used = [mark for mark in marks if mark.seconds <= seconds] or marks[:1]
    way = _training_at(used[0])
    # who is there at once shows its pace afterwards
    paced = used if len(used) > 2 else marks[:3]
    spent, counted = _training_at(paced[-1]) - way, max((len(paced) - 1) / 2, 0.5)
    fall = math.log(max(paced[-1].loss, 1e-300) / max(paced[0].loss, 1e-300))
    return {
        "seconds": seconds,
        "compiling": compiling,
        "way": way,
        "there": _training_at(used[-1]) - way,
        "error": found.error,
        "factor": math.exp(fall / counted),
        "cycle_seconds": spent / counted,
        "rate": fall / spent if spent > 0 else 0.0,
    }


def _training_at(mark: Mark) -> float:
    """Seconds without compilation."""
    return mark.seconds - mark.compiling


def share_below(case: Case, problem: Problem, found: Lap) -> float | None:
    """How much of the decrease of a Gauss-Newton step on the finest level the one below can bring."""
    if not found.watch.marks or len(found.watch.marks[-1].theta) > DENSE:
        return None
    hierarchy = case.hierarchy(problem, 0)
    lower, upper = (level.field for level in hierarchy.levels[-2:])
    theta = found.watch.marks[-1].theta
    flat, seen = FlatTransfer(hierarchy.transfers[-1], lower, upper), found.watch.objective.linearise(theta)
    matrix = np.stack([seen.curvature.mv(unit) for unit in np.eye(len(theta))], axis=1)
    # copies of units make the curvature singular
    matrix += 1e-8 * matrix.diagonal().max() * np.eye(len(theta))
    columns = flat.matrix(flat.inject(theta)) @ np.eye(len(flat.inject(theta)))
    slope = columns.T @ seen.gradient
    below = slope @ np.linalg.lstsq(columns.T @ matrix @ columns, slope)[0]
    return float(below / (seen.gradient @ np.linalg.solve(matrix, seen.gradient)))


def verdict(medians: dict[str, Row]) -> Row:
    """Whether the best cycle wins, by how much, and why."""
    nested = medians[NESTED]
    ratios = {arm: _ratio(nested["seconds"], medians[arm]["seconds"]) for arm in CYCLES}
    warm = {arm: _ratio(_training(nested), _training(medians[arm])) for arm in CYCLES}
    best = max(CYCLES, key=lambda arm: (ratios[arm], -medians[arm]["error"]))
    return {
        "ratios": ratios,
        "ratios_without_compilation": warm,
        "best": best,
        "verdict": _word(ratios[best]),
        "verdict_without_compilation": _word(max(warm.values())),
        "reason": _reason(best, medians[best], nested),
    }


def _word(ratio: float) -> str:
    return "won" if ratio > MARGIN else "lost" if ratio < 1 / MARGIN else "equal"


def _training(arm: Row) -> float:
    """Seconds without compilation."""
    return arm["seconds"] - arm["compiling"]


def _ratio(nested: float, other: float) -> float:
    """Seconds of nested iteration over those of a cycle: zero where only the former got there, infinite if the latter.

    One where neither did.
    """
    if math.isinf(other):
        return 1.0 if math.isinf(nested) else 0.0
    return nested / max(other, 1e-9)


def _reason(best: str, cycle: Row, nested: Row) -> str:
    words = {"compiling": "compiling", "way": "the way to the finest level", "there": "the finest level itself"}
    apart = {key: cycle[key] - nested[key] for key in words}
    if math.isinf(cycle["seconds"]):
        cause = f"{best} does not get there and ends at an error of {cycle['error']:.2g}"
    else:
        faster = cycle["seconds"] < nested["seconds"]
        key = min(apart, key=lambda k: apart[k] if faster else -apart[k])
        cause = f"{best} {'saves' if faster else 'loses'} most in {words[key]}"
    same = math.exp(nested["rate"] * cycle["cycle_seconds"])
    return (
        f"{cause}: compiling {cycle['compiling']:.1f} s against {nested['compiling']:.1f}, way to the finest level "
        f"{cycle['way']:.1f} against {nested['way']:.1f}, there {cycle['there']:.1f} against {nested['there']:.1f}; a "
        f"cycle takes {cycle['cycle_seconds']:.2g} s and multiplies the loss by {cycle['factor']:.3g}, nested "
        f"iteration in that time by {same:.3g}"
    )


def summary(found: list[Row]) -> dict[str, Any]:
    """The main numbers; see the head of the file."""
    by = {word: [r["row"] for r in found if r["verdict"] == word] for word in ("won", "lost", "equal")}
    warm = {word: [r["row"] for r in found if r["verdict_without_compilation"] == word] for word in by}
    return {
        "rows": len(found),
        "wins": by["won"],
        "losses": by["lost"],
        "equal": by["equal"],
        "wins_without_compilation": warm["won"],
        "losses_without_compilation": warm["lost"],
        "ratios": {r["row"]: r["ratios"] for r in found},
        "ratios_without_compilation": {r["row"]: r["ratios_without_compilation"] for r in found},
        "verdicts": {r["row"]: r["verdict"] for r in found},
        "reasons": {r["row"]: _sentence(r) for r in found},
    }


def table(found: list[Row]) -> str:
    """A line for each row: seconds to the target by each order, and errors at the end."""
    head = [
        "row",
        "parameters",
        "target",
        *(f"{arm} s" for arm in (NESTED, *CYCLES)),
        "best",
        "ratio",
        "warm",
        "verdict",
    ]
    head += [f"error {arm}" for arm in (NESTED, *CYCLES)]
    cells = [
        [r["row"], str(r["parameters"]), f"{r['target']:.2e}"]
        + [_seconds(r["arms"][arm]) for arm in (NESTED, *CYCLES)]
        + [
            r["best"],
            f"{r['ratios'][r['best']]:.2f}",
            f"{max(r['ratios_without_compilation'].values()):.2f}",
            r["verdict"],
        ]
        + [f"{r['arms'][arm]['error']:.1e}" for arm in (NESTED, *CYCLES)]
        for r in found
    ]
    return "\n".join(aligned([head, *cells]))


def _seconds(arm: Row) -> str:
    return f"{arm['seconds']:.2f}" if math.isfinite(arm["seconds"]) else "never"


def reasons(found: list[Row]) -> str:
    """Why each row was won or lost."""
    return "\n".join(f"{r['row']} ({r['verdict']}): {_sentence(r)}" for r in found)


def _sentence(r: Row) -> str:
    inside = r["share_below"]
    more = "" if inside is None else f"; the level below could bring {inside:.0%} of the decrease of a Newton step"
    return r["reason"] + more + "."


def answer(main: dict[str, Any]) -> str:
    """The question of the study, answered by its numbers."""
    won, lost, equal = (len(main[key]) for key in ("wins", "losses", "equal"))
    warm, cold = len(main["wins_without_compilation"]), len(main["losses_without_compilation"])
    return (
        f"Cycles win {won} of {main['rows']} rows, lose {lost}, {equal} are equal; without the seconds of compilation "
        f"they win {warm} and lose {cold}."
    )


COLORS = {"V": ACCENT, "F": MUTED, "full multigrid": WARM}


def draw(path: Path, title: str, found: list[Row]) -> None:
    """Rows down, seconds of nested iteration over those of each cycle across."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 1.6 + 0.3 * len(found)), layout="constrained")
        axes = figure.subplots()
        finite = [v for r in found for v in r["ratios"].values() if 0 < v < math.inf]
        low, high = 0.5 * min([0.5, *finite]), 2.0 * max([2.0, *finite])
        for arm, color in COLORS.items():
            values = np.array([r["ratios"].get(arm, math.nan) for r in found])
            inside = (values > 0) & np.isfinite(values)
            places = np.arange(len(found))
            axes.plot(values[inside], places[inside], "o", ms=6, color=color, label=arm)
            axes.plot(np.full(np.sum(values == 0), low), places[values == 0], "x", ms=6, color=color)
            axes.plot(np.full(np.sum(np.isinf(values)), high), places[np.isinf(values)], ">", ms=6, color=color)
        axes.axvline(1.0, color=INK, lw=0.8)
        axes.set(xscale="log", xlabel="seconds of nested iteration over those of the cycle (cross: never reached)")
        axes.set_yticks(range(len(found)), [r["row"] for r in found])
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.grid(axis="x", lw=0.4, alpha=0.5)
        axes.legend(frameon=False, fontsize=8, loc="best")
        save(figure, path, title)
