"""The studies, by name. A new study is a file in this folder whose function carries `@study("its-name")`."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hierax._errors import InputError

Study = Callable[[Path, bool], dict[str, Any]]
"""`run(out, quick)` leaves table and figure in the folder `out` and returns the JSON, main numbers under `summary`."""

_STUDIES: dict[str, Study] = {}


def study(name: str) -> Callable[[Study], Study]:
    """Enter a function as the study `name`."""

    def enter(run: Study) -> Study:
        _STUDIES[name] = run
        return run

    return enter


def studies() -> dict[str, Study]:
    """All studies by name; their files are imported here and not before, because they pull in much."""
    package = __name__.rpartition(".")[0]
    for entry in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{package}.{entry.name}")
    return dict(sorted(_STUDIES.items()))


def named_study(name: str) -> Study:
    """The study `name`.

    Raises
    ------
    InputError
        For an unknown name, with the nearest known ones.
    """
    known = studies()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise InputError(
            f"Study {name!r} is unknown.",
            "the name of a study",
            (f"Did you mean {', '.join(near)}? " if near else "") + f"The studies are {', '.join(known) or 'none'}.",
        )
    return known[name]
