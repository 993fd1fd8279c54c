"""How to train, as it is asked for in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import tyro

from hierax._errors import InputError
from hierax.planning.words import chosen
from hierax.records.outputs import check_output
from hierax.records.placement import Placement


@final
@dataclass(frozen=True)
class Options:
    """How to train; what is not given is chosen by what the problem shows."""

    field: Literal["auto", "grid", "decoded", "kan", "mlp", "tanh", "pou", "tensor"] = "auto"
    """Kind of field: spline grid, the same decoded by a small network, spline network, perceptron, one hidden layer,
    polynomials on overlapping subdomains, low-rank tensor of splines."""
    levels: int | None = None
    """Number of levels."""
    cycle: Literal["auto", "nested", "single", "v", "w", "f", "fmg", "additive"] = "auto"
    """Order of levels: once from coarse to fine, one alone, V-, W-, F- or additive cycles, full multigrid."""
    solver: Literal["auto", "gauss-newton", "variable-projection", "schwarz", "lbfgs", "adam"] = "auto"
    """How one level is trained; schwarz works on overlapping subdomains (--field pou, which it then stands for)."""
    seed: int = 0
    """Seed of points and initial values."""
    budget_seconds: float = 60.0
    """Seconds after which training stops with what it has."""
    run: Path | None = None
    """Run folder, new or empty; runs/<problem>-<number> if not given."""
    json: Path | None = None
    """File for the result as JSON."""
    force: bool = False
    """Let --json overwrite an input or a file of another run."""
    live: bool = False
    """Show a table of the levels with the course of the loss, where the output is a terminal."""
    watch: bool = False
    """Measure spectra, contraction and tangent kernel, at most a twentieth of the seconds, for the report."""
    tensorboard: Path | None = None
    """Folder for scalars that TensorBoard shows (an extra: pip install 'hierax[tensorboard]')."""
    where: tyro.conf.OmitArgPrefixes[Placement] = Placement()

    def check(self, inputs: Sequence[Path]) -> None:
        """Refuse values out of range and a JSON that could not be written, before any work."""
        if self.levels is not None and self.levels < 1:
            raise InputError(f"{self.levels} levels are asked for.", "--levels", "Give a number from 1 on.")
        check_budget(self.budget_seconds)
        if self.json is not None:
            check_output(self.json, inputs, self.force)

    def overrides(self) -> dict[str, Any]:
        """The words as objects, as arguments of `train`."""
        words = chosen(self.field, self.solver, self.cycle)
        return {**words, "levels": self.levels, "key": self.seed, "budget": self.budget_seconds}


def check_budget(seconds: float | None) -> None:
    """Refuse a budget that is no positive number."""
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"The budget is {seconds} s.", "--budget-seconds", "Give a positive number of seconds.")
