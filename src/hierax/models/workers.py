"""Processes that solve members: they take the next one as they become free, and one that dies is replaced."""

from __future__ import annotations

import signal
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, final

import jax
import numpy as np

from hierax._errors import InputError

TRIES = 2
"""Processes that may end while they are at a member, before it counts as failed."""


class One(NamedTuple):
    """One member on a level: its values, what it costs, and why it failed if it did."""

    value: np.ndarray | None
    seconds: float
    reason: str | None = None


class _Worker(NamedTuple):
    process: BaseProcess
    pipe: Any


@final
class Workers:
    """Processes that wait for members until this object is gone.

    Parameters
    ----------
    load:
        Gives, in a process of its own, what has `run(inputs, level) -> One`.
    count:
        How many there are.
    """

    def __init__(self, load: Callable[[], Any], count: int) -> None:
        self.load, self.count = load, count
        self._idle: list[_Worker] = []
        self._lost = 0
        weakref.finalize(self, _end, self._idle)

    def each(self, inputs: np.ndarray, level: int) -> Iterator[tuple[int, One]]:
        """Numbers of members and what they are, as they come.

        Raises
        ------
        InputError
            Where processes end one after the other, and none of them has given an answer.
        """
        waiting, busy, died = deque(range(len(inputs))), dict[Any, tuple[_Worker, int]](), Counter[int]()
        try:
            while waiting or busy:
                while waiting and len(busy) < self.count:
                    worker = self._idle.pop() if self._idle else self._begun()
                    if _sent(worker, (inputs[waiting[0]], level)):
                        busy[worker.pipe] = worker, waiting.popleft()
                for pipe in wait(list(busy)):
                    worker, number = busy.pop(pipe)
                    one = self._answer(worker)
                    died[number] += one is None
                    if one is None and died[number] < TRIES:
                        waiting.append(number)
                    else:
                        yield number, one or One(None, 0.0, f"its process ended with {worker.process.exitcode}")
        finally:
            _end([worker for worker, _ in busy.values()])

    def _begun(self) -> _Worker:
        context = get_context("spawn")
        own, other = context.Pipe()
        process = context.Process(
            target=_serve, args=(other, self.load, jax.config.read("jax_enable_x64")), daemon=True
        )
        process.start()
        # with this end closed, the other one tells when the process is gone
        other.close()
        return _Worker(process, own)

    def _answer(self, worker: _Worker) -> One | None:
        """What a process has found, `None` where it is gone."""
        try:
            one = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._lost += 1
            if self._lost > TRIES * self.count:
                raise InputError(
                    f"Processes end, the last one with {worker.process.exitcode}, and give no answer.",
                    "processes=...",
                    'In a script begin with: if __name__ == "__main__".',
                ) from None
            return None
        self._lost = 0
        self._idle.append(worker)
        return one


def _sent(worker: _Worker, task: Any) -> bool:
    """Whether a process is there and gets its task."""
    try:
        worker.pipe.send(task)
    except OSError:
        return False
    return True


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.kill()


def _serve(pipe: Any, load: Callable[[], Any], x64: bool) -> None:
    """Run members until the other end is closed; an interruption is a matter of the process that began this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jax.config.update("jax_enable_x64", x64)
    try:
        run = load().run
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"

        def run(inputs: np.ndarray, level: int) -> One:
            return One(None, 0.0, reason)

    while True:
        try:
            pipe.send(run(*pipe.recv()))
        except (EOFError, OSError):
            return
