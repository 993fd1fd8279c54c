"""`surrogate`: members are solved until the model is as good as asked or the time is over; some judge it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from hierax import clock
from hierax._errors import InputError
from hierax.devices import SAMPLES, Devices, dividing
from hierax.events import Subscriber
from hierax.fields import parameter_count
from hierax.models.common_mesh import Member
from hierax.models.correction import Correction
from hierax.models.course import Course, CourseState
from hierax.models.family import Family
from hierax.models.generated import learn_generated
from hierax.models.leveled import AbstractLeveled
from hierax.models.levels import learn_levels
from hierax.models.operator_training import learn_operator
from hierax.models.operators import Operator
from hierax.models.regression import AbstractRegression, fitted
from hierax.models.samples import Samples
from hierax.models.seen import SeenMembers
from hierax.models.solving import MemberSolver, member_solver
from hierax.models.surrogate import NEARLY, Calibration, LearningRecord, Surrogate, ranked
from hierax.problems.kept import described
from hierax.problems.keys import seed_of

GOAL = 1e-6
"""Relative error at which learning stops where none is asked for."""
SHARPER = 0.02
"""Error of the mesh over the error that is asked for."""
SPREAD = 0.5
"""Part of the way from even samples towards ones that crowd near the ends."""
FIRST, MOST = 32, 1024
"""Members before the first fit, and in all."""
VALIDATED = 24
"""Members that judge, and are not learned from."""
MESH_SHARE, JUDGING_SHARE, SOLVING_SHARE, OVERDRAWN = 0.35, 0.5, 0.8, 2.0
"""Parts of the budget after which the mesh has to do, the judges have to do, and no further member is solved; to which
it is overdrawn where there are too few members for any model."""
SMALL = 1e-10
"""Size of a mode over that of the first, below which it is left out."""
JUDGED = 8
"""Members kept apart at which the equations are asked as well."""
MEMBERS = "members"
"""The part of a learning that solves them."""
FAILED = 0.5
"""Share of failed members above which nothing is learned."""


def surrogate(
    family: Family | AbstractLeveled | Samples,
    *,
    coarse: Samples | None = None,
    tolerance: float | None = None,
    budget: float = 60.0,
    key: int = 0,
    subscribers: Iterable[Subscriber] = (),
    devices: Devices | None = None,
    kept: CourseState | None = None,
) -> Surrogate | Operator:
    """Learn the solution of a family as a function of its inputs, or the map that samples show.

    The member in the middle is solved with all guards; the hardest join it until one mesh suits all. Further ones are
    solved on that mesh by kernels that were compiled once. Their reduced basis (proper orthogonal
    decomposition) has coefficients that a regression gives; members that are kept apart judge it.

    Parameters
    ----------
    family:
        What is solved, and what varies; where random fields do, or for what is on levels, such as a simulator, see
        `hierax.models.learn_generated`. Or pairs of functions on grids, see `hierax.models.learn_operator`.
    coarse:
        Beside samples whose base is a coarse solution further ones of that, see `hierax.models.learn_levels`.
    tolerance:
        Relative L2 error of a prediction at which learning stops; 1e-6 where none is given. Not for samples.
    budget:
        Seconds in all.
    key:
        Seed of the members.
    subscribers:
        Get what is decided, such as `hierax.Progress()`.
    devices:
        Of pairs of functions, those that the samples of every step are divided between, of this process or of several
        that call this alike; one if not given.
    kept:
        What a learning of the same that was cut off had come to, the `state` of the last `LearningReached` that its
        subscribers got: this one goes on with the rest of its seconds.

    Raises
    ------
    InputError
        For families that cannot be traced or have no spline grids, devices for a family, a middle that fails its
        guards, and budgets that end before there are members enough.

    References
    ----------
    Hesthaven, Ubbiali, J. Comput. Phys. 363 (2018) (coefficients of a reduced basis by regression).
    """
    if isinstance(family, Samples):
        if tolerance is not None:
            raise InputError("Samples are learned for a time.", "surrogate(tolerance=...)", "Give budget=... alone.")
        how: dict[str, Any] = {"budget": budget, "key": key, "subscribers": subscribers, "kept": kept}
        with dividing(devices, (SAMPLES,)):
            return learn_operator(family, **how) if coarse is None else learn_levels(family, coarse, **how)
    if devices is not None:
        # members are solved one by one, each from what those before have shown
        devices.division(())
    if isinstance(family, AbstractLeveled) or family.random_fields:
        if tolerance is not None:
            raise InputError("Functions are learned for a time.", "surrogate(tolerance=...)", "Give budget=... alone.")
        return learn_generated(family, budget=budget, key=key, subscribers=subscribers, kept=kept)
    if coarse is not None:
        raise InputError("A family makes its own samples.", "surrogate(coarse=...)", "Leave it out.")
    return learn_family(family, tolerance, budget, key, subscribers, kept)


def learn_family(
    family: Family, tolerance: float | None, budget: float, key: int, subscribers: Iterable[Subscriber],
    kept: CourseState | None = None,
) -> Surrogate:  # fmt: skip
    """See `surrogate`."""
    _check(family, tolerance, budget)
    return Learning(family, tolerance or GOAL, budget, key, Course(subscribers, kept)).run()


def _check(family: Family, tolerance: float | None, budget: float) -> None:
    if not isinstance(family, Family):
        raise InputError(f"This is a {type(family).__name__}.", "surrogate(family)", "Give hx.Family(make, inputs).")
    family.check_named()
    if tolerance is not None and not (math.isfinite(tolerance) and 0.0 < tolerance < 1.0):
        raise InputError(f"The tolerance is {tolerance}.", "surrogate(tolerance=...)", "Give a relative error.")
    if not (math.isfinite(budget) and budget > 0.0):
        raise InputError(f"The budget is {budget} s.", "surrogate(budget=...)", "Give a positive number of seconds.")


class _Judged(NamedTuple):
    """A member that is not learned from: inputs, parameters and values as it was solved, and what the mesh leaves."""

    inputs: np.ndarray
    parameters: np.ndarray
    values: np.ndarray
    resolution: float


class Solved(NamedTuple):
    """A member as it was solved on the common mesh, its inputs, and the seconds that it took."""

    inputs: np.ndarray
    member: Member
    seconds: float


class _Fit(NamedTuple):
    """A reduced model of the members so far."""

    name: str
    model: AbstractRegression
    basis: np.ndarray
    shown: np.ndarray
    candidates: dict[str, float]


@final
@dataclass
class Learning:
    """One learning, with the members so far."""

    family: Family
    goal: float
    budget: float
    key: int
    course: Course
    inputs: list[np.ndarray] = field(default_factory=list)
    own: list[np.ndarray] = field(default_factory=list)
    thetas: list[np.ndarray] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    failed: list[np.ndarray] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    history: list[tuple[int, float, float, float]] = field(default_factory=list)
    solved: dict[bytes, Solved] = field(default_factory=dict)

    def run(self) -> Surrogate:
        """See `surrogate`."""
        solver = self._solver()
        seconds_mesh = self.course.start(MEMBERS)
        self.solved = {one.inputs.tobytes(): one for one in self.course.reached(MEMBERS) or ()}
        size = parameter_count(solver.field)
        self.course.say(f"Mesh: {size} parameters for all members, found in {seconds_mesh:.1f} s.")
        seen = SeenMembers.of(solver)
        judges = self._judges(solver, seen)
        fit, stopped = self._fitted(solver, seen, judges)
        return self._made(solver, seen, fit, judges, seconds_mesh, stopped)

    def _solver(self) -> MemberSolver:
        """The solver of members, on a mesh that is kept as soon as it is found."""
        known = self.course.reached("mesh")
        if known is not None:
            field, coarse, floor, levels = known
            return replace(MemberSolver.again(self.family, field, coarse, floor, self.key), levels=levels)
        share = MESH_SHARE * self.budget
        solver = member_solver(self.family, SHARPER * self.goal, self.key, share, self.course.subscribers)
        assert solver.middle is not None
        if solver.middle.result.exit_code:
            raise InputError(
                f"The member in the middle of the inputs fails: {solver.middle.result.value}",
                "surrogate(family)",
                f"Look at it by hx.train: {dict(zip(self.family.names, self.family.middle().tolist(), strict=True))}.",
            )
        self.course.keep("mesh", (solver.field, solver.coarse, solver.floor, solver.levels))
        return solver

    def _member(self, solver: MemberSolver, inputs: np.ndarray, start: np.ndarray | None = None) -> Member:
        """A member, solved once."""
        key = inputs.tobytes()
        if key not in self.solved:
            began = self.course.seconds
            self.solved[key] = Solved(inputs, solver.solve(inputs, start), self.course.seconds - began)
            self.course.keep(MEMBERS, tuple(self.solved.values()))
        return self.solved[key].member

    def _judges(self, solver: MemberSolver, seen: SeenMembers) -> list[_Judged]:
        """Members that are not learned from."""
        found = []
        for inputs in self.family.drawn(VALIDATED, seed_of(self.key, 21)):
            if not self._in_time(inputs, JUDGING_SHARE, len(found) < VALIDATED // 3):
                break
            one = self._member(solver, inputs)
            if one.failure is None:
                parameters = seen.parameters(one.theta)
                found.append(_Judged(inputs, parameters, seen.values(parameters), solver.resolution(one)))
            else:
                self._left_out(inputs, one.failure)
        if not found:
            raise InputError(
                f"No member of {VALIDATED} could be solved: {next(iter(self.reasons))}.",
                "surrogate(family)",
                "Narrow the inputs, or give a larger budget.",
            )
        return found

    def _fitted(self, solver: MemberSolver, seen: SeenMembers, judges: list[_Judged]) -> tuple[_Fit, str]:
        """Members are added and fitted, twice as many each time, until that is enough."""
        drawn = self.family.drawn(MOST, seed_of(self.key, 20), SPREAD)
        count, tried = FIRST, 0
        while True:
            tried = self._solved(solver, seen, drawn, tried, count)
            if len(self.inputs) < FIRST // 2 or sum(self.reasons.values()) > FAILED * (tried + VALIDATED):
                raise InputError(
                    f"Only {len(self.inputs)} of {tried} members were solved in {self.course.seconds:.0f} s"
                    + "".join(f"; {n} failed: {reason}" for reason, n in self.reasons.items())
                    + ".",
                    "surrogate(family)",
                    "Give a larger budget, or narrow the inputs.",
                )
            fit = self._fit()
            errors = [math.hypot(_error(fit, self.family, judge), judge.resolution) for judge in judges]
            error = max(errors)
            self.history.append((len(self.inputs), self.course.seconds, float(np.median(errors)), error))
            self.course.say(f"{len(self.inputs)} members, {fit.name}: largest error at members kept apart {error:.2g}.")
            if error <= self.goal:
                return fit, "tolerance"
            if tried < count or self.course.seconds > SOLVING_SHARE * self.budget:
                return fit, "budget"
            if tried >= MOST:
                return fit, "samples"
            count *= 2

    def _solved(self, solver: MemberSolver, seen: SeenMembers, drawn: np.ndarray, tried: int, count: int) -> int:
        """Solve members up to a number, as long as there is time; the number that was tried."""
        while tried < count and self._in_time(drawn[tried], SOLVING_SHARE, len(self.inputs) < FIRST // 2):
            inputs = drawn[tried]
            one = self._member(solver, inputs, self._near(inputs, solver))
            tried += 1
            if one.failure is not None:
                self._left_out(inputs, one.failure)
                continue
            self.inputs.append(inputs)
            self.own.append(one.theta)
            self.thetas.append(seen.parameters(one.theta))
            self.values.append(seen.values(self.thetas[-1]))
        return tried

    def _left_out(self, inputs: np.ndarray, failure: str) -> None:
        self.failed.append(inputs)
        self.reasons[failure] += 1

    def _in_time(self, inputs: np.ndarray, share: float, few: bool) -> bool:
        """Whether a member is known, or a share of the budget not over; with few members, which are nothing yet, it may
        be overdrawn."""
        return inputs.tobytes() in self.solved or self.course.seconds < (OVERDRAWN if few else share) * self.budget

    def _near(self, inputs: np.ndarray, solver: MemberSolver) -> np.ndarray | None:
        """Where a nonlinear member starts: at the solved one nearest to it."""
        if solver.plan.linear or not self.inputs:
            return None
        apart = self.family.scaled(np.array(self.inputs)) - self.family.scaled(inputs)
        return self.own[int(np.argmin(np.sum(apart**2, axis=1)))]

    def _fit(self) -> _Fit:
        values, thetas = np.array(self.values), np.array(self.thetas)
        left, sizes, _ = np.linalg.svd(values, full_matrices=False)
        kept = int(np.sum(sizes > SMALL * sizes[0]))
        left, sizes = left[:, :kept], sizes[:kept]
        basis, shown = (left / sizes).T @ thetas, (left / sizes).T @ values
        z = self.family.scaled(np.array(self.inputs))
        norms = np.maximum(np.linalg.norm(values, axis=1), 1e-300)
        name, found, errors = fitted(z, left * sizes, norms)
        return _Fit(name, found.model, basis, shown, errors)

    def _made(
        self, solver: Any, seen: SeenMembers, fit: _Fit, judges: list[_Judged], seconds_mesh: float, stopped: str
    ) -> Surrogate:
        floor = float(np.median([judge.resolution for judge in judges]))
        bare = Calibration(1.0, 1.0, 0.0, np.zeros(1), np.ones(1))
        took = seconds_mesh, self.course.seconds
        record = LearningRecord(
            fit.name, fit.candidates, len(self.inputs), sum(self.reasons.values()), len(judges),
            parameter_count(solver.field), len(fit.basis), took[1], took[1] - took[0], took[0],
            float(np.median([one.seconds for one in self.solved.values()])), stopped,
            dict(self.reasons), 0.0, tuple(self.history), solver.levels,
        )  # fmt: skip
        made = Surrogate(
            dict(self.family.inputs), described(solver.asked), fit.model, jnp.asarray(fit.basis), seen.field,
            solver.field, solver.coarse, solver.floor, bare, record, self.key,
        )  # fmt: skip
        made = calibrated(made, fit, self.family, judges, floor)
        shown = _by_equations(solver, seen, made, judges)
        record = replace(record, seconds_prediction=_seconds(made))
        tried = {"learned": np.array(self.inputs), "failed": np.array(self.failed)}
        return replace(made, record=record, calibration=made.calibration._replace(equations=shown, **tried))


def _seconds(made: Surrogate) -> float:
    """What a prediction costs, of several together; they are compiled by now."""
    began = clock.seconds_now()
    made.parameters(made.calibration.inputs)
    return (clock.seconds_now() - began) / len(made.calibration.inputs)


def calibrated(made: Surrogate, fit: _Fit, family: Family, judges: list[_Judged], floor: float) -> Surrogate:
    """With what the members kept apart say of its errors."""
    errors = np.array([math.hypot(_error(fit, family, judge), judge.resolution) for judge in judges])
    inputs = np.array([judge.inputs for judge in judges])
    doubts = made.errors(inputs)
    own = np.array([_error(fit, family, judge) for judge in judges])
    factor = float(np.median(own / np.maximum(doubts, 1e-300)))
    estimates = np.hypot(factor * doubts, floor)
    bound = max(1.0, NEARLY * float(np.max(errors / estimates)))
    solved = np.array([judges[k].parameters for k in ranked(errors)])
    known = Calibration(factor, bound, floor, errors, estimates, inputs=inputs, solved=solved)
    return replace(made, calibration=known)


def _by_equations(solver: MemberSolver, seen: SeenMembers, made: Surrogate, judges: list[_Judged]) -> np.ndarray:
    """Estimates of the equations for some of the members kept apart."""
    correction, found = Correction.of(solver), []
    for judge in judges[: 0 if correction is None else JUDGED]:
        theta = seen.trained(made.parameters(judge.inputs)[0])
        size = correction.size(correction.step(judge.inputs, theta), theta)  # pyright: ignore
        found.append(math.hypot(size, made.calibration.floor))
    return np.array(found)


def _error(fit: _Fit, family: Family, judge: _Judged) -> float:
    """Relative error of a fit at a member."""
    found = np.asarray(_called(fit.model, family.scaled(judge.inputs))) @ fit.shown
    return float(np.linalg.norm(found - judge.values) / max(float(np.linalg.norm(judge.values)), 1e-300))


@jax.jit
def _called(model: AbstractRegression, z: Any) -> Any:
    return model(z)
