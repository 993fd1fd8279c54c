"""What pages of reports share: the document around sections, tiles, figures, settings and surroundings."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from typing import Any

from hierax._errors import InputError
from hierax.results.report.account import Account
from hierax.results.report.markup import Child, Markup, element, style, table
from hierax.results.report.pictures import MOST, Picture
from hierax.results.report.words import number

Sections = Mapping[str, Markup | None]
"""What a page says below its header, by headings; nothing where there is nothing to say."""


def document(title: str, header: Markup, sections: Sections) -> str:
    """A page that holds all it shows."""
    sheet = importlib.resources.files("hierax.results.report").joinpath("page.css").read_text(encoding="utf-8")
    there = {name: body for name, body in sections.items() if body is not None}
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        style(sheet),
    )
    main = element(
        "main",
        header,
        element("nav", [element("a", name, href=f"#{name.lower()}") for name in there], aria_label="Contents"),
        [element("section", element("h2", name, id=name.lower()), body) for name, body in there.items()],
        element("footer", element("p", "This page holds all that it shows and loads nothing.", class_="quiet")),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', main), lang='en')}\n"


def tile(name: str, value: str, detail: str) -> Markup:
    """A number with its name."""
    return element("div", element("dt", name), element("dd", value, element("small", detail) if detail else None))


def settings(account: Account) -> Markup:
    """How it was asked for."""
    asked = dict(account.record.get("options") or {})
    options = {name: _asked(value) for name, value in asked.items()}
    chosen = {name: account.text(name) for name in ("field", "solver", "cycle", "seed") if account.text(name)}
    rows = [[name, value] for name, value in (options | chosen).items() if value]
    command = [element("p", "To run it again:"), element("pre", account.command)] if account.command else None
    return element("div", command, table(["setting", "value"], rows))


def _asked(value: Any) -> str:
    if value is None or value == "auto":
        return "left to the strategy"
    return value if isinstance(value, str) else " ".join(map(str, value)) if isinstance(value, list) else str(value)


def surroundings(account: Account) -> Markup | None:
    """What it ran on."""
    measures = {
        "precision of the parameters": account.text("precision"),
        "device of the training": account.text("device"),
        "peak memory": f"{number(account.number('peak_memory_mib'), 4)} MiB",
        "work units": number(account.number("work_units"), 4),
        "seconds of imports": number(account.number("seconds_import")),
    }
    known = {name: value for name, value in measures.items() if value and not value.startswith("–")}
    rows: list[list[Child]] = [[name, value] for name, value in {**account.environment, **known}.items()]
    return table(["", ""], rows) if rows else None


def figures(pictures: list[Picture], text: str = "") -> Markup | None:
    """Pictures in as many columns as fit; one that cannot be drawn says why in its place."""
    if not pictures:
        return None
    left_out = f"{len(pictures) - MOST} more pictures are left out." if len(pictures) > MOST else ""
    grid = element("div", [_figure(picture) for picture in pictures[:MOST]], class_="figures")
    words = [element("p", part, class_="quiet") for part in (text, left_out) if part]
    return element("div", words, grid)


def _figure(picture: Picture) -> Markup:
    try:
        shown = element("img", src=picture.uri(), alt=picture.text)
    except InputError as error:
        shown = element("p", f"{picture.text}: {error.what}", class_="quiet")
    return element("figure", shown)


def counted(value: float | None) -> str:
    """A count with thin spaces between thousands."""
    return "–" if value is None else f"{int(value):,}".replace(",", "\u202f")
