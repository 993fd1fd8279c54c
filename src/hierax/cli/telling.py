"""What all commands that learn or estimate do with their run folder: keep no empty one, and say where what is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hierax._errors import InputError
from hierax.records.run import Run
from hierax.results.files import write_json


@contextlib.contextmanager
def discarded(run: Run) -> Iterator[None]:
    """Leave no run folder behind where nothing came out."""
    try:
        yield
    except (InputError, KeyboardInterrupt):
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
