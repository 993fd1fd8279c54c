"""The command line of the studies: `python -m studies NAME [--quick] [--json FILE] [--out DIR] [--page]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import tyro
from rich.console import Console

from hierax._errors import InputError
from hierax.cli import answer
from hierax.records.run import Run
from hierax.records.settings import first_line
from hierax.results.files import check_writable, write_json
from hierax.results.record import plain
from studies.pages import keep, keep_index, made
from studies.registry import named_study, studies


@final
@dataclass(frozen=True)
class Study:
    """Run a reproducible experiment."""

    name: tyro.conf.Positional[str] = "list"
    """Name of the study; `list` shows all."""
    quick: bool = False
    """A short form that ends within minutes."""
    json: Path | None = None
    """File for the result as JSON, besides the one in the folder."""
    out: Path | None = None
    """Folder for table, figure and JSON; runs/<study>-<number> if not given."""
    page: bool = False
    """Write the page of docs/measurements as well; for `list` the index of these pages."""

    def __call__(self, console: Console) -> int:
        del console
        if self.name == "list":
            print("\n".join(f"{name}\n    {first_line(run)}" for name, run in studies().items()))
            if self.page:
                print(f"page   {keep_index()}")
            return 0
        run = named_study(self.name)
        if self.json is not None:
            check_writable(self.json)
        out = self.out or Run.create(self.name).path
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"The folder cannot be made: {error.strerror}.", str(out), "Give a writable folder by --out DIR."
            ) from error
        command = f"python -m studies {self.name}" + (" --quick" if self.quick else "")
        record = plain({"made": made(command), **run(out, self.quick)})
        paths = [out / f"{self.name}.json", *([] if self.json is None else [self.json])]
        for path in paths:
            write_json(path, record)
        print("\n".join(record.get("words") or [f"{key}: {value}" for key, value in record["summary"].items()]))
        print(f"\nfolder {out}\n" + "\n".join(f"json   {path}" for path in paths))
        if self.page:
            print("\n".join(f"page   {path}" for path in keep(record)))
        return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one study and return its exit code, that of `hierax` for the same reason."""
    return answer(Study, "python -m studies", "Reproducible experiments.", argv)


if __name__ == "__main__":
    raise SystemExit(main())
