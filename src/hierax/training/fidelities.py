"""Training on several fidelities: the cheapest first, each finer one coupled to those below as its data support."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax._results import RESULTS
from hierax.clock import compile_seconds, seconds_now
from hierax.events import (
    Decision,
    EventDispatcher,
    Guard,
    LevelFinished,
    LevelRecord,
    LevelStarted,
    RunFinished,
    RunStarted,
    Subscriber,
)
from hierax.fields import Unknowns, linear_in_parameters, parameter_count
from hierax.fields.recursive import Coupled, InputScale, KernelCentres, KernelSum, Trend
from hierax.problems.fidelities import Fidelities
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.reference import MEASURED
from hierax.problems.sampling import Sobol
from hierax.problems.terms import Data
from hierax.results.evaluation import evaluate
from hierax.results.solution import Accuracy, Solution
from hierax.solvers.linear.coupling import MOST, Choice, choose_coupling

UNPREDICTED = 0.5
"""Leave-one-out error, in units of the spread of the values, above which a fit predicts nothing."""

Trainer = Callable[..., Solution]


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


class FidelityState(NamedTuple):
    """Where a training over fidelities stands: the fits of every fidelity so far, rows of the table, and reasons."""

    fits: tuple[dict[str, FidelityFit], ...] = ()
    rows: tuple[LevelRecord, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether a fit was interrupted."""
        return any(fit.result is RESULTS.interrupted for fits in self.fits for fit in fits.values())


@final
@dataclass(frozen=True, eq=False)
class FidelityContext:
    """What a training over fidelities needs besides its state; `train_fidelities` is its entrance.

    Parameters
    ----------
    problem:
        The fidelities.
    train:
        Trains an ordinary problem; used where a fidelity has more values than a kernel fit takes.
    key, budget, emit:
        As those of `hierax.train`; who is told.
    options:
        Further arguments of `train`.
    began, compiled:
        When the training began, and the seconds of compilation before.
    """

    problem: Fidelities
    train: Trainer
    key: Key
    budget: float
    emit: EventDispatcher
    options: dict[str, Any]
    began: float = field(default_factory=seconds_now)
    compiled: float = field(default_factory=compile_seconds)

    def begin(self) -> FidelityState:
        """Before the first fit."""
        reasons = (_seen_text(self.problem), PLAN)
        self.emit(RunStarted(self.problem.name, "\n".join(reasons), self.budget))
        return FidelityState(reasons=reasons)

    def run(self, state: FidelityState) -> FidelityState:
        """Fit one fidelity after the other, the cheapest first."""
        while len(state.fits) < len(self.problem.fidelities) and not state.interrupted:
            state = self.advance(state)
        return state

    def advance(self, state: FidelityState) -> FidelityState:
        """Fit the next fidelity."""
        start, compiled, level = seconds_now(), compile_seconds(), len(state.fits)
        fidelity = self.problem.fidelities[level]
        count = sum(np.size(v) for v in fidelity.named_values.values())
        self.emit(LevelStarted(level, 0, count))
        found = {name: self._fit(state, name) for name in self.problem.unknowns}
        for fit in found.values():
            self.emit(Decision(fit.words))
        row = LevelRecord(
            level,
            sum(parameter_count(fit.field) for fit in found.values()),
            count,
            max(fit.steps for fit in found.values()),
            float(np.mean([fit.loss for fit in found.values()])),
            seconds_now() - start,
            compile_seconds() - compiled,
            note=fidelity.name,
        )
        self.emit(LevelFinished(row))
        reasons = (*state.reasons, *(fit.words for fit in found.values()))
        return FidelityState((*state.fits, found), (*state.rows, row), reasons)

    def _fit(self, state: FidelityState, name: str) -> FidelityFit:
        level = len(state.fits)
        fidelity = self.problem.fidelities[level]
        x, values = np.asarray(fidelity.points, float), np.asarray(fidelity.named_values[name], float)
        x = x.reshape(len(values), -1)
        spread = max(float(np.std(values)), 1e-10 * float(np.abs(values).max()), 1e-300)
        coarser = [fits[name].field for fits in state.fits]
        if not coarser and len(values) > MOST:
            return self._trained(level, name, (x, values), spread, None)
        lower = np.stack([_values(f, x) for f in coarser], axis=1) if coarser else np.empty((len(x), 0))
        choice = choose_coupling(self.problem.domain.bounds(), x, lower, values, seed_of(self.key, 300 + level))
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
        return FidelityFit(
            coupled_field(choice, parents, kernels=True), loss, choice.fit.error / spread, words, work=work
        )

    def _trained(
        self,
        level: int,
        name: str,
        data: tuple[np.ndarray, np.ndarray],
        spread: float,
        choice: Choice | None,
        parents: Iterable[Any] = (),
    ) -> FidelityFit:
        """Many values: what the coupling leaves is an ordinary problem of its own."""
        x, values = data
        parents = tuple(parents)
        coupled = coupled_field(choice, parents, choice.candidate.free) if choice is not None and parents else None
        rest = values if coupled is None else values - _values(coupled, x)
        problem = Problem(self.problem.domain, (Data("u", x, rest),), name=f"{self.problem.name}-{level}")
        left = max(self.budget - (seconds_now() - self.began), 0.5)
        solution = self.train(
            problem, key=seed_of(self.key, 200 + level), budget=left / (len(self.problem.unknowns) + 1), **self.options
        )
        scale = max(float(np.std(rest)), 1e-300) / spread
        error = (solution.accuracy.validation_error or 0.0) * scale
        text = "" if choice is None else f" {self._coupling_text(choice, spread)};"
        words = f"{self._head(level, name)}{text} {solution.field_kind}, validation error {error:.2g} of the spread."
        trained = solution.field if coupled is None else _with_grid(coupled, solution.field)
        steps = sum(row.steps for row in solution.levels)
        return FidelityFit(trained, solution.loss * scale**2, error, words, solution.result, steps, solution.work_units)

    def _head(self, level: int, name: str) -> str:
        fidelity = self.problem.fidelities[level]
        return f"{name} of {fidelity.name!r} ({len(fidelity.named_values[name])} values):"

    def _coupling_text(self, choice: Choice, spread: float) -> str:
        if not choice.candidate.parents:
            tried = f", with cheaper data {choice.best / spread:.2g}" if np.isfinite(choice.best) else ""
            why = "cheaper data do not help; " if tried else ""
            return f"{why}leave-one-out error {choice.alone / spread:.2g} of the spread{tried}"
        names = " and ".join(repr(self.problem.fidelities[j].name) for j in choice.candidate.parents)
        alone = f"{choice.alone / spread:.2g}" if np.isfinite(choice.alone) else "not possible"
        return (
            f"from {names} {choice.candidate.words}; leave-one-out error {choice.fit.error / spread:.2g} of the "
            f"spread, without cheaper data {alone}"
        )

    def finish(self, state: FidelityState, seed: int) -> Solution:
        """Measure all levels, judge the last, and put the solution together."""
        seconds, compiled = seconds_now() - self.began, compile_seconds() - self.compiled
        fields = [self._joined(fits) for fits in state.fits]
        final = state.fits[-1]
        validation = self._validation(state)
        rows = [_measured(row, self.problem, f, v) for row, f, v in zip(state.rows, fields, validation, strict=True)]
        guards = _guards(validation)
        # that no guard applies to the fit of one fidelity is made good by those of them all
        results = [s.result for fits in state.fits for s in fits.values() if s.result is not RESULTS.unchecked]
        failed = next((result for result in results if result.exit_code), None)
        judged = RESULTS.successful if all(g.passed for g in guards.values()) else RESULTS.guard_validation
        result = failed or judged
        self.emit(RunFinished(result, "levels", guards, seconds))
        reached = _accuracy(self.problem, fields[-1])
        return Solution(
            problem=self.problem,
            field=fields[-1],
            result=result,
            stopped_by="levels" if len(state.fits) == len(self.problem.fidelities) else "budget",
            levels=rows,
            guards=guards,
            history=[],
            plan="\n".join(state.reasons),
            solver="leave-one-out kernels",
            cycle="one fidelity after another",
            field_kind="coupled fidelities (each linear in its own parameters)",
            seed=seed,
            linear_in_parameters=linear_in_parameters(fields[-1]),
            parameters=sum(row.parameters for row in rows),
            loss=float(np.mean([s.loss for s in final.values()])),
            accuracy=Accuracy(reached.relative_l2, reached.max_error, reached.floor, validation[-1]),
            fresh_residual_ratio=None,
            seconds_total=seconds,
            seconds_compile=compiled,
            work_units=sum(s.work for fits in state.fits for s in fits.values()),
        )

    def _joined(self, fits: dict[str, FidelityFit]) -> Any:
        parts = {name: fit.field for name, fit in fits.items()}
        return Unknowns(**parts) if self.problem.named else next(iter(parts.values()))

    def _validation(self, state: FidelityState) -> list[float]:
        """Errors at the dearest data that a level has not seen: direct below, left out in turn on the last level."""
        errors = []
        dearest = self.problem.fidelities[-1]
        for level, fits in enumerate(state.fits):
            if level == len(self.problem.fidelities) - 1:
                own = [fit.left_out for fit in fits.values()]
            else:
                own = []
                for name, fit in fits.items():
                    values = np.asarray(dearest.named_values[name], float)
                    misfit = _values(fit.field, np.asarray(dearest.points, float).reshape(len(values), -1)) - values
                    own.append(np.sqrt(np.mean(misfit**2)) / max(float(np.std(values)), 1e-300))
            errors.append(float(np.sqrt(np.mean(np.square(own)))))
        return errors


PLAN = (
    "Levels: one for each fidelity, the cheapest first. Each is a trend in the cheaper fields and a smooth correction; "
    f"with more than {MOST} values the correction is trained as a problem of its own. Whether and how cheaper "
    "fidelities are used is decided by leave-one-out errors; the more complex way must be better by more than chance."
)


def train_fidelities(
    problem: Fidelities,
    train: Trainer,
    *,
    key: int | jax.Array = 0,
    budget: float = 60.0,
    subscribers: Iterable[Subscriber] = (),
    **options: Any,
) -> Solution:
    """Train on all fidelities of a problem and return the field of the dearest.

    Parameters
    ----------
    problem:
        The fidelities.
    train:
        `hierax.train`.
    key, budget, subscribers:
        As there.
    **options:
        Further arguments for the fidelities that are trained as problems of their own.

    Raises
    ------
    InputError
        In 32-bit mode, and for a fidelity with too few values.
    """
    if jnp.zeros(()).dtype != np.float64:
        raise InputError(
            what="kernel fits with 32-bit numbers would lose half of the digits they live on",
            where="train(Fidelities(...))",
            remedy='begin the script with: import jax; jax.config.update("jax_enable_x64", True)',
        )
    context = FidelityContext(problem, train, key, budget, EventDispatcher(tuple(subscribers)), options)
    state = context.run(context.begin())
    return context.finish(state, key if isinstance(key, int) else -1)


def coupled_field(choice: Choice, parents: Iterable[Any], kernels: bool) -> Coupled:
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


def _seen_text(problem: Fidelities) -> str:
    parts = [f"{f.name!r} ({len(np.asarray(f.points))} rows, cost {f.cost:g} each)" for f in problem.fidelities]
    return f"Seen: {len(parts)} fidelities, {', '.join(parts)}; the last is to be predicted."


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
