"""What people see of a training while it runs: plain lines, and on terminals something that moves."""

from __future__ import annotations

import functools
from types import TracebackType
from typing import final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from hierax.events import Decision, Event, LevelFinished, LevelRecord, RunFinished, RunStarted
from hierax.records.live import AbstractDisplay, CurrentStep


@final
class Progress:
    """Writes events to a console; what a terminal shows of the current step is replaced in place.

    That needs the context manager, which leaves the terminal in order after an error; without it,
    `train(problem, subscribers=[Progress()])`, and where there is no terminal, only the lines that stay are written.

    Parameters
    ----------
    console:
        Where to write; the standard output if not given.
    display:
        What a terminal shows meanwhile: `CurrentStep()`, one line, or `LevelBoard()`, a table.
    """

    def __init__(self, console: Console | None = None, display: AbstractDisplay | None = None) -> None:
        self._console = console or Console()
        self._display = display or CurrentStep()
        self._live = Live(Text(""), console=self._console, transient=True, refresh_per_second=8)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        self._live.update(self._display.see(event))
        text = "" if self._live.is_started and self._display.shows(event) else describe_event(event)
        if text:
            # Not wrapped and not read as markup: names of columns may hold brackets.
            self._console.print(Text(text), soft_wrap=True)


@functools.singledispatch
def describe_event(event: Event) -> str:
    """The lines that stay of an event; none for those that only move the live line."""
    del event
    return ""


@describe_event.register
def _(event: RunStarted) -> str:
    return f"{event.problem}, budget {event.budget:g} s\n{event.plan.rstrip()}\n"


@describe_event.register
def _(event: LevelFinished) -> str:
    level = event.record
    return (
        f"level {level.level}: {level.parameters} parameters, {level.points} points, {level.steps} steps, "
        f"loss {level.loss:.3g}{_measured(level)}, {level.seconds:.2f} s{level.note and ', '}{level.note}"
    )


@describe_event.register
def _(event: Decision) -> str:
    return event.sentence


@describe_event.register
def _(event: RunFinished) -> str:
    return f"training ended after {event.seconds:.2f} s\n"


def _measured(level: LevelRecord) -> str:
    error = "" if level.error is None else f", error {level.error:.3g}"
    return error + ("" if level.validation_error is None else f", validation error {level.validation_error:.3g}")
