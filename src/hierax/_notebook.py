"""How objects show themselves in notebooks."""

from __future__ import annotations

import html


def preformatted(text: str, title: str = "") -> str:
    """A text, with its lines as they are and under a title, as HTML; nothing in it is read as markup."""
    head = f"<strong>{html.escape(title)}</strong>" if title else ""
    style = "white-space: pre; overflow-x: auto; line-height: 1.3; margin: 0.3em 0"
    return f'<div>{head}<pre style="{style}">{html.escape(text)}</pre></div>'
