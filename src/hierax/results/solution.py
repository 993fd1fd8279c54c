"""What comes out of a training: the field, and the evidence for it as a table, a JSON, values and a figure."""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from hierax._notebook import preformatted
from hierax._results import RESULTS
from hierax.checks.diagnosis import Course, Diagnosis, diagnose
from hierax.events import Guard, LevelRecord, StepTaken
from hierax.fields.base import partition
from hierax.objective.build import is_equation
from hierax.objective.noise import neighbour_correlation, relative_noise
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.results.archive import packed, save, unpack
from hierax.results.codec import Codec
from hierax.results.evaluation import evaluate
from hierax.results.intervals import Interval


@final
@dataclass(frozen=True, eq=False)
class Accuracy:
    """Errors against a reference on points that training did not see; `None` where there is none.

    `relative_l2` and `max_error` are never reported below `floor`, the stated error of the reference. Of data there are
    `validation_error`, at those kept back, and `left_out`, at all of them, each predicted by a fit without it.
    """

    relative_l2: float | None = None
    max_error: float | None = None
    floor: float | None = None
    validation_error: float | None = None
    left_out: float | None = None


@final
@dataclass(frozen=True)
class Candidate:
    """A kind of field that was tried for an output of a table: its relative error at rows that it had not seen."""

    output: str
    field: str
    error: float
    seconds: float
    chosen: bool


@final
@dataclass(frozen=True, eq=False, repr=False)
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
    second_order:
        Whether the solver uses curvature.
    linear_problem:
        Whether all residuals are affine in the unknowns.
    changes:
        Relative changes of the solution from level to level, coarsest first.
    unknowns:
        The constants that were found, with intervals where noisy data determine them.
    candidates:
        The kinds of fields that were tried for the outputs of a table.
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
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    second_order: bool = True
    linear_problem: bool = False
    changes: Sequence[float] = ()
    unknowns: Mapping[str, Interval] = dataclasses.field(default_factory=dict)
    candidates: Sequence[Candidate] = ()

    def diagnose(self) -> Diagnosis | None:
        """What limits this training, with evidence in words; `None` after a numerical failure or without a step."""
        if self.result.exit_code == 2:
            return None
        measured = [level.error if level.validation_error is None else level.validation_error for level in self.levels]
        errors = [error for error in measured if error is not None]
        seen = Course(
            step_levels=[step.level for step in self.history],
            step_losses=[step.loss for step in self.history],
            step_decreases=[step.decrease for step in self.history],
            level_losses=[level.loss for level in self.levels],
            level_errors=errors if len(errors) == len(self.levels) else [],
            validation_error=self.accuracy.validation_error,
            noise=relative_noise([term for term in self.problem.terms if isinstance(term, Data)]),
            epsilon=max(
                (float(jnp.finfo(leaf).eps) for leaf in jax.tree.leaves(partition(self.field)[0])), default=0.0
            ),
            linear=self.linear_in_parameters and self.linear_problem,
            second_order=self.second_order,
            stopped_by=self.stopped_by,
            level_changes=self.changes,
            alike=self._alike(),
        )
        return diagnose(seen)

    def _alike(self) -> float | None:
        """How alike misfits of neighbours are, for the data missed most, where equations hold as well; else `None`."""
        data = [term for term in self.problem.terms if isinstance(term, Data)]
        if not data or not any(is_equation(term, self.problem) for term in self.problem.terms):
            return None
        found = []
        for term in data:
            own = self.evaluate(term.points, self.problem.data_unknown(term)).reshape(len(term.points), -1)
            misfit = own - term.values.reshape(own.shape)
            size = float(np.sqrt(np.mean(misfit**2))) / max(float(np.std(term.values)), 1e-300)
            found.append((size, neighbour_correlation(term.points, misfit)))
        return max(found)[1]

    def evaluate(self, points: ArrayLike, value: str | None = None) -> Float[np.ndarray, "n *m"]:
        """Values or derivatives of an unknown, after bounds and constraint.

        Parameters
        ----------
        points:
            Array `(n, dim)` inside the domain, coordinates in its order.
        value:
            `u`, `u_x`, `u_xxt`, `kappa`, `nu`; components of a vector are `u[0]`, `u[0]_x`, and `u` is all of them.
            Without it the first unknown.

        Returns
        -------
        Shape `(n,)`, or `(n, m)` for all components of a vector.

        Raises
        ------
        InputError
            For a name that cannot be read, or points that are not finite or outside of the domain.
        """
        return evaluate(self.problem, self.field, points, value or next(iter(self.problem.unknowns)))

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw the unknowns, their error where it is known, and the convergence; the suffix chooses the format."""
        # Imported here: matplotlib takes longer to import than many a training takes to run.
        from hierax.results.figures import draw

        draw(self.problem, self.field, self.levels, self.history, path)

    def report(self, path: str | PathLike[str]) -> None:
        """Write one HTML page about this training, which needs no network: evidence, figures, settings, citations.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        # Imported here for the same reason as the figures, which it holds.
        from hierax.results.report import Account, environment, write_page

        account = Account(
            self.to_json(), self.levels, self.history, problem=self.problem, trained=self.field,
            diagnosis=str(self.diagnose() or ""), environment=environment(),
        )  # fmt: skip
        write_page(account, Path(path))

    def save(self, path: str | PathLike[str]) -> None:
        """Keep this solution in a file, an NPZ, from which `hierax.load` reads it.

        The field, the evidence, and domain, unknowns and data of the problem are kept; its equations, which are code,
        and its reference are not.

        Raises
        ------
        InputError
            For a field of a class that cannot be kept, and a place that cannot be written.
        """
        save(self, Path(path))

    def __reduce__(self) -> tuple[Any, ...]:
        # functions, those of a problem among them, cannot be pickled; what a file keeps of a solution is
        return _unpickled, packed(self)

    def _repr_html_(self) -> str:
        return preformatted(str(self), f"{self.problem.name}: {self.result.name}")

    def __str__(self) -> str:
        return "\n".join([*self._head(), "", *level_table(self.levels), "", *self._foot()])

    __repr__ = __str__

    def _head(self) -> list[str]:
        says_so = "linear" in self.field_kind
        label = " (linear in its parameters)" if self.linear_in_parameters and not says_so else ""
        return [
            f"{self.problem.name}: {self.field_kind}{label}, {self.parameters} parameters, "
            f"solver {self.solver}, cycle {self.cycle}, seed {self.seed}"
        ]

    def _foot(self) -> list[str]:
        lines = [f"loss {_number(self.loss)}"]
        known = self.accuracy
        if known.relative_l2 is not None:
            floor = "" if known.floor is None else f" (floor {_number(known.floor)})"
            worst = "" if known.max_error is None else f", largest {_number(known.max_error)}"
            lines[0] += f", relative L2 error {_number(known.relative_l2)}{floor}{worst}"
        if known.validation_error is not None:
            lines[0] += f", validation error {_number(known.validation_error)}"
        if known.left_out is not None:
            lines[0] += f", error at rows left out {_number(known.left_out)}"
        lines += [f"{name} = {found}" for name, found in self.unknowns.items()]
        lines += candidate_table(self.candidates)
        lines.append(f"{self.seconds_total:.2f} s, of which compilation {self.seconds_compile:.2f} s")
        for name, guard in self.guards.items():
            lines.append(f"{'pass' if guard.passed else 'FAIL'}  {name}: {guard.sentence}")
        limited = self.diagnose()
        if limited is not None:
            lines.append(textwrap.fill(str(limited), 110))
        # Only success is one short sentence; the others give causes and remedies over several lines.
        text = textwrap.fill(f"{self.result.name} (stopped by: {self.stopped_by}): {self.result.value}", 110)
        return [*lines, text]

    def to_json(self, *, run: str | None = None, seconds_import: float | None = None) -> dict[str, Any]:
        """The record of this training for other programs; NaN and infinity become null.

        Parameters
        ----------
        run:
            The run folder, where there is one.
        seconds_import:
            What importing took, where it was measured.
        """
        record = {
            "problem": self.problem.name,
            "field": self.field_kind,
            "solver": self.solver,
            "cycle": self.cycle,
            "seed": self.seed,
            "precision": _precision(self.field),
            "device": _device(),
            "options": self.options,
            "plan": self.plan,
            "parameters": self.parameters,
            "linear_in_parameters": self.linear_in_parameters,
            "levels": [_level(level) for level in self.levels],
            "loss": self.loss,
            "relative_l2": self.accuracy.relative_l2,
            "max_error": self.accuracy.max_error,
            "reference_floor": self.accuracy.floor,
            "validation_error": self.accuracy.validation_error,
            "left_out_error": self.accuracy.left_out,
            "candidates": [dataclasses.asdict(candidate) for candidate in self.candidates],
            "result": self.result.name,
            "stopped_by": self.stopped_by,
            "unknowns": {name: found._asdict() for name, found in self.unknowns.items()},
            "guards": {name: dataclasses.asdict(guard) for name, guard in self.guards.items()},
            "fresh_residual_ratio": self.fresh_residual_ratio,
            "seconds_total": self.seconds_total,
            "seconds_compile": self.seconds_compile,
            "seconds_import": seconds_import,
            "peak_memory_mib": peak_memory_mib(),
            "work_units": self.work_units,
            "run": run,
        }
        return plain(record)


def _unpickled(content: bytes, classes: tuple[type, ...]) -> Solution:
    return unpack(content, "a pickle", Codec(classes))


def level_table(levels: Sequence[LevelRecord]) -> list[str]:
    """One line a level under a line of headings; the error column is what was measured, error or validation error."""
    validated = all(level.error is None for level in levels) and any(level.validation_error for level in levels)
    rows = [["level", "parameters", "points", "steps", "loss", "validation" if validated else "error", "seconds"]]
    for level in levels:
        error = level.validation_error if validated else level.error
        counts = [str(level.level), str(level.parameters), str(level.points), str(level.steps)]
        rows.append([*counts, _number(level.loss), _number(error), f"{level.seconds:.2f}"])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    notes = ["", *(level.note for level in levels)]
    aligned = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [f"{line}  {note}".rstrip() for line, note in zip(aligned, notes, strict=True)]


def candidate_table(candidates: Sequence[Candidate]) -> list[str]:
    """One line a candidate; those that were chosen are marked."""
    return [
        f"{'*' if one.chosen else ' '} {one.output}: {one.field}, error at rows not seen {_number(one.error)}, "
        f"{one.seconds:.1f} s"
        for one in candidates
    ]


def plain(value: Any) -> Any:
    """The value as JSON knows it: NumPy and JAX numbers and arrays as Python's, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | jax.Array | np.generic):
        return plain(np.asarray(value).tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def peak_memory_mib() -> float | None:
    """Largest resident memory of this process so far, in MiB; `None` where the system does not tell (Windows)."""
    try:
        resource = importlib.import_module("resource")
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB


def _level(level: LevelRecord) -> dict[str, Any]:
    record: dict[str, Any] = {
        "level": level.level,
        "parameters": level.parameters,
        "points": level.points,
        "steps": level.steps,
        "loss": level.loss,
    }
    if level.error is not None or level.validation_error is None:
        record["error"] = level.error
    if level.validation_error is not None:
        record["validation_error"] = level.validation_error
    return record | {"seconds": level.seconds, "seconds_compile": level.seconds_compile}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _precision(trained: Any) -> str:
    """Precisions of the trained arrays, `float64` as a rule."""
    leaves = jax.tree.leaves(partition(trained)[0])
    return ", ".join(sorted({str(leaf.dtype) for leaf in leaves})) or "none"


def _device() -> str:
    device = jax.devices()[0]
    return device.platform if device.device_kind == device.platform else f"{device.platform} ({device.device_kind})"
