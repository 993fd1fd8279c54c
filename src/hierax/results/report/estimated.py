"""The page about an estimation: the answer, levels with their samples and costs, rates, distribution."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hierax.results.figures import INK, MUTED, WARM
from hierax.results.report.account import Account
from hierax.results.report.frame import Sections, counted, document, figures, settings, surroundings, tile
from hierax.results.report.markup import Markup, bullets, element, table
from hierax.results.report.pictures import Picture
from hierax.results.report.words import number

RATES = {
    "alpha": "Bias: the mean of a difference of levels falls by this power of two a level.",
    "beta": "Variance of a difference of levels, likewise.",
    "gamma": "Cost of a sample, which rises. Where beta is larger, the cost goes as the tolerance to the power -2.",
}


def estimation(account: Account) -> str:
    """The whole page as a text."""
    record = account.record
    asked = record["options"].get("quantity") or account.text("name") or "a quantity"
    good = bool(record["reached"])
    header = element(
        "header",
        element("h1", f"{account.text('statistic')} of {asked}"),
        element("p", "hierax", f", {account.started}" if account.started else None, class_="quiet"),
        element("p", element("span", _answer(record)), class_=f"verdict {'good' if good else 'bad'}"),
        element("p", account.text("method") + "."),
        element("dl", [tile(*entry) for entry in _tiles(record)], class_="tiles"),
        [element("p", note, class_="quiet") for note in account.notes],
    )
    sections: Sections = {
        "Remarks": bullets(record["sentences"]) if record["sentences"] else None,
        "Plan": bullets(account.decisions) if account.decisions else None,
        "Levels": _levels(record),
        "Rates": _rates(record),
        "Pictures": figures(_pictures(record)),
        "Settings": settings(account),
        "Environment": surroundings(account),
    }
    return document(f"{account.text('statistic')}: report of an estimation", header, sections)


def _single(record: Any) -> bool:
    return not isinstance(record["value"], list)


def _answer(record: Any) -> str:
    missed = "" if record["reached"] else " What speaks against it is said below."
    if not _single(record):
        return f"{np.size(record['value'])} values, known to {number(_rms(record['error']))} in the mean.{missed}"
    ends = f"between {number(record['low'], 6)} and {number(record['high'], 6)}"
    return f"{number(record['value'], 6)}, with 95 % confidence {ends}.{missed}"


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(values, float)))))


def _tiles(record: Any) -> list[tuple[str, str, str]]:
    wanted = f"wanted {number(record['tolerance'])}" if record["tolerance"] else ""
    saved = record["plain"] / max(record["spent"], 1e-300)
    tiles = [("rms error", number(_rms(record["error"])), wanted)]
    tiles += [("of which bias", number(record["bias"]), "of levels left out")] if record["bias"] else []
    tiles += [("cost", number(record["spent"]), f"plain Monte Carlo {number(saved)} times as much")]
    tiles += [("samples", counted(sum(row["samples"] for row in record["rows"])), "")]
    return tiles + ([("failed", counted(record["failed"]), "left out")] if record["failed"] else [])


def _levels(record: Any) -> Markup:
    heads = ["level", "samples", "cost of one", "cost of all", "mean", "variance", "of the difference"]
    keys = ("cost", "spent", "mean", "variance", "variance_of_difference")
    rows = [[row["name"], counted(row["samples"]), *(number(row[key]) for key in keys)] for row in record["rows"]]
    below = element("p", "Level 0 is the coarsest; differences are those to the row above.", class_="quiet")
    return element("div", table(heads, rows, class_="numbers"), below)


def _rates(record: Any) -> Markup | None:
    known = {name: rate for name, rate in record["rates"].items() if rate is not None}
    rows = [[name, number(rate), RATES[name]] for name, rate in known.items()]
    return table(["rate", "", ""], rows) if rows else None


def _pictures(record: Any) -> list[Picture]:
    rows, first = record["rows"], "first component" if not _single(record) else "quantity"
    pictures = [Picture(f"Distribution of the {first}", functools.partial(_distribution, record))]
    if len(rows) > 1:
        pictures += [
            Picture("Variances of levels and of their differences", functools.partial(_variances, rows)),
            Picture("Samples of levels and what all of them cost", functools.partial(_split, rows)),
        ]
    return pictures


def _distribution(record: Any, axes: Axes) -> None:
    values = np.asarray(record["distribution"], float)
    shares = np.linspace(0.02, 0.98, len(values))
    axes.plot(values, shares, color=INK)
    if _single(record):
        axes.axvspan(record["low"], record["high"], color=WARM, alpha=0.4, lw=0)
        axes.axvline(record["value"], color=WARM, label="estimate")
        axes.legend()
    axes.set_xlabel("value")
    axes.set_ylabel("share below")
    axes.set_title("Distribution")


def _variances(rows: Any, axes: Axes) -> None:
    names = [row["name"] for row in rows]
    found = [row["variance_of_difference"] or np.nan for row in rows]
    axes.semilogy(names, [row["variance"] for row in rows], "o-", color=MUTED, label="level")
    axes.semilogy(names, found, "o-", color=INK, label="difference")
    axes.set_xlabel("level")
    axes.set_title("Variance")
    axes.legend()


def _split(rows: Any, axes: Axes) -> None:
    names = [row["name"] for row in rows]
    axes.bar(names, [row["spent"] for row in rows], color=MUTED)
    axes.set_xlabel("level")
    axes.set_ylabel("cost of all samples")
    other = axes.twinx()
    other.semilogy(names, [row["samples"] for row in rows], "o-", color=INK)
    other.set_ylabel("samples")
    other.grid(visible=False)
    axes.set_title("Cost (bars) and samples (line)")
