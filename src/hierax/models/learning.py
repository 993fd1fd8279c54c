"""`surrogate`: members are solved until the model is as good as asked or the time is over; some judge it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, final

import jax.numpy as jnp
import numpy as np

from hierax import clock
from hierax._errors import InputError
from hierax.devices import SAMPLES, Devices, dividing
from hierax.events import Subscriber
from hierax.fields import parameter_count
from hierax.models.common_mesh import Member
from hierax.models.correction import MOST as DENSE
from hierax.models.correction import Correction
from hierax.models.course import Course, CourseState
from hierax.models.family import Family
from hierax.models.generated import learn_generated
from hierax.models.leveled import AbstractLeveled
from hierax.models.levels import learn_levels
from hierax.models.mesh_members import Judged, MeshMembers, missed
from hierax.models.operator_training import learn_operator
from hierax.models.operators import Operator
from hierax.models.regression import SeveralRegressions
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
FEW = 8
"""Members on a finer mesh before the first fit of what it adds."""
VALIDATED = 24
"""Members that judge, and are not learned from; on finer meshes a third of them."""
DEARER = 1.25
"""Power of the parameters with which the seconds of a member are taken to grow to the next mesh."""
MESH_SHARE, JUDGING_SHARE, SOLVING_SHARE, OVERDRAWN = 0.35, 0.5, 0.8, 2.0
"""Parts of the budget after which the mesh has to do, the judges have to do, and no further member is solved; to which
it is overdrawn where there are too few members for any model."""
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

    The member in the middle is solved with all guards; the hardest join it until one mesh suits all. Many further ones
    are solved on a coarser mesh, few on finer ones, by kernels that were compiled once. Reduced bases (proper
    orthogonal decomposition) have coefficients that regressions give; members that are kept apart judge them.

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


class SolvedMember(NamedTuple):
    """A member as it was solved on the mesh of so many parameters, its inputs, and the seconds that it took."""

    mesh: int
    inputs: np.ndarray
    member: Member
    seconds: float


@final
@dataclass
class Learning:
    """One learning, with the members so far.

    Attributes
    ----------
    levels:
        Members on the meshes that are in use, from coarse to fine.
    solved:
        All members that were solved, by mesh and inputs.
    """

    family: Family
    goal: float
    budget: float
    key: int
    course: Course
    levels: list[MeshMembers] = field(default_factory=list)
    failed: list[np.ndarray] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    history: list[tuple[int, float, float, float]] = field(default_factory=list)
    solved: dict[tuple[int, bytes], SolvedMember] = field(default_factory=dict)

    def run(self) -> Surrogate:
        """See `surrogate`."""
        solver = self._solver()
        seconds_mesh = self.course.start(MEMBERS)
        self.solved = {(one.mesh, one.inputs.tobytes()): one for one in self.course.reached(MEMBERS) or ()}
        sizes = " and ".join(str(parameter_count(mesh)) for mesh, _ in solver.meshes)
        self.course.say(f"Mesh: {sizes} parameters for all members, found in {seconds_mesh:.1f} s.")
        first = solver.on(0)
        self._enter(MeshMembers(first, SeenMembers.of(first)))
        return self._made(solver, self._learned(solver), seconds_mesh)

    def _solver(self) -> MemberSolver:
        """The solver of members, on meshes that are kept as soon as they are found."""
        known = self.course.reached("mesh")
        if known is not None:
            meshes, coarse, levels = known
            return replace(MemberSolver.again(self.family, coarse, meshes, self.key), levels=levels)
        share = MESH_SHARE * self.budget
        solver = member_solver(self.family, SHARPER * self.goal, self.key, share, self.course.subscribers)
        assert solver.middle is not None
        if solver.middle.result.exit_code:
            raise InputError(
                f"The member in the middle of the inputs fails: {solver.middle.result.value}",
                "surrogate(family)",
                f"Look at it by hx.train: {dict(zip(self.family.names, self.family.middle().tolist(), strict=True))}.",
            )
        self.course.keep("mesh", (solver.meshes, solver.coarse, solver.levels))
        return solver

    def _member(self, level: MeshMembers, inputs: np.ndarray, start: np.ndarray | None = None) -> SolvedMember:
        """A member, solved once on each mesh."""
        key = level.parameters, inputs.tobytes()
        if key not in self.solved:
            began = self.course.seconds
            found = level.solver.solve(inputs, start)
            self.solved[key] = SolvedMember(level.parameters, inputs, found, self.course.seconds - began)
            self.course.keep(MEMBERS, tuple(self.solved.values()))
        return self.solved[key]

    def _learned(self, solver: MemberSolver) -> str:
        """Members are added, on the mesh where they gain most for their seconds, until that is enough; why it was."""
        while True:
            for level in self.levels:
                if level.fit is None or len(level.inputs) > level.fit.members:
                    level.refit()
            errors = self._errors()
            counts = " and ".join(str(len(level.inputs)) for level in self.levels)
            names = ", ".join(dict.fromkeys(level.fit.name for level in self.levels if level.fit is not None))
            error = float(max(errors))
            self.history.append((len(self.levels[0].inputs), self.course.seconds, float(np.median(errors)), error))
            self.course.say(f"{counts} members, {names}: largest error at members kept apart {error:.2g}.")
            if error <= self.goal:
                return "tolerance"
            if self.course.seconds > SOLVING_SHARE * self.budget:
                return "budget"
            gains = {k: gain for k in range(len(self.levels) + 1) if (gain := self._gain(solver, k)) > 0.0}
            if not gains:
                return "samples"
            best = max(gains, key=gains.__getitem__)
            grown = (
                self._grow(best, 2 * len(self.levels[best].inputs)) if best < len(self.levels) else self._next(solver)
            )
            if not grown:
                return "budget"

    def _errors(self) -> np.ndarray:
        """Relative errors at members kept apart, with what the finest mesh in use leaves in them."""
        return np.hypot(missed(self.levels), [judge.resolution for judge in self.levels[-1].judges])

    def _gain(self, solver: MemberSolver, k: int) -> float:
        """Square of the error over the seconds to lessen it: by members of a mesh in use, or by the next finer mesh.

        Zero where there is no more of either, or no time.
        """
        last = self.levels[-1]
        if k == len(self.levels):
            if k == len(solver.meshes):
                return 0.0
            growth = parameter_count(solver.meshes[k][0]) / last.parameters
            seconds = (FEW + VALIDATED // 3) * float(np.median(last.seconds)) * growth**DEARER
            return last.left**2 / seconds if self.course.seconds + seconds < SOLVING_SHARE * self.budget else 0.0
        level = self.levels[k]
        count = len(level.inputs)
        assert level.fit is not None
        return level.fit.error**2 / (count * float(np.median(level.seconds))) if 2 * count <= MOST else 0.0

    def _grow(self, k: int, count: int) -> bool:
        """Learn from more members of a mesh, up to a number, as long as there is time; whether there are more."""
        level, before = self.levels[k], len(self.levels[k].inputs)
        if k == 0:
            drawn: Sequence[np.ndarray] = list(self.family.drawn(MOST, seed_of(self.key, 20), SPREAD))
        else:
            drawn = self.levels[k - 1].inputs
            if len(drawn) < count:
                self._grow(k - 1, count)
        while len(level.inputs) < count and level.tried < len(drawn):
            inputs = drawn[level.tried]
            if not self._in_time(level, inputs, SOLVING_SHARE, len(level.inputs) < FIRST // 2):
                break
            level.tried += 1
            one = self._member(level, inputs, level.near(inputs))
            if one.member.failure is None:
                level.add(inputs, one.member, one.seconds)
            else:
                self._left_out(inputs, one.member.failure)
        return len(level.inputs) > before

    def _enter(self, level: MeshMembers) -> None:
        """The coarsest mesh, with its first members and those that judge.

        Raises
        ------
        InputError
            Where too few members can be solved.
        """
        self.levels.append(level)
        self._judge(level, VALIDATED, JUDGING_SHARE)
        if not level.judges:
            raise InputError(
                f"No member of {VALIDATED} could be solved: {next(iter(self.reasons))}.",
                "surrogate(family)",
                "Narrow the inputs, or give a larger budget.",
            )
        self._grow(0, FIRST)
        if len(level.inputs) < FIRST // 2 or sum(self.reasons.values()) > FAILED * (self.levels[0].tried + VALIDATED):
            raise InputError(
                f"Only {len(level.inputs)} of {self.levels[0].tried} members were solved in {self.course.seconds:.0f} s"
                + "".join(f"; {n} failed: {reason}" for reason, n in self.reasons.items())
                + ".",
                "surrogate(family)",
                "Give a larger budget, or narrow the inputs.",
            )

    def _next(self, solver: MemberSolver) -> bool:
        """Go to the next finer mesh; whether enough of its members could be solved."""
        below, finer = self.levels[-1], solver.on(len(self.levels))
        seen = replace(SeenMembers.of(finer), sizes=below.seen.sizes)
        level = MeshMembers(finer, seen, below)
        self.levels.append(level)
        self._judge(level, VALIDATED // 3, SOLVING_SHARE)
        self._grow(len(self.levels) - 1, FEW)
        if len(level.judges) >= VALIDATED // 6 and len(level.inputs) >= FEW // 2:
            return True
        self.levels.pop()
        return False

    def _judge(self, level: MeshMembers, count: int, share: float) -> None:
        """Members that are not learned from."""
        for inputs in self.family.drawn(VALIDATED, seed_of(self.key, 21))[:count]:
            if self._in_time(level, inputs, share, len(level.judges) < VALIDATED // 3):
                one = self._member(level, inputs)
                if one.member.failure is None:
                    level.judge(inputs, one.member)
                else:
                    self._left_out(inputs, one.member.failure)

    def _left_out(self, inputs: np.ndarray, failure: str) -> None:
        self.failed.append(inputs)
        self.reasons[failure] += 1

    def _in_time(self, level: MeshMembers, inputs: np.ndarray, share: float, few: bool) -> bool:
        """Whether a member is known, or a share of the budget not over; with few members on the coarsest mesh, which
        are nothing yet, it may be overdrawn."""
        seconds = (OVERDRAWN if few and level.below is None else share) * self.budget
        return (level.parameters, inputs.tobytes()) in self.solved or self.course.seconds < seconds

    def _made(self, solver: MemberSolver, stopped: str, seconds_mesh: float) -> Surrogate:
        first, last = self.levels[0], self.levels[-1]
        bare = Calibration(1.0, 1.0, 0.0, np.zeros(1), np.ones(1))
        seconds, fits = self.course.seconds, [level.fit for level in self.levels if level.fit is not None]
        bases = [fit.basis for fit in fits]
        for k, level in enumerate(self.levels[1:]):
            bases[: k + 1] = [level.lifted(basis) for basis in bases[: k + 1]]
        record = LearningRecord(
            fits[0].name, fits[0].candidates, len(first.inputs), sum(self.reasons.values()), len(last.judges),
            last.parameters, sum(map(len, bases)), seconds, seconds - seconds_mesh, seconds_mesh,
            float(np.median(last.seconds)), stopped, dict(self.reasons), 0.0, tuple(self.history), solver.levels,
            tuple((level.parameters, len(level.inputs)) for level in self.levels),
        )  # fmt: skip
        seen = last.solver.field if len(fits) > 1 and last.parameters <= DENSE else solver.coarse  # as rough as errors
        made = Surrogate(
            dict(self.family.inputs), described(solver.asked), SeveralRegressions.of([fit.model for fit in fits]),
            jnp.asarray(np.vstack(bases)), last.seen.field, last.solver.field, seen, last.solver.floor, bare, record,
            self.key,
        )  # fmt: skip
        made = calibrated(made, last.judges, missed(self.levels), last.left)
        shown = _by_equations(last, made)
        record = replace(record, seconds_prediction=_seconds(made, made.calibration.inputs))
        tried = {"learned": np.array(first.inputs), "failed": np.array(self.failed)}
        return replace(made, record=record, calibration=made.calibration._replace(equations=shown, **tried))


def _seconds(made: Surrogate, inputs: np.ndarray) -> float:
    """What a prediction costs, of several together; they are compiled by now."""
    began, _ = clock.seconds_now(), made.parameters(inputs)
    return (clock.seconds_now() - began) / len(inputs)


def calibrated(made: Surrogate, judges: Sequence[Judged], own: np.ndarray, floor: float) -> Surrogate:
    """With what the members kept apart say of its errors, `own` those of the model alone."""
    errors = np.hypot(own, [judge.resolution for judge in judges])
    inputs = np.array([judge.inputs for judge in judges])
    doubts = made.errors(inputs)
    factor = float(np.median(own / np.maximum(doubts, 1e-300)))
    estimates = np.hypot(factor * doubts, floor)
    bound = max(1.0, NEARLY * float(np.max(errors / estimates)))
    solved = np.array([judges[k].parameters for k in ranked(errors)])
    known = Calibration(factor, bound, floor, errors, estimates, inputs=inputs, solved=solved)
    return replace(made, calibration=known)


def _by_equations(last: MeshMembers, made: Surrogate) -> np.ndarray:
    """Estimates of the equations for some of the members kept apart."""
    correction, found = Correction.of(last.solver, made.coarse), []
    for judge in last.judges[: 0 if correction is None else JUDGED]:
        theta = last.seen.trained(made.parameters(judge.inputs)[0])
        size = correction.size(correction.step(judge.inputs, theta), theta)  # pyright: ignore
        found.append(math.hypot(size, made.calibration.floor))
    return np.array(found)
