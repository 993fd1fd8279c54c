"""Members of a family solved on one mesh that suits all of them: pilots find it, and everything is compiled once."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from hierax import clock
from hierax._errors import InputError
from hierax.events import Subscriber
from hierax.fields import Scalar, SplineGrid, StretchedGrid, Unknowns, parameter_count
from hierax.hierarchy import IntervalDoubling, Level, refine
from hierax.hierarchy.marking import union_of_breakpoints
from hierax.hierarchy.refinement import on_new_breakpoints, spline_axes
from hierax.models.common_mesh import CommonMesh, Member, rms
from hierax.models.family import Family
from hierax.models.members import member, shared_terms
from hierax.objective.build import MemberTerms
from hierax.objective.objective import flat_parameters
from hierax.planning.choose import plan as planned
from hierax.planning.plan import Plan
from hierax.problems.keys import seed_of
from hierax.problems.problem import Problem
from hierax.results.solution import Solution
from hierax.training.context import Context
from hierax.training.cost import SPEED
from hierax.training.discrete import DiscreteProblem
from hierax.training.finish import finish
from hierax.training.restoring import restored_field
from hierax.training.rivals import solved
from hierax.training.run import begin, run
from hierax.training.state import RunState

PILOTS = 6
"""Most members that are solved on levels of their own, to find the mesh of all."""
CORNERS = 8
"""Most corners of the inputs that are looked at as candidates for pilots."""
EVEN = 4
"""Further candidates inside."""
LOOKED = 3
"""Candidates that are solved on the common mesh at a time: those that a coarse mesh suits least."""
WORSE = 4.0
"""Error of a member over the one that is wanted, above which it may become a pilot."""
MORE = 2
"""Levels of a pilot beyond those that the middle needs, and further ones at a time where these do not settle."""
MEMBERS, DEARER = 150, 4.0
"""Members that have to be solved in the seconds that are given for the mesh; cost of one over that in the middle."""
LARGEST = 60_000
"""Most parameters of the common mesh."""
COARSE = 2e-3
"""Change by the next level up to which a level serves for corrections of predictions."""
FALSE = 1e-4
"""Share of the loss without training, above which what is left of a nonlinear member is a false minimum."""
SEEN = 3.0
"""Error over that of the finest level of a pilot, above which it is seen against that level."""
ROUGH = 1e-2
"""Relative error above which a member is left out: the mesh does not resolve it."""
STEP, FEWER, SMALLEST = 10.0, 2.0, 250
"""From the error of a common mesh to that of a coarser one, least ratio of their parameters, and fewest of these: on
smaller meshes a member costs no less."""


@final
@dataclass(frozen=True, eq=False)
class MemberSolver:
    """Solves members of a family on one mesh.

    Attributes
    ----------
    family, plan:
        What is solved, and how its middle is.
    asked, discrete:
        The member in the middle, and the discretised family.
    coarse:
        A mesh on which errors of predictions are smooth enough to be seen.
    meshes:
        Meshes that suit all members, from coarse to fine, each with the error of a member there over the root of its
        loss, at most, as the pilots show it. Members are solved on the last.
    middle:
        The solution of the member in the middle, with its guards; `None` where the mesh was found before.
    levels:
        Of that member: parameters and seconds of each level, and the relative change by the next.
    """

    family: Family
    plan: Plan
    asked: Problem
    discrete: DiscreteProblem
    coarse: Any
    meshes: tuple[tuple[Any, float], ...]
    middle: Solution | None
    levels: tuple[tuple[int, float, float], ...] = ()

    @property
    def field(self) -> Any:
        """The common mesh."""
        return self.meshes[-1][0]

    @property
    def floor(self) -> float:
        """Error of a member on the common mesh over the root of its loss."""
        return self.meshes[-1][1]

    def on(self, level: int) -> MemberSolver:
        """The solver on one of its meshes."""
        return replace(self, meshes=self.meshes[: level + 1])

    def of(self, inputs: np.ndarray) -> DiscreteProblem:
        """The discretised member."""
        return member(self.discrete, inputs)

    def solve(self, inputs: np.ndarray, start: np.ndarray | None = None) -> Member:
        """Solve a member, from parameters of another one if there are any; where that fails from the coarse mesh."""
        found = self._sound(inputs, self.mesh.solve(inputs, None if start is None else self.built(start)))
        if found.failure is None or self.plan.linear:
            return found
        below = CommonMesh(self.discrete, self.coarse).solve(inputs)
        if below.failure is not None:
            return found
        breakpoints = [axis.breakpoints() for axis in spline_axes(self.field)]
        solved = flat_parameters(self.coarse)[1](below.theta)
        nested = on_new_breakpoints(Level(solved), breakpoints)[0].field
        return self._sound(inputs, self.mesh.solve(inputs, nested))

    @functools.cached_property
    def mesh(self) -> CommonMesh:
        """The common mesh with the members' kernels."""
        return CommonMesh(self.discrete, self.field)

    def _sound(self, inputs: np.ndarray, found: Member) -> Member:
        """A member, as failed where its mesh or its minimum is none."""
        if found.failure is None and self.resolution(found) > ROUGH:
            return found._replace(failure="the mesh does not resolve it")
        if found.failure is None and not self.plan.linear and found.loss > FALSE * self.mesh.untrained(inputs):
            return found._replace(failure="Gauss-Newton steps end in a false minimum")
        return found

    def built(self, theta: np.ndarray) -> Any:
        """The field with these parameters."""
        return flat_parameters(self.field)[1](theta)

    def resolution(self, found: Member) -> float:
        """Estimate of the relative error that the mesh leaves in a member."""
        return self.floor * float(np.sqrt(found.loss)) / rms(found.values)

    @classmethod
    def again(cls, family: Family, coarse: Any, meshes: tuple[tuple[Any, float], ...], key: int) -> MemberSolver:
        """A solver for meshes that were found before; nothing is solved for it."""
        plan, asked, discrete = discretised(family, key)
        return cls(family, plan, asked, discrete, coarse, meshes, None)

    def fully(self, inputs: np.ndarray, seconds: float, start: np.ndarray | None = None) -> tuple[Any, float]:
        """Solve a member on levels of its own, after the common mesh if there are parameters on it to start from.

        Returns
        -------
        The field, and the relative change at its last refinement; infinite where a guard fails.
        """
        plan = self.plan
        if start is not None:
            plan = replace(plan, hierarchy=refine(self.built(start), by=IntervalDoubling(), levels=1))
        context = _context(self.family, plan, self.discrete, inputs, seconds)
        state = run(begin(context), context)
        if not state.visited or finish(state, context).result.exit_code:
            return None, np.inf
        last = max(state.visited)
        return state.visited[last].field, state.changes.get(last, np.inf)


def restored(plan: Plan, asked: Problem, field: Any) -> Any:
    """A field of the training in the user's units."""
    return field if plan.units is None else restored_field(field, asked, plan.units)


def member_solver(
    family: Family, accuracy: float, key: int, budget: float, subscribers: Sequence[Subscriber] = ()
) -> MemberSolver:
    """Find the common mesh: the middle is solved with all guards, then the members that the mesh suits least.

    Parameters
    ----------
    accuracy:
        Relative error that the mesh may leave.
    budget:
        Seconds for all of it.

    Raises
    ------
    InputError
        For families whose members cannot share kernels, and for fields that are no spline grids.
    """
    plan, asked, discrete = discretised(family, key)
    end = clock.seconds_now() + budget
    context = _context(family, plan, discrete, family.middle(), budget, subscribers)
    state = run(begin(context), context)
    middle = solved(state, context)
    accuracy = max(accuracy, _affordable(state, budget))
    meshes = _grown(family, plan, discrete, state, accuracy, key, end)
    return MemberSolver(family, plan, asked, discrete, _resolved(state, COARSE), meshes, middle, _levels(state))


def _levels(state: RunState) -> tuple[tuple[int, float, float], ...]:
    """Parameters of the levels of a run, what they cost by counted work, and how far each is from the next."""
    return tuple(
        (parameter_count(visited.field), visited.work / SPEED, state.changes[level + 1])
        for level, visited in sorted(state.visited.items())
        if level + 1 in state.changes
    )


def _affordable(state: RunState, budget: float) -> float:
    """What is left to the finest level that leaves time for members enough, by counted work."""
    seconds = {k: DEARER * visited.work / SPEED for k, visited in state.visited.items()}
    cheap = [k for k, one in seconds.items() if one * MEMBERS <= budget]
    finest = max(cheap, default=min(seconds))
    return state.changes.get(finest + 1, 0.0)


def discretised(family: Family, key: int) -> tuple[Plan, Problem, DiscreteProblem]:
    """The plan for the member in the middle, that member, and the discretised family."""
    asked = family.problem(family.middle())
    plan = replace(planned(asked, key=key), evolution=None)
    own = plan.in_its_units(asked)
    _refuse_other_fields(plan)
    terms = shared_terms(family, plan, own)
    bare = DiscreteProblem.of(own, plan, seed_of(key, 1))
    return plan, asked, replace(bare, sampled=MemberTerms(own, terms, family.middle()))


def _context(
    family: Family, plan: Plan, discrete: DiscreteProblem, inputs: np.ndarray, budget: float,
    subscribers: Sequence[Subscriber] = (),
) -> Context:  # fmt: skip
    """The context of a training of one member that uses the kernels of all."""
    context = Context.of(family.problem(inputs), plan, discrete.key, budget, tuple(subscribers))
    own = replace(member(discrete, inputs), plan=plan)
    return replace(context, sequence=replace(context.sequence, problems=[own]))


def _refuse_other_fields(plan: Plan) -> None:
    field = plan.hierarchy.levels[0].field
    parts = field.parts.values() if isinstance(field, Unknowns) else (field,)
    other = next((p for p in parts if not isinstance(p, SplineGrid | StretchedGrid | Scalar)), None)
    if other is not None or plan.interfaces:
        kind = "fields with interfaces" if other is None else f"fields of the kind {type(other).__name__}"
        raise InputError(
            f"The default strategy takes {kind} for this family, and surrogates need spline grids.",
            "surrogate(family)",
            "In four and more coordinates let the inputs be coordinates of one problem; otherwise give hx.Samples.",
        )


def _grown(
    family: Family, plan: Plan, discrete: DiscreteProblem, middle: RunState, accuracy: float, key: int, end: float
) -> tuple[tuple[Any, float], ...]:
    """The common meshes, the finest refined for the worst candidates; see `MemberSolver`."""
    pilots = [(family.middle(), middle)]
    candidates = _candidates(family, discrete, _resolved(middle, COARSE), key)
    while True:
        field = _union([_resolved(state, accuracy) for _, state in pilots])
        mesh = CommonMesh(discrete, field)
        floor = _what_is_left(mesh, pilots)
        looked = {k: _missed(mesh, candidates[k], floor) for k in range(min(LOOKED, len(candidates)))}
        worst = max(looked, key=looked.__getitem__, default=None)
        over = clock.seconds_now() > end or parameter_count(field) > LARGEST or len(pilots) >= PILOTS
        if worst is None or over or looked[worst] <= WORSE * accuracy:
            return _with_coarser(discrete, pilots, candidates[:LOOKED], accuracy, (field, floor))
        least = sum(change > accuracy for change in middle.changes.values()) + MORE
        state = _pilot(family, plan, discrete, candidates[worst], accuracy, least, end)
        if state.failure is None and state.visited:
            pilots.append((candidates[worst], state))
        candidates = [one for k, one in enumerate(candidates) if k != worst and looked.get(k, np.inf) > accuracy]


def _what_is_left(mesh: CommonMesh, pilots: Sequence[tuple[np.ndarray, RunState]]) -> float:
    """Error of a member on a mesh over the root of its loss, at most, as the pilots show it."""
    return max(_floor(mesh.discrete, mesh.solve(one), state) for one, state in pilots)


def _with_coarser(
    discrete: DiscreteProblem, pilots: Sequence[tuple[np.ndarray, RunState]], candidates: Sequence[np.ndarray],
    accuracy: float, finest: tuple[Any, float],
) -> tuple[tuple[Any, float], ...]:  # fmt: skip
    """The finest common mesh after coarser ones, nested in it, that resolve the candidates as well."""
    meshes = [finest]
    while (accuracy := STEP * accuracy) <= ROUGH:
        field = _union([_resolved(state, accuracy) for _, state in pilots])
        size = parameter_count(field)
        if size < SMALLEST or FEWER * size > parameter_count(meshes[0][0]) or not _nested(field, meshes[0][0]):
            continue
        mesh = CommonMesh(discrete, field)
        floor = _what_is_left(mesh, pilots)
        if any(_missed(mesh, one, floor) > ROUGH for one in candidates):
            break
        meshes.insert(0, (field, floor))
    return tuple(meshes)


def _nested(coarse: Any, fine: Any) -> bool:
    pairs = zip(spline_axes(coarse), spline_axes(fine), strict=True)
    return all(np.isin(one.breakpoints(), other.breakpoints()).all() for one, other in pairs)


def _pilot(
    family: Family, plan: Plan, discrete: DiscreteProblem, inputs: np.ndarray, accuracy: float, levels: int, end: float
) -> RunState:
    """A member on levels of its own, as many as it needs: layers may be much thinner than in the middle."""
    while True:
        shorter = replace(plan, cycle=plan.cycle.limited(levels))
        context = _context(family, shorter, discrete, inputs, end - clock.seconds_now())
        state = run(begin(context), context)
        settled = state.changes and state.changes[max(state.changes)] <= accuracy
        if settled or state.failure is not None or len(state.visited) < levels or clock.seconds_now() > end:
            return state
        levels += MORE


def _candidates(family: Family, discrete: DiscreteProblem, coarse: Any, key: int) -> list[np.ndarray]:
    """Corners of the inputs and some members inside, those that a coarse mesh suits least first."""
    corners = [] if family.random_fields else _corners(len(family.names), key)
    found = [*(family.valued(np.array(signs)) for signs in corners), *family.drawn(EVEN, seed_of(key, 7))]
    mesh = CommonMesh(discrete, coarse)
    missed = [_missed(mesh, one, 1.0) for one in found]
    return [found[k] for k in np.argsort(missed)[::-1]]


def _missed(mesh: CommonMesh, inputs: np.ndarray, floor: float) -> float:
    """Estimate of the relative error of a mesh for a member; infinite where that is not solved."""
    found = mesh.solve(inputs)
    return floor * float(np.sqrt(found.loss)) / rms(found.values) if found.failure is None else np.inf


def _corners(count: int, key: int) -> list[tuple[float, ...]]:
    """Corners of the inputs in scaled coordinates: all where they are few, else some at random."""
    if 2**count <= CORNERS:
        return list(itertools.product((-1.0, 1.0), repeat=count))
    signs = np.random.default_rng(seed_of(key, 8)).choice([-1.0, 1.0], size=(CORNERS // 2, count))
    return [tuple(row) for row in (*signs, *-signs)]


def _resolved(state: RunState, accuracy: float) -> Any:
    """The coarsest level of a pilot that the next one changed by no more than the accuracy; else the finest."""
    levels = sorted(state.visited)
    settled = (k for k in levels if state.changes.get(k + 1, np.inf) <= accuracy)
    return state.visited[next(settled, levels[-1])].field


def _floor(discrete: DiscreteProblem, found: Member, state: RunState) -> float:
    """Error on the common mesh, against the finest level of the pilot, over the root of the loss.

    Where the common mesh is as good as that level, both are small and the ratio says nothing: then it is that of the
    finest level whose error can be seen.
    """
    finest = max(state.visited)
    exact = discrete.probe(state.visited[finest].field).ravel()
    rest = state.changes.get(finest, 0.0) * rms(exact)
    below = [state.visited[k] for k in sorted(state.visited, reverse=True) if k != finest]
    tried = [(found.values, found.loss), *((discrete.probe(one.field).ravel(), one.loss) for one in below)]
    apart = [(rms(values - exact), np.sqrt(max(loss, 1e-300))) for values, loss in tried]
    error, residual = next((one for one in apart if one[0] > SEEN * rest), apart[0])
    return float((error + rest) / residual)


def _union(fields: Sequence[Any]) -> Any:
    """The first field on the union of the meshes of all."""
    wanted = [[axis.breakpoints() for axis in spline_axes(field)] for field in fields]
    return on_new_breakpoints(Level(fields[0]), union_of_breakpoints(wanted))[0].field
