"""What all commands that learn or estimate do with their run folder: keep no empty one, and say where what is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hierax._errors import InputError
from hierax.records.run import Run
from hierax.results.files import write_json


@contextlib.contextmanager
def discarded(run: Run, unless: Path | None = None) -> Iterator[None]:
    """Leave no run folder behind where nothing came out; `unless` a file in it, or a state, is there to go on from."""
    try:
        yield
    except (InputError, KeyboardInterrupt):
        if not run.reached and (unless is None or not unless.exists()):
            run.discard()
        raise


def tell(made: object, run: Run, record: dict[str, Any], json: Path | None) -> None:
    """Print what came out and where it is kept, and write its record where it is asked for."""
    print(f"\n{made}\n")
    if json is not None:
        write_json(json, record)
        print(f"json   {json}")
    print(f"run    {run.path}")
    for sentence in run.troubles:
        print(sentence, file=sys.stderr)


def ending(run: Run, signals: Sequence[str]) -> str:
    """Say by what a run was interrupted, and how to go on."""
    by = f"by {signals[0]}" if signals else "from the keyboard"
    kept = f"go on by: hierax resume {run.path}"
    return f"interrupted {by}; what was reached is kept in {run.path}; {kept}"
