"""The battery: all files of problems in this folder, by name."""

from __future__ import annotations

import difflib

from hierax._errors import InputError
from studies.honesty import controls, energies, given_values, points_miss, undetermined, units
from studies.honesty.battery import Case, entered_cases

FILES = (controls, undetermined, units, energies, points_miss, given_values)
"""Each enters its problems when it is imported; this order is that of the table."""


def cases() -> dict[str, Case]:
    """All problems by name."""
    return entered_cases()


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
