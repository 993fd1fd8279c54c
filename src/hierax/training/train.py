"""`train`: the entrance, which plans where no plan is given, runs the loop, and returns the solution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import optax

from hierax import clock
from hierax._errors import InputError, TrainingError
from hierax._results import RESULTS
from hierax.clock import compile_seconds
from hierax.cycles import AbstractCycle
from hierax.devices import PARTS, POINTS, Devices, dividing
from hierax.events import AbstractWatcher, EventDispatcher, Subscriber
from hierax.planning.choose import plan as planned
from hierax.planning.data import is_table
from hierax.planning.placing import refuse_open
from hierax.planning.plan import Plan
from hierax.planning.words import chosen
from hierax.problems.fidelities import Fidelities
from hierax.problems.problem import Problem
from hierax.results.solution import Solution
from hierax.solvers import AbstractSolver, Schwarz
from hierax.training.fidelities import FidelityFits
from hierax.training.outputs import OutputFits
from hierax.training.parts import AbstractParts, Asked, PartsState, in_parts
from hierax.training.rivals import carried_out
from hierax.training.state import RunState, in_parts_of


def train(
    problem: Problem,
    hierarchy: Any = None,
    *,
    field: Any = None,
    solver: AbstractSolver | optax.GradientTransformation | str | None = None,
    cycle: AbstractCycle | str | None = None,
    levels: int | None = None,
    plan: Plan | None = None,
    key: int | jax.Array = 0,
    budget: float = 60.0,
    subscribers: Iterable[Subscriber] = (),
    throw: bool = False,
    devices: Devices | None = None,
) -> Solution:
    """Train a field, or a hierarchy of fields, on a problem.

    Parameters
    ----------
    problem:
        What is to be learned; of `Fidelities` the dearest, with the help of the others; of a `Continuation` the last,
        by way of the others; of a table with several outputs each on its own, unless other arguments say how.
    hierarchy, field:
        Nothing, and the default strategy chooses; a `Hierarchy` from `refine`; a field, any callable Equinox module,
        which becomes its only level; a family of fields such as `hierax.families.SplineNetwork()`; or its word. Both
        names mean the same.
    solver, cycle, levels:
        In place of the strategy's own choice: a solver or an Optax optimiser, a cycle, or the words of the command line
        (`"adam"`, `"v"`).
    plan:
        What is done, from `hierax.plan`, in place of `hierarchy`, `solver`, `cycle` and `levels`.
    key:
        Seed or JAX key; the same key gives the same bits on the same machine.
    budget:
        Seconds after which training stops with what it has.
    subscribers:
        Functions that get every event, such as `hierax.Progress()`, which displays them; watchers also see every step.
    throw:
        Whether a result other than `successful` raises.
    devices:
        Those that points are divided between, and subdomains where there are such, of this process or of several that
        call this alike; one if not given. The result is that of one device but for the order in which sums are rounded.
        Of several processes the first tells the subscribers.

    Returns
    -------
    Solution
        The trained field with records, guards and errors.

    Raises
    ------
    InputError
        For 32-bit parameters with a second-order solver, a plan beside what a plan decides, more devices than there
        are or devices for what is not there, and what the parts refuse.
    TrainingError
        With `throw`, for any result other than `successful`.
    """
    if hierarchy is not None and field is not None:
        raise InputError("a hierarchy and a field", "train(..., hierarchy=..., field=...)", "give one of them")
    words = {**chosen(hierarchy if field is None else field, solver, cycle), "levels": levels}
    if plan is not None:
        _refuse_beside_plan(problem, words)
        refuse_open(problem, plan.hierarchy)
    with dividing(devices, (POINTS, PARTS)):
        began = clock.seconds_now(), compile_seconds()
        parts = None if plan is not None else _parts_of(problem, words, Asked(key, budget, _told(subscribers), *began))
        if parts is not None:
            _check_axis(devices, None)
            solution = in_parts(parts)
        else:
            plan = plan or planned(problem, key=key, **words)
            _check_axis(devices, plan)
            solution = carried_out(problem, plan, key=key, budget=budget, subscribers=subscribers, began=began)
    if throw and solution.result is not RESULTS.successful:
        raise TrainingError(solution.result.value)
    return solution


def go_on(
    state: RunState | PartsState,
    problem: Problem,
    how: Plan | Mapping[str, Any],
    *,
    key: int | jax.Array,
    budget: float,
    subscribers: Iterable[Subscriber] = (),
    devices: Devices | None = None,
) -> Solution:
    """Train on from a state, with the problem and key that led to it, to the bits that `train` would come to.

    Parameters
    ----------
    how:
        The plan of the training; of one in parts the arguments `hierarchy`, `solver`, `cycle` and `levels`.
    devices:
        As those of `train`; others than before lead to the same but for rounding.
    """
    with dividing(devices, (POINTS, PARTS)):
        _check_axis(devices, how if isinstance(how, Plan) else None)
        if isinstance(state, RunState):
            assert isinstance(how, Plan)
            own = in_parts_of(how, state)
            return carried_out(problem, how, key=key, budget=budget, subscribers=subscribers, state=own)
        assert isinstance(how, Mapping)
        began = clock.seconds_now() - state.seconds, compile_seconds() - state.seconds_compile
        parts = _parts_of(problem, how, Asked(key, budget, _told(subscribers), *began))
        assert parts is not None
        return in_parts(parts, state)


def _check_axis(devices: Devices | None, plan: Plan | None) -> None:
    """Refuse to divide subdomains where there are none."""
    if devices is not None and not (plan and isinstance(plan.solver, Schwarz)):
        devices.division((POINTS,))


def _parts_of(problem: Problem, words: Mapping[str, Any], asked: Asked) -> AbstractParts | None:
    """The parts of a training that has several."""
    if isinstance(problem, Fidelities):
        return FidelityFits(problem, asked, dict(words))
    given = any(part is not None for part in words.values())
    return OutputFits(problem, asked) if not given and len(problem.functions) > 1 and is_table(problem) else None


def _told(subscribers: Iterable[Subscriber]) -> EventDispatcher:
    """All but those who watch the steps of one problem."""
    return EventDispatcher(tuple(s for s in subscribers if not isinstance(s, AbstractWatcher)))


def _refuse_beside_plan(problem: Problem, parts: dict[str, Any]) -> None:
    given = [name for name, part in parts.items() if part is not None]
    if given or isinstance(problem, Fidelities):
        raise InputError(
            what=f"a plan and {', '.join(given)}" if given else "a plan for several fidelities, which are not planned",
            where="train(..., plan=...)",
            remedy=f"leave out {', '.join(given) or 'the plan'}, or change the plan: plan.changed(...)",
        )
