"""What a training was limited by, with the evidence in words; see `Limit`.

They call for different remedies, and the loss alone does not tell them apart. What does, in this order:

- *balance*: neighbouring data are missed alike, which noise does not do, and refinement leaves it so: equations and
  data contradict each other, or one of them weighs too much;
- *noise*: the error at data that were kept back is that of the data themselves, or finer levels, though trained, raise
  it: the data, by their noise or their number, determine no more;
- *minimum*: refinement no longer changes anything, and equations are missed all the same;
- *precision*: the residual is down to the rounding of its largest parts, or refinement no longer changes anything;
- *tolerance*: refinement still lowers the error, and was ended since what it changes is tiny;
- *optimisation*: the last level was left while its loss could still be lowered;
- *capacity*: the last level is trained, and what is left is what its functions cannot do.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from hierax.checks.limits import SETTLING, UNCHANGED

NOISE_BAND = (0.5, 1.5)
"""Between these multiples of the noise an error at kept data is noise: below, the estimate of the noise is too large
(it counts how the function bends between data), above, there is more to learn."""
ROUNDINGS = 1e3
"""Residuals below this many roundings of the first ones, or of one, are rounding."""
OVERFITTED = 1.2
"""Factor by which a finer level raises the error at kept data before the data are blamed."""
ROUNDING_ERROR = 1e-9
"""Errors below this are rounding's matter, not the data's."""
ALIKE, UNLIKE = 0.5, 0.2
"""Correlation of the misfits of neighbouring data, above which they follow a pattern and are no noise, and below which
they follow none."""
SEEN = 1e-3
"""Errors at kept data below this part of their spread need no explanation by wrong equations."""
HALVED = 0.7
"""A refinement that leaves more than this part of an error has not lowered it."""
NOT_CONFIRMED = "Neither levels nor steps are missing: see what the guards that fail ask for."
STATIONARY = 1e-4
"""A level is trained when its last steps promise, or bring, less than this share of the loss."""
STATIONARY_FIRST_ORDER = 1e-6
"""The same for solvers without curvature, which move little on plateaus that are not minima."""


@final
class Limit(enum.Enum):
    """What limits a training; the value is what to do about it."""

    balance = "Check the equations and the units of the data, and state the noise of the data: it sets their weight."
    noise = "More data, or their noise stated; neither a finer level nor longer training will help."
    minimum = (
        "Training ends at a minimum that is no solution: check that the terms have one and do not contradict each "
        "other, or start elsewhere by initial=."
    )
    precision = "The terms are met as well as the precision allows: a level earlier would have done."
    tolerance = "Nothing has to be done; one more level, if asked for, would lower the error further."
    optimisation = "A second-order solver, coarser levels to start from, or a larger budget; not a larger field."
    capacity = "A finer level, a higher degree or a wider network; not longer training."


@final
@dataclass(frozen=True)
class Course:
    """What the course of a training shows: its steps and its levels.

    Attributes
    ----------
    step_levels, step_losses, step_decreases:
        Of every step: its level, the loss after it, the decrease that is predicted (second order) or was brought (first
        order), relative to the loss; not finite where it is not known.
    level_losses:
        Loss of every level that was trained, coarsest first.
    level_errors:
        Validation errors of the levels, else errors against a reference; empty if neither was measured.
    validation_error:
        Of the returned field, relative to the spread of the data; `None` without data kept back.
    noise:
        Of the data, in the same unit; `None` without data.
    epsilon:
        Spacing of numbers about one in the precision of the parameters.
    linear, second_order:
        Whether levels are linear systems, field and terms both; whether solvers use curvature.
    stopped_by:
        `converged`, `stalled`, `budget`, `levels`.
    level_changes:
        Relative changes of the solution from level to level, coarsest first; empty where they were not measured.
    alike:
        Correlation of the misfits of neighbouring data, where equations hold as well; `None` where it is not known.
    missed, failed:
        Whether a check of the equations fails; whether any does.
    """

    step_levels: Sequence[int]
    step_losses: Sequence[float]
    step_decreases: Sequence[float]
    level_losses: Sequence[float]
    level_errors: Sequence[float]
    validation_error: float | None = None
    noise: float | None = None
    epsilon: float = 2.2e-16
    linear: bool = False
    second_order: bool = True
    stopped_by: str = "levels"
    level_changes: Sequence[float] = ()
    alike: float | None = None
    missed: bool = False
    failed: bool = False


@final
@dataclass(frozen=True)
class Diagnosis:
    """The limit, sentences of evidence for it, and what to do about it."""

    limit: Limit
    evidence: tuple[str, ...]
    remedy: str

    def __str__(self) -> str:
        return f"limited by {self.limit.name}: {' '.join(self.evidence)} {self.remedy}"


def diagnose(seen: Course) -> Diagnosis | None:
    """What limits a run; `None` where it shows too little.

    That is without any step, with losses that are not finite, with energies, whose zero says nothing, and when the
    first loss is zero already: then the terms ask for nothing, and that they are met is no merit of the answer.
    """
    if not seen.step_losses or not seen.level_losses or not np.all(np.isfinite(seen.level_losses)):
        return None
    if seen.step_losses[0] <= 0.0 or min(seen.level_losses) < 0.0:
        return None
    for limit, judge in (
        (Limit.balance, _balance),
        (Limit.noise, _noise),
        (Limit.minimum, _minimum),
        (Limit.precision, _precision),
        (Limit.tolerance, _tolerance),
        (Limit.optimisation, _optimisation),
        (Limit.capacity, _capacity),
    ):
        evidence = judge(seen)
        if evidence:
            done = seen.failed and limit in (Limit.precision, Limit.tolerance)
            return Diagnosis(limit, tuple(evidence), NOT_CONFIRMED if done else limit.value)
    return None


def _balance(seen: Course) -> list[str]:
    if seen.alike is None or seen.alike < ALIKE or seen.validation_error is None or seen.validation_error < SEEN:
        return []
    if len(seen.level_errors) >= 2 and not _stays(seen.level_errors):
        return []
    left = f", and the last refinement left their error at {seen.level_errors[-1]:.2g}" if seen.level_errors else ""
    return [f"Neighbouring data are missed alike (correlation {seen.alike:.2g}), as noise would not{left}."]


def _stays(numbers: Sequence[float]) -> bool:
    """Whether the last of some errors is not much smaller than the best one before."""
    return numbers[-1] > HALVED * min(numbers[:-1])


def _noise(seen: Course) -> list[str]:
    if seen.noise is None or seen.validation_error is None or seen.noise < 100 * seen.epsilon:
        return []
    return _at_noise(seen) or _overfitted(seen)


def _overfitted(seen: Course) -> list[str]:
    errors, losses = np.array(seen.level_errors), seen.level_losses
    if len(errors) < 2 or errors.min() < ROUNDING_ERROR or errors[-1] < OVERFITTED * errors.min():
        return []
    best = int(np.argmin(errors))
    if not seen.linear and losses[-1] > losses[best]:
        return []  # the finer level is not trained, whatever the data say
    return [
        f"Finer levels raised the error at data kept back from {errors[best]:.2g} to {errors[-1]:.2g}: by their noise "
        "or their number the data determine no more."
    ]


def _at_noise(seen: Course) -> list[str]:
    assert seen.noise is not None
    assert seen.validation_error is not None
    ratio = seen.validation_error / seen.noise
    text = [f"The error at data kept back is {ratio:.2g} times the noise that neighbouring data show."]
    if ratio < NOISE_BAND[0] and seen.alike is not None and abs(seen.alike) < UNLIKE and len(seen.level_errors) >= 3:
        text = [f"Neighbouring data are missed in no common way (correlation {seen.alike:.2g}), as noise does."]
    elif not NOISE_BAND[0] <= ratio <= NOISE_BAND[1]:
        return []
    if len(seen.level_errors) >= 2:
        change = seen.level_errors[-1] / max(min(seen.level_errors[:-1]), 1e-300)
        if not _stays(seen.level_errors):
            return []
        text.append(f"The last refinement left it at {change:.2g} times what it was.")
    return text


def _minimum(seen: Course) -> list[str]:
    if not seen.missed or not seen.level_changes or seen.level_changes[-1] > UNCHANGED:
        return []
    left = float(np.sqrt(seen.level_losses[-1] / seen.step_losses[0]))
    return [
        f"The last refinement changed the solution by {seen.level_changes[-1]:.1g} of its size, and left {left:.2g} of "
        "the first residual."
    ]


def _precision(seen: Course) -> list[str]:
    # terms are of size one; a linear level is solved by its first step, after which there is nothing to compare with
    share = float(np.sqrt(max(seen.level_losses[-1], 0.0) / max(seen.step_losses[0], 1.0)))
    if share < ROUNDINGS * seen.epsilon:
        return [f"The residual fell to {share:.1g} of its size, with numbers that are {seen.epsilon:.1g} apart."]
    errors, changes = seen.level_errors, seen.level_changes
    if changes and changes[-1] < ROUNDINGS * seen.epsilon:
        return [f"The last refinement changed the solution by {changes[-1]:.1g} of its size, which is rounding."]
    if len(errors) >= 2 and not _stays(errors):
        return []  # whatever else there is to see, refinement still pays
    if len(changes) >= 2 and changes[-1] < UNCHANGED and changes[-1] > SETTLING * changes[-2]:
        text = f"The last refinements changed the solution by {changes[-2]:.1g} and {changes[-1]:.1g} of its size"
        stays = [f"The error stays at {errors[-1]:.1g}."] if len(errors) >= 2 else []
        return [f"{text}: tiny, and no longer falling.", *stays]
    if len(errors) >= 3 and errors[-1] < 1e-8:
        return [f"The error of the last levels no longer falls: {errors[-2]:.1g}, then {errors[-1]:.1g}."]
    return []


def _tolerance(seen: Course) -> list[str]:
    if seen.stopped_by != "converged" or not seen.level_changes or seen.level_changes[-1] > UNCHANGED:
        return []
    return [
        f"Training ended since the last refinement changed the solution by {seen.level_changes[-1]:.1g} of its size."
    ]


def _optimisation(seen: Course) -> list[str]:
    promised = _promised(seen)
    limit = STATIONARY if seen.second_order else STATIONARY_FIRST_ORDER
    if promised is None or promised < limit:
        return []
    kind = "promise to lower" if seen.second_order else "still lowered"
    own = sum(level == seen.step_levels[-1] for level in seen.step_levels)
    return [f"The last of {own} steps on the last level {kind} the loss by {promised:.1g} of itself each."]


def _capacity(seen: Course) -> list[str]:
    promised = _promised(seen)
    if promised is None:
        return []  # nothing shows whether it is trained
    text = ["The last level is trained: it is linear and was solved."]
    if not (seen.linear and promised == 0.0):
        text = [f"The last level is trained: another step would lower its loss by {promised:.1g} of itself."]
    if len(seen.level_losses) >= 2:
        gain = np.sqrt(seen.level_losses[-2] / max(seen.level_losses[-1], 1e-300))
        text.append(f"The last refinement divided the residual by {gain:.2g}.")
    return text


def _promised(seen: Course) -> float | None:
    """Relative decrease a step at the end of the last level; `None` where it is not known."""
    if seen.linear and sum(level == seen.step_levels[-1] for level in seen.step_levels) == 1:
        return 0.0  # linear systems are solved in one step
    own = [d for d, level in zip(seen.step_decreases, seen.step_levels, strict=True) if level == seen.step_levels[-1]]
    last = np.array(own[-1:] if seen.second_order else own[-5:], dtype=float)
    last = last[np.isfinite(last)]
    return float(np.median(np.abs(last))) if last.size else (0.0 if seen.linear else None)
