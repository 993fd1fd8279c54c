"""What comes out of a training: the field, and the evidence for it as a table, a JSON, values and a figure."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax import clock
from hierax._notebook import preformatted
from hierax._results import RESULTS
from hierax.checks.diagnosis import Course, Diagnosis, diagnose
from hierax.events import Guard, LevelRecord, StepTaken
from hierax.fields.base import partition
from hierax.objective.build import is_equation
from hierax.objective.noise import neighbour_correlation, relative_noise
from hierax.problems.learned import Learned
from hierax.problems.problem import Problem
from hierax.problems.terms import AbstractValues, Data
from hierax.problems.watched import SeenInputs
from hierax.results.archive import packed, save, unpack
from hierax.results.codec import Codec
from hierax.results.environment import environment
from hierax.results.evaluation import Points, box_of, evaluate, function
from hierax.results.intervals import Interval
from hierax.results.record import device, level_record, plain, precision
from hierax.results.words import candidate_table, level_table, number

if TYPE_CHECKING:
    from hierax.results.figures import Drawing


@final
@dataclass(frozen=True, eq=False)
class Accuracy:
    """Errors against a reference on points that training did not see; `None` where there is none.

    `relative_l2` and `max_error` are never reported below `floor`, the stated error of the reference. Of data there are
    `validation_error`, at those kept back, and `left_out`, at all of them, each predicted by a fit without it; of a
    table also `over_box`, what is to be expected at points of its box that are not far from all rows.
    """

    relative_l2: float | None = None
    max_error: float | None = None
    floor: float | None = None
    validation_error: float | None = None
    left_out: float | None = None
    over_box: float | None = None


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
    outliers:
        Numbers of the measured values that were left out, by the name of their data.
    remarks:
        Sentences that are no verdict: of outliers, of another solution that a second start has found.
    processes:
        What was found of the Gaussian processes of the outputs of a table, by their names; `hierax.intervals` asks it.
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
    outliers: Mapping[str, Sequence[int]] = dataclasses.field(default_factory=dict)
    remarks: Sequence[str] = ()
    processes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

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
            noise=relative_noise(self._data()),
            epsilon=max(
                (float(jnp.finfo(leaf).eps) for leaf in jax.tree.leaves(partition(self.field)[0])), default=0.0
            ),
            linear=self.linear_in_parameters and self.linear_problem,
            second_order=self.second_order,
            stopped_by=self.stopped_by,
            level_changes=self.changes,
            alike=self._alike(),
            failed=any(not guard.passed for guard in self.guards.values()),
            missed=any(not g.passed for name, g in self.guards.items() if name.partition(":")[0] == "equation"),
        )
        return diagnose(seen)

    def _data(self) -> list[Data]:
        """The data without outliers."""
        terms = [term for term in self.problem.terms if isinstance(term, Data)]
        return [term.rows(np.delete(np.arange(len(term.points)), self.outliers.get(term.name, ()))) for term in terms]

    def _alike(self) -> float | None:
        """How alike misfits of neighbours are, for the data missed most, where equations hold as well; else `None`."""
        data = [term for term in self._data() if term.observe is None]
        if not data or not any(is_equation(term, self.problem) for term in self.problem.terms):
            return None
        found = []
        for term in data:
            name = self.problem.data_unknown(term)
            own = self.evaluate(term.points, name).reshape(len(term.points), -1)
            misfit = own - term.values.reshape(own.shape)
            size = float(np.sqrt(np.mean(misfit**2))) / max(float(np.std(term.values)), 1e-300)
            found.append((size, neighbour_correlation(term.points, misfit)))
        return max(found)[1]

    def evaluate(self, points: Points, value: str | None = None) -> Float[np.ndarray, "n *m"]:
        """Values or derivatives of an unknown, after bounds and constraint.

        Parameters
        ----------
        points:
            Array `(n, dim)` inside the domain, coordinates in its order; or columns by their names: a mapping, a data
            frame, a data set of xarray.
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

    def function(self, value: str | None = None) -> Callable[[Float[Array, " dim"]], Float[Array, " *m"]]:
        """A value or derivative as a JAX function of one point `(dim,)`, for use inside of `jit`, `grad` and `vmap`.

        Parameters
        ----------
        value:
            As of `evaluate`. Points are not checked: outside of the domain nothing was learned. In a term of another
            problem the guard `admissible` tells how much of that problem's domain asks for such points.

        Raises
        ------
        InputError
            For a name that cannot be read.

        Examples
        --------
        >>> flux = jax.vmap(jax.grad(solution.function("u")))(points)  # doctest: +SKIP
        """
        name = value or next(iter(self.problem.unknowns))
        return Learned(function(self.problem, self.field, name), self._seen(name))

    def _seen(self, name: str) -> SeenInputs:
        """Where the unknowns were learned: the domain, and in it the rows of data where these are all there is."""
        rows = [term.points for term in self.problem.terms if isinstance(term, AbstractValues)]
        governed = any(is_equation(term, self.problem) for term in self.problem.terms)
        return SeenInputs(name, box_of(self.problem), None if governed or not rows else np.concatenate(rows))

    def plot(self, path: str | PathLike[str] | None = None, *, value: str | None = None, axes: Any = None) -> Drawing:
        """Draw the unknowns, their error where it is known, and the convergence.

        Parameters
        ----------
        path:
            File to write as well; its suffix chooses the format.
        value:
            Draw nothing but this one, `u` or `u_x`, into one panel.
        axes:
            Axes of matplotlib to draw into, one for `value`, else an array of as many as there are panels; those of a
            new figure if not given.

        Returns
        -------
        Drawing
            The figure and its axes, which can be changed; a notebook shows it.

        Raises
        ------
        InputError
            For a suffix that is no format of figures, another number of axes, and a place that cannot be written.
        """
        # Imported here: matplotlib takes longer to import than many a training takes to run.
        from hierax.results.figures import draw

        return draw(self.problem, self.field, self.levels, self.history, path, value=value, axes=axes)

    def report(self, path: str | PathLike[str]) -> None:
        """Write one HTML page about this training, which needs no network: evidence, figures, settings, citations.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        # Imported here for the same reason as the figures, which it holds.
        from hierax.results.report import Account, page, write_page

        account = Account(
            self.to_json(), self.levels, self.history, problem=self.problem, trained=self.field,
            diagnosis=str(self.diagnose() or ""), environment=environment(),
        )  # fmt: skip
        write_page(page(account), Path(path))

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
        lines = [f"loss {number(self.loss)}"]
        known = self.accuracy
        if known.relative_l2 is not None:
            floor = "" if known.floor is None else f" (floor {number(known.floor)})"
            worst = "" if known.max_error is None else f", largest {number(known.max_error)}"
            lines[0] += f", relative L2 error {number(known.relative_l2)}{floor}{worst}"
        if known.validation_error is not None:
            lines[0] += f", validation error {number(known.validation_error)}"
        if known.left_out is not None:
            lines[0] += f", error at rows left out {number(known.left_out)}"
        if known.over_box is not None:
            lines[0] += f", over the box {number(known.over_box)}"
        lines += [f"{name} = {found}" for name, found in self.unknowns.items()]
        lines += candidate_table(self.candidates)
        lines.append(f"{self.seconds_total:.2f} s, of which compilation {self.seconds_compile:.2f} s")
        for name, guard in self.guards.items():
            lines.append(f"{'pass' if guard.passed else 'FAIL'}  {name}: {guard.sentence}")
        limited = self.diagnose()
        if limited is not None:
            lines.append(textwrap.fill(str(limited), 110))
        lines += [textwrap.fill(f"Note: {remark}", 110) for remark in self.remarks]
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
            "precision": precision(self.field),
            "device": device(),
            "options": self.options,
            "plan": self.plan,
            "parameters": self.parameters,
            "linear_in_parameters": self.linear_in_parameters,
            "levels": [level_record(level) for level in self.levels],
            "loss": self.loss,
            "relative_l2": self.accuracy.relative_l2,
            "max_error": self.accuracy.max_error,
            "reference_floor": self.accuracy.floor,
            "validation_error": self.accuracy.validation_error,
            "left_out_error": self.accuracy.left_out,
            "box_error": self.accuracy.over_box,
            "candidates": [dataclasses.asdict(candidate) for candidate in self.candidates],
            "result": self.result.name,
            "stopped_by": self.stopped_by,
            "outliers": {name: list(rows) for name, rows in self.outliers.items()},
            "remarks": list(self.remarks),
            "unknowns": {name: found._asdict() for name, found in self.unknowns.items()},
            "guards": {
                name: {"value": guard.value, "limit": guard.limit, "passed": guard.passed, "sentence": guard.sentence}
                for name, guard in self.guards.items()
            },
            "fresh_residual_ratio": self.fresh_residual_ratio,
            "seconds_total": self.seconds_total,
            "seconds_compile": self.seconds_compile,
            "seconds_import": seconds_import,
            "peak_memory_mib": clock.peak_memory_mib(),
            "work_units": self.work_units,
            "run": run,
        }
        return plain(record)


def _unpickled(content: bytes, classes: tuple[type, ...]) -> Solution:
    return unpack(content, "a pickle", Codec(classes))
