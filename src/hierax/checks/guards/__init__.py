"""Is it the right solution? Checks after training, on points that training did not use; one file a guard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hierax._results import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards.admissible import Admissible
from hierax.checks.guards.base import AbstractGuard
from hierax.checks.guards.between import Between
from hierax.checks.guards.boundary import Boundary
from hierax.checks.guards.coverage import Coverage
from hierax.checks.guards.data import DataMisfit
from hierax.checks.guards.determined import Determined
from hierax.checks.guards.equation import Equation
from hierax.checks.guards.everywhere import Everywhere
from hierax.checks.guards.explained import Explained
from hierax.checks.guards.fresh_residual import FreshResidual
from hierax.checks.guards.gaps import Gaps
from hierax.checks.guards.levels import Levels
from hierax.checks.guards.outliers import Outliers
from hierax.checks.guards.regularity import Regularity
from hierax.checks.guards.resolution import Resolution
from hierax.checks.guards.stationary import Stationary
from hierax.checks.guards.validation import Validation
from hierax.events import Guard

GUARDS: tuple[AbstractGuard, ...] = (
    Admissible(),
    Coverage(),
    FreshResidual(),
    Boundary(),
    Stationary(),
    Levels(),
    Resolution(),
    Gaps(),
    DataMisfit(),
    Outliers(),
    Equation(),
    Determined(),
    Regularity(),
    Validation(),
    Explained(),
    Between(),
    Everywhere(),
)
"""All guards, with their limits; of several that fail the first gives the result."""


def check(evidence: Evidence, guards: Sequence[AbstractGuard] = GUARDS) -> dict[str, Guard]:
    """The judgements of all guards whose question arises, by name."""
    return {name: judgement for guard in guards for name, judgement in guard.judge_each(evidence).items()}


def verdict(judgements: Mapping[str, Guard], guards: Sequence[AbstractGuard] = GUARDS) -> RESULTS:
    """`successful`, the result that belongs to the first guard that failed, or `unchecked` where there is none."""
    if not judgements:
        return RESULTS.unchecked
    failed = {name.partition(":")[0] for name, judgement in judgements.items() if not judgement.passed}
    return next((guard.result for guard in guards if guard.name in failed), RESULTS.successful)
