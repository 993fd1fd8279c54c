"""Does it pay to carry an optimiser's state to the next level? Steps until training goes on as before a refinement.

- A coarse level is trained for some steps, stopped while its loss still falls, and refined in knots or width
  without changing the function. The finer level goes on with what the solver has learned (`carried`), or anew
  (`reset`): moments of Adam, pairs of L-BFGS, the damping of Gauss-Newton. A third arm of Adam also takes twice as long
  steps in parameters that are new (`carried, larger steps`).
- The slope is the mean decrease of the logarithm of the loss in a step, over the last fifth of the coarse steps. It is
  recovered at the first fine step at which the loss is not above the line that goes on with this slope from the
  refinement. With perfect transport that is the first step; a level that never gets there counts as infinite.
- `loss` is the loss at the end of the fine steps over that at the refinement. Medians over seeds of the initial values.
- Steps are counted, no seconds are measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optax
from matplotlib.figure import Figure

from hierax.hierarchy import Hierarchy
from hierax.hierarchy.transport import RESET, transport
from hierax.objective import AbstractObjective
from hierax.objective.flat_transfer import FlatLaws
from hierax.planning.choose import choose
from hierax.results.figures import ACCENT, INK, MUTED, STYLE, WARM
from hierax.solvers import AbstractSolver, GaussNewton, Optax, Step, Tolerances
from hierax.training.discrete import DiscreteProblem, Prepared
from studies.common import Row, aligned, record, save, write_files
from studies.laps import FIT, KNOTS, POISSON, WIDTH, Case
from studies.registry import study

NAME = "state-transport"
SEEDS, WINDOW = 5, 0.2
ENDLESS = 10**9
RESET_ARM, CARRIED, LARGER = "reset", "carried", "carried, larger steps"


@dataclass(frozen=True)
class Anew(AbstractSolver):
    """A solver that forgets everything at a refinement."""

    solver: AbstractSolver

    @property
    def second_order(self) -> bool:
        return self.solver.second_order

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> Any:
        return self.solver.init(objective, theta)

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: Any) -> Step:
        return self.solver.step(objective, theta, state)

    def kinds(self, state: Any) -> Any:
        del state
        return RESET


def _first_order(optimiser: Any) -> Callable[[bool, float], Optax]:
    return lambda carried, boost: Optax(optimiser, ENDLESS, block=1, carried=carried, boost=boost)


_ADAM, _PAIRS = _first_order(optax.adam(5e-3)), _first_order(optax.lbfgs(memory_size=20))
_NEWTON = GaussNewton(tolerances=Tolerances(0.0, ENDLESS))
SOLVERS: dict[str, tuple[int, int, dict[str, AbstractSolver]]] = {
    "Adam": (300, 150, {RESET_ARM: _ADAM(False, 1.0), CARRIED: _ADAM(True, 1.0), LARGER: _ADAM(True, 2.0)}),
    "L-BFGS": (60, 60, {RESET_ARM: _PAIRS(False, 1.0), CARRIED: _PAIRS(True, 1.0)}),
    "Gauss-Newton": (10, 15, {RESET_ARM: Anew(_NEWTON), CARRIED: _NEWTON}),
}
"""Coarse and fine steps, and the arms."""

CASES: dict[str, Case] = {
    "fit, knots": Case(FIT, *KNOTS, _NEWTON),
    "fit, width": Case(FIT, *WIDTH, _NEWTON),
    "Poisson, knots": Case(POISSON, *KNOTS, _NEWTON),
}
"""Two levels of the hierarchies of the study `cycles`."""


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train all pairs of levels, leave table, figure and rows in `out`, main numbers under `summary`.

    The short form has one hierarchy and one seed.
    """
    return compare(out, {"fit, knots": CASES["fit, knots"]} if quick else CASES, 1 if quick else SEEDS, quick)


def compare(out: Path, cases: Mapping[str, Case], seeds: int, quick: bool = False) -> dict[str, Any]:
    """Run some cases with so many seeds; what is in `out` is written after every case."""
    rows: list[Row] = []
    told: dict[str, Any] = {}
    for name, case in cases.items():
        rows += trainings(name, replace(case, levels=2), seeds)
        found = medians(rows)
        text, title = table(found), "Steps until training goes on as before a refinement"
        paths = write_files(out, NAME, title, text, rows, lambda path, t=title, f=found: draw(path, t, f))
        told = record(NAME, quick, summary(found), paths, text, __doc__, medians=found, rows=rows)
    return told


def trainings(name: str, case: Case, seeds: int) -> list[Row]:
    """All solvers and arms of one hierarchy; objectives are made by one bench, so that kernels are found again."""
    problem, rows = case.make(), []
    for label, (before, after, arms) in SOLVERS.items():
        plan = choose(problem, key=0, hierarchy=case.hierarchy(problem, 0), solver=arms[CARRIED])
        bench = DiscreteProblem.of(problem, plan, 0)
        for seed in range(seeds):
            made = case.hierarchy(problem, seed)
            for arm, solver in arms.items():
                coarse, fine = climbed(bench, made, solver, before, after)
                rows.append({"case": name, "solver": label, "arm": arm, "seed": seed} | measured(coarse, fine))
    return rows


def climbed(
    bench: DiscreteProblem, made: Hierarchy, solver: AbstractSolver, before: int, after: int
) -> tuple[np.ndarray, np.ndarray]:
    """Losses on the coarse and on the fine level, with those at the start."""
    low = bench.prepare(made.levels[0].field)
    theta, state, coarse = _stepped(low, solver, solver.init(low.objective, low.theta), before)
    trained = low.build(theta)
    high = bench.prepare(bench.prolonged(made.transfers[0], trained, made.levels[1].field))
    # terms are weighed as on the coarse level: otherwise the losses could not be compared
    high = replace(high, objective=high.objective.rescaled(list(low.objective.scales)))
    laws, fresh = FlatLaws(made.transfers[0], trained, high.objective.field), solver.init(high.objective, high.theta)
    carried = transport(state, solver.kinds(state), laws, fresh)  # pyright: ignore
    return coarse, _stepped(high, solver, carried, after)[2]


def _stepped(made: Prepared, solver: AbstractSolver, state: Any, count: int) -> tuple[np.ndarray, Any, np.ndarray]:
    theta, losses = made.theta, [made.objective.value(made.theta)]
    for _ in range(count):
        step = solver.step(made.objective, theta, state)
        theta, state = step.theta, step.state
        losses.append(step.value)
        if step.failure is not None:
            break
    return theta, state, np.asarray(losses)


def measured(coarse: np.ndarray, fine: np.ndarray) -> Row:
    """Steps to recover the slope, and how far the loss fell on the fine level."""
    window = max(2, round(WINDOW * (len(coarse) - 1)))
    slope = math.log(coarse[-1] / coarse[-1 - window]) / window
    line = math.log(fine[0]) + slope * np.arange(1, len(fine))
    back = np.flatnonzero(np.log(fine[1:]) <= line + 1e-12)
    return {
        "slope": slope,
        "steps_to_recover": float(back[0]) if back.size else math.inf,
        "rise": float(np.max(fine) / fine[0]),
        "loss": float(fine[-1] / fine[0]),
        "losses": fine.tolist(),
    }


def medians(rows: list[Row]) -> list[Row]:
    """A row for every case, solver and arm."""
    out = []
    for key in dict.fromkeys((row["case"], row["solver"], row["arm"]) for row in rows):
        own = [row for row in rows if (row["case"], row["solver"], row["arm"]) == key]
        middle = {
            name: float(np.quantile([row[name] for row in own], 0.5, method="nearest"))
            for name in ("steps_to_recover", "rise", "loss", "slope")
        }
        out.append({"case": key[0], "solver": key[1], "arm": key[2], "seeds": len(own), **middle})
    return out


def summary(found: list[Row]) -> dict[str, Any]:
    """The main numbers: steps to recover, and the loss at the end, by case and solver."""
    out: dict[str, Any] = {"steps_to_recover": {}, "loss": {}}
    for row in found:
        for name, values in out.items():
            values.setdefault(f"{row['case']}, {row['solver']}", {})[row["arm"]] = row[name]
    return out


def table(found: list[Row]) -> str:
    """A line for every case, solver and arm."""
    head = ["case", "solver", "arm", "seeds", "steps to recover", "highest loss", "loss at the end"]
    cells = [
        [*(row[key] for key in ("case", "solver", "arm")), str(row["seeds"]), f"{row['steps_to_recover']:.0f}"]
        + [f"{row[key]:.3g}" for key in ("rise", "loss")]
        for row in found
    ]
    return "\n".join(aligned([head, *cells]))


COLORS = {RESET_ARM: INK, CARRIED: WARM, LARGER: ACCENT}


def draw(path: Path, title: str, found: list[Row]) -> None:
    """Steps to recover the slope: a line for each case and solver, a dot for each arm."""
    lines = list(dict.fromkeys((row["case"], row["solver"]) for row in found))
    finite = [row["steps_to_recover"] for row in found if math.isfinite(row["steps_to_recover"])]
    never = 3.0 * max([10.0, *finite])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 1.2 + 0.3 * len(lines)), layout="constrained")
        axes = figure.subplots()
        for arm, color in COLORS.items():
            own = {(row["case"], row["solver"]): row["steps_to_recover"] for row in found if row["arm"] == arm}
            places = [k for k, line in enumerate(lines) if line in own]
            values = [min(own[lines[k]], never) + 1 for k in places]
            axes.plot(values, places, "o", ms=6, color=color, label=arm)
        axes.axvline(never + 1, color=MUTED, lw=0.8, ls=":")
        axes.set(xscale="log", xlabel="1 + steps until the slope is recovered (dotted: never)")
        axes.set_yticks(range(len(lines)), [", ".join(line) for line in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.legend(frameon=False, fontsize=8)
        save(figure, path, title)
