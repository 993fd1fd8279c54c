"""The parts of a training as functions on small states that are made up: selection, refinement, moves, continuation."""

from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.cycles import Pace
from hierax.hierarchy import MovingKnots
from hierax.hierarchy.transport import RESET, SCALAR
from hierax.objective import flat_parameters
from hierax.objective.compiled import forget_if_many
from hierax.objective.prior import Held
from hierax.training.continuation import ProblemSequence
from hierax.training.corrections import corrected, sentence, solved, unconfirmed, with_level
from hierax.training.cost import SPEED, VISIT_SECONDS, growth_of_work, nominal_seconds, work
from hierax.training.discrete import DiscreteProblem
from hierax.training.galerkin_step import polished
from hierax.training.moving_knots import moved
from hierax.training.refinement import Left, ends_the_budget, growth, precision_reached, settled, too_large
from hierax.training.selection import best_validated, last_level
from hierax.training.state import LevelState, RunState, Slab, SlabsState, StackState, Visited, lasting
from hierax.training.time_slabs import LEAST_FACTOR, NEXT, next_sweep
from hierax.training.visit import Patience


def line(intervals=4, degree=3):
    return hx.SplineGrid.uniform([0.0], [1.0], intervals, degree)


def box():
    """A spline grid in three coordinates, rough along all of them, most along the first."""
    made = hx.SplineGrid.uniform([0.0] * 3, [1.0] * 3, 4, 4)
    x, y, z = np.meshgrid(*(np.arange(n) for n in made.coefficients.shape), indexing="ij")
    return hx.SplineGrid(made.axes, jnp.asarray(3.0 * (-1.0) ** x + 2.0 * (-1.0) ** y + 1.5 * (-1.0) ** z))


def trained(loss=1.0, validation=None, field=None, **more):
    made = Visited(line() if field is None else field, None, loss, 2, 10, 1.0, 0.5, 1e6, validation)
    return made._replace(**more)


def state(losses, **more):
    levels = {k: trained(loss) for k, loss in enumerate(losses)}
    return RunState(None, (), (), (None,), visited=levels, current=len(losses) - 1)._replace(**more)


def poisson(dim=1):
    terms = (
        hx.Residual("inside", lambda u, x: hx.laplacian(u)(x) - 1.0),
        hx.Residual("wall", lambda u, x, normal: u(x), on="boundary"),
    )
    return hx.Problem(hx.Box([0.0] * dim, [1.0] * dim), terms)


def discrete(problem):
    return DiscreteProblem.of(problem, hx.plan(problem), 0)


# the state


def test_costs_of_visits_add_up_and_results_do_not():
    both = trained(0.1, steps=3).after(trained(0.5))
    assert (both.loss, both.steps, both.seconds, both.seconds_compile, both.work) == (0.1, 5, 2.0, 1.0, 2e6)


def test_what_is_started_afresh_is_not_kept():
    solver = SimpleNamespace(kinds=lambda state: (SCALAR, RESET))
    assert lasting(solver, (0.5, np.eye(100))) == (0.5, None)  # pyright: ignore


def test_known_levels_are_those_of_the_last_problem_first():
    run = state([1.0], easier=((0, trained(5.0)), (1, trained(6.0))))
    assert {k: v.loss for k, v in run.known.items()} == {0: 1.0, 1: 6.0}
    assert run.work == 3e6


# selection


@pytest.mark.parametrize(
    ("losses", "over", "level"),
    [([1.0, 0.1], False, 1), ([1.0, 2.0], False, 1), ([1.0, 2.0], True, 0), ([1.0, 0.1], True, 1), ([1.0], True, 0)],
)
def test_a_level_that_was_cut_off_while_worse_is_not_returned(losses, over, level):
    assert last_level(state(losses), over) == level


def test_with_corrections_only_a_level_trained_for_itself_stands_in():
    own = LevelState(np.zeros(1), (1.0,))
    run = state([1.0, 2.0], corrections=StackState({0: own, 1: own._replace(solved=True)}))
    assert last_level(run, True) == 1
    run = run._replace(corrections=with_level(run.corrections, 0, own._replace(solved=True)))  # pyright: ignore
    assert last_level(run, True) == 0


def fake(**parts):
    rows = SimpleNamespace(tells_apart=lambda *_: False)
    plan = SimpleNamespace(indifference=1.05, solver=hx.GaussNewton(), rule=object(), penalties=())
    own = {"rows": rows, "plan": plan, "equations": np.array([False]), "misses": None}
    return SimpleNamespace(**(own | {"refitted": lambda field, state: field} | parts))


def test_the_coarsest_of_equally_good_levels_is_returned():
    levels = {0: trained(1.0, 0.5), 1: trained(1.0, 0.104), 2: trained(1.0, 0.1), 3: trained(1.0, 0.2)}
    assert best_validated(fake(), levels)[0] == 1  # pyright: ignore
    # where the loss shows that it misses the equations, it is too coarse
    levels[1] = levels[1]._replace(loss=10.0)
    assert best_validated(fake(equations=np.array([True])), levels)[0] == 2  # pyright: ignore
    # also where noise makes its validation error the smallest
    levels[1] = levels[1]._replace(validation=0.05)
    assert best_validated(fake(equations=np.array([True])), levels)[0] == 2  # pyright: ignore
    assert best_validated(fake(), {0: trained()}) is None  # pyright: ignore


def test_exact_values_are_computed_once_for_all_levels():
    asked = []
    exact = hx.TabulatedReference(lambda points: asked.append(len(points)) or points[:, 0], 0.0)
    base = poisson()
    own = discrete(hx.Problem(base.domain, base.terms, reference=exact))
    levels = [own.accuracy(line(intervals)) for intervals in (4, 8)]
    assert asked == [8192]
    assert levels[0].relative_l2 == levels[1].relative_l2 == pytest.approx(1.0)


# refinement


def test_changes_that_are_rounding_are_the_end():
    assert precision_reached(2, {1: 1e-10, 2: 9e-11})
    assert not precision_reached(2, {1: 1e-8, 2: 1e-9})
    assert not precision_reached(2, {1: 1e-3, 2: 9e-4})
    found = settled(fake(), 2, {k: trained() for k in range(3)}, {1: 1e-10, 2: 9e-11})  # pyright: ignore
    assert found is not None
    assert found.reason == "converged"
    without_rule = fake(plan=SimpleNamespace(rule=None))
    assert settled(without_rule, 0, {0: trained()}, {}).reason == "levels"  # pyright: ignore


def test_a_level_is_too_large_for_the_plan_or_too_long_for_the_clock():
    own = discrete(poisson())
    coarse, finer = hx.Level(line(8, 5)), hx.Level(line(16, 5))
    assert too_large(own, finer) is None
    small = DiscreteProblem.of(own.problem, own.plan.changed(largest=10), 0)
    assert too_large(small, finer).reason == "levels"  # pyright: ignore
    ratio = growth_of_work(own, finer, coarse, 2)
    assert 1.5 < ratio < 3.0
    worked = trained(work=1e12)
    assert ends_the_budget(own, worked, coarse, finer, 0.51 * ratio, None) is None
    assert ends_the_budget(own, worked, coarse, finer, 0.49 * ratio, None).reason == "budget"  # pyright: ignore
    # seconds that were no work are spent once more, whatever the level
    assert ends_the_budget(own, trained(), coarse, finer, 0.51, None) is None
    assert ends_the_budget(own, trained(), coarse, finer, 0.49, None).reason == "budget"  # pyright: ignore


def test_the_time_of_a_level_holds_its_fit_to_the_values_kept_back():
    points = np.linspace(0.0, 1.0, 60)[:, None]
    own = discrete(hx.Problem(hx.Box([0.0], [1.0]), (hx.Data("u", points, points[:, 0] ** 2),)))
    coarse, finer = hx.Level(line(8)), hx.Level(line(16))
    assert own.rows.held
    assert growth_of_work(own, finer, coarse, 1) == pytest.approx(2 * work(own, finer, coarse) / work(own, coarse))


def test_counted_work_decides_how_a_level_is_refined_and_the_clock_only_whether():
    own, coarse = discrete(poisson(3)), hx.Level(box())
    done = trained(work=1e9, field=coarse.field)
    key, changes = jax.random.key(0), {}
    sizes = {}
    for seconds in (1e9, -1.0):
        for nominal in (1e9, 0.0):
            found = growth(own, coarse, done, changes, key, Left(seconds, nominal))
            sizes[seconds, nominal] = found.finer.parameters
            assert (found.obstacle is not None) == (seconds < 0)
    assert sizes[1e9, 1e9] == sizes[-1.0, 1e9] > sizes[1e9, 0.0] == sizes[-1.0, 0.0]


def test_nominal_seconds():
    assert nominal_seconds(2 * SPEED, 3) == pytest.approx(2 + 3 * VISIT_SECONDS)


# time slabs


def test_the_next_tolerance_follows_from_counted_work():
    slab = Slab(None, (np.array([1e-4, 3e-4]),), unit=SPEED / 4)
    before = SlabsState("", 0.3, (slab, slab))
    plenty, enough, none = (next_sweep(before, left) for left in (1e6, 4.0, 1.0))
    assert plenty.state.tolerance == pytest.approx(NEXT * 0.02)
    assert enough.state.tolerance == pytest.approx(0.02 / (0.8 * 4.0 / 2.0) ** 2)
    assert LEAST_FACTOR > (0.8 * 1.0 / 2.0) ** 2
    assert none.reason == "budget"
    assert next_sweep(before, -1.0).reason == "budget"


# moving knots


def test_moves_are_kept_only_where_the_objective_falls():
    problem = poisson()
    plan = hx.plan(problem, hx.families.Grid(refinement=MovingKnots(moves=3)))
    own = DiscreteProblem.of(problem, plan, 0)
    start = trained(1.0, field=hx.SplineGrid.uniform([0.0], [1.0], 5, 5))
    outcomes = iter([0.5, 0.49])
    said = []
    result = moved(
        own, start, lambda made: trained(next(outcomes), field=made.build(made.theta)), lambda s: not said.append(s)
    )
    assert result.loss == 0.5
    assert result.steps == 6
    assert [s.split(":")[0] for s in said] == ["Knots moved", "Knots stay where they are"]
    without = discrete(problem)
    assert moved(without, start, lambda made: trained(0.0), lambda s: True) is start


# the Galerkin step


def test_no_last_step_for_elliptic_equations_or_without_time():
    own = discrete(poisson())
    levels = {0: trained(field=line(8, 5)), 1: trained(field=line(16, 5))}
    assert polished(own, levels, {1: 1e-2}, 1, 1e9) is None
    assert polished(own, {1: levels[1]}, {1: 1e-2}, 1, 1e9) is None


# corrections


def test_what_is_corrected_and_what_is_solved():
    own = LevelState(np.zeros(1), (1.0,))
    stack = StackState({0: own._replace(above=np.ones(2)), 1: own._replace(solved=True)})
    assert [corrected(stack, k) for k in (0, 1, 2)] == [True, False, False]
    assert [solved(stack, k) for k in (0, 1, 2)] == [False, True, False]
    assert solved(None, 0)
    assert not corrected(None, 0)


def test_corrections_are_counted_in_words_where_there_were_any():
    assert sentence(StackState()) == ""
    said = sentence(StackState(taken=(1.0, 0.5, 0.0, 1.0)))
    assert said == "Of 4 coarse corrections 2 were taken as they were, 1 were refused."


def test_a_level_below_is_trained_for_itself_where_guards_have_nothing_to_compare_with():
    assert unconfirmed(state([1.0, 0.5]), True) == 0
    assert unconfirmed(state([1.0, 0.5]), False) is None
    assert unconfirmed(state([1.0, 0.5], changes={1: 0.1}), True) is None
    assert unconfirmed(state([1.0]), True) is None


# continuation


def test_which_problem_a_level_ends_with():
    sequence = ProblemSequence(["easy", "harder", "asked"], ["", "", ""], first=1)  # pyright: ignore
    assert [sequence.last(level, 1) for level in (0, 1, 2)] == [1, 2, 2]
    assert [sequence.last(level, 0) for level in (0, 1)] == [2, 2]


def test_constants_are_held_as_long_as_equations_hardly_act():
    field = hx.Unknowns(u=line(), rate=hx.Scalar(-1.5))
    penalty = Held("rate", -1.5).gram(field).penalty
    theta = flat_parameters(field)[0]
    own = flat_parameters(hx.Unknowns(u=line(), rate=hx.Scalar(0.5)))[0]
    assert penalty(theta)[0] == 0.0
    assert penalty(own)[0] == pytest.approx(0.5 * 2.0**2)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux limits mappings")
def test_compiled_programs_are_forgotten_before_they_are_too_many(monkeypatch):
    doubled = jax.jit(lambda x: 2.0 * x)
    doubled(1.0)
    for part, left in ((1.0, 1), (0.0, 0)):
        monkeypatch.setattr("hierax.objective.compiled.MOST_MAPPED", part)
        forget_if_many()
        assert doubled._cache_size() == left


# one visit


def test_patience_keeps_the_best_and_ends():
    best = Patience(limit=2)
    for error, theta in ((1.0, 0), (0.5, 1), (0.6, 2), (0.4999, 3)):
        best = best.see(error, np.full(1, theta))
    assert best.exhausted
    assert best.theta == np.ones(1)
    assert best.see(None, np.zeros(1)) is best
    assert Pace() == (0.0, 0.0, 0.0)
