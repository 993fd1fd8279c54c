"""Pages of docs/measurements: each is written from the JSON beside it, and tests compare the two.

A study says what its page needs by its JSON: `notes` (what it is and how), `table`, and, where it has them, `reading`
(a paragraph made from its numbers) and `excerpt` (a part of the table for the README).
"""

from __future__ import annotations

import datetime
import inspect
import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from hierax._errors import InputError
from hierax.results.files import write_json, written
from studies.registry import studies

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "measurements"
README = ROOT / "README.md"
KEPT = ("study", "quick", "made", "notes", "table", "reading", "excerpt", "rows", "summary")
"""What of a study's JSON is kept beside its page; files and folders of the run are not."""
LARGEST = 40
"""Rows that are kept; a study with more keeps its table and its summary."""
NUMBERS = {1: "one", 2: "two", 4: "four", 8: "eight", 16: "sixteen"}
HEAD = """# Measurements

Every page is written by its study from the JSON beside it (`make study NAME=... PAGE=1`, or
`python -m studies NAME --page`), and says when, on which machine and from which commit. Ratios within one page can be
relied on more than seconds, which depend on the machine and on what else it did. `--quick` makes the short form of a
study. Tables of earlier long runs that have not been repeated are in `README.md` of commit `c203914`; what was tried
and left is in `docs/tried.md`.
"""
PROCESSORS = {"x86_64": "x86", "AMD64": "x86", "aarch64": "ARM", "arm64": "ARM"}


def made(command: str) -> dict[str, str]:
    """Date, machine in words, commit and command of a study that has just run."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "commit": commit(),
        "command": command,
    }


def machine() -> str:
    """The processor in words, and the mean number of processes that wanted it during the last quarter of an hour."""
    count, kind = os.cpu_count() or 1, platform.machine()
    cores = f"{NUMBERS.get(count, str(count))} {PROCESSORS.get(kind, kind)} core{'s' if count > 1 else ''}"
    if not hasattr(os, "getloadavg"):
        return cores
    return f"{cores}, {os.getloadavg()[2]:.1f} processes at a time in the quarter of an hour before"


def commit() -> str:
    """The commit that is checked out, with a word where files other than pages differ from it."""

    def asked(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    try:
        changed = asked("status", "--porcelain", "--untracked-files=no", ".", ":!docs/measurements", ":!README.md")
        return asked("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def page(record: dict[str, Any]) -> str:
    """The page that belongs to a JSON, and nothing that is not in it."""
    what, _, how = inspect.cleandoc(record["notes"]).partition("\n\n")
    facts = [f"| {name} | {_code(name, text)} |" for name, text in record["made"].items()]
    form = ["This is the short form of the study.\n"] if record["quick"] else []
    table = record["table"].strip("\n")
    shown = table if table.startswith("|") else f"```text\n{table}\n```"
    parts = [f"# {record['study']}\n", f"{what}\n", *form, "| | |", "|---|---|", *facts, "", f"{shown}\n"]
    reading = [part for part in (record.get("reading"), how) if part]
    return "\n".join([*parts, "## How to read it\n", "\n\n".join(reading).rstrip()]) + "\n"


def _code(name: str, text: str) -> str:
    return f"`{text}`" if name in ("commit", "command") else text


def index() -> str:
    """The page that lists all studies, with their pages where these have been written."""
    lines = [HEAD, "| study | what it measures | page |", "|---|---|---|"]
    for name, run in studies().items():
        there = (PAGES / f"{name}.json").exists()
        shown = f"[{_form(name)}]({name}.md)" if there else "not yet"
        lines.append(f"| `python -m studies {name}` | {_first_sentence(run)} | {shown} |")
    names = sorted(path.stem for path in PAGES.glob("*.json"))
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *names, "```"]) + "\n"


def _form(name: str) -> str:
    return "short form" if read(name)["quick"] else "full form"


def _first_sentence(run: Any) -> str:
    """What the file of a study says first."""
    text = " ".join(_document(run).partition("\n\n")[0].split())
    return text.rstrip(".").replace("|", "\\|")


def _document(run: Any) -> str:
    """What the file of a study says about it."""
    return getattr(inspect.getmodule(run), "__doc__", None) or ""


def read(name: str) -> dict[str, Any]:
    """The JSON beside a page."""
    return json.loads((PAGES / f"{name}.json").read_text(encoding="utf-8"))


def keep(record: dict[str, Any]) -> list[Path]:
    """Write JSON and page of a study, its part of the README and the index; returns their paths."""
    name = record["study"]
    short = {key: record[key] for key in KEPT if record.get(key) is not None}
    short.setdefault("notes", _document(studies()[name]))
    if len(short.get("rows", ())) > LARGEST:
        del short["rows"]
    if not PAGES.is_dir():
        raise InputError("There is no folder of pages.", str(PAGES), "Run studies from a checkout of the repository.")
    write_json(PAGES / f"{name}.json", short)
    _write(PAGES / f"{name}.md", page(short))
    if "excerpt" in short:
        _write(README, with_excerpt(README.read_text(encoding="utf-8"), name, short["excerpt"]))
    return [PAGES / f"{name}.json", PAGES / f"{name}.md", keep_index()]


def keep_index() -> Path:
    """Write the list of all studies and their pages."""
    _write(PAGES / "index.md", index())
    return PAGES / "index.md"


def with_excerpt(text: str, name: str, excerpt: str) -> str:
    """A text in which the part between the two marks of a study is its excerpt."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    return re.sub(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{excerpt}\n{end}", text, flags=re.DOTALL
    )


def _write(path: Path, text: str) -> None:
    with written(path) as draft:
        draft.write_text(text, encoding="utf-8")
