"""Training on several fidelities: the cheapest first, each finer one coupled to those below as its data support."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hierax import clock
from hierax._errors import InputError
from hierax._results import RESULTS
from hierax.clock import compile_seconds
from hierax.events import Decision, Guard, LevelFinished, LevelRecord, LevelStarted
from hierax.fields import Unknowns, linear_in_parameters, parameter_count
from hierax.fields.recursive import Coupled, InputScale, KernelCentres, KernelSum, Trend
from hierax.planning.choose import plan as planned
from hierax.problems.fidelities import Fidelities, Fidelity
from hierax.problems.keys import seed_of
from hierax.problems.problem import Problem
from hierax.problems.reference import MEASURED
from hierax.problems.sampling import Sobol
from hierax.problems.terms import Data
from hierax.results.evaluation import evaluate
from hierax.results.solution import Accuracy, Solution
from hierax.solvers.linear.coupling import MOST, CoarseChoice, choose_coupling
from hierax.training.parts import AbstractParts, Asked, PartsState
from hierax.training.rivals import carried_out

UNPREDICTED = 0.5
"""Leave-one-out error, in units of the spread of the values, above which a fit predicts nothing."""

PLAN = (
    "Levels: one for each fidelity, the cheapest first. Each is a trend in the cheaper fields and a smooth correction; "
    f"with more than {MOST} values the correction is trained as a problem of its own. Whether and how cheaper "
    "fidelities are used is decided by leave-one-out errors; the more complex way must be better by more than chance."
)


@dataclass(frozen=True, eq=False)
class FidelityFit:
    """One fidelity of one unknown, fitted: its field, its relative errors, and what was decided in words."""

    field: Any
    loss: float
    left_out: float
    words: str
    result: RESULTS = RESULTS.successful
    steps: int = 1
    work: float = 0.0
    stopped_by: str = "converged"


class FittedFidelity(NamedTuple):
    """One fidelity, fitted: the fits of its unknowns, and its row of the table."""

    fits: dict[str, FidelityFit]
    row: LevelRecord


@final
@dataclass(frozen=True, eq=False)
class FidelityFits(AbstractParts):
    """The fits of all fidelities of a problem, the cheapest first.

    Parameters
    ----------
    problem:
        The fidelities.
    asked:
        As of `hierax.train`.
    options:
        `hierarchy`, `levels`, `solver` and `cycle`, as `hierax.plan` takes them, where a fidelity has more values than
        a kernel fit takes.

    Raises
    ------
    InputError
        In 32-bit mode; while it is trained, for a fidelity with too few values.
    """

    problem: Fidelities
    asked: Asked
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if jnp.zeros(()).dtype != np.float64:
            raise InputError(
                what="kernel fits with 32-bit numbers would lose half of the digits they live on",
                where="train(Fidelities(...))",
                remedy='begin the script with: import jax; jax.config.update("jax_enable_x64", True)',
            )

    @property
    def text(self) -> str:
        parts = [f"{f.name!r} ({len(np.asarray(f.points))} rows, cost {f.cost:g} each)" for f in self._all]
        return f"Seen: {len(parts)} fidelities, {', '.join(parts)}; the last is to be predicted.\n{PLAN}"

    @property
    def count(self) -> int:
        return len(self._all)

    @property
    def _all(self) -> tuple[Fidelity, ...]:
        return self.problem.fidelities

    def trained(self, state: PartsState) -> FittedFidelity:
        start, compiled, level = clock.seconds_now(), compile_seconds(), state.current
        fidelity, emit = self._all[level], self.asked.emit
        count = sum(np.size(v) for v in fidelity.named_values.values())
        emit(LevelStarted(level, 0, count))
        found = {name: self._fit(state.done, name) for name in self.problem.unknowns}
        for fit in found.values():
            emit(Decision(fit.words))
        row = LevelRecord(
            level,
            sum(parameter_count(fit.field) for fit in found.values()),
            count,
            max(fit.steps for fit in found.values()),
            float(np.mean([fit.loss for fit in found.values()])),
            clock.seconds_now() - start,
            compile_seconds() - compiled,
            note=fidelity.name,
        )
        emit(LevelFinished(row))
        return FittedFidelity(found, row)

    def ended_by(self, part: FittedFidelity) -> str:
        results = [fit.result for fit in part.fits.values()]
        reasons = ["interrupted"] * (RESULTS.interrupted in results) + [fit.stopped_by for fit in part.fits.values()]
        return next((reason for reason in reasons if reason in ("interrupted", "budget")), reasons[0])

    def _fit(self, done: tuple[FittedFidelity, ...], name: str) -> FidelityFit:
        level = len(done)
        fidelity = self._all[level]
        x, values = np.asarray(fidelity.points, float), np.asarray(fidelity.named_values[name], float)
        x = x.reshape(len(values), -1)
        spread = max(float(np.std(values)), 1e-10 * float(np.abs(values).max()), 1e-300)
        coarser = [part.fits[name].field for part in done]
        if not coarser and len(values) > MOST:
            return self._trained(level, name, (x, values), spread, None)
        lower = np.stack([_values(f, x) for f in coarser], axis=1) if coarser else np.empty((len(x), 0))
        choice = choose_coupling(self.problem.domain.bounds(), x, lower, values, seed_of(self.asked.key, 300 + level))
        if choice is None:
            raise InputError(
                f"Fidelity {fidelity.name!r} has {len(values)} values of {name}, too few for any fit.",
                f"fidelity {fidelity.name!r}",
                "Give it more values, or leave it out.",
            )
        parents = [coarser[j] for j in choice.candidate.parents]
        if len(values) > MOST:
            return self._trained(level, name, (x, values), spread, choice, parents)
        words = f"{self._head(level, name)} {self._coupling_text(choice, spread)}."
        loss = 0.5 * float(np.mean(choice.fit.misfit**2)) / spread**2
        work = float(len(values)) ** 3
        return FidelityFit(coupled_field(choice, parents, kernels=True), loss, choice.error / spread, words, work=work)

    def _trained(
        self,
        level: int,
        name: str,
        data: tuple[np.ndarray, np.ndarray],
        spread: float,
        choice: CoarseChoice | None,
        parents: Iterable[Any] = (),
    ) -> FidelityFit:
        """Many values: what the coupling leaves is an ordinary problem of its own."""
        x, values = data
        parents = tuple(parents)
        coupled = coupled_field(choice, parents, choice.candidate.free) if choice is not None and parents else None
        rest = values if coupled is None else values - _values(coupled, x)
        problem = Problem(self.problem.domain, (Data("u", x, rest),), name=f"{self.problem.name}-{level}")
        left, seed = max(self.asked.budget - self.asked.seconds, 0.5), seed_of(self.asked.key, 200 + level)
        plan = planned(problem, key=seed, **self.options)
        solution = carried_out(problem, plan, key=seed, budget=left / (len(self.problem.unknowns) + 1))
        scale = max(float(np.std(rest)), 1e-300) / spread
        error = (solution.accuracy.validation_error or 0.0) * scale
        text = "" if choice is None else f" {self._coupling_text(choice, spread)};"
        words = f"{self._head(level, name)}{text} {solution.field_kind}, validation error {error:.2g} of the spread."
        whole = solution.field if coupled is None else _with_grid(coupled, solution.field)
        return FidelityFit(
            whole, solution.loss * scale**2, error, words, solution.result,
            sum(row.steps for row in solution.levels), solution.work_units, solution.stopped_by,
        )  # fmt: skip

    def _head(self, level: int, name: str) -> str:
        fidelity = self._all[level]
        return f"{name} of {fidelity.name!r} ({len(fidelity.named_values[name])} values):"

    def _coupling_text(self, choice: CoarseChoice, spread: float) -> str:
        if not choice.candidate.parents:
            tried = f", with cheaper data {choice.best / spread:.2g}" if np.isfinite(choice.best) else ""
            why = "cheaper data do not help; " if tried else ""
            return f"{why}leave-one-out error {choice.alone / spread:.2g} of the spread{tried}"
        names = " and ".join(repr(self._all[j].name) for j in choice.candidate.parents)
        alone = f"{choice.alone / spread:.2g}" if np.isfinite(choice.alone) else "not possible"
        return (
            f"from {names} {choice.candidate.words}; leave-one-out error {choice.error / spread:.2g} of the "
            f"spread, without cheaper data {alone}"
        )

    def joined(self, done: tuple[FittedFidelity, ...]) -> Solution:
        """The field of the dearest fidelity so far; all are measured, and the last is judged."""
        fields, validation = [self._joined(part.fits) for part in done], self._validation(done)
        rows = [_measured(part.row, self.problem, f, v) for part, f, v in zip(done, fields, validation, strict=True)]
        fits = [fit for part in done for fit in part.fits.values()]
        guards = _guards(validation)
        # that no guard applies to the fit of one fidelity is made good by those of them all
        failed = next((f.result for f in fits if f.result is not RESULTS.unchecked and f.result.exit_code), None)
        judged = RESULTS.successful if all(g.passed for g in guards.values()) else RESULTS.guard_validation
        reached = _accuracy(self.problem, fields[-1])
        return Solution(
            problem=self.problem,
            field=fields[-1],
            result=failed or judged,
            stopped_by="levels",
            levels=rows,
            guards=guards,
            history=[],
            plan="\n".join([self.text, *(fit.words for fit in fits)]),
            solver="leave-one-out kernels",
            cycle="one fidelity after another",
            field_kind="coupled fidelities (each linear in its own parameters)",
            seed=self.asked.seed,
            linear_in_parameters=linear_in_parameters(fields[-1]),
            parameters=sum(row.parameters for row in rows),
            loss=float(np.mean([fit.loss for fit in done[-1].fits.values()])),
            accuracy=Accuracy(reached.relative_l2, reached.max_error, reached.floor, validation[-1]),
            fresh_residual_ratio=None,
            seconds_total=self.asked.seconds,
            seconds_compile=self.asked.seconds_compile,
            work_units=sum(fit.work for fit in fits),
        )

    def _joined(self, fits: dict[str, FidelityFit]) -> Any:
        parts = {name: fit.field for name, fit in fits.items()}
        return Unknowns(**parts) if self.problem.named else next(iter(parts.values()))

    def _validation(self, done: tuple[FittedFidelity, ...]) -> list[float]:
        """Errors at the dearest data that a level has not seen: direct below, left out in turn on the last level."""
        errors = []
        dearest = self._all[-1]
        for level, part in enumerate(done):
            if level == self.count - 1:
                own = [fit.left_out for fit in part.fits.values()]
            else:
                own = []
                for name, fit in part.fits.items():
                    values = np.asarray(dearest.named_values[name], float)
                    misfit = _values(fit.field, np.asarray(dearest.points, float).reshape(len(values), -1)) - values
                    own.append(np.sqrt(np.mean(misfit**2)) / max(float(np.std(values)), 1e-300))
            errors.append(float(np.sqrt(np.mean(np.square(own)))))
        return errors


def coupled_field(choice: CoarseChoice, parents: Iterable[Any], kernels: bool) -> Coupled:
    fit, lengths = choice.fit, jnp.asarray(choice.fit.shape.inverse_lengths, dtype=float)
    trend = Trend(jnp.asarray(fit.coefficients), tuple(tuple(int(e) for e in row) for row in fit.shape.exponents))
    scale = InputScale(jnp.asarray(choice.centre), jnp.asarray(choice.width))
    centres = KernelCentres(jnp.asarray(fit.centres) * lengths, lengths)
    parts = KernelSum(jnp.asarray(fit.weights), centres, fit.shape.heavy) if kernels else None
    return Coupled(tuple(parents), scale, trend, parts)


def _with_grid(coupled: Coupled, grid: Any) -> Coupled:
    return Coupled(coupled.coarser, coupled.scale, coupled.trend, coupled.kernels, grid)


@eqx.filter_jit
def _block(trained: Any, points: jax.Array) -> jax.Array:
    return jax.lax.map(lambda x: jnp.reshape(trained(x), ()), points, batch_size=256)


def _values(trained: Any, points: np.ndarray) -> np.ndarray:
    """Values `(n,)` of a scalar field at points `(n, dim)`; numbers of points are rounded up to save compilations."""
    count = 256 * 4 ** max(0, int(np.ceil(np.log(len(points) / 256) / np.log(4))))
    filled = np.concatenate([points, np.repeat(points[-1:], count - len(points), axis=0)])
    return np.asarray(_block(trained, jnp.asarray(filled)))[: len(points)]


def _measured(row: LevelRecord, problem: Fidelities, trained: Any, validation: float) -> LevelRecord:
    error = _accuracy(problem, trained).relative_l2
    return LevelRecord(
        row.level, row.parameters, row.points, row.steps, row.loss, row.seconds, row.seconds_compile, error,
        validation, row.note,
    )  # fmt: skip


def _accuracy(problem: Fidelities, trained: Any) -> Accuracy:
    """Errors against the reference, the largest over the unknowns; never below its floor."""
    reference, domain = problem.reference, problem.domain
    if reference is None:
        return Accuracy()
    points = Sobol(domain).sample(0, 0, MEASURED).points  # pyright: ignore
    relative, largest = [reference.error_bound], []
    for name in problem.unknowns:
        exact = reference.evaluate(points, name)
        if exact is not None:
            misfit = evaluate(problem, trained, points, name) - exact
            relative.append(float(np.linalg.norm(misfit) / max(np.linalg.norm(exact), 1e-300)))
            largest.append(float(np.abs(misfit).max()))
    return Accuracy(max(relative), max(largest), reference.error_bound) if largest else Accuracy()


def _guards(errors: list[float]) -> dict[str, Guard]:
    ratio, last = errors[-1] / max(min(errors), 1e-300), errors[-1]
    return {
        "validation": Guard(
            ratio,
            1.1,
            bool(ratio <= 1.1),
            f"The error of the returned field at data it was not fitted to is {ratio:.3g} times that of the best level "
            "(limit 1.1).",
        ),
        "prediction": Guard(
            last,
            UNPREDICTED,
            bool(last <= UNPREDICTED),
            f"Each value of the dearest fidelity is predicted from the others to {last:.2g} of their spread "
            f"(limit {UNPREDICTED:g}).",
        ),
    }
