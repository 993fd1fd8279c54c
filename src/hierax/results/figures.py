"""Figures of a trained field: the unknowns, their error where it is known, and the convergence."""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from hierax._errors import InputError
from hierax.events import LevelRecord, StepTaken
from hierax.geometry import AbstractShape
from hierax.problems.domain import Box, PointCloud
from hierax.problems.problem import Problem
from hierax.problems.sampling import points_in
from hierax.problems.terms import Data
from hierax.results.evaluation import Quantity, evaluate, quantities

INK, ACCENT, MUTED, WARM = "#1b3a57", "#2a7f9e", "#8a939b", "#c8553d"
STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.edgecolor": "#555b60",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "savefig.dpi": 160,
}
CURVE_POINTS, IMAGE_POINTS, DATA_SHOWN = 801, 161, 400
LONGEST = {True: 12.0, False: 3.0}
"""Up to what ratio of the sides a plane is drawn to scale: of a shape, and of a box, whose coordinates may differ in
kind."""


class Drawing(NamedTuple):
    """A figure and its axes; a notebook shows the figure."""

    figure: Any
    axes: tuple[Axes, ...]

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.figure.savefig(stream, format="png")
        return stream.getvalue()


def draw(
    problem: Problem,
    field: Any,
    levels: Sequence[LevelRecord],
    history: Sequence[StepTaken],
    path: str | PathLike[str] | None = None,
    *,
    value: str | None = None,
    axes: Any = None,
) -> Drawing:
    """Draw a training: panels for each scalar unknown, and two for the convergence; or the panel of one value.

    One coordinate gives curves, two give images, more give images of slices through the middle.

    Parameters
    ----------
    path:
        File to write.
    value:
        All that is drawn; a vector has a panel for each component.
    axes:
        Where it is drawn; a new figure if not given.

    Raises
    ------
    InputError
        For a suffix that is no format of figures, another number of axes, or a place that cannot be written.
    """
    if value is None:
        shown = [q for name in problem.functions for q in quantities(problem, name)]
        panels = [panel for quantity in shown for panel in _panels(problem, field, quantity)]
        panels.append(functools.partial(against_level, levels=levels))
        panels.append(functools.partial(against_seconds, levels=levels, history=history))
    else:
        panels = [_panels(problem, field, quantity)[0] for quantity in quantities(problem, value)]
    # The style is local, and so is the figure: nothing of the caller's own plots is touched.
    with matplotlib.rc_context(STYLE):
        given = axes is not None
        drawing = _given(axes, len(panels)) if given else _new(len(panels))
        for panel, own in zip(panels, drawing.axes, strict=True):
            panel(own)
        if not given:
            drawing.figure.suptitle(_title(problem, field), fontsize=10.5, x=0.01, ha="left", color=INK)
        if path is not None:
            _save(drawing.figure, Path(path))
    return drawing


def _new(count: int) -> Drawing:
    columns = 3 if count == 3 else min(count, 2)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.4 * columns, 2.9 * rows), layout="constrained")
    return Drawing(figure, tuple(figure.add_subplot(rows, columns, number + 1) for number in range(count)))


def _given(axes: Any, count: int) -> Drawing:
    each = tuple(np.ravel(np.asarray(axes, dtype=object)))
    if len(each) != count or not all(isinstance(one, Axes) for one in each):
        raise InputError(
            f"{count} axes are needed, given were {len(each)}.",
            "plot(axes=...)",
            f"Give {count} axes of matplotlib, or with value= one for what is to be drawn.",
        )
    return Drawing(each[0].figure, each)


def _save(figure: Figure, path: Path) -> None:
    known = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in known:
        raise InputError(
            f"The suffix {path.suffix!r} is no format of figures.", str(path), "Use .png, .pdf or .svg, for example."
        )
    try:
        figure.savefig(path)
    except OSError as error:
        raise InputError(
            f"The figure cannot be written: {error.strerror}.", str(path), "Give a path in a folder that is writable."
        ) from error


def _title(problem: Problem, field: Any) -> str:
    numbers = [f"{name} = {evaluate(problem, field, middle(problem), name)[0]:.6g}" for name in problem.constants]
    return "   ".join([literal(problem.name), *numbers])


def _panels(problem: Problem, field: Any, quantity: Quantity) -> list[Callable[[Axes], None]]:
    """What is drawn of one scalar unknown: its values, and its error where it is known."""
    known = reference_values(problem, quantity, middle(problem)) is not None
    if problem.domain.dim == 1:
        kinds = [curve, curve_error] if known else [curve]
        return [functools.partial(kind, problem=problem, field=field, quantity=quantity) for kind in kinds]
    last = problem.domain.dim - 1
    image = functools.partial(show_quantity, field=field, quantity=quantity)
    plane = Plane.through(problem, (0, 1))
    if known:
        return [functools.partial(image, plane=plane), functools.partial(image, plane=plane, error=True)]
    planes = [plane] if last == 1 else [plane, Plane.through(problem, (last - 1, last))]
    return [functools.partial(image, plane=each) for each in planes]


def curve(axes: Axes, problem: Problem, field: Any, quantity: Quantity, data: bool = True) -> None:
    """An unknown of one coordinate, with its reference and, if asked for, the data."""
    points = line_points(problem)
    for term in _data(problem, quantity) if data else []:
        kept = _thinned(len(term.points), DATA_SHOWN)
        measured = _part(term.values, quantity)
        axes.plot(term.points[kept, 0], measured[kept], ".", color=MUTED, ms=3, alpha=0.7, label="data")
    axes.plot(points[:, 0], evaluate(problem, field, points, quantity.label), color=ACCENT, lw=1.4, label="trained")
    exact = reference_values(problem, quantity, points)
    if exact is not None:
        axes.plot(points[:, 0], exact, color=INK, lw=0.9, ls=(0, (4, 3)), label="reference")
    axes.set(title=quantity.label, xlabel=axis_names(problem)[0])
    axes.margins(x=0)
    axes.legend(loc="best")


def curve_error(axes: Axes, problem: Problem, field: Any, quantity: Quantity) -> None:
    """Distance of an unknown of one coordinate from the reference."""
    points = line_points(problem)
    error = np.abs(evaluate(problem, field, points, quantity.label) - reference_values(problem, quantity, points))
    axes.semilogy(points[:, 0], np.maximum(error, 1e-17), color=WARM, lw=1.0)
    plain_powers(axes.yaxis)
    axes.set(title=f"error of {quantity.label}", xlabel=axis_names(problem)[0])
    axes.margins(x=0)


def show_quantity(
    axes: Axes, plane: Plane, field: Any, quantity: Quantity, error: bool = False, data: bool = True
) -> None:
    """Values of an unknown on a plane, or their distance from the reference."""
    values = evaluate(plane.problem, field, plane.points, quantity.label)
    if error:
        values = np.abs(values - reference_values(plane.problem, quantity, plane.points))
    title = f"{'error of ' if error else ''}{quantity.label}{plane.held}"
    show_plane(axes, plane, values, title, "magma" if error else "viridis")
    if data and plane.problem.domain.dim == 2 and not error:
        for term in _data(plane.problem, quantity):
            axes.plot(*term.points[_thinned(len(term.points), DATA_SHOWN)].T, ".", color="white", ms=2, alpha=0.5)


def add_bar(axes: Axes, drawn: ScalarMappable) -> None:
    """The bar that says what the colours of an image stand for."""
    # as high as the image, also where that is drawn to scale
    bar = axes.figure.colorbar(drawn, cax=axes.inset_axes((1.03, 0.0, 0.035, 1.0)))
    bar.outline.set_visible(False)  # pyright: ignore
    if isinstance(drawn.norm, LogNorm):
        plain_powers(bar.ax.yaxis)


def show_plane(
    axes: Axes, plane: Plane, values: np.ndarray, title: str, colours: str, norm: Normalize | None = None
) -> None:
    """One number at each point of a plane, as colours with their bar."""
    first, second = (plane.points[:, k] for k in plane.pair)
    if plane.shape is None:
        drawn = axes.scatter(first, second, c=values, s=6, cmap=colours, norm=norm, linewidths=0, rasterized=True)
    else:
        drawn = axes.pcolormesh(*plane.ticks, plane.image(values).T, cmap=colours, norm=norm, rasterized=True)
    add_bar(axes, drawn)
    names = axis_names(plane.problem)
    axes.set(title=literal(title), xlabel=names[plane.pair[0]], ylabel=names[plane.pair[1]])
    longest = LONGEST[isinstance(plane.problem.domain, AbstractShape)]
    if plane.problem.time_axis not in plane.pair and 1 / longest < np.ptp(first) / np.ptp(second) < longest:
        axes.set_aspect("equal", adjustable="box")


def against_level(axes: Axes, levels: Sequence[LevelRecord]) -> None:
    """Loss and errors of the levels."""
    numbers = [level.level for level in levels]
    axes.semilogy(numbers, [_positive(level.loss) for level in levels], "s-", color=INK, lw=1, ms=4, label="loss")
    for label, values, colour in _measured(levels):
        axes.semilogy(numbers, values, "o-", color=colour, lw=1.2, ms=4.5, label=label)
    plain_powers(axes.yaxis)
    axes.set(title="convergence over the levels", xlabel="level (parameters)")
    # a level that was trained with easier problems before stands there several times
    names = {level.level: f"{level.level}\n({_short(level.parameters)})" for level in levels}
    axes.set_xticks(list(names), list(names.values()))
    axes.tick_params(axis="x", labelsize=6.5 if len(names) > 7 else 8.0)
    axes.grid(axis="y", lw=0.4, alpha=0.5)
    axes.legend(loc="best")


def against_seconds(axes: Axes, levels: Sequence[LevelRecord], history: Sequence[StepTaken]) -> None:
    """Loss of every step, and errors at the ends of the levels."""
    # The loss of a finer level starts anew, so every visit is a line of its own.
    visits = [0, *(k for k in range(1, len(history)) if history[k].level != history[k - 1].level), len(history)]
    for number, (first, last) in enumerate(itertools.pairwise(visits)):
        steps = history[first:last]
        axes.semilogy(
            [step.seconds for step in steps],
            [_positive(step.loss) for step in steps],
            ".-",
            color=INK,
            lw=0.9,
            ms=3,
            label="loss of the steps" if number == 0 else None,
        )
    # Errors belong to the end of the last visit; the seconds of the levels alone leave out what is between them.
    last_step = {step.level: step.seconds for step in history}
    ends = [last_step.get(level.level, float("nan")) for level in levels]
    for label, values, colour in _measured(levels):
        axes.semilogy(ends, values, "o-", color=colour, lw=1.2, ms=4.5, label=label)
    plain_powers(axes.yaxis)
    axes.set(title="convergence over time", xlabel="seconds")
    axes.grid(axis="y", lw=0.4, alpha=0.5)
    axes.set_xlim(left=0)
    axes.legend(loc="best")


def _measured(levels: Sequence[LevelRecord]) -> list[tuple[str, list[float], str]]:
    errors = [_positive(level.error) for level in levels]
    validation = [_positive(level.validation_error) for level in levels]
    both = [("relative L2 error", errors, WARM), ("validation error", validation, ACCENT)]
    return [entry for entry in both if np.any(np.isfinite(entry[1]))]


def _positive(value: float | None) -> float:
    """The value where a logarithmic axis can show it, else a gap."""
    return float("nan") if value is None or not value > 0 else value


def _short(count: int) -> str:
    return f"{count / 1e6:.3g}M" if count >= 1e6 else f"{count / 1e3:.3g}k" if count >= 1e4 else str(count)


def axis_names(problem: Problem) -> tuple[str, ...]:
    """Names of the coordinates, with units where the domain has them."""
    domain = problem.domain
    return domain.axis_labels if isinstance(domain, Box) else tuple(domain.names or ())


def middle(problem: Problem) -> np.ndarray:
    """A point in the middle of the domain, of a shape any point inside."""
    if isinstance(problem.domain, AbstractShape):
        return points_in(problem.domain, 0, 1)
    return np.mean(problem.domain.bounds(), axis=0)[None, :]


def line_points(problem: Problem) -> np.ndarray:
    if isinstance(problem.domain, PointCloud):
        return np.sort(problem.domain.points, axis=0)
    (lower,), (upper,) = problem.domain.bounds()
    return np.linspace(lower, upper, CURVE_POINTS)[:, None]


def plain_powers(axis: Axis) -> None:
    """Write the ticks of a logarithmic axis as 1e-3: formulas take most of the time of a small figure."""
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter(minor_thresholds=(1.0, 0.4)))


def literal(text: str) -> str:
    """A text that names something, for a figure: its dollar signs do not begin a formula."""
    return text.replace("$", r"\$")


@final
@dataclass(frozen=True, eq=False)
class Plane:
    """Points of an image over a pair of coordinates.

    `shape` is that of the image, `None` for a cloud of points, which is shown as it is; `held` says in words where the
    other coordinates are held. Of a domain that is a shape the points are those inside, and `pixels` their numbers.
    """

    problem: Problem
    pair: tuple[int, int]
    points: np.ndarray
    shape: tuple[int, int] | None
    held: str
    pixels: np.ndarray | None = None

    @property
    def ticks(self) -> list[np.ndarray]:
        """Coordinates of the columns and rows of the image."""
        assert self.shape is not None
        lower, upper = self.problem.domain.bounds()
        return [np.linspace(lower[k], upper[k], count) for k, count in zip(self.pair, self.shape, strict=True)]

    def image(self, values: np.ndarray) -> np.ndarray:
        """Values at the points as an image, with gaps outside of the domain."""
        assert self.shape is not None
        if self.pixels is None:
            return values.reshape(self.shape)
        out = np.full(self.shape[0] * self.shape[1], np.nan)
        out[self.pixels] = values
        return out.reshape(self.shape)

    @classmethod
    def through(cls, problem: Problem, pair: tuple[int, int], at: Mapping[int, float] | None = None) -> Plane:
        """The plane that holds the other coordinates in the middle of the domain, or at the values `at` by axis."""
        if isinstance(problem.domain, PointCloud):
            kept = _thinned(len(problem.domain.points), IMAGE_POINTS**2)
            return cls(problem, pair, problem.domain.points[kept], None, "")
        lower, upper = problem.domain.bounds()
        ticks = [np.linspace(lower[k], upper[k], IMAGE_POINTS) for k in pair]
        first, second = np.meshgrid(*ticks, indexing="ij")
        points = np.repeat(np.mean([lower, upper], axis=0)[None], first.size, axis=0)
        for axis, value in (at or {}).items():
            points[:, axis] = value
        points[:, pair[0]], points[:, pair[1]] = first.ravel(), second.ravel()
        others = [f"{name} = {points[0, k]:.3g}" for k, name in enumerate(axis_names(problem)) if k not in pair]
        pixels = None
        if isinstance(problem.domain, AbstractShape):
            pixels = np.flatnonzero(problem.domain.level(points) <= 0.0)
            points = points[pixels]
        return cls(problem, pair, points, first.shape, f" at {', '.join(others)}" if others else "", pixels)


def _thinned(count: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))


def _data(problem: Problem, quantity: Quantity) -> list[Data]:
    terms = [term for term in problem.terms if isinstance(term, Data) and not quantity.axes]
    return [term for term in terms if problem.data_unknown(term) == quantity.unknown]


def _part(values: np.ndarray, quantity: Quantity) -> np.ndarray:
    return values if quantity.component is None else values[:, quantity.component]


def reference_values(problem: Problem, quantity: Quantity, points: np.ndarray) -> np.ndarray | None:
    """What is known of a scalar unknown; of its derivatives nothing is."""
    if problem.reference is None or quantity.axes or quantity.unknown in problem.outputs:
        return None
    values = problem.reference.evaluate(points, quantity.unknown)
    return None if values is None else _part(np.asarray(values), quantity)
