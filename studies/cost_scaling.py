"""How training cost grows with the number of parameters: single levels, cascade, full multigrid, sparse control.

For each problem a field is refined several times, and every arm has to reach the discretisation error of the finest
level: twice the error, against the reference, that the level has when its steps promise nothing more. Seconds to that
point, without compilation, are fitted by a power of the number of parameters (`hierax.dynamics.cost_scaling`); those
with compilation are beside them. Nobody has published this curve for networks and their optimisers, at least none with
intervals.

- Single level: Adam, L-BFGS, Gauss-Newton with plain (diagonally scaled) conjugate gradients, and Gauss-Newton with
  multigrid as preconditioner: second order with and without levels inside its linear algebra.
- Cascade: nested iteration, Gauss-Newton with plain conjugate gradients. Full multigrid: nested iteration with the
  multigrid preconditioner.
- Control, for Poisson's equation: second-order differences and a sparse factorisation, to its own discretisation error,
  which is a larger one at the same number of unknowns.
- A size that is not reached within the cap is censored: it is shown, no larger size is tried, and no exponent rests on
  it. Exponents need three sizes; sizes below 1000 parameters, where fixed costs rule, count only where fewer than three
  larger ones were reached. Short climbs are run twice and the faster one counts.
- Work is counted in steps and iterations of the finest level. Errors are measured with the watch stopped.
- Composed networks (a spline network, a decoded grid): also iterations with the hierarchy and with the diagonal alone,
  see `studies.composed`.
- The gap is the error of a level over the best of its class (see `studies.gap`).
- Memory and compilation are measured in processes of their own (in the short form within this one).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from hierax.clock import peak_memory_mib
from hierax.dynamics import PowerLaw, fit_power_law
from hierax.dynamics.cost_scaling import FEWEST
from hierax.results.figures import ACCENT, INK, MUTED, STYLE, WARM
from hierax.results.files import write_json
from hierax.results.record import plain
from studies.classical import poisson_differences
from studies.climbs import (
    CASES,
    CLIMBERS,
    NETWORK_CLIMBERS,
    Climb,
    Climber,
    Site,
    Sizes,
    climb,
    elliptic,
    own_errors,
)
from studies.common import Row, aligned, record, save, write_files
from studies.composed import DECODED, SPLINES, composed_rows, composed_table
from studies.gap import gap
from studies.registry import study
from studies.row_cost import row_cost

NAME = "cost-scaling"
FACTOR = 2.0
"""Target over the level's own error."""
ASYMPTOTIC = 1000
SHORT = 1.0
"""Climbs below these seconds are repeated."""
SPARSE = "control, sparse factorisation"
CONTROLS = {
    "poisson-1d": (1, 16, (1000, 4000, 16_000, 64_000)),
    "poisson-2d": (2, 16, (32, 64, 128, 256, 512)),
    "poisson-3d": (3, 4, (8, 12, 18, 27)),
}
"""Dimension, waves and cells an axis of the sparse solver."""
MAIN = "poisson-2d"
FULL, BEST_NETWORK = "full multigrid", "cascade, Gauss-Newton, factorised"
BEST = (FULL, BEST_NETWORK)
"""The arms that the others are compared with: on grids, and on networks."""


def rows_of(name: str, sizes: Sizes, climbers: Sequence[Climber], shared: bool) -> tuple[list[Row], list[Row]]:
    """All arms at all sizes of one problem, and the gap of every level.

    With `shared`, the sizes of an arm share what is compiled, and nothing is repeated.
    """
    jax.clear_caches()
    fields, errors = own_errors(sizes, max(sizes.depths))
    problem = sizes.make()
    gaps = [
        {"problem": name, "level": level, **gap(problem, field, seconds=6.0)}
        for level, field in enumerate(fields)
        if level + 1 >= min(sizes.depths)
    ]
    rows: list[Row] = []
    for climber in climbers:
        site = Site.of(sizes, climber, len(fields)) if shared else None
        for depth in (d for d in sizes.depths if d <= len(fields)):
            target = FACTOR * errors[depth - 1]
            found = climb(site, depth, target) if site else fastest(sizes, climber, depth, target)
            rows.append(row(name, climber.name, found, target))
            if not found.reached:
                break
    return rows, gaps


def fastest(sizes: Sizes, climber: Climber, depth: int, target: float) -> Climb:
    """A climb that compiles everything; one that is short and arrives is repeated, and the faster one counts."""
    site = Site.of(sizes, climber, depth)
    found = climb(site, depth, target)
    if found.reached and found.seconds < SHORT:
        found.seconds = min(found.seconds, climb(site, depth, target).seconds)
    return found


def row(name: str, arm: str, found: Climb, target: float) -> Row:
    """One climb as a row."""
    return {
        "problem": name,
        "arm": arm,
        "parameters": found.parameters[-1],
        "reached": found.reached,
        "target": target,
        "error": found.errors[-1],
        "seconds": found.seconds,
        "seconds_compile": found.seconds_compile,
        "work_units": found.work,
        "steps": found.steps,
        "iterations": found.iterations,
        "errors": found.errors,
    }


def control_rows(dim: int, waves: int, cells: Sequence[int]) -> list[Row]:
    """The sparse solver of Poisson's equation at several sizes."""
    problem, out = elliptic(dim, waves), []
    for count in cells:
        size, seconds, error = poisson_differences(problem, count)
        found = Climb([size], [1], [0], [error], seconds, 0.0, True)
        out.append(row(f"poisson-{dim}d", SPARSE, found, error))
    return out


def alone(name: str, depth: int) -> tuple[float, float]:
    """Compile seconds and peak memory of one full multigrid climb, with nothing compiled before."""
    jax.config.update("jax_enable_x64", True)
    jax.clear_caches()
    climber = next(c for c in CLIMBERS if c.name == FULL)
    found = climb(Site.of(CASES[name], climber, depth), depth, np.inf)
    return found.seconds_compile, peak_memory_mib() or float("nan")


def in_process(name: str, depth: int) -> tuple[float, float]:
    """`alone`, in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(alone, name, depth).result()


def exponents(rows: list[Row], compiled: bool = False) -> dict[str, dict[str, PowerLaw]]:
    """Fits of the arms that reached enough sizes, by arm and problem."""
    out: dict[str, dict[str, PowerLaw]] = {}
    for arm, problem in dict.fromkeys((r["arm"], r["problem"]) for r in rows):
        own = [r for r in rows if (r["arm"], r["problem"]) == (arm, problem) and r["reached"]]
        large = [r for r in own if r["parameters"] >= ASYMPTOTIC]
        used = large if len(large) >= FEWEST else own
        seconds = [r["seconds"] + compiled * r["seconds_compile"] for r in used]
        fit = fit_power_law([r["parameters"] for r in used], seconds)
        if fit is not None:
            out.setdefault(arm, {})[problem] = fit
    return out


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Measure all arms, leave table, figure and rows in `out`, main numbers under `summary`.

    The short form has Poisson's equation in two dimensions at small sizes, and short caps.
    """
    cases, climbers = (_short_cases(), _short_climbers()) if quick else (CASES, CLIMBERS)
    rows: list[Row] = []
    gaps: list[Row] = []
    for name, sizes in cases.items():
        more = rows_of(name, sizes, climbers if sizes.linear else NETWORK_CLIMBERS, quick)
        rows, gaps = rows + more[0], gaps + more[1]
        if name in CONTROLS:
            dim, waves, cells = CONTROLS[name]
            rows += control_rows(dim, waves, cells[:3] if quick else cells)
        keep(out, rows, gaps)
    composed = composed_rows(elliptic(2, 2), DECODED, 2 if quick else None)
    composed = composed if quick else composed_rows(elliptic(2, 2), SPLINES) + composed
    measure, which = (alone, "poisson-1d") if quick else (in_process, MAIN)
    (few, _), (many, peak) = measure(which, 4), measure(which, 8)
    if not quick:
        peak = in_process(MAIN, max(cases[MAIN].depths))[1]
    main = summary(rows, gaps) | {"compile_ratio": many / few, "peak_memory_mib": peak}
    main |= row_cost(elliptic(2, 16), 10_000 if quick else 100_000)
    main["composed_iterations"] = {r["field"]: [r["plain"], r["hierarchy"]] for r in composed}
    parts = [table(rows), gap_table(gaps), composed_table(composed), exponent_table(rows), answer(rows, main)]
    text = "\n\n".join(parts)
    title = "Seconds to a level's own error against its parameters" + (" (short form)" if quick else "")
    paths = write_files(out, NAME, title, text, rows, partial(draw, title=title, rows=rows))
    return record(NAME, quick, main, paths, text, __doc__, gaps=gaps, composed=composed, rows=rows)


def keep(out: Path, rows: list[Row], gaps: list[Row]) -> None:
    """Leave what was measured so far, so that a study that is cut off keeps it."""
    title = "Seconds to a level's own error against its parameters, so far"
    text = "\n\n".join([table(rows), gap_table(gaps), exponent_table(rows)])
    write_files(out, NAME, title, text, rows, partial(draw, title=title, rows=rows))
    write_json(out / f"{NAME}-rows.json", plain({"rows": rows, "gaps": gaps}))


def _short_cases() -> dict[str, Sizes]:
    return {MAIN: replace(CASES[MAIN], depths=(4, 5, 6))}


def _short_climbers() -> tuple[Climber, ...]:
    # compiling L-BFGS with its line search would take most of the time
    return tuple(replace(climber, cap=1.0) for climber in CLIMBERS if "L-BFGS" not in climber.name)


def summary(rows: list[Row], gaps: list[Row]) -> dict[str, Any]:
    """The main numbers: exponents with intervals, iterations on every level of the largest climb, gaps."""
    fits = {False: exponents(rows), True: exponents(rows, compiled=True)}
    plain = {
        key: {arm: {p: [f.slope, f.low, f.high] for p, f in found.items()} for arm, found in fits[key].items()}
        for key in fits
    }
    largest: dict[str, dict[str, list[float]]] = {}
    for r in rows:
        if any(r["iterations"]):
            each = [i / max(s, 1) for i, s in zip(r["iterations"], r["steps"], strict=True)]
            largest.setdefault(r["arm"], {})[r["problem"]] = each
    return {
        "exponents": plain[False],
        "exponents_with_compilation": plain[True],
        "cg_iterations": largest,
        "parameters_largest": {p: max(r["parameters"] for r in rows if r["problem"] == p) for p in _problems(rows)},
        "gap": {p: max(g["gap"] for g in gaps if g["problem"] == p) for p in dict.fromkeys(g["problem"] for g in gaps)},
        "gap_levels": [[g["problem"], g["parameters"], g["gap"]] for g in gaps],
    }


def _problems(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(r["problem"] for r in rows))


def table(rows: list[Row]) -> str:
    """A block for each problem, a line for each climb."""
    head = ["arm", "parameters", "error", "target", "seconds", "(compile)", "work", "steps", "iterations"]
    lines: list[str] = []
    for problem in _problems(rows):
        cells = [head, *(_cells(r) for r in rows if r["problem"] == problem)]
        lines += ["", problem, *aligned(cells)]
    return "\n".join(lines[1:])


def _cells(r: Row) -> list[str]:
    mark = "" if r["reached"] else " not reached"
    return [
        r["arm"],
        str(r["parameters"]),
        f"{r['error']:.1e}",
        f"{r['target']:.1e}",
        f"{r['seconds']:.2f}{mark}",
        f"({r['seconds_compile']:.1f})",
        f"{r['work_units']:.1f}",
        " ".join(map(str, r["steps"])),
        " ".join(map(str, r["iterations"])),
    ]


def gap_table(gaps: list[Row]) -> str:
    """Error of every level against the best of its class."""
    head = ["gap: error over the best of the class", "parameters", "error", "best", "gap"]
    cells = [
        [g["problem"], str(g["parameters"]), f"{g['error']:.2e}", f"{g['best_error']:.2e}", f"{g['gap']:.2f}"]
        for g in gaps
    ]
    return "\n".join(aligned([head, *cells]))


def exponent_table(rows: list[Row]) -> str:
    """Exponents without compilation, with their intervals; and with compilation."""
    plain, compiled = exponents(rows), exponents(rows, compiled=True)
    cells = [["exponent of seconds, 95 % interval", "sizes", "slope", "interval", "with compilation"]]
    for arm, found in plain.items():
        for problem, fit in found.items():
            more = compiled[arm][problem].slope
            interval = f"{fit.low:.2f} - {fit.high:.2f}"
            cells.append([f"{problem}, {arm}", str(fit.sizes), f"{fit.slope:.2f}", interval, f"{more:.2f}"])
    return "\n".join(aligned(cells))


def answer(rows: list[Row], main: dict[str, Any]) -> str:
    """What the numbers say about levels and second order."""
    lines = [
        "Does second order alone make levels redundant? Seconds over those of full multigrid (of a network: over its",
        "factorised cascade) at the largest size that both reached, above one where levels pay:",
    ]
    for problem in _problems(rows):
        said = []
        for arm in dict.fromkeys(r["arm"] for r in rows if r["problem"] == problem):
            found = _ratio(rows, problem, arm)
            if arm not in (*BEST, SPARSE) and found is not None:
                said.append(f"{arm} {found[0]:.3g} at {found[1]}")
        if said:
            lines.append(f"  {problem}: {'; '.join(said)}")
    lines.append(f"Compile seconds with 8 levels over those with 4: {main['compile_ratio']:.2f}.")
    lines.append(f"Peak memory at the largest size: {main['peak_memory_mib']:.0f} MiB.")
    ratio = main["rows_over_residual"]
    lines.append(f"Rows of 36 local coefficients over one evaluation of the residual at the same points: {ratio:.2f}.")
    return "\n".join(lines)


def _ratio(rows: list[Row], problem: str, arm: str) -> tuple[float, int] | None:
    own = {r["parameters"]: r["seconds"] for r in rows if (r["problem"], r["arm"]) == (problem, arm) and r["reached"]}
    full = {
        r["parameters"]: r["seconds"] for r in rows if r["problem"] == problem and r["arm"] in BEST and r["reached"]
    }
    common = own.keys() & full.keys()
    return (own[max(common)] / full[max(common)], max(common)) if common else None


COLORS = {
    CLIMBERS[0].name: (MUTED, "-"),
    CLIMBERS[1].name: (MUTED, "--"),
    CLIMBERS[2].name: (INK, "-"),
    CLIMBERS[3].name: (INK, "--"),
    CLIMBERS[4].name: (ACCENT, "--"),
    FULL: (WARM, "-"),
    NETWORK_CLIMBERS[4].name: (ACCENT, "-."),
    BEST_NETWORK: (WARM, "-."),
    SPARSE: (ACCENT, ":"),
}


def draw(path: Path, title: str, rows: list[Row]) -> None:
    """A panel for each problem, seconds against parameters; empty marks are censored."""
    problems = _problems(rows)
    across = min(4, len(problems))
    down = -(-len(problems) // across)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(9.0, 1.0 + 3.0 * across), 1.5 + 2.6 * down), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes, problem in zip(panels, problems, strict=False):
            _panel(axes, problem, [r for r in rows if r["problem"] == problem])
        for axes in panels[len(problems) :]:
            axes.set_visible(False)
        seen = [arm for arm in COLORS if any(r["arm"] == arm for r in rows)]
        handles = [Axes.plot(panels[0], [], [], color=COLORS[a][0], ls=COLORS[a][1], label=a)[0] for a in seen]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        save(figure, path, title)


def _panel(axes: Axes, problem: str, rows: list[Row]) -> None:
    for arm, (color, style) in COLORS.items():
        own = [r for r in rows if r["arm"] == arm]
        axes.plot([r["parameters"] for r in own], [r["seconds"] for r in own], color=color, ls=style, lw=1.3)
        for r in own:
            filling = color if r["reached"] else "white"
            axes.plot([r["parameters"]], [r["seconds"]], "o", ms=4, color=color, mfc=filling)
    axes.set(xscale="log", yscale="log", title=problem, xlabel="parameters", ylabel="seconds")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.grid(lw=0.4, alpha=0.5)
