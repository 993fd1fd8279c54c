"""The state of a training is one record: copied after any action, it goes on to the same bits."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax import clock as clock_module
from hierax.events import Decision, LevelFinished, Reached
from hierax.objective import AbstractObjective
from hierax.objective.curvature import AbstractCurvature
from hierax.records.run import STATES
from hierax.results.archive import pack, unpack
from hierax.training.context import Context
from hierax.training.fidelities import FidelityFits
from hierax.training.finish import finish
from hierax.training.parts import Asked, PartsState, in_parts
from hierax.training.run import advance, begin, told

CYCLE = hx.VCycle(coarsest=hx.Until(steps=3), share=0.0, cycles=2)


def peak(width=0.2):
    """A nonlinear equation in one coordinate with its values at both ends."""

    def inside(u, x):
        return width * hx.laplacian(u)(x) - u(x) ** 3 + jnp.exp(x[0])

    ends = hx.Residual("ends", lambda u, x, normal: u(x), on="boundary")
    return hx.Problem(hx.Box([0.0], [1.0]), (hx.Residual("inside", inside), ends))


def growth(rate=4.0, start=0.2, most=3.0):
    """`u' = rate u (1 - u / most)`: over a long time least squares fall to the unstable rest at zero."""

    def equation(u, x):
        return hx.derivative(u, "t")(x) - rate * u(x) * (1.0 - u(x) / most)

    first = hx.Residual("start", lambda u, x, normal: u(x) - start, on=hx.Face("t", "lower"))
    return hx.Problem(hx.Box([0.0], [10.0], names=("t",)), (hx.Residual("growth", equation), first))


def fitted():
    x = np.random.default_rng(0).uniform(0, 1, (80, 2))
    noise = 0.05 * np.random.default_rng(1).normal(size=80)
    data = hx.Data("data", x, np.sin(3 * x[:, 0] * x[:, 1]) + noise)
    return hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("x", "y")), (data,))


def inverse():
    x = np.linspace(0, 1, 60)[:, None]
    values = np.exp(-1.5 * x[:, 0]) + 0.01 * np.random.default_rng(0).normal(size=60)

    def decay(w, x):
        return hx.derivative(w.u, "x")(x) + w.rate * w.u(x)

    terms = (hx.Residual("decay", decay), hx.Data("u", x, values))
    return hx.Problem(hx.Box([0.0], [1.0]), terms, unknowns={"u": hx.Function(), "rate": hx.Constant(1.0)})


def network():
    return hx.refine(hx.KAN([2, 2, 1], intervals=3, degree=2, key=0), levels=2)


def planned(problem, *given, **how):
    return problem, hx.plan(problem, *given, **how)


CASES = {
    "nested": lambda: planned(peak(), levels=3),
    "fit": lambda: planned(fitted(), levels=3),
    "network": lambda: planned(fitted(), network(), solver=hx.GaussNewton(), cycle=CYCLE),
    "momentum": lambda: planned(fitted(), network(), solver=hx.adam(1e-3, 20), cycle=CYCLE),
    "continuation": lambda: planned(path(), levels=3),
    "inverse": lambda: planned(inverse(), levels=2),
    "slabs": lambda: planned(growth(), levels=6),
}


def path():
    return hx.Continuation(peak, [1.0, 0.5, 0.2], parameter="width")


def copied(state):
    """The state as it comes back from a file."""
    return unpack(pack(state, STATES), "here", STATES)


def numbers(state):
    """All arrays and numbers that a training leads to; seconds are none of them."""
    kept = {k: v._replace(seconds=0.0, seconds_compile=0.0) for k, v in state.visited.items()}
    easier = [(k, v._replace(seconds=0.0, seconds_compile=0.0)) for k, v in state.easier]
    steps = [(s.level, s.step, s.loss, s.decrease, s.iterations) for s in state.history]
    return kept, easier, state.changes, steps, state.scales, state.corrections, state.slabs


def assert_same_bits(one, other):
    leaves = [jax.tree.leaves(numbers(state)) for state in (one, other)]
    for a, b in zip(*leaves, strict=True):
        assert a == b if isinstance(a, str) or not hasattr(a, "shape") else np.array_equal(a, b), (a, b)


def to_the_end(state, context):
    while state.stopped is None:
        state = advance(state, context)
    return state


def telling(problem, plan):
    """The context of a training, and the sentences of its decisions as they come."""
    said = []
    listen = lambda event: said.append(event.sentence) if isinstance(event, Decision) else None  # noqa: E731
    return Context.of(problem, plan, 0, 600.0, [listen]), said


@functools.cache
def trained(name):
    """Problem and plan, the context of a training, all its states and what it said."""
    problem, plan = CASES[name]()
    context, said = telling(problem, plan)
    states = [begin(context)]
    while states[-1].stopped is None:
        states.append(advance(states[-1], context))
    return problem, plan, context, tuple(states), tuple(said)


@pytest.mark.parametrize("name", CASES)
def test_a_training_goes_on_elsewhere_to_the_same_bits(name):
    problem, plan, context, states, _ = trained(name)
    if name == "slabs":
        assert states[-1].slabs is not None
    for number in sorted({len(states) // 3, 2 * len(states) // 3}):
        elsewhere = Context.of(problem, plan, 0, 600.0)
        assert_same_bits(states[-1], to_the_end(copied(states[number]), elsewhere))
    first, again = finish(states[-1], context), finish(copied(states[-1]), Context.of(problem, plan, 0, 600.0))
    assert first.result is again.result
    assert {k: g.value for k, g in first.guards.items()} == {k: g.value for k, g in again.guards.items()}


@pytest.mark.parametrize("name", ["nested", "network", "fit"])
def test_the_state_holds_no_matrix_no_closure_and_no_objective(name):
    state = trained(name)[3][-1]
    largest = max(v.record(0).parameters for v in state.visited.values())
    for leaf in jax.tree.leaves(state):
        assert not callable(leaf)
        assert not isinstance(leaf, AbstractObjective | AbstractCurvature)
        assert np.size(leaf) < largest**2


class SlowClock:
    """A clock by which everything takes five times as long."""

    def __init__(self):
        self.began = time.perf_counter()

    def __call__(self):
        return self.began + 5.0 * (time.perf_counter() - self.began)


@pytest.mark.parametrize("name", ["nested", "slabs"])
def test_a_clock_that_is_five_times_slower_changes_no_bit(name, monkeypatch):
    problem, plan, _, states, sentences = trained(name)
    monkeypatch.setattr(clock_module, "seconds_now", SlowClock())
    context, said = telling(problem, plan)
    assert_same_bits(states[-1], to_the_end(begin(context), context))
    assert said == list(sentences)


def test_networks_on_levels_are_told_of_when_they_are_trained():
    problem, plan = fitted(), hx.plan(fitted(), network(), solver=hx.GaussNewton())
    assert plan.cycle.corrects
    events = []
    context = Context.of(problem, plan, 0, 600.0, [events.append])
    state = begin(context)
    while 1 not in state.visited:
        state = told(advance(state, context), context)
    assert [e.record.level for e in events if isinstance(e, LevelFinished)] == [0, 1]
    finish(to_the_end(state, context), context)
    assert not any("Of 0 " in e.sentence for e in events if isinstance(e, Decision))


def test_fidelities_go_on_elsewhere_to_the_same_bits():
    x = np.linspace(0, 1, 13)[:, None]
    many, few = (hx.Fidelity(p, np.sin(8 * p[:, 0]) * f, f) for p, f in ((x, 1.0), (x[::3], 2.0)))
    runs = hx.Fidelities(hx.Box([0.0], [1.0]), [many, few])
    states = []
    hx.train(runs, subscribers=[lambda event: states.append(event) if isinstance(event, Reached) else None])
    (reached,) = states
    assert reached.solution().result is hx.RESULTS.interrupted
    ends = [in_parts(FidelityFits(runs, Asked()), state) for state in (PartsState(), copied(reached.state))]
    leaves = [jax.tree.leaves(end.field) for end in ends]
    assert all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))
    assert ends[0].plan == ends[1].plan
