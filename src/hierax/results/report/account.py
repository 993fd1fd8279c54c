"""What a report tells about: the record of a training, and what of it can still be evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from hierax.events import LevelRecord, StepTaken
from hierax.problems.problem import Problem


@final
@dataclass(frozen=True, eq=False)
class Account:
    """A training, as far as it is known.

    Attributes
    ----------
    record:
        The JSON of the training, see `Solution.to_json`; of a run that did not end what its events tell.
    levels, history, decisions:
        One record a level, every step, and what was decided on the way, in words.
    problem, trained:
        What was solved and the trained field; `None` where they cannot be had.
    data:
        Whether the problem holds the measurements that were fitted.
    measures:
        What was measured while training ran, arrays by the names of `measures.npz`; empty arrays where nothing was.
    diagnosis:
        What limited the training, with its evidence and a remedy, in words; empty where that is not known.
    environment:
        Versions, device and machine, by name.
    command:
        The command that started it; empty for scripts.
    started:
        Date and time; empty where not known.
    code:
        The source text of the problem; empty where it is not known.
    notes:
        What the report leaves out, and why.
    """

    record: Mapping[str, Any]
    levels: Sequence[LevelRecord]
    history: Sequence[StepTaken]
    decisions: Sequence[str] = ()
    problem: Problem | None = None
    trained: Any = None
    data: bool = True
    measures: Mapping[str, np.ndarray] = field(default_factory=dict)
    diagnosis: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    started: str = ""
    code: str = ""
    notes: Sequence[str] = ()

    @property
    def measured(self) -> list[str]:
        """Kinds of measures that there are: the first parts of the names of arrays that are not empty."""
        sizes = {name: np.size(array) for name, array in self.measures.items() if np.ndim(array) > 0}
        return sorted({name.partition("_")[0] for name, size in sizes.items() if size})

    @property
    def plan(self) -> list[str]:
        """The plan, one sentence an item."""
        return [line for line in str(self.record.get("plan") or "").splitlines() if line.strip()]

    def number(self, key: str) -> float | None:
        """A number of the record; `None` where it is missing or was not finite."""
        value = self.record.get(key)
        return float(value) if isinstance(value, int | float) else None

    def text(self, key: str) -> str:
        """A text of the record, empty where it is missing."""
        value = self.record.get(key)
        return "" if value is None else str(value)
