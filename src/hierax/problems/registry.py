"""The catalogue: problems by name, each a function whose keywords are its settings."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TypeVar

from hierax._errors import InputError
from hierax.problems.problem import Problem

_CATALOGUE: dict[str, Callable[..., Problem]] = {}
Maker = TypeVar("Maker", bound=Callable[..., Problem])


def catalogued(name: str) -> Callable[[Maker], Maker]:
    """Put a function that makes a problem into the catalogue under `name`."""

    def enter(make: Maker) -> Maker:
        _CATALOGUE[name] = make
        return make

    return enter


def catalogue() -> dict[str, Callable[..., Problem]]:
    """All problems by name."""
    return dict(_CATALOGUE)


def named_problem(name: str) -> Callable[..., Problem]:
    """The function that makes the problem `name`.

    Raises
    ------
    InputError
        For an unknown name, with the nearest known ones.
    """
    if name not in _CATALOGUE:
        near = difflib.get_close_matches(name, _CATALOGUE, n=3)
        raise InputError(
            what=f"problem {name!r} is unknown",
            where="the name of a problem",
            remedy=(f"did you mean {', '.join(near)}? " if near else "") + "`hierax list` shows all names",
        )
    return _CATALOGUE[name]
