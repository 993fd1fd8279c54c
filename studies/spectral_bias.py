"""In which order and how fast the frequencies of a function are learned: ten sines, by many ways to train.

The published experiment (Rahaman et al., ICML 2019, arXiv 1806.08734): a sum of ten sines with 5, 10, ..., 50 periods
and random phases, amplitudes all one or rising from 0.1 to 1, at 200 equispaced points; a ReLU network of six linear
layers, 256 wide, trained by Adam with the rate 3e-4 on all points at once. The heat map shows the amplitude of each
mode of the network, by the discrete Fourier transform on the points, over that of the function.

Then the same picture for other networks, solvers and orders of training. A mode is learned when the complex amplitude
of its error stays below 1e-2 (or 1e-6) of its size.

How to read it:

- The modes are measured on the points that are trained on, as in the paper. Four points a period of the highest mode do
  not determine a function between them: the column "between" has the largest error of a mode on a grid seven times
  finer. No row of the table says that the function is known there.
- All ways but one train on all points. The default strategy gets the points as measured data and keeps 15 % of them
  back; a second row gives it 1000.
- Seconds are those of the processor, without those of the measurement, with compilation. On an idle core they are
  those of the clock.
- Splines in one hidden layer are not linear in their parameters; those of the default strategy are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from hierax.cycles import AbstractCycle, NestedIteration, SingleLevel, Until, VCycle
from hierax.dynamics.spectrum import settled
from hierax.fields import KAN, MLP, FourierNetwork, siren
from hierax.fields.base import AbstractField
from hierax.fields.initial import generator_of
from hierax.fields.mlp import linear_layer
from hierax.hierarchy import IntervalDoubling, refine
from hierax.results.figures import STYLE
from hierax.results.files import write_json
from hierax.results.record import plain
from hierax.solvers import AbstractSolver, GaussNewton, Optax, Tolerances, adam
from hierax.training.train import train
from studies.common import Row, aligned, record, save, write_files
from studies.modes import ModeWatch, Sines, between
from studies.registry import study

NAME = "spectral-bias"
PUBLISHED = "ReLU network, Adam (published)"
MULTILEVEL = "splines, levels, Gauss-Newton"
DEFAULT = "default strategy"
EQUAL, RISING = "equal", "rising"
SIZES = {EQUAL: np.ones(10), RISING: np.linspace(0.1, 1.0, 10)}
SEEDS = 3
ITERATIONS = 70_000
"""Of the published network, about as many as in the paper: three minutes of an idle core."""
ENDLESS, ADAM_SECONDS = 10**9, 20.0
"""Adam goes on until its seconds are over; the other ways end by themselves."""
UNIT = ([-1.0], [1.0])
"""Corners of a box that is mapped to itself: the published network takes its input as it is."""


@dataclass(frozen=True)
class Way:
    """One way to train.

    Attributes
    ----------
    name:
        In tables and figures.
    field:
        From the seed; `None` leaves everything to the default strategy, which gets measured data.
    solver, cycle:
        As for `train`.
    points:
        How many there are.
    budget:
        Seconds.
    """

    name: str
    field: Callable[[int], Any] | None
    solver: AbstractSolver | None = None
    cycle: AbstractCycle | None = None
    points: int = 200
    budget: float = 120.0

    @property
    def block(self) -> int:
        """Iterations of the optimiser in one reported step."""
        return self.solver.block if isinstance(self.solver, Optax) else 1


class Single(AbstractField):
    """A network in single precision, as the published one is; on a processor it takes half of the time."""

    network: Any

    def __init__(self, network):
        self.network = jax.tree.map(lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, network)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return self.network(x.astype(jnp.float32)).astype(x.dtype)


def relu_network(width: int, seed: int) -> MLP:
    """Six linear layers with the initial law of the published code: uniform in `-+ 1 / sqrt(inputs)`."""
    network = MLP([1, *[width] * 5, 1], key=seed, activation=jax.nn.relu, domain=UNIT)
    generator, layers = generator_of(seed), []
    for inputs, outputs in itertools.pairwise(network.widths):
        limit = 1.0 / math.sqrt(inputs)
        weights = generator.uniform(-limit, limit, (outputs, inputs))
        layers.append(linear_layer(weights, generator.uniform(-limit, limit, outputs)))
    return eqx.tree_at(lambda net: net.layers, network, tuple(layers))


def splines(intervals: int, seed: int) -> KAN:
    """One hidden layer of four nodes, cubic splines behind it."""
    return KAN([1, 4, 1], intervals=intervals, degree=3, key=seed, linear_first=True, first_bias=True)


def levels(seed: int) -> Any:
    """The same from 8 to 256 intervals."""
    return refine(splines(8, seed), by=IntervalDoubling(), levels=6)


def first_order(rate: float, steps: int, block: int = 100) -> Optax:
    """Adam, reported every `block` iterations."""
    made = adam(rate, steps)
    return Optax(made.optimiser, steps, block)


def nested(coarse: Until) -> NestedIteration:
    """Once from coarse to fine; the finest level goes on until the solver has enough or the budget is spent."""
    return NestedIteration((*[coarse] * 5, Until()))


def ways(iterations: int = ITERATIONS, width: int = 256) -> list[Way]:
    """All of them; the published one first."""
    newton, single, some = GaussNewton(tolerances=Tolerances(1e-9, 400)), SingleLevel(), first_order(1e-3, ENDLESS)
    plain = lambda seed: MLP([1, 64, 64, 1], key=seed)  # noqa: E731
    return [
        Way(
            PUBLISHED,
            lambda seed: Single(relu_network(width, seed)),
            first_order(3e-4, iterations),
            single,
            200,
            7200.0,
        ),
        Way("tanh network, Adam", plain, some, single, budget=ADAM_SECONDS),
        Way(
            "SIREN, Adam",
            lambda seed: sine_network(64, seed),
            some,
            single,
            budget=ADAM_SECONDS,
        ),
        Way("Fourier features, Adam", lambda seed: fourier(seed), some, single, budget=ADAM_SECONDS),
        Way("splines, one level, Adam", lambda seed: splines(256, seed), some, single, budget=ADAM_SECONDS),
        Way("splines, levels, Adam", levels, some, nested(Until(steps=20)), budget=ADAM_SECONDS),
        Way("tanh network, Gauss-Newton", lambda seed: MLP([1, 24, 24, 1], key=seed), newton, single),
        Way("SIREN, Gauss-Newton", lambda seed: sine_network(24, seed), newton, single),
        Way("splines, one level, Gauss-Newton", lambda seed: splines(256, seed), newton, single),
        Way(MULTILEVEL, levels, newton, nested(Until(stall=0.3))),
        Way("splines, V-cycles, Gauss-Newton", levels, newton, VCycle(cycles=3)),
        Way(DEFAULT, None),
        Way(f"{DEFAULT}, 1000 points", None, points=1000),
    ]


def sine_network(hidden: int, seed: int) -> MLP:
    """Two hidden layers of sines, the first of about the frequencies that are there."""
    return siren([1, hidden, hidden, 1], key=seed, frequency=100.0)


def fourier(seed: int) -> FourierNetwork:
    """Waves of about the frequencies that are there, behind them one hidden layer."""
    return FourierNetwork([1, 64, 1], modes=64, scale=25.0, key=seed)


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train every way, leave table, heat maps and rows in `out`, return them with the main numbers under `summary`.

    The files are written anew after every training: a run that is ended early keeps what it has. The short form has one
    seed, a narrow network with few iterations in place of the published one, and beside it only the spline networks
    trained by Gauss-Newton on levels.
    """
    title = "Spectral bias: when each of ten modes is learned" + (" (short form)" if quick else "")
    rows, pictures, result = [], [], {}
    for way, amplitudes, seed in cases(short() if quick else ways(), 1 if quick else SEEDS):
        training = watched(way, amplitudes, seed)
        rows.append(training[0])
        pictures += [training] if seed == 0 else []
        text = table(rows)
        paths = write_files(
            out, NAME, title, text, [flat(row) for row in rows], partial(draw, title=title, trainings=pictures)
        )
        result = record(NAME, quick, summary(rows), paths, text, __doc__, rows=rows)
        write_json(out / f"{NAME}.json", plain(result))
    return result


def cases(chosen: list[Way], seeds: int) -> list[tuple[Way, str, int]]:
    """Trainings in their order, with amplitudes and seed; the published network is slow and has one seed."""
    sizes = (EQUAL, RISING) if seeds > 1 else (EQUAL,)
    published = [(way, size, 0) for way in chosen if way.name == PUBLISHED for size in sizes]
    return [*published, *((way, EQUAL, seed) for way in chosen if way.name != PUBLISHED for seed in range(seeds))]


def short() -> list[Way]:
    """The ways of the short form."""
    return [way for way in ways(1600, 24) if way.name in {PUBLISHED, MULTILEVEL}]


def watched(way: Way, amplitudes: str, seed: int) -> tuple[Row, ModeWatch]:
    """Train once; the row of the table and the record of all modes."""
    sines = Sines(SIZES[amplitudes], seed, points=way.points)
    problem = sines.measured() if way.field is None else sines.everywhere()
    start = None if way.field is None else way.field(seed)
    watch = ModeWatch(sines, way.block)
    solution = train(
        problem, start, solver=way.solver, cycle=way.cycle, key=seed, budget=way.budget, subscribers=[watch]
    )
    watch.returned(solution.field)
    coarse, fine = (settled(watch.seconds, watch.errors, tolerance) for tolerance in (1e-2, 1e-6))
    steps, last = (settled(watch.iterations, watch.errors, tolerance) for tolerance in (1e-2, 1e-6))
    row = {
        "way": way.name,
        "amplitudes": amplitudes,
        "seed": seed,
        "points": way.points,
        "parameters": solution.parameters,
        "linear_in_parameters": solution.linear_in_parameters,
        "iterations": watch.iterations[-1],
        "seconds": watch.seconds[-1],
        "order": order(watch),
        "seconds_each_mode": coarse.tolist(),
        "iterations_each_mode": steps.tolist(),
        "iterations_all_modes": worst(steps),
        "iterations_all_modes_1e6": worst(last),
        "seconds_all_modes": worst(coarse),
        "seconds_all_modes_1e6": worst(fine),
        "mode_time_ratio": float(coarse[-1] / coarse[0]),
        "mode_iteration_ratio": float(steps[-1] / steps[0]),
        "error_on_points": float(watch.errors[-1].max()),
        "error_between": float(between(sines, solution.field).max()),
        "result": solution.result.name,
    }
    return row, watch


def worst(times: np.ndarray) -> float:
    """The latest; NaN if one mode was not reached."""
    return float(np.max(times))


def order(watch: ModeWatch) -> float:
    """Rank correlation between frequency and the iteration at which half of the amplitude was first reached.

    One if low frequencies come first without exception; modes that were not reached count as last, all alike. NaN where
    all came at once.
    """
    half = watch.shares >= 0.5
    first = np.where(half.any(axis=0), np.argmax(half, axis=0), len(half))
    return float("nan") if np.ptp(first) == 0 else float(spearmanr(watch.sines.modes, first)[0])  # pyright: ignore


def groups(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows by way and amplitudes."""
    names = dict.fromkeys((row["way"], row["amplitudes"]) for row in rows)
    return {name: [row for row in rows if (row["way"], row["amplitudes"]) == name] for name in names}


def median(rows: list[Row], name: str) -> float:
    """Median over seeds; where half of them did not get there, infinity."""
    return float(np.median([row[name] if np.isfinite(row[name]) else np.inf for row in rows]))


def table(rows: list[Row]) -> str:
    """Medians over seeds, one line for each way."""
    head = ["way", "amplitudes", "seeds", "parameters", "order", "iterations to 1e-2", "seconds to 1e-2", "to 1e-6"]
    cells = [[*head, "highest / lowest", "on points", "between"]]
    for (way, amplitudes), own in groups(rows).items():
        linear = " (linear in its parameters)" if own[0]["linear_in_parameters"] else ""
        numbers = ["iterations_all_modes", "seconds_all_modes", "seconds_all_modes_1e6", "mode_time_ratio"]
        times = [median(own, name) for name in numbers]
        shown = [f"{time:.3g}" if np.isfinite(time) else "-" for time in times]
        errors = [f"{median(own, name):.1e}" for name in ("error_on_points", "error_between")]
        ranks = [row["order"] for row in own if np.isfinite(row["order"])]
        rank = f"{np.median(ranks):.2f}" if ranks else "at once"
        cells.append([way + linear, amplitudes, str(len(own)), str(own[0]["parameters"]), rank, *shown, *errors])
    return "\n".join(aligned(cells))


def summary(rows: list[Row]) -> dict[str, Any]:
    """The main numbers, medians over seeds; null where half of the seeds did not get there."""
    own = {way: part for (way, amplitudes), part in groups(rows).items() if amplitudes == EQUAL}
    published = own.get(PUBLISHED)

    def known(name: str) -> dict[str, float | None]:
        values = {way: median(part, name) for way, part in own.items()}
        return {way: value if np.isfinite(value) else None for way, value in values.items()}

    return {
        "mode_time_ratio": known("mode_time_ratio"),
        "seconds_all_modes": known("seconds_all_modes"),
        "seconds_all_modes_1e6": known("seconds_all_modes_1e6"),
        "error_between": known("error_between"),
        "published_order": median(published, "order") if published else None,
    }


def flat(row: Row) -> Row:
    """The row for a table of single values."""
    return {key: value for key, value in row.items() if not isinstance(value, list)}


def draw(path: Path, *, title: str, trainings: list[tuple[Row, ModeWatch]]) -> None:
    """Heat maps of seed 0: amplitudes for the published network, errors for all."""
    published = [training for training in trainings if training[0]["way"] == PUBLISHED]
    count = len(published) + len(trainings)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 0.5 + 1.9 * math.ceil(count / 3)), layout="constrained")
        panels = list(figure.subplots(math.ceil(count / 3), 3, squeeze=False).flat)
        for axes in panels[count:]:
            axes.remove()
        for axes, (row, watch) in zip(panels, published, strict=False):
            image = _heat(axes, row, watch, np.clip(watch.shares, 0.0, 1.0), (0.0, 1.0), "amplitude")
            figure.colorbar(image, ax=axes, aspect=15, pad=0.01)
        for axes, (row, watch) in zip(panels[len(published) :], trainings, strict=False):
            errors = np.log10(np.clip(watch.errors, 1e-6, 1.0))
            image = _heat(axes, row, watch, errors, (-6.0, 0.0), "log10 error")
            figure.colorbar(image, ax=axes, aspect=15, pad=0.01)
        save(figure, path, title)


def _heat(axes: Axes, row: Row, watch: ModeWatch, values: np.ndarray, limits: tuple[float, float], what: str) -> Any:
    spacing = float(np.diff(watch.sines.modes[:2])[0])
    edges = np.append(watch.sines.modes, watch.sines.modes[-1] + spacing) - 0.5 * spacing
    clock = np.append(0.0, watch.iterations)
    image = axes.pcolormesh(
        clock, edges, values.T, cmap="viridis", vmin=limits[0], vmax=limits[1], shading="flat", rasterized=True
    )
    axes.set(xlabel="iterations", ylabel="mode")
    axes.set_title(f"{row['way']}\n{what}, {row['amplitudes']} amplitudes", fontsize=7)
    axes.tick_params(labelsize=6)
    return image
