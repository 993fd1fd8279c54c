"""HTML from nested calls, in which every text that is not markup already is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import final

VOID = frozenset({"img", "meta", "br"})


@final
class Markup(str):
    """A text that is HTML already; made by `element` and `style` alone, so that nothing else passes unescaped."""

    __slots__ = ()


Child = str | None | Iterable["Child"]


def element(name: str, /, *children: Child, **attributes: str) -> Markup:
    """An element; children are texts, elements, lists of them, and `None` for nothing. `class_` stands for `class`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value, quote=True)}"' for key, value in attributes.items()
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{_content(children)}</{name}>")


def style(sheet: str) -> Markup:
    """A style sheet of this library; it cannot hold anything that ends it."""
    return Markup(f"<style>{sheet.replace('</', '')}</style>")


def table(heads: Sequence[str], rows: Iterable[Sequence[Child]], caption: str = "", **attributes: str) -> Markup:
    """A table in a box of its own that scrolls sideways, so that the page need not."""
    shown = element(
        "table",
        element("caption", caption) if caption else None,
        element("thead", element("tr", [element("th", head, scope="col") for head in heads])),
        element("tbody", [element("tr", [element("td", cell) for cell in row]) for row in rows]),
        **attributes,
    )
    return element("div", shown, class_="scroll", tabindex="0")


def bullets(items: Iterable[Child]) -> Markup:
    """A list without order."""
    return element("ul", [element("li", item) for item in items])


def _content(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    return html.escape(child) if isinstance(child, str) else "".join(_content(part) for part in child)
