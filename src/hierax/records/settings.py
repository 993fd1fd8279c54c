"""Settings written as `KEY=VALUE`, matched to the keywords of a function."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from hierax._errors import InputError


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Values are Python literals, and texts where they are none.

    Raises
    ------
    InputError
        For a text without `=`, or a key that is given twice.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.isidentifier():
            raise InputError(
                f"{text!r} is no setting.",
                "--set",
                "Write KEY=VALUE without spaces; name the problem before the options.",
            )
        if key in settings:
            raise InputError(f"The setting {key!r} is given twice.", "--set", "Give it once.")
        settings[key] = _literal(value)
    return settings


def complete(function: Callable[..., Any], texts: Sequence[str]) -> bool:
    """Whether settings give a function all that it needs."""
    settings, empty = parse_settings(texts), inspect.Parameter.empty
    given = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.items()
    return all(n in settings or p.default is not empty or p.kind in given for n, p in parameters)


def call_with(function: Callable[..., Any], texts: Sequence[str], what: str) -> Any:
    """Call a function with settings for its keywords.

    Raises
    ------
    InputError
        For a keyword it does not have, with the ones it has; for one it needs and does not get; and for a value of
        another kind than the default.
    """
    settings = parse_settings(texts)
    parameters = inspect.signature(function).parameters
    keywords = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in settings:
        if name not in keywords and not open_ended:
            near = difflib.get_close_matches(name, keywords, n=1)
            raise InputError(
                f"The {what} has no setting {name!r}.",
                f"--set {name}=...",
                (f"Did you mean {near[0]}? " if near else "") + f"The settings are {describe_settings(function)}.",
            )
    needed = [n for n, p in keywords.items() if p.default is p.empty and n not in settings]
    if needed:
        raise InputError(f"The {what} needs a value for {', '.join(needed)}.", "--set", f"Add --set {needed[0]}=VALUE.")
    values = {n: _like(n, value, keywords[n].default if n in keywords else None) for n, value in settings.items()}
    return function(**values)


def describe_settings(function: Callable[..., Any]) -> str:
    """The keywords of a function with their defaults, `viscosity=0.01, ...`."""
    parameters = inspect.signature(function).parameters.values()
    shown = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
    return ", ".join(shown) or "none"


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _like(name: str, value: Any, default: Any) -> Any:
    """The value in the kind of a numeric default, where that is possible without loss."""
    if isinstance(default, bool) or not isinstance(default, int | float):
        wrong = isinstance(default, bool) and not isinstance(value, bool)
        kind = "True or False"
    elif isinstance(default, int):
        if isinstance(value, float) and value.is_integer():
            return int(value)
        wrong, kind = not isinstance(value, int) or isinstance(value, bool), "a whole number"
    else:
        wrong, kind = not isinstance(value, int | float) or isinstance(value, bool), "a number"
    if wrong:
        raise InputError(
            f"The setting {name!r} is {value!r}, but {kind} is needed.",
            f"--set {name}={value}",
            f"Write {kind}, for example {name}={default!r}; expressions are not computed.",
        )
    return float(value) if isinstance(default, float) else value


def first_line(function: Callable[..., Any]) -> str:
    """First sentence or paragraph of a function's documentation, on one line."""
    text = inspect.getdoc(function) or ""
    return text.partition("\n\n")[0].replace("\n", " ")
