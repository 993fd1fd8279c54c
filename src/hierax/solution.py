"""What comes out of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hierax._results import RESULTS
from hierax.events import Guard, LevelRecord, StepTaken
from hierax.problems.problem import Problem


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Errors against a reference on points that training did not see; `None` where there is none.

    `relative_l2` and `max_error` are never reported below `floor`, the stated error of the reference.
    """

    relative_l2: float | None = None
    max_error: float | None = None
    floor: float | None = None
    validation_error: float | None = None


@dataclass(frozen=True, eq=False)
class Solution:
    """A trained field with the evidence for it.

    Attributes
    ----------
    problem:
        What was solved.
    field:
        The trained field before bounds and constraint; see `hierax.objective.physical`.
    result, stopped_by:
        A `RESULTS` member; one of `converged`, `stalled`, `budget`, `levels`.
    levels:
        One record a level.
    guards:
        Checks on points that training did not use.
    history:
        Every step.
    plan:
        What was going to be done and why, in words.
    solver, cycle, field_kind:
        Names for tables.
    """

    problem: Problem
    field: Any
    result: RESULTS
    stopped_by: str
    levels: Sequence[LevelRecord]
    guards: dict[str, Guard]
    history: Sequence[StepTaken]
    plan: str
    solver: str
    cycle: str
    field_kind: str
    seed: int
    linear_in_parameters: bool
    parameters: int
    loss: float
    accuracy: Accuracy
    fresh_residual_ratio: float | None
    seconds_total: float
    seconds_compile: float
    work_units: float
    options: dict[str, Any] = field(default_factory=dict)
