"""Does second order alone make levels redundant? First order or Gauss-Newton, with levels or without, at equal seconds.

Gauss-Newton steps flatten the convergence of modes (arXiv 2601.03162), and so do levels. Whether one replaces the other
is open; here both are switched on and off, on eight problems, for a field that is linear in its parameters (a grid of
splines) and for one that is not (a spline network), with a classical solver beside each problem.

- All arms of a row have the same problem, the same seconds with compilation (each compiles its own kernels; what the
  library compiles once in a process is compiled before the row), and train a field of the same size: single-level arms
  from the start, the others at the end.
- Arms with Gauss-Newton go on with their last level until two visits bring nothing or the seconds are over; the
  tolerance of a solver decides for coarser levels only. Levels that choose their own knots end as by default.
- Grids. The levels choose their own knots, and their number, where the budget lets them. The single level gets a
  uniform grid of about as many parameters: adapted knots are a product of levels. Two more arms separate size and
  place of the knots: levels that end at the uniform grid, and a single level that is given the adapted knots. For a
  linear problem Gauss-Newton on a single grid is one factorisation, so levels can gain nothing there except by their
  knots.
- Networks. A linear layer, then splines whose intervals are doubled from level to level. Every coarse level gets an
  equal share of the seconds, for both solvers; the finest gets the rest.
- Adam has the better of two constant rates, found on the single level with the first seed at the full budget.
- Grids start from zero and use Gauss points, so they are run once; networks with three seeds.
- `gain` is the error of the best single-level arm over that of the best arm with levels, by medians over seeds, for
  each kind of field (`gain_linear_fields`, `gain_nonlinear_fields`), and for a problem the geometric mean of the two.
- Errors are relative L2 errors of the first unknown on points that training did not see. The gap is the error of a
  level over the best of its class (see `studies.gap`).
- `allen-cahn` is stated between walls with zero slope, which its even, periodic solution satisfies: networks are not
  periodic. Burgers has the viscosity 0.02, so that both kinds of fields resolve its layer within the budget.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hierax.results.figures import ACCENT, INK, MUTED, STYLE, WARM
from studies.bouts import (
    CASES,
    CLASSICAL,
    GIVEN_KNOTS,
    KINDS,
    MANY,
    MANY_FIRST,
    MANY_SECOND,
    ONE_FIRST,
    ONE_SECOND,
    OWN_KNOTS,
    SINGLE,
    Case,
    known,
    run_case,
)
from studies.common import Row, aligned, find, record, save, statistics, table, write_files
from studies.registry import study

NAME = "four-arms"


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Run all arms on all problems, leave table, figure and rows in `out`, main numbers under `summary`.

    The short form has one seed, two problems, one for each kind of field, one rate of Adam, and a few seconds for each
    training.
    """
    rows: list[Row] = []
    gaps: list[Row] = []
    for name, case, kinds in _short() if quick else [(n, c, tuple(KINDS)) for n, c in CASES.items()]:
        more = run_case(name, case, 1 if quick else 3, kinds, quick)
        rows, gaps = rows + more[0], gaps + more[1]
    medians = statistics(rows)
    main = summary(medians, gaps)
    text = "\n\n".join([table(medians), gap_table(gaps), answer(main)])
    title = "First order or Gauss-Newton, one level or many, at equal seconds" + (" (short form)" if quick else "")
    paths = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, medians))
    return record(NAME, quick, main, paths, text, __doc__, medians=medians, gaps=gaps, rows=rows)


def _short() -> list[tuple[str, Case, tuple[str, ...]]]:
    poisson = replace(CASES["poisson-2d"], make=known("poisson-2d", scales=2), grid_seconds=4.0)
    smooth = replace(CASES["rotated-regression"], make=known("rotated-regression", points=2000), network_seconds=6.0)
    return [("poisson-2d", poisson, ("grid",)), ("rotated-regression", smooth, ("network",))]


def summary(medians: list[Row], gaps: list[Row]) -> dict[str, Any]:
    """The main numbers; see the head of the file for what a gain is."""
    names = list(dict.fromkeys(row["problem"].partition(",")[0] for row in medians))
    by_kind = {kind: {name: _gain(medians, f"{name}, {text}") for name in names} for kind, text in KINDS.items()}
    by_kind = {kind: {name: g for name, g in found.items() if g is not None} for kind, found in by_kind.items()}
    gains = {}
    for name in names:
        both = [by_kind[kind][name] for kind in KINDS if name in by_kind[kind]]
        gains[name] = float(np.exp(np.mean(np.log(both))))
    labels = list(dict.fromkeys(row["problem"] for row in medians))
    pairs = {
        "second_order_on_one_level": (ONE_FIRST, ONE_SECOND),
        "levels_with_first_order": (ONE_FIRST, MANY_FIRST),
        "levels_with_second_order": (ONE_SECOND, MANY_SECOND),
        "own_knots_over_same_knots_given": (GIVEN_KNOTS, OWN_KNOTS),
    }
    ratios = {key: {label: _ratio(medians, label, *pair) for label in labels} for key, pair in pairs.items()}
    return {
        "gain": gains,
        "gain_median": _median(gains),
        "gain_linear_fields": by_kind["grid"],
        "gain_linear_median": _median(by_kind["grid"]),
        "gain_nonlinear_fields": by_kind["network"],
        "gain_nonlinear_median": _median(by_kind["network"]),
        "error_ratios": {k: {n: r for n, r in found.items() if r is not None} for k, found in ratios.items()},
        "error_ratio_medians": {key: _median(found) for key, found in ratios.items()},
        "control_relative_l2": {row["problem"]: row["relative_l2"] for row in medians if row["arm"] == CLASSICAL},
        "gap_largest": {kind: max((g["gap"] for g in gaps if g["kind"] == kind), default=None) for kind in KINDS},
        "gap_finest": {f"{g['problem']}: {g['arm']}": g["gap"] for g in gaps},
    }


def _gain(medians: list[Row], label: str) -> float | None:
    single = [row["relative_l2"] for arm in SINGLE if (row := find(medians, label, arm))]
    many = [row["relative_l2"] for arm in MANY if (row := find(medians, label, arm))]
    return float(min(single) / min(many)) if single and many else None


def _ratio(medians: list[Row], label: str, over: str, under: str) -> float | None:
    a, b = find(medians, label, over), find(medians, label, under)
    return None if a is None or b is None else float(a["relative_l2"] / b["relative_l2"])


def _median(found: dict[str, Any]) -> float | None:
    values = [value for value in found.values() if value is not None]
    return float(np.median(values)) if values else None


def answer(main: dict[str, Any]) -> str:
    """The question of the study, answered by its numbers."""
    lines = [
        "Does second order alone make levels redundant? Ratios of errors, medians over rows; above one the second wins:"
    ]
    words = {
        "second_order_on_one_level": "Gauss-Newton better than Adam, one level",
        "levels_with_first_order": "levels better than one level, Adam",
        "levels_with_second_order": "levels better than one level, Gauss-Newton, same final field",
        "own_knots_over_same_knots_given": "levels that find their knots better than one level that is given them",
    }
    for key, text in words.items():
        found, middle = main["error_ratios"][key], main["error_ratio_medians"][key]
        if found:
            lines.append(f"  {text}: {middle:.3g}, between {min(found.values()):.3g} and {max(found.values()):.3g}")
    for key, text in (("linear", "fields linear in their parameters"), ("nonlinear", "fields nonlinear in theirs")):
        middle, own = main[f"gain_{key}_median"], main[f"gain_{key}_fields"]
        if own:
            lines.append(f"  best with levels over best without, {text}: {middle:.3g} ({_listed(own)})")
    return "\n".join(lines)


def _listed(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in found.items())


def gap_table(gaps: list[Row]) -> str:
    """Error of every level against the best of its class."""
    head = ["gap: error over the best of the class", "level", "parameters", "error", "best", "gap"]
    cells = [
        [
            f"{g['problem']}, {g['arm']}",
            str(g["level"]),
            str(g["parameters"]),
            f"{g['error']:.2e}",
            f"{g['best_error']:.2e}",
            f"{g['gap']:.2f}",
        ]
        for g in gaps
    ]
    return "\n".join(aligned([head, *cells]))


MARKS = {
    ONE_FIRST: (INK, "o", "none"),
    ONE_SECOND: (ACCENT, "o", "none"),
    MANY_FIRST: (INK, "o", INK),
    MANY_SECOND: (ACCENT, "o", ACCENT),
    OWN_KNOTS: (WARM, "o", WARM),
    GIVEN_KNOTS: (WARM, "o", "none"),
    CLASSICAL: (MUTED, "x", MUTED),
}
"""Colour, marker and filling of each arm: filled with levels, empty without."""


def draw(path: Path, title: str, medians: list[Row]) -> None:
    """A panel for each kind of field: problems down, errors across, a mark for each arm."""
    kinds = [text for text in KINDS.values() if any(row["problem"].endswith(text) for row in medians)]
    count = max(len({row["problem"] for row in medians if row["problem"].endswith(text)}) for text in kinds)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.0, 2.0 + 0.45 * count), layout="constrained")
        for axes, text in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
            _panel(axes, text, [row for row in medians if row["problem"].endswith(text)])
        seen = {arm for row in medians for arm in MARKS if row["arm"] == arm}
        handles = [Axes.plot(figure.axes[0], [], [], **_mark(arm), label=arm)[0] for arm in MARKS if arm in seen]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        save(figure, path, title)


def _panel(axes: Axes, text: str, rows: list[Row]) -> None:
    labels = list(dict.fromkeys(row["problem"] for row in rows))
    for row in rows:
        if row["arm"] in MARKS and np.isfinite(row["relative_l2"]):
            place = labels.index(row["problem"])
            axes.plot([row["relative_l2"]], [place], **_mark(row["arm"]))
            axes.plot(row["relative_l2_quartiles"], [place] * 2, color=MARKS[row["arm"]][0], lw=0.8, alpha=0.6)
    axes.set(xscale="log", title=f"{text}: relative L2 error")
    axes.set_yticks(range(len(labels)), [label.partition(",")[0] for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(lw=0.4, alpha=0.5)


def _mark(arm: str) -> dict[str, Any]:
    color, marker, filling = MARKS[arm]
    return {"color": color, "marker": marker, "mfc": filling, "mew": 1.4, "ms": 6, "ls": "none"}
