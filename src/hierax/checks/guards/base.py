"""The one interface of all guards."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import ClassVar

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.events import Guard


class AbstractGuard(abc.ABC):
    """One question about a finished training, answered by a number, a limit and a sentence.

    A guard is a frozen dataclass whose first field is its limit. A new one is a file and an entry in `GUARDS`.

    Attributes
    ----------
    name:
        Its key in the JSON and in tables.
    result:
        How the training ended if this guard fails.
    """

    name: ClassVar[str]
    result: ClassVar[RESULTS]

    @abc.abstractmethod
    def judge(self, evidence: Evidence) -> Guard | None:
        """The judgement; `None` where the question does not arise."""

    def judge_each(self, evidence: Evidence) -> Mapping[str, Guard]:
        """The judgements by name; one under the guard's own name, where the question arises."""
        own = self.judge(evidence)
        return {} if own is None else {self.name: own}
