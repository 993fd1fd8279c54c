"""The battery: all files of problems in this folder, by name."""

from __future__ import annotations

import difflib

from hierax._errors import InputError
from studies.honesty import (
    conditions,
    controls,
    energies,
    fits,
    given_values,
    inverse,
    layers,
    odes,
    points_miss,
    several,
    singular,
    systems,
    transport,
    undetermined,
    units,
)
from studies.honesty.battery import Case, entered_cases

FILES = (
    controls,
    undetermined,
    units,
    energies,
    points_miss,
    given_values,
    inverse,
    layers,
    singular,
    several,
    odes,
    transport,
    systems,
    fits,
    conditions,
)
"""Each enters its problems when it is imported; the table has them in this order."""


def cases() -> dict[str, Case]:
    """All problems by name."""
    kinds = [file.__name__.rpartition(".")[2].replace("_", " ") for file in FILES]
    return dict(sorted(entered_cases().items(), key=lambda entry: kinds.index(entry[1].kind)))


def case_of(name: str) -> Case:
    """The problem `name`.

    Raises
    ------
    InputError
        For an unknown name, with the nearest known ones.
    """
    known = cases()
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known, n=3)) or ", ".join(known)
        raise InputError(f"The problem {name!r} is unknown.", "the battery of the study honesty", f"Nearest: {near}.")
    return known[name]
