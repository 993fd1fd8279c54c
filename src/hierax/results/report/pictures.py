"""The pictures of a report: each panel a figure of its own, so that a narrow screen can put them under each other."""

from __future__ import annotations

import functools
import io
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from hierax.fields.base import mesh
from hierax.geometry import AbstractShape, Part
from hierax.geometry.body import interior_rule, surface_rule
from hierax.problems.domain import PointCloud
from hierax.problems.kept import is_kept
from hierax.problems.problem import Problem
from hierax.problems.terms import Residual
from hierax.results.evaluation import Quantity, evaluate, quantities, residual
from hierax.results.figures import (
    INK,
    MUTED,
    STYLE,
    WARM,
    Plane,
    against_level,
    against_seconds,
    axis_names,
    curve,
    curve_error,
    line_points,
    literal,
    middle,
    plain_powers,
    reference_values,
    show_plane,
    show_quantity,
)
from hierax.results.report.account import Account

KIND, SAFE = "data:image/svg+xml,", " !$'()*+,-./:;=?@_~"
SIZE, DPI = (4.4, 2.9), 80
MOST = 9
"""Most pictures of one kind: a page of them stays below one megabyte."""
LEGEND = 16
"""Most parts of a boundary that a legend names."""
SNAPSHOTS, ARROWS, DECADES = 5, 15, 4
LOOK: dict[Any, Any] = STYLE | {"svg.fonttype": "none", "svg.hashsalt": "hierax", "figure.dpi": DPI, "savefig.dpi": DPI}


@final
@dataclass(frozen=True, eq=False)
class Picture:
    """A panel to be drawn, and what it shows, for those who cannot see it."""

    text: str
    draw: Callable[[Axes], None]

    def uri(self) -> str:
        """The picture as a data URI; equal panels give equal bits."""
        stream = io.BytesIO()
        with matplotlib.rc_context(LOOK):
            figure = Figure(figsize=SIZE, layout="constrained")
            self.draw(figure.add_subplot())
            figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        # Not base64: the images inside the drawing are that already, and twice is a third more.
        text = " ".join(stream.getvalue().decode("utf-8").split())
        return KIND + urllib.parse.quote(text, safe=SAFE)


def convergence(account: Account) -> list[Picture]:
    """Loss and errors by level and over time."""
    pictures = []
    if account.levels:
        draw = functools.partial(against_level, levels=account.levels)
        pictures.append(Picture("Loss and errors against the level", draw))
    if account.history:
        draw = functools.partial(against_seconds, levels=account.levels, history=account.history)
        pictures.append(Picture("Loss of every step and errors of the levels against seconds", draw))
    return pictures


def solution(account: Account) -> list[Picture]:
    """Values and errors of all unknowns: curves, images, slices, snapshots, arrows."""
    problem = account.problem
    if problem is None or account.trained is None:
        return []
    pictures = [Picture("Body, cells and parts of the boundary", functools.partial(show_body, account))]
    pictures = pictures if isinstance(problem.domain, AbstractShape) and problem.domain.dim == 2 else []
    for name in problem.functions:
        shown = quantities(problem, name)
        for quantity in shown:
            pictures += _curves(account, quantity) if problem.domain.dim == 1 else _images(account, quantity)
        if _is_plane_vector(problem, shown):
            pictures.append(Picture(f"{name} as arrows", functools.partial(_arrows, account, name)))
    return pictures


def residuals(account: Account) -> list[Picture]:
    """Size of the residual of every equation inside the domain."""
    problem = account.problem
    if problem is None or account.trained is None:
        return []
    terms = [t for t in problem.terms if isinstance(t, Residual) and is_kept(t) and problem.places(t) == (None,)]
    if problem.domain.dim == 1:
        return [Picture(f"Residual of {t.name}", functools.partial(_residual_curve, account, t)) for t in terms]
    planes = _planes(problem)
    return [
        Picture(f"Residual of {t.name}{plane.held}", functools.partial(_residual_plane, account, t, plane))
        for t in terms
        for plane in planes
    ]


def show_body(account: Account, axes: Axes) -> None:
    """A shape with the cells of the field and the parts of its boundary by name, and its area beside that of points."""
    assert account.problem is not None
    shape, cells = account.problem.domain, mesh(account.trained)
    assert isinstance(shape, AbstractShape)
    plane = Plane.through(account.problem, (0, 1))
    x, y = plane.ticks
    level = shape.level(np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)).reshape(len(x), len(y))
    axes.contourf(x, y, level.T, [-np.inf, 0.0], colors=["#e4ecf1"])
    title = f"area {shape.measure:.6g}"
    if cells is not None:
        for draw, breaks, (low, high) in ((axes.vlines, cells[0], y[[0, -1]]), (axes.hlines, cells[1], x[[0, -1]])):
            draw(breaks, low, high, color=MUTED, lw=0.3, alpha=0.6)
        title += f", of points {interior_rule(shape, cells, 3).weights.sum():.6g}"
    colours = matplotlib.colormaps["tab10"](np.arange(len(shape.body.sides)) % 10)
    for name, colour in zip(shape.body.sides, colours, strict=True):
        wall = surface_rule(shape, Part(name), plane.ticks, 2).points
        axes.plot(*wall.T, ".", ms=2.0, color=colour, label=literal(name))
    axes.set(title=title, xlabel=shape.names[0], ylabel=shape.names[1])
    axes.set_aspect("equal", adjustable="box")
    axes.locator_params(axis="x", nbins=5)
    if len(colours) <= LEGEND:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=4.0, fontsize=7.0)


def _curves(account: Account, quantity: Quantity) -> list[Picture]:
    problem = account.problem
    assert problem is not None
    parts = {"problem": problem, "field": account.trained, "quantity": quantity}
    pictures = [Picture(quantity.label, functools.partial(curve, data=account.data, **parts))]
    if reference_values(problem, quantity, middle(problem)) is not None:
        pictures.append(Picture(f"Error of {quantity.label}", functools.partial(curve_error, **parts)))
    return pictures


def _images(account: Account, quantity: Quantity) -> list[Picture]:
    problem = account.problem
    assert problem is not None
    show = functools.partial(show_quantity, field=account.trained, quantity=quantity, data=account.data)
    planes = _planes(problem)
    pictures = [Picture(f"{quantity.label}{p.held}", functools.partial(show, plane=p)) for p in planes]
    if reference_values(problem, quantity, middle(problem)) is not None:
        wrong = functools.partial(show, error=True)
        pictures += [Picture(f"Error of {quantity.label}{p.held}", functools.partial(wrong, plane=p)) for p in planes]
    if problem.domain.dim == 2 and problem.time_axis is not None and not isinstance(problem.domain, PointCloud):
        draw = functools.partial(_snapshots, account=account, quantity=quantity)
        pictures.append(Picture(f"{quantity.label} at {SNAPSHOTS} times", draw))
    return pictures


def _planes(problem: Problem) -> list[Plane]:
    """The whole domain in two dimensions; three slices in more: in space at three times, or across each other."""
    dim, time = problem.domain.dim, problem.time_axis
    if dim == 2 or isinstance(problem.domain, PointCloud):
        return [Plane.through(problem, (0, 1))]
    space = [k for k in range(dim) if k != time]
    if time is not None:
        start, end = (corner[time] for corner in problem.domain.bounds())
        times = (start, 0.5 * (start + end), end)
        return [Plane.through(problem, (space[0], space[1]), {time: value}) for value in times]
    return [Plane.through(problem, (0, 1)), Plane.through(problem, (0, dim - 1)), Plane.through(problem, (1, dim - 1))]


def _snapshots(axes: Axes, account: Account, quantity: Quantity) -> None:
    problem = account.problem
    assert problem is not None
    assert problem.time_axis is not None
    time, other = problem.time_axis, 1 - problem.time_axis
    lower, upper = problem.domain.bounds()
    points = np.zeros((401, 2))
    points[:, other] = np.linspace(lower[other], upper[other], len(points))
    colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, SNAPSHOTS))
    names = axis_names(problem)
    for value, colour in zip(np.linspace(lower[time], upper[time], SNAPSHOTS), colours, strict=True):
        points[:, time] = value
        values = evaluate(problem, account.trained, points, quantity.label)
        axes.plot(points[:, other], values, color=colour, lw=1.2, label=f"{names[time]} = {value:.3g}")
        exact = reference_values(problem, quantity, points)
        if exact is not None:
            axes.plot(points[:, other], exact, color=INK, lw=0.6, ls=(0, (3, 4)))
    known = ", dashed: reference" if reference_values(problem, quantity, middle(problem)) is not None else ""
    axes.set(title=f"{quantity.label} at {SNAPSHOTS} times{known}", xlabel=names[other])
    axes.margins(x=0)
    axes.legend(loc="best", fontsize=7.0)


def _is_plane_vector(problem: Problem, shown: Sequence[Quantity]) -> bool:
    """Whether an unknown has one component for each of two coordinates of space."""
    in_plane = problem.domain.dim == 2 and problem.time_axis is None
    return in_plane and len(shown) == 2 and not isinstance(problem.domain, PointCloud)


def _arrows(account: Account, name: str, axes: Axes) -> None:
    problem = account.problem
    assert problem is not None
    plane = Plane.through(problem, (0, 1))
    values = evaluate(problem, account.trained, plane.points, name)
    show_plane(axes, plane, np.linalg.norm(values, axis=1), f"{name}: size and direction", "viridis")
    assert plane.shape is not None
    every = tuple(slice(size // (2 * ARROWS), None, size // ARROWS) for size in plane.shape)
    grid = [plane.image(part)[every].ravel() for part in (*plane.points.T, *values.T)]
    grid = [part[np.isfinite(grid[0])] for part in grid]
    axes.quiver(*grid, color="white", width=0.004, pivot="mid")


def _residual_curve(account: Account, term: Residual, axes: Axes) -> None:
    problem = account.problem
    assert problem is not None
    points = line_points(problem)
    size = np.linalg.norm(residual(problem, account.trained, term, points), axis=1)
    axes.semilogy(points[:, 0], np.maximum(size, 1e-17), color=WARM, lw=1.0)
    plain_powers(axes.yaxis)
    axes.set(title=literal(f"residual of {term.name}"), xlabel=axis_names(problem)[0])
    axes.margins(x=0)


def _residual_plane(account: Account, term: Residual, plane: Plane, axes: Axes) -> None:
    size = np.linalg.norm(residual(plane.problem, account.trained, term, plane.points), axis=1)
    most = float(np.max(size[np.isfinite(size)], initial=0.0)) or 1.0
    least = most * 10.0**-DECADES
    norm = LogNorm(least, most)
    show_plane(axes, plane, np.maximum(size, least), f"residual of {term.name}{plane.held}", "magma", norm)
