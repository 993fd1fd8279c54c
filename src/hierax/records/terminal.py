"""What happens to a command from outside: signals that end it, and an output whose reader has gone."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO, final

ENDING = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[list[str]]:
    """Let SIGTERM and SIGHUP interrupt as Ctrl-C does, and a second signal end the process at once.

    Yields the names of the signals that came. Signals that are ignored (`nohup`) stay so.
    """
    came: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before: dict[int, Any] = {n: h for n in ENDING if (h := signal.getsignal(n)) not in (signal.SIG_IGN, None)}

    def interrupt(number: int, frame: Any) -> None:
        del frame
        came.append(signal.Signals(number).name)
        for own in before:
            signal.signal(own, signal.SIG_DFL)
        raise KeyboardInterrupt

    try:
        for number in before:
            signal.signal(number, interrupt)
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@final
class Output:
    """A stream of text that does not mind when nobody reads it any more: a pipe to `head`, a closed terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.lost = stream, False

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        if not self.lost:
            try:
                return self._stream.write(text)
            except OSError:
                self._lose()
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        if not self.lost:
            try:
                self._stream.flush()
            except OSError:
                self._lose()

    def _lose(self) -> None:
        self.lost = True
        with contextlib.suppress(OSError, ValueError):
            # what is left in the buffer must not be flushed to it at the end of the process
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def steady_output() -> Iterator[Output]:
    """Standard output and error that go on when their reader has gone; yields the former."""
    kept = sys.stdout, sys.stderr
    out, err = Output(kept[0]), Output(kept[1])
    sys.stdout, sys.stderr = out, err  # pyright: ignore
    try:
        yield out
    finally:
        out.flush()
        sys.stdout, sys.stderr = kept
