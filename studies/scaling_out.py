"""What does a step divided between many devices cost? Its parts measured on one core, what is told, and a prediction.

- A Gauss-Newton step of a bicubic spline grid for Poisson's equation in the plane, and value and gradient of a
  perceptron for the same equation, as Adam asks for them. `divided`: processor seconds that the devices share (points
  evaluated, rows multiplied, matrices of elements added up). `strips`: those on strips of the smoother, which processes
  share as far as there are strips along an axis. `whole`: those that every process spends for itself, on the rest of
  solving.
- `MB told`: sizes of what is added up over processes in a step: value, gradient and, of the grid, the couplings and
  corrections of the smoother.
- `on D`: predicted efficiency on D devices, each a process, (divided + strips + whole) / D over the seconds of a step:
  `divided / D + strips / min(D, number of strips) + whole` and rings that add up, `2 (D - 1) (sums latency + bytes / (D
  bandwidth))` (Thakur, Rabenseifner, Gropp, International Journal of High Performance Computing Applications 19, 2005).
  Latency 1.93 us and bandwidth 37.23 Gbit/s are those that J. Squyres has published for Open MPI on 40 Gbit/s Ethernet
  (blogs.cisco.com/performance/mpi-over-40gb-ethernet).
- A prediction and no measurement: there was one machine. It counts nothing for waiting, nor for what processes decide
  between steps.
- Then one Gauss-Newton step of larger and larger grids, each in a fresh process: processor seconds of its parts, with
  those of what is compiled (`prepare`: points and what depends on them alone; `linearise`: gradient and couplings;
  `factors`: coarse grids and smoothers; `solve`: iterations), and peak memory of the process.
- Last, trainings of Burgers' equation one after another in a fresh process: processor seconds, programs compiled.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import matplotlib
from matplotlib.figure import Figure

from hierax.fields import MLP, SplineGrid
from hierax.objective import flat_parameters
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.rows import RowObjective
from hierax.planning.choose import plan
from hierax.problems import poisson_2d
from hierax.results.figures import ACCENT, STYLE, WARM
from hierax.solvers.linear.smoothers import DIVIDED, Strips
from hierax.training.discrete import DiscreteProblem
from studies.common import Row, aligned, record, save, write_files
from studies.large_steps import gauss_newton_step, in_fresh_process, tables, trainings
from studies.registry import study

NAME = "scaling-out"
LATENCY, BANDWIDTH = 1.93e-6, 37.23e9 / 8
"""Seconds of a message, bytes a second; see the head of the file."""
DEVICES = (4, 64, 1024)
INTERVALS, POINTS = 330, 100_000
"""Of the grid along an axis, which gives a million points, and of the perceptron."""
LARGE, LEVELS = (330, 1000, 2000), 3
"""Intervals along an axis of the grids whose steps are taken apart (up to four million parameters), levels trained."""
DEGREE = 3


@study(NAME)
def scaling_out(out: Path, quick: bool) -> dict[str, Any]:
    """Parts of a step, bytes that processes tell each other, and predicted efficiency on many devices."""
    rows = [grid(20 if quick else INTERVALS), perceptron(1000 if quick else POINTS)]
    for row in rows:
        row["efficiency"] = {str(d): efficiency(row, d) for d in DEVICES}
    if quick:
        steps, trained = [gauss_newton_step(20, DEGREE)], trainings(1)
    else:
        steps = [in_fresh_process(gauss_newton_step, intervals, DEGREE) for intervals in LARGE]
        trained = in_fresh_process(trainings, LEVELS)
    text = f"{table(rows)}\n\n{tables(steps, trained)}"
    files = write_files(out, NAME, "Scaling out", text, rows, lambda path: draw(path, rows))
    summary = {"efficiency": {row["step"]: row["efficiency"] for row in rows}}
    return record(NAME, quick, summary, files, text, __doc__, rows=rows, steps=steps, trainings=trained)


def grid(intervals: int) -> Row:
    """A Gauss-Newton step of a grid, by multigrid where that is what training takes."""
    problem = poisson_2d()
    plans = plan(problem)
    discrete = DiscreteProblem.of(plans.in_its_units(problem), plans, 0)
    field = SplineGrid.uniform(*discrete.problem.domain.bounds(), intervals, DEGREE)
    objective, theta = discrete.prepare(field).objective, flat_parameters(field)[0]
    divided, found = seconds(lambda: objective.linearise(theta))
    mesh = discrete.stencil(field)
    matrix = mesh.couplings if mesh is not None else (objective.ordering.band + 1) * len(theta)  # pyright: ignore
    state = plans.solver.init(objective, theta)
    step = seconds(lambda: plans.solver.step(objective, theta, state))[0]
    with strips_watched() as watched:
        plans.solver.step(objective, theta, state)
    shared = sum(spent for spent, _, _ in watched)
    sums = sum(told for _, told, _ in watched)
    points = sum(s.count for s in objective.samples)
    row = _row(
        "Gauss-Newton, grid",
        len(theta),
        points,
        divided,
        step - divided - shared,
        1 + len(found.gradient) + matrix + sums,
    )
    count = max((strips for _, _, strips in watched), default=1)
    return {**row, "strips": shared, "strip_count": count, "sums": 1 + sum(told > 0 for _, told, _ in watched)}


@contextlib.contextmanager
def strips_watched() -> Iterator[list[tuple[float, int, int]]]:
    """Inside of the block, for every use of strips that processes share: its seconds, the numbers that are added up
    after it, and how many strips there are."""
    found: list[tuple[float, int, int]] = []

    def watched(method: Callable[..., Any], told: bool) -> Callable[..., Any]:
        def run(strips: Strips, given: Any) -> Any:
            began = time.process_time()
            out = method(strips, given)
            if strips.gram.mesh.size >= DIVIDED:
                found.append((time.process_time() - began, told * strips.gram.mesh.size, len(strips.cross)))
            return out

        return run

    use, factors = watched(Strips.__call__, True), watched(Strips._factored, False)
    with patch.multiple(Strips, __call__=use, _factored=factors):
        yield found


def perceptron(points: int) -> Row:
    """Value and gradient of a network."""
    problem, field = poisson_2d(), MLP([2, 32, 32, 1], key=0)
    sampling = Sampling(ratio=0.0, least=points)
    objective, theta = (
        RowObjective(field, SampledProblem(problem).sample(field, sampling, 0)),
        flat_parameters(field)[0],
    )
    divided, _ = seconds(lambda: objective.value_and_gradient(theta))
    return _row(
        "gradient, perceptron", len(theta), sum(s.count for s in objective.samples), divided, 0.0, 1 + len(theta)
    )


def efficiency(row: Row, devices: int) -> float:
    """Seconds of one device over those of all devices together; see the head of the file."""
    told = 2 * (devices - 1) * (row["sums"] * LATENCY + row["bytes"] / (devices * BANDWIDTH))
    own = row["divided"] / devices + row["strips"] / min(devices, row["strip_count"]) + row["whole"]
    return (row["divided"] + row["strips"] + row["whole"]) / devices / (own + told)


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of the faster of two runs after one that compiles, and what it gives."""
    found, spent = run(), []
    for _ in range(2):
        began = time.process_time()
        run()
        spent.append(time.process_time() - began)
    return min(spent), found


def _row(step: str, parameters: int, points: int, divided: float, whole: float, numbers: float) -> Row:
    whole = max(whole, 0.0)
    sizes = {"parameters": parameters, "points": points, "bytes": 8 * int(numbers)}
    alone = {"strips": 0.0, "strip_count": 1, "sums": 1}
    return {"step": step, **sizes, "divided": divided, "whole": whole, **alone}


def table(rows: list[Row]) -> str:
    """Steps with their parts and predictions."""
    head = [
        "step",
        "parameters",
        "points",
        "divided s",
        "strips s",
        "whole s",
        "MB told",
        *(f"on {d}" for d in DEVICES),
    ]
    lines = [
        [
            row["step"], f"{row['parameters']}", f"{row['points']}", f"{row['divided']:.3f}",
            f"{row['strips']:.3f}", f"{row['whole']:.3f}",
            f"{row['bytes'] / 1e6:.2f}", *(f"{100 * row['efficiency'][str(d)]:.0f} %" for d in DEVICES),
        ]
        for row in rows
    ]  # fmt: skip
    return "\n".join(aligned([head, *lines]))


def draw(path: Path, rows: list[Row]) -> None:
    """Predicted efficiency against the number of devices."""
    counts = [2**k for k in range(11)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.0, 3.2), layout="constrained")
        axes = figure.subplots()
        for row, color in zip(rows, (ACCENT, WARM), strict=True):
            axes.semilogx(counts, [efficiency(row, d) for d in counts], "o-", color=color, label=row["step"])
        axes.set(xlabel="devices", ylabel="predicted efficiency", ylim=(0.0, 1.05))
        axes.legend()
        save(figure, path, "A step divided between devices")
