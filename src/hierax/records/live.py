"""What a terminal shows of a training while it runs: one line, or a table of the levels with the course of the loss."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from typing import final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hierax.events import Event, Guard, LevelFinished, LevelRecord, LevelStarted, RunFinished, StepTaken

BLOCKS, PLAIN = "▁▂▃▄▅▆▇█", ".:-=+*%#"
WIDTH, ROWS = 40, 12


class AbstractDisplay(abc.ABC):
    """What is shown at the foot of a terminal; it sees every event."""

    @abc.abstractmethod
    def see(self, event: Event) -> RenderableType:
        """Note an event; returns what is to be shown from now on."""

    @abc.abstractmethod
    def shows(self, event: Event) -> bool:
        """Whether an event is told here already, so that it needs no line that stays."""


@final
class CurrentStep(AbstractDisplay):
    """One line: the level, the step, its loss."""

    def __init__(self) -> None:
        self._level, self._line = "", ""

    def see(self, event: Event) -> Text:
        if isinstance(event, LevelStarted):
            self._level = self._line = f"level {event.level}: {event.parameters} parameters, {event.points} points"
        elif isinstance(event, StepTaken):
            self._line = f"{self._level}, step {event.step}, loss {event.loss:.3g}, {event.seconds:.1f} s"
        return Text(self._line)

    def shows(self, event: Event) -> bool:
        del event
        return False


@final
class LevelBoard(AbstractDisplay):
    """A table with a row for each level, its loss step by step as a small curve, and the guards when they are known.

    Parameters
    ----------
    blocks:
        Eight characters from low to high for the curve, `PLAIN` for terminals that show letters only.
    """

    def __init__(self, blocks: str = BLOCKS) -> None:
        self._blocks = blocks
        self._finished: dict[int, LevelRecord] = {}
        self._losses: dict[int, list[float]] = {}
        self._now: LevelStarted | None = None
        self._seconds = 0.0
        self._guards: Mapping[str, Guard] = {}

    def see(self, event: Event) -> RenderableType:
        if isinstance(event, LevelStarted):
            self._now = event
            self._losses[event.level] = []
        elif isinstance(event, StepTaken):
            self._losses.setdefault(event.level, []).append(event.loss)
            self._seconds = event.seconds
        elif isinstance(event, LevelFinished):
            self._finished[event.record.level], self._now = event.record, None
        elif isinstance(event, RunFinished):
            self._guards, self._seconds = event.guards, event.seconds
        return self._board()

    def shows(self, event: Event) -> bool:
        return isinstance(event, LevelFinished)

    def _board(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for head in ("level", "parameters", "steps", "loss", "error", "seconds"):
            table.add_column(head, justify="right")
        table.add_column("loss, step by step")
        running = [] if self._now is None else [self._now.level]
        for level in sorted({*self._finished, *running})[-ROWS:]:
            table.add_row(*self._row(level), style="bold" if level in running else "")
        guards = [Text(f"{'pass' if g.passed else 'FAIL'}  {name}", "" if g.passed else "bold red")
                  for name, g in self._guards.items()]  # fmt: skip
        return Group(table, *guards, Text(f"{self._seconds:.1f} s", "dim"))

    def _row(self, level: int) -> Sequence[str]:
        losses = self._losses.get(level, [])
        curve = sparkline(losses, self._blocks)
        if self._now is not None and self._now.level == level:
            loss = f"{losses[-1]:.3g}" if losses else ""
            return str(level), str(self._now.parameters), str(len(losses)), loss, "", "", curve
        record = self._finished[level]
        error = record.validation_error if record.error is None else record.error
        shown = "" if error is None else f"{error:.3g}"
        loss, seconds = f"{record.loss:.3g}", f"{record.seconds:.2f}"
        return str(level), str(record.parameters), str(record.steps), loss, shown, seconds, curve


def sparkline(values: Sequence[float], blocks: str = BLOCKS, width: int = WIDTH) -> str:
    """A curve of the last values in one line of text, by their logarithms; a gap for what has none."""
    kept = values[-width:]
    logs = [math.log10(value) if value > 0 and math.isfinite(value) else None for value in kept]
    known = [value for value in logs if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    top = len(blocks) - 1
    return "".join(
        " " if value is None else blocks[round(top * (value - low) / (high - low)) if high > low else 0]
        for value in logs
    )
