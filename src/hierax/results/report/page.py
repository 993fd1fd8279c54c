"""The report: one HTML page that holds all it shows, and loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hierax._errors import InputError
from hierax.results.intervals import Interval
from hierax.results.report.account import Account
from hierax.results.report.citations import cited
from hierax.results.report.frame import counted, document, figures, settings, surroundings, tile
from hierax.results.report.markup import Markup, bullets, element, table
from hierax.results.report.measured import measured
from hierax.results.report.pictures import convergence, residuals, solution
from hierax.results.report.stated import stated
from hierax.results.report.words import CAVEAT, MEANINGS, STOPPED, accuracy, explanation, headline, kind, number


def page(account: Account) -> str:
    """The whole page as a text."""
    sections = {name: make(account) for name, make in SECTIONS}
    return document(f"{account.text('problem') or 'training'}: report of a training", _summary(account), sections)


def write_page(text: str, path: Path) -> None:
    """Write a page into a file.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"The report cannot be written: {error.strerror}.", str(path), "Give a file in a folder that is writable."
        ) from error


def _summary(account: Account) -> Markup:
    sentence, mark = headline(account)
    return element(
        "header",
        element("h1", account.text("problem") or "training"),
        element("p", "hierax", f", {account.started}" if account.started else None, class_="quiet"),
        element("p", element("span", sentence), class_=f"verdict {mark}"),
        element("p", accuracy(account)) if account.text("result") else None,
        element("p", explanation(account)) if explanation(account) else None,
        element("p", kind(account)) if kind(account) else None,
        element("dl", [tile(*entry) for entry in _tiles(account)], class_="tiles"),
        [element("p", note, class_="quiet") for note in account.notes],
    )


def _tiles(account: Account) -> list[tuple[str, str, str]]:
    error, validation = account.number("relative_l2"), account.number("validation_error")
    tiles = []
    if error is not None:
        floor = account.number("reference_floor")
        tiles.append(("relative L2 error", number(error), f"reference known to {number(floor)}" if floor else ""))
    if validation is not None:
        tiles.append(("validation error", number(validation), "data kept back"))
    if error is None and validation is None:
        tiles.append(("error", "not measured", "no reference is known"))
    for name, found in (account.record.get("unknowns") or {}).items():
        interval = Interval.of_record(found)
        tiles.append((name, interval.number, interval.bounds))
    seconds, compiling = account.number("seconds_total"), account.number("seconds_compile")
    tiles.append(("seconds", number(seconds), f"{number(compiling)} of them compiling" if compiling else ""))
    linear = account.record.get("linear_in_parameters")
    labelled = "" if linear is None else "linear in them" if linear else "not linear in them"
    tiles.append(("parameters", counted(account.number("parameters")), labelled))
    tiles.append(("levels", str(len(account.levels)), ""))
    stopped = account.text("stopped_by")
    if stopped:
        tiles.append(("ended by", stopped, STOPPED.get(stopped, "")))
    return tiles


def _plan(account: Account) -> Markup | None:
    if not account.plan and not account.decisions:
        return None
    happened = [element("h3", "What was decided on the way"), bullets(account.decisions)] if account.decisions else None
    chosen = element("p", "Chosen before training, from what the problem shows:") if account.plan else None
    return element("div", chosen, bullets(account.plan) if account.plan else None, happened)


def _guards(account: Account) -> Markup:
    guards = account.record.get("guards") or {}
    if not guards:
        return element("p", "No guard was computed: nothing but the training loss supports this answer.")
    text = element("p", "Checks on points that training did not use. ", CAVEAT)
    return element("div", text, [_guard(name, guard) for name, guard in guards.items()])


def _guard(name: str, guard: Mapping[str, Any]) -> Markup:
    mark = ("pass", "good") if guard["passed"] else ("FAIL", "bad")
    meaning = MEANINGS.get(name.partition(":")[0])
    numbers = f" {number(guard['value'])} (limit {number(guard['limit'])})"
    return element(
        "div",
        element("div", element("strong", mark[0], class_=mark[1]), " ", element("strong", name), numbers),
        element("div", guard["sentence"]),
        element("div", meaning, class_="quiet") if meaning else None,
        class_="guard",
    )


def _diagnosis(account: Account) -> Markup | None:
    text = account.diagnosis.strip()
    sentences = [*([text[0].upper() + text[1:]] if text else []), *(account.record.get("remarks") or [])]
    return element("div", [element("p", sentence) for sentence in sentences]) if sentences else None


def _levels(account: Account) -> Markup | None:
    if not account.levels:
        return None
    validated = all(level.error is None for level in account.levels)
    heads = ["level", "parameters", "points", "steps", "loss", "validation" if validated else "error", "factor"]
    rows, before = [], None
    for level in account.levels:
        error = level.validation_error if validated else level.error
        factor = error / before if error is not None and before else None
        before = error
        counts = [str(level.level), counted(level.parameters), counted(level.points), str(level.steps)]
        times = [f"{level.seconds:.2f}", f"{level.seconds_compile:.2f}"]
        rows.append([*counts, number(level.loss), number(error), number(factor, 2), *times, level.note])
    shown = table([*heads, "seconds", "compiling", ""], rows, class_="numbers")
    return element(
        "div", shown, element("p", "Level 0 is the coarsest; the factor is that on the error.", class_="quiet")
    )


def _candidates(account: Account) -> Markup | None:
    """The kinds of fields that were tried for the outputs of a table."""
    tried = account.record.get("candidates") or []
    if not tried:
        return None
    rows = [
        [one["output"], one["field"], number(one["error"]), f"{one['seconds']:.2f}", "yes" if one["chosen"] else ""]
        for one in tried
    ]
    shown = table(["output", "field", "error at rows not seen", "seconds", "chosen"], rows, class_="numbers")
    return element("div", shown, element("p", "Errors are relative to the spread of the output.", class_="quiet"))


def _convergence(account: Account) -> Markup | None:
    return figures(convergence(account))


def _solution(account: Account) -> Markup | None:
    return figures(solution(account))


def _residuals(account: Account) -> Markup | None:
    return figures(residuals(account), "How far each equation is from being satisfied; a residual is not an error.")


def _training(account: Account) -> Markup | None:
    return figures(measured(account), "What was measured while training ran.")


def _citations(account: Account) -> Markup:
    entries = [
        element("details", element("summary", what), [element("pre", entry) for entry in bibtex])
        for what, bibtex in cited(account)
    ]
    return element("div", element("p", "Publications of the methods that this training used, as BibTeX."), entries)


SECTIONS: tuple[tuple[str, Callable[[Account], Markup | None]], ...] = (
    ("Problem", stated),
    ("Plan", _plan),
    ("Guards", _guards),
    ("Diagnosis", _diagnosis),
    ("Candidates", _candidates),
    ("Levels", _levels),
    ("Convergence", _convergence),
    ("Solution", _solution),
    ("Residuals", _residuals),
    ("Training", _training),
    ("Settings", settings),
    ("Environment", surroundings),
    ("Citations", _citations),
)
