"""The page about a surrogate: what it is worth at samples kept apart, examples beside the truth, and what it costs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from matplotlib.axes import Axes

from hierax.results.figures import INK, MUTED, WARM, add_bar, literal, plain_powers
from hierax.results.report.account import Account
from hierax.results.report.frame import Sections, counted, document, figures, settings, surroundings, tile
from hierax.results.report.markup import Markup, bullets, element, table
from hierax.results.report.pictures import Picture
from hierax.results.report.words import number

FAR = "Where inputs are unlike all that were learned, nothing is promised: predictions say so."
WORST = 5
"""Members of which the page tells the inputs."""


@final
@dataclass(frozen=True, eq=False)
class Example:
    """A sample that was not learned from, on a grid of one or two axes.

    Attributes
    ----------
    title, inputs, name:
        Which one, what it was made from in words, and which of its outputs.
    axes:
        Names of the axes, each with its ticks.
    truth, found:
        As it was solved, and as it is predicted; NaN outside of the domain.
    """

    title: str
    inputs: str
    name: str
    axes: tuple[tuple[str, np.ndarray], ...]
    truth: np.ndarray
    found: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Worth:
    """What is known of a surrogate, whatever it maps.

    Attributes
    ----------
    title, samples:
        What it is of, and how many samples it was learned from.
    errors, estimates, bounds:
        Relative L2 errors `(n,)` of samples kept apart, with what the surrogate says of them.
    inputs:
        Their inputs that are numbers, by name.
    tolerance:
        What was asked; `None` where nothing was.
    costs:
        Texts with seconds and a relative error each: levels of a solve, and the surrogate itself.
    history:
        Samples, and median and largest error, of each fit.
    tiles, candidates, note:
        Further numbers for the head of the page; errors of what was chosen from; what examples do not show.
    """

    title: str
    samples: int
    errors: np.ndarray
    estimates: np.ndarray
    bounds: np.ndarray
    inputs: Mapping[str, np.ndarray]
    tolerance: float | None
    costs: Sequence[tuple[str, float, float]]
    history: Sequence[tuple[int, float, float]]
    tiles: Sequence[tuple[str, str, str]]
    candidates: Mapping[str, float]
    note: str = ""


def learned(account: Account, worth: Worth, examples: Sequence[Example]) -> str:
    """The whole page as a text."""
    median, largest = float(np.median(worth.errors)), float(np.max(worth.errors))
    good = largest <= (np.inf if worth.tolerance is None else worth.tolerance)
    asked = "" if worth.tolerance is None else f" {number(worth.tolerance)} was asked for."
    answer = f"Relative L2 error {number(median)} in the median, {number(largest)} at most.{asked}"
    header = element(
        "header",
        element("h1", worth.title),
        element("p", "hierax", f", {account.started}" if account.started else None, class_="quiet"),
        element("p", element("span", answer), class_=f"verdict {'good' if good else 'bad'}"),
        element("p", f"At {len(worth.errors)} samples that were not learned from. {FAR}"),
        element("dl", [tile(*entry) for entry in _tiles(worth)], class_="tiles"),
        [element("p", note, class_="quiet") for note in account.notes],
    )
    sections: Sections = {
        "Examples": figures([picture for one in examples for picture in _example(one)], worth.note),
        "Errors": _errors(worth),
        "Cost": _cost(worth),
        "Candidates": _candidates(worth),
        "Decisions": bullets(account.decisions) if account.decisions else None,
        "Settings": settings(account),
        "Environment": surroundings(account),
    }
    return document(f"{worth.title}: report of a surrogate", header, sections)


def _tiles(worth: Worth) -> list[tuple[str, str, str]]:
    ratios = worth.errors / np.maximum(worth.estimates, 1e-300)
    missed = int(np.sum(worth.errors > worth.bounds))
    return [
        ("samples", counted(worth.samples), "learned from"),
        ("true over estimated error", f"{number(float(ratios.min()), 2)} to {number(float(ratios.max()), 2)}", ""),
        ("above their bound", counted(missed), f"of {len(worth.errors)}"),
        *worth.tiles,
    ]


def _errors(worth: Worth) -> Markup:
    pictures = [Picture("True errors against estimated ones", functools.partial(_true_and_estimated, worth))]
    if len(worth.history) > 1:
        pictures.append(Picture("Errors against the number of samples", functools.partial(_learning, worth)))
    order = np.argsort(worth.errors)[::-1][:WORST]
    columns = {**worth.inputs, "error": worth.errors, "estimate": worth.estimates, "bound": worth.bounds}
    rows = [[str(k), *(number(float(column[k])) for column in columns.values())] for k in order]
    text = element("p", "The worst of the samples that were not learned from:", class_="quiet")
    return element("div", figures(pictures), text, table(["sample", *columns], rows, class_="numbers"))


def _cost(worth: Worth) -> Markup | None:
    if len(worth.costs) < 2:
        return None  # nothing is known of levels
    picture = Picture("Error against the seconds of one sample", functools.partial(_seconds, worth))
    rows = [[name, number(seconds), number(error)] for name, seconds, error in worth.costs]
    text = element(
        "p", "Errors of levels are their changes by the next one. Where a solve is as cheap at equal error, solve.",
        class_="quiet",
    )  # fmt: skip
    return element("div", figures([picture]), text, table(["", "seconds", "error"], rows, class_="numbers"))


def _candidates(worth: Worth) -> Markup | None:
    rows = [[name, number(error)] for name, error in worth.candidates.items()]
    return table(["what was tried", "error at samples left out"], rows, class_="numbers") if rows else None


def _example(one: Example) -> list[Picture]:
    if len(one.axes) == 1:
        parts: dict[str, Callable[[Any], None]] = {
            "truth and prediction": functools.partial(_curves, one),
            "error": functools.partial(_curve_error, one),
        }
    else:
        error = one.found - one.truth
        most = float(np.nanmax(np.abs(error))) or 1.0
        span = float(np.nanmin(one.truth)), float(np.nanmax(one.truth))
        parts = {
            "truth": functools.partial(_image, one, one.truth, "viridis", span, f"{one.name}, {one.title}: truth"),
            "prediction": functools.partial(_image, one, one.found, "viridis", span, f"{one.name}: prediction"),
            "error": functools.partial(_image, one, error, "coolwarm", (-most, most), f"{one.name}: error"),
        }
    said = f"{one.name} of {one.title}{one.inputs and f' ({one.inputs})'}"
    return [Picture(f"{said}: {what}", draw) for what, draw in parts.items()]


def _curves(one: Example, axes: Axes) -> None:
    (name, ticks), = one.axes  # fmt: skip
    axes.plot(ticks, one.truth, color=INK, label="truth")
    axes.plot(ticks, one.found, "--", color=WARM, label="prediction")
    axes.set(xlabel=name, title=literal(f"{one.name}, {one.title}"))
    axes.legend()


def _curve_error(one: Example, axes: Axes) -> None:
    (name, ticks), = one.axes  # fmt: skip
    axes.plot(ticks, one.found - one.truth, color=WARM)
    axes.set(xlabel=name, title=literal(f"{one.name}: error of the prediction"))


def _image(one: Example, values: Any, colours: str, span: tuple[float, float], title: str, axes: Axes) -> None:
    (first, x), (second, y) = one.axes
    low, high = span
    drawn = axes.pcolormesh(x, y, values.T, cmap=colours, vmin=low, vmax=high, shading="nearest", rasterized=True)
    add_bar(axes, drawn)
    axes.set(xlabel=first, ylabel=second, title=literal(title))


def _true_and_estimated(worth: Worth, axes: Axes) -> None:
    ends = np.array([f(np.r_[worth.errors, worth.estimates]) for f in (np.min, np.max)]) * [0.7, 1.4]
    axes.loglog(ends, ends, color=MUTED, lw=0.8, label="equal")
    axes.loglog(worth.estimates, worth.errors, "o", ms=4.0, color=INK)
    axes.loglog(worth.bounds, worth.errors, "|", ms=7.0, color=WARM, label="bound")
    axes.set(xlabel="estimated", ylabel="true", title="Relative errors, not learned from")
    axes.tick_params(axis="x", which="both", labelrotation=25.0)
    for axis in (axes.xaxis, axes.yaxis):
        plain_powers(axis)
    axes.legend()


def _learning(worth: Worth, axes: Axes) -> None:
    count, median, largest = np.array(worth.history, float).T
    axes.loglog(count, largest, "o-", color=WARM, label="largest")
    axes.loglog(count, median, "o-", color=INK, label="median")
    axes.set(xlabel="samples learned from", title="Relative error")
    for axis in (axes.xaxis, axes.yaxis):
        plain_powers(axis)
    axes.legend()


def _seconds(worth: Worth, axes: Axes) -> None:
    names, seconds, errors = zip(*worth.costs, strict=True)
    axes.loglog(seconds[:-1], errors[:-1], "o-", color=MUTED, label="levels of a solve")
    axes.loglog(seconds[-1:], errors[-1:], "D", color=WARM, label=names[-1])
    axes.set(xlabel="seconds of one sample", title="Relative error")
    for axis in (axes.xaxis, axes.yaxis):
        plain_powers(axis)
    axes.legend()
