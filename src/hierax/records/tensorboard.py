"""Scalars of a training for TensorBoard, as an extra: `pip install hierax[tensorboard]`."""

from __future__ import annotations

import importlib
import math
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, final

from hierax._errors import InputError
from hierax.events import Event, LevelFinished, RunFinished, StepTaken


@final
class TensorBoard:
    """A subscriber of `train` that writes scalars for TensorBoard; `tensorboard --logdir FOLDER` shows them.

    Losses are written against the number of the step since the start, with the level beside them; errors, parameters
    and seconds against the level; guards at the end.

    Parameters
    ----------
    folder:
        Where the files go; it is made if it is not there.

    Raises
    ------
    InputError
        If the extra is not installed, or the folder cannot be made.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        try:
            summary = importlib.import_module("tensorboard.summary")
        except ImportError as error:
            raise InputError(
                "TensorBoard is not installed.", "TensorBoard(folder)", "Install it: pip install 'hierax[tensorboard]'."
            ) from error
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"The folder cannot be made: {error.strerror}.", str(folder), "Give a folder that is writable."
            ) from error
        self._writer: Any = summary.Writer(str(folder))
        self._steps = 0

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self.close()

    def __call__(self, event: Event) -> None:
        """Write what an event holds; after the last one the files are complete."""
        if isinstance(event, StepTaken):
            self._steps += 1
            self._write("step", self._steps, loss=event.loss, level=event.level, linear_iterations=event.iterations)
        elif isinstance(event, LevelFinished):
            level = event.record
            known = {"loss": level.loss, "parameters": level.parameters, "seconds": level.seconds, "steps": level.steps}
            errors = {"error": level.error, "validation_error": level.validation_error}
            self._write("level", level.level, **known, **errors)
        elif isinstance(event, RunFinished):
            self._write("guard", self._steps, **{name: guard.value for name, guard in event.guards.items()})
            self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        self._writer.close()

    def _write(self, group: str, at: int, **values: float | None) -> None:
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                self._writer.add_scalar(f"{group}/{name}", float(value), at)
