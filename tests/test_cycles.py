"""Cycles as state machines: the order of visits, growths and ends, with outcomes written by hand and no network."""

from collections.abc import Callable, Iterator

import pytest

from hierax.cycles import (
    AbstractCycle,
    AdditiveCycle,
    Ascend,
    Automatic,
    Descend,
    Done,
    FCycle,
    FullMultigrid,
    Grow,
    LineSearch,
    NestedIteration,
    Outcome,
    Pace,
    SingleLevel,
    Trial,
    Until,
    VCycle,
    Visit,
    WCycle,
)


def walk(cycle: AbstractCycle, levels: int, answer: Callable[[object, int], Outcome], most: int = 50) -> list:
    """All actions of a cycle; `answer(action, levels)` says what an action brings."""

    def actions() -> Iterator:
        state, action = cycle.next(cycle.init(levels), None)
        count = levels
        for _ in range(most):
            yield action
            if isinstance(action, Done):
                return
            outcome = answer(action, count)
            count = outcome.levels
            state, action = cycle.next(state, outcome)
        raise AssertionError("the cycle does not end")

    return list(actions())


def growing(limit: int, changes: list[float], obstacle: str = "levels") -> Callable[[object, int], Outcome]:
    """Levels can be made up to `limit`; `changes[k]` is the change of the solution when level `k` was trained."""

    def answer(action: object, levels: int) -> Outcome:
        if isinstance(action, Visit):
            change = changes[action.level] if 0 < action.level < len(changes) else None
            return Outcome(action.level, levels, True, change)
        if levels >= limit:
            return Outcome(levels - 1, levels, False, obstacle=obstacle)
        return Outcome(levels, levels + 1, False)

    return answer


def shape(actions: list) -> list:
    return [a.level if isinstance(a, Visit) else "grow" if isinstance(a, Grow) else a.reason for a in actions]


def test_given_levels_are_visited_from_coarse_to_fine_once():
    cycle = NestedIteration(most=3)
    assert shape(walk(cycle, 3, growing(9, [1.0] * 9))) == [0, 1, 2, "levels"]


def test_levels_grow_until_the_solution_stands_still():
    cycle = NestedIteration(tolerance=1e-3)
    changes = [1.0, 1e-1, 1e-2, 1e-4, 1e-5]
    assert shape(walk(cycle, 1, growing(9, changes))) == [0, "grow", 1, "grow", 2, "grow", 3, "converged"]


def test_growth_that_is_refused_ends_with_its_reason():
    for reason in ("levels", "budget", "stalled"):
        actions = walk(NestedIteration(), 1, growing(2, [1.0] * 9, reason))
        assert shape(actions) == [0, "grow", 1, "grow", reason]


def test_an_obstacle_after_a_visit_ends_without_growing():
    def answer(action, levels):
        return Outcome(action.level, levels, True, None, "stalled")

    assert shape(walk(NestedIteration(), 1, answer)) == [0, "stalled"]
    # levels that are there already are visited all the same
    assert shape(walk(NestedIteration(), 3, answer)) == [0, 1, 2, "stalled"]


def test_small_change_counts_before_the_limit_of_levels():
    cycle = NestedIteration(tolerance=1e-3, most=2)
    assert shape(walk(cycle, 1, growing(9, [1.0, 1e-4])))[-1] == "converged"
    assert shape(walk(cycle, 1, growing(9, [1.0, 1e-1])))[-1] == "levels"


def test_rules_for_switching_belong_to_levels():
    rules = (Until(steps=1), Until(steps=5), Until(stall=1e-2))
    actions = walk(NestedIteration(switch=rules, most=4), 4, growing(4, [1.0] * 4))
    assert [a.until for a in actions[:-1]] == [rules[0], rules[1], rules[2], rules[2]]
    one = Until(stall=1e-3)
    assert {a.until for a in walk(NestedIteration(one, most=3), 3, growing(3, [1.0] * 3))[:-1]} == {one}


@pytest.mark.parametrize(("level", "visited"), [(None, 3), (0, 0), (2, 2)])
def test_single_level(level, visited):
    assert shape(walk(SingleLevel(level), 4, growing(4, [1.0] * 4))) == [visited, "levels"]


def test_cycles_are_pure():
    """The same state and outcome give the same action: nothing is remembered outside of the state."""
    cycle = NestedIteration(tolerance=1e-3)
    state = cycle.init(2)
    outcome = Outcome(1, 2, True, 1.0)
    assert cycle.next(state, outcome) == cycle.next(state, outcome)
    first = walk(cycle, 1, growing(4, [1.0] * 9))
    assert walk(cycle, 1, growing(4, [1.0] * 9)) == first


@pytest.mark.parametrize(
    ("until", "steps", "decrease", "before", "after", "ends"),
    [
        (Until(), 100, 0.0, 1.0, 1.0, False),
        (Until(steps=3), 2, 1.0, 1.0, 0.5, False),
        (Until(steps=3), 3, 1.0, 1.0, 0.5, True),
        (Until(stall=0.1), 1, 0.05, float("inf"), 1.0, False),  # the first step has nothing to compare with
        (Until(stall=0.1), 2, 0.5, 1.0, 0.5, False),
        (Until(stall=0.1), 2, 0.05, 1.0, 0.5, True),  # the model promises little
        (Until(stall=0.1), 2, 0.5, 1.0, 0.99, True),  # the step brought little
    ],
)
def test_when_a_visit_ends(until, steps, decrease, before, after, ends):
    assert until.reached(steps, decrease, before, after) is ends


def falling(factor: float, limit: int = 9) -> Callable[[object, int], Outcome]:
    """Every visit, and every way up, multiplies the objective."""
    value = [1.0]

    def answer(action: object, levels: int) -> Outcome:
        if isinstance(action, Grow):
            made = min(levels, limit - 1)
            return Outcome(made, made + 1, False, obstacle="levels" if levels >= limit else None)
        value[0] *= factor
        level = action.level - 1 if isinstance(action, Descend) else action.level
        return Outcome(level, levels, True, 1.0, None, value[0])

    return answer


def path(actions: list) -> str:
    """Visits by their level, ways down and up by strokes."""
    signs = {Descend: "v", Ascend: "^", Grow: "+"}
    return "".join(str(a.level) if isinstance(a, Visit) else signs.get(type(a), "") for a in actions)


@pytest.mark.parametrize(
    ("cycle", "levels", "expected"),
    [
        (VCycle(cycles=1), 3, "2v1v0^1^2"),
        (VCycle(cycles=2), 2, "1v0^11v0^1"),
        (VCycle(pre=Until(steps=0), cycles=1), 3, "vv0^1^2"),
        (WCycle(cycles=1), 3, "2v1v0^11v0^1^2"),
        (FCycle(cycles=1), 4, "3v2v1v0^11v0^1^22v1v0^1^2^3"),
        (AdditiveCycle(cycles=1), 4, "vvv01^2^3^"),
        (VCycle(cycles=3), 1, "0"),
        (FullMultigrid(VCycle(cycles=1)), 3, "01v0^12v1v0^1^2"),
        (FullMultigrid(VCycle(cycles=1), NestedIteration(most=3)), 1, "0+1v0^1+2v1v0^1^2"),
    ],
)
def test_the_way_of_a_cycle(cycle, levels, expected):
    actions = walk(cycle, levels, falling(0.5, limit=levels if levels > 1 else 9))
    assert path([a for a in actions if not (isinstance(a, Grow) and levels > 1)]) == expected


def test_cycles_end_when_one_brings_little():
    assert path(walk(VCycle(cycles=9, share=0.5), 2, falling(0.99))) == "1v0^1" * 2
    assert walk(VCycle(cycles=9, share=0.5), 2, falling(0.99))[-1] == Done("converged")
    assert walk(VCycle(cycles=3, share=0.5), 2, falling(0.1))[-1] == Done("levels")


def quadratic(minimum: float) -> Trial:
    """A fine objective along a change, `(t - minimum)^2`."""
    return Trial(lambda t: (t - minimum) ** 2, minimum**2, -2 * minimum)


def test_line_search_never_raises():
    assert LineSearch().accept(quadratic(1.0)) == (1.0, 0.0)
    share, value = LineSearch().accept(quadratic(0.2))
    assert share == pytest.approx(0.2)
    assert value == pytest.approx(0.0)
    assert LineSearch().accept(quadratic(-1.0)) == (0.0, 1.0)
    assert LineSearch().accept(quadratic(1.0)._replace(value=lambda t: float("nan")))[0] == 0.0


def halting(promise: float, rate: float, falls: list[float]) -> Callable[[object, int], Outcome]:
    """Three levels whose solver ends with a promise at a rate; `falls[k]` is what cycle `k` does to the objective."""
    value, left = [1.0], list(falls)

    def answer(action: object, levels: int) -> Outcome:
        if isinstance(action, Ascend):
            value[0] *= left.pop(0) if action.level == 2 else 1.0
        level = action.level - 1 if isinstance(action, Descend) else action.level
        own = isinstance(action, Visit) and action.until.steps is None
        if own:
            value[0] = 1.0
        work = 1.0 if isinstance(action, Visit) else 0.0
        obstacle = "levels" if level == 2 else None
        pace = Pace(work, rate, promise if level == 2 else 0.0)
        return Outcome(level, levels, True, None, obstacle, value[0], pace=pace)

    return answer


PLAN = "2v1v0^1^2"


@pytest.mark.parametrize(
    ("promise", "rate", "falls", "expected"),
    [
        (1e-6, 0.01, [], "012"),  # the solver is done: no correction can help
        (0.1, 0.01, [1.0], "012" + PLAN),  # one cycle is tried, and does nothing
        (0.1, 0.05, [0.9, 0.5], "012" + PLAN),  # less than the solver for the same work (six visits)
        (0.1, 0.01, [0.5, 0.8, 0.97], "012" + 3 * PLAN),  # two that pay, one that does not
    ],
)
def test_cycles_are_chosen_where_they_contract_more_than_the_solver(promise, rate, falls, expected):
    cycle = Automatic(VCycle(cycles=9, coarsest=Until(steps=5)))
    actions = walk(cycle, 3, halting(promise, rate, falls))
    assert path(actions) == expected
    assert actions[-1] == Done("levels")


def test_the_number_of_levels_reaches_the_nested_iteration_within():
    for cycle in (Automatic(), FullMultigrid()):
        assert cycle.limited(3).nested == NestedIteration(most=3)
    assert VCycle().limited(3) == VCycle()
