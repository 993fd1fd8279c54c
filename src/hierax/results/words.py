"""The tables of a solution as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hierax.events import LevelRecord

if TYPE_CHECKING:
    from hierax.results.solution import Candidate


def level_table(levels: Sequence[LevelRecord]) -> list[str]:
    """One line a level under a line of headings; the error column is what was measured, error or validation error."""
    validated = all(level.error is None for level in levels) and any(level.validation_error for level in levels)
    rows = [["level", "parameters", "points", "steps", "loss", "validation" if validated else "error", "seconds"]]
    for level in levels:
        error = level.validation_error if validated else level.error
        counts = [str(level.level), str(level.parameters), str(level.points), str(level.steps)]
        rows.append([*counts, number(level.loss), number(error), f"{level.seconds:.2f}"])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    notes = ["", *(level.note for level in levels)]
    aligned = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [f"{line}  {note}".rstrip() for line, note in zip(aligned, notes, strict=True)]


def candidate_table(candidates: Sequence[Candidate]) -> list[str]:
    """One line a candidate; those that were chosen are marked."""
    return [
        f"{'*' if one.chosen else ' '} {one.output}: {one.field}, error at rows not seen {number(one.error)}, "
        f"{one.seconds:.1f} s"
        for one in candidates
    ]


def number(value: float | None) -> str:
    """Three digits; a dash where nothing was measured."""
    return "-" if value is None else f"{value:.3g}"
