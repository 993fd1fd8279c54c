"""The course of a learning of several parts: what each has come to, so that one that is killed goes on from there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, final

from hierax import clock
from hierax.events import Decision, Subscriber
from hierax.events import LearningReached as Reached


class CourseState(NamedTuple):
    """What a learning has come to.

    Attributes
    ----------
    seconds:
        That were spent until then.
    began:
        Seconds after which its parts began.
    parts:
        What they have come to.
    """

    seconds: float
    began: dict[str, float]
    parts: dict[str, Any]


@final
class Course:
    """The parts of a learning by name, and its seconds, also of what was learned before it was cut off.

    Parameters
    ----------
    subscribers:
        Get decisions, and what was reached.
    kept:
        What the learning had come to, where this one goes on with it.
    """

    def __init__(self, subscribers: Iterable[Subscriber] = (), kept: CourseState | None = None) -> None:
        self.subscribers = tuple(subscribers)
        spent, began, parts = kept or CourseState(0.0, {}, {})
        self.origin = clock.seconds_now() - spent
        self._began, self._parts = dict(began), dict(parts)

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return clock.seconds_now() - self.origin

    def start(self, part: str) -> float:
        """After how many seconds a part began: now, unless it has begun before."""
        return self._began.setdefault(part, self.seconds)

    def reached(self, part: str) -> Any:
        """What a part has come to; `None` where that is nothing yet."""
        return self._parts.get(part)

    def keep(self, part: str, state: Any) -> None:
        """Note what a part has come to, and tell it."""
        self._parts[part] = state
        told = Reached(CourseState(self.seconds, dict(self._began), dict(self._parts)))
        for subscriber in self.subscribers:
            subscriber(told)

    def say(self, sentence: str) -> None:
        """Tell what is decided."""
        for subscriber in self.subscribers:
            subscriber(Decision(sentence))
