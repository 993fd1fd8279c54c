"""Time slabs: the field, regridding, what is felt along time, and fronts that move and merge."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import values_at
from scipy.integrate import solve_ivp

import hierax as hx
from hierax import RESULTS
from hierax.events import Decision
from hierax.fields import Frame, MovingGrid, Slabs, SplineGrid, Unknowns, parameter_count
from hierax.fields.axis import collocation
from hierax.fields.base import positions
from hierax.fields.moving import in_frame
from hierax.hierarchy.drift import drift
from hierax.hierarchy.regrid import coarsened, held, motion, refined, regrid, rms
from hierax.objective.evolution import evolution
from hierax.objective.pointwise import point_term
from hierax.planning.choose import choose
from hierax.planning.families import DecodedFeatures
from hierax.records import load, save
from hierax.training import refinement
from hierax.training.discrete import DiscreteProblem
from hierax.training.state import SlabsState
from hierax.training.time_slabs import FIRST_TOLERANCE, Stuck, Sweep, TimeSlabs

RNG = np.random.default_rng(3)


def grid(low, high, intervals, out=None):
    bare = SplineGrid.uniform([low, -1.0], [high, 1.0], intervals, [3, 4], out=out, periodic=[False, True])
    return SplineGrid(bare.axes, RNG.normal(size=bare.coefficients.shape))


def slabs(out=None):
    return Slabs([grid(0.0, 0.25, (2, 9), out), grid(0.25, 0.75, (4, 6), out), grid(0.75, 1.0, (3, 12), out)], 0)


def points(count=60):
    return np.stack([RNG.uniform(0, 1, count), RNG.uniform(-1, 1, count)], axis=1)


def test_slabs_are_their_parts():
    field, where = slabs(2), points()
    values = values_at(field, where)
    for k, part in enumerate(field.parts):
        own = field.slab_of(where) == k
        assert own.any()
        np.testing.assert_allclose(values[own], values_at(part, where[own]), rtol=1e-13, atol=1e-13)
    slope = values_at(jax.jacfwd(field), where)
    own = field.slab_of(where) == 1
    np.testing.assert_allclose(slope[own], values_at(jax.jacfwd(field.parts[1]), where[own]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("out", [None, 2])
def test_gathered_slabs_are_the_traced_ones(out):
    field, where = slabs(out), points()
    indices, local = field.gather(where)
    traced, pieces = values_at(lambda x: field.at(field.locate(x)), where)
    np.testing.assert_array_equal(indices, traced)
    for a, b in zip(jax.tree.leaves(local), jax.tree.leaves(pieces), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)
    assert len(positions(field, 2)) == parameter_count(field)
    assert len(np.unique(field.cell_keys(points(4000)))) == 2 * 9 + 4 * 6 + 3 * 12


def test_slabs_refuse_gaps_and_mixtures():
    with pytest.raises(ValueError, match="slab 0 ends at"):
        Slabs([grid(0.0, 0.25, (2, 9)), grid(0.5, 0.75, (4, 6))], 0)
    with pytest.raises(ValueError, match="same degrees"):
        Slabs([grid(0.0, 0.25, (2, 9)), grid(0.25, 0.75, (4, 6), 2)], 0)
    with pytest.raises(ValueError, match="at least one"):
        Slabs([], 0)


def test_slabs_are_kept_in_files(tmp_path):
    field = Unknowns(u=slabs(), v=slabs(2))
    save(field, tmp_path / "kept.npz")
    other = load(tmp_path / "kept.npz")
    for a, b in zip(jax.tree.leaves(field), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    x = jnp.array([0.3, 0.1])
    np.testing.assert_array_equal(field(x)["v"], other(x)["v"])


# grids


def test_regridding_keeps_what_the_new_knots_can_hold():
    field = grid(0.0, 1.0, (6, 8))
    times, space = np.linspace(0.0, 0.5, 7), np.sort(np.r_[field.breakpoints()[1], 0.1, 0.33])
    part = regrid(Unknowns(u=field), [times, space]).u
    where = points() * [0.5, 1.0]
    np.testing.assert_allclose(values_at(part, where), values_at(field, where), rtol=1e-11, atol=1e-11)
    after = held(field, 0, np.linspace(1.0, 1.2, 4))
    x = np.array([[1.0, 0.2], [1.17, 0.2]])
    np.testing.assert_allclose(values_at(after, x), float(field(x[0])), rtol=1e-12)


def test_the_size_of_a_solution_does_not_depend_on_where_knots_crowd():
    step = SplineGrid.uniform([0.0, -1.0], [1.0, 1.0], (4, 8), 1)
    places = np.asarray(step.axes[1].positions())
    step = SplineGrid(step.axes, np.broadcast_to(np.where(places > 0.7, 3.0, 0.0), step.coefficients.shape))
    crowded = regrid(step, [step.breakpoints()[0], np.union1d(step.breakpoints()[1], np.linspace(0.75, 1.0, 200))])
    assert rms(step) == pytest.approx(3.0 * np.sqrt((0.125 + 0.25) / 2), rel=1e-12)
    assert rms(crowded) == pytest.approx(rms(step), rel=0.2)
    assert rms(Unknowns(u=step, v=crowded)) == max(rms(step), rms(crowded))


def test_collocation_sums_to_one():
    axis = grid(0.0, 1.0, (6, 8)).axes[1]
    np.testing.assert_allclose(collocation(axis, np.linspace(-1, 1, 33)).sum(axis=1), 1.0, rtol=1e-13)


def test_halving_and_merging_are_inverse():
    breaks = np.linspace(0.0, 4.0, 5)
    finer = refined(breaks, np.array([0.0, 0.0, 1.0, 0.0]), 0.5)
    np.testing.assert_allclose(finer, [0, 1, 1.5, 2, 2.5, 3, 3.5, 4])
    np.testing.assert_allclose(coarsened(finer, np.zeros(7), 1.0, 1.0), breaks)
    np.testing.assert_allclose(coarsened(finer, np.full(7, 1.0), 1.0, 1.0), finer)


def test_motion_tells_moving_fronts_from_standing_ones():
    def fitted(speed):
        bare = SplineGrid.uniform([0.0, -1.0], [1.0, 1.0], (24, 48), 4)
        where = [axis.positions() for axis in bare.axes]
        t, x = np.meshgrid(*where, indexing="ij")
        values = np.tanh(40 * (x + 0.5 - speed * t))
        for k, axis in enumerate(bare.axes):
            values = np.moveaxis(np.linalg.solve(collocation(axis, where[k]), np.moveaxis(values, k, 0)), 0, k)
        return SplineGrid(bare.axes, values)

    assert motion(fitted(0.0), 0) < 1.3
    assert motion(fitted(1.0), 0) > 2.5


# frames that move


def travelling(speed, period=2.0):
    """A pulse that travels along x, on a grid in a frame at rest."""
    frame = Frame.resting([0.0, -1.0], [1.0, 1.0], [False, True], 0)
    bare = SplineGrid.uniform([0.0, -1.0], [0.1, 1.0], (8, 60), 5, periodic=[False, True])
    where = [axis.positions() for axis in bare.axes]
    t, x = np.meshgrid(*where, indexing="ij")
    values = np.exp(8.0 * np.cos(2 * np.pi / period * (x - speed * t)) - 8.0)
    for k, axis in enumerate(bare.axes):
        values = np.moveaxis(np.linalg.solve(collocation(axis, where[k]), np.moveaxis(values, k, 0)), 0, k)
    return MovingGrid(SplineGrid(bare.axes, values), frame)


def test_a_frame_takes_points_there_and_back():
    frame = Frame.resting([0.0, -1.0], [1.0, 1.0], [False, True], 0).turned(np.array([3.0, 0.7]), 0.25)
    where = points()
    inside = frame.inside(where)
    np.testing.assert_allclose(frame.outside(inside), where, rtol=0, atol=1e-14)
    np.testing.assert_allclose(values_at(frame, where), inside, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(inside[:, 0], where[:, 0])
    assert np.all((inside[:, 1] >= -1.0) & (inside[:, 1] < 1.0))
    # at the time of the turn both frames agree
    np.testing.assert_allclose(frame.inside(np.array([[0.25, 0.6]])), [[0.25, 0.6]], rtol=0, atol=1e-14)


@pytest.mark.parametrize("speed", [-3.0, 0.0, 0.5])
def test_a_frame_follows_what_travels(speed):
    field = travelling(speed)
    velocity = drift(Unknowns(u=field, v=field), 0)
    np.testing.assert_allclose(velocity, [0.0, speed], rtol=0, atol=1e-4)
    # seen from a frame with that velocity it stands still
    again = in_frame(held(field, 0, np.linspace(0.1, 0.2, 5)), field.frame.turned(velocity, 0.1))
    x = np.stack([np.full(40, 0.2), np.linspace(-1, 1, 40)], axis=1)
    exact = np.exp(8.0 * np.cos(np.pi * (x[:, 1] - 0.2 * speed)) - 8.0)
    np.testing.assert_allclose(values_at(again, x), exact, rtol=0, atol=2e-4)


def test_nothing_moves_along_walls():
    assert np.all(
        drift(SplineGrid(grid(0, 1, (4, 6)).axes[:1] + grid(0, 1, (4, 6)).axes[:1], RNG.normal(size=(7, 7))), 0) == 0
    )


def pulse(speed):
    """A pulse of width 0.05 that travels and spreads, on a circle of length one."""
    width, diffusion = 0.05, 1e-3

    def exact(x):
        square = width**2 + 2 * diffusion * x[0]
        shifts = [(x[1] - 0.4 - speed * x[0] + 0.5) % 1.0 - 0.5 + m for m in (-1, 0, 1)]
        return width / jnp.sqrt(square) * sum(jnp.exp(-(s**2) / (2 * square)) for s in shifts)

    def equation(u, x):
        d = hx.derivative
        return d(u, "t")(x) + speed * d(u, "x")(x) - diffusion * d(u, "xx")(x)

    first = hx.Residual("start", lambda u, x, normal: u(x) - exact(x), on=hx.Face("t", "lower"))
    box = hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x"), periodic=("x",))
    return hx.Problem(box, (hx.Residual("pulse", equation), first), reference=exact)


def swept(problem, tolerance):
    discrete = DiscreteProblem.of(problem, choose(problem, key=0), 0)
    sweep = TimeSlabs.of(discrete, lambda: np.inf, lambda *_: None).swept(SlabsState("", tolerance))
    return sweep.state.slabs, discrete.accuracy(sweep.field).relative_l2


def test_the_cost_of_a_sweep_does_not_depend_on_the_frame():
    (resting, error), (moving, moved) = swept(pulse(0.0), 1e-3), swept(pulse(5.0), 1e-3)
    assert max(error, moved) < 1e-3
    # a few short ones until the velocity is known
    assert len(moving) <= len(resting) + 6
    assert sum(slab.work for slab in moving) < 3.0 * sum(slab.work for slab in resting)
    assert moving[-1].field.frame.velocity[1] == pytest.approx(5.0, abs=1e-2)


def test_linear_levels_that_settle_take_slabs_only_where_a_frame_can_follow(monkeypatch):
    monkeypatch.setattr(refinement, "motion", lambda field, axis: 4.0)
    circle = pulse(1.0)
    box = hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x"))
    wall = hx.Residual("wall", lambda u, x, normal: u(x), on=hx.Face("x", "lower"))
    walls = hx.Problem(box, (*circle.terms, wall))
    for problem, wanted in ((circle, {0.1, 0.9}), (walls, {0.9})):
        discrete, found = DiscreteProblem.of(problem, choose(problem, key=0), 0), set()
        assert discrete.plan.linear
        for loss in (0.1, 0.9):
            visited = {k: SimpleNamespace(loss=value, field=None) for k, value in enumerate((8.0, 4.0, 1.0, loss))}
            if refinement.wants_slabs(discrete, 3, {3: 0.1}, visited) is not None:  # pyright: ignore
                found.add(loss)
        assert found == wanted


def test_slabs_that_a_sweep_does_not_refine_show_their_jumps():
    (loose, error), jumps = swept(pulse(1.0), 0.3), []
    for before, after in itertools.pairwise(loose):
        x = np.linspace(0.0, 1.0, 400)
        both = np.stack([np.full_like(x, after.field.grid.breakpoints()[0][0]), x], axis=1)
        one, other = (np.asarray(values_at(slab.field, both)) for slab in (before, after))
        jumps.append(np.sqrt(np.mean((one - other) ** 2) / np.mean(other**2)))
    assert len(loose) > 1
    np.testing.assert_allclose([slab.jump for slab in loose[1:]], jumps, rtol=0.3)
    assert error < 3.0 * sum(slab.jump for slab in loose)


# what is felt along time


def telegraph():
    terms = (
        hx.Residual("v", lambda w, x: 3 * hx.derivative(w.v, "tt")(x) - hx.derivative(w.v, "xx")(x) + w.v(x) ** 3),
        hx.Residual("u", lambda w, x: 2 * hx.derivative(w.u, "t")(x) - w.v(x) * w.p(x)),
        hx.Residual("p", lambda w, x: hx.derivative(w.p, "xx")(x) - w.u(x)),
        hx.Residual("start", lambda w, x, n: w.u(x), on=hx.Face("t", "lower")),
    )
    box = hx.Box([0.0, 0.0], [2.0, 1.0], names=("t", "x"), periodic=("x",))
    return hx.Problem(box, terms, unknowns={"u": hx.Function(), "v": hx.Function(), "p": hx.Function()})


def test_orders_in_time_are_felt():
    seen = evolution(telegraph())
    assert seen is not None
    assert {name: int(order[0]) for name, order in seen.orders.items()} == {"u": 1, "v": 2, "p": 0}
    assert len(seen.links) == 2
    np.testing.assert_allclose([s[0] for s in seen.scales[:2]], [3 / 2.0**2, 2 / 2.0], rtol=1e-12)


def test_strong_damping_holds_errors_back():
    damped = hx.Residual("r", lambda u, x: hx.derivative(u, "tt")(x) + 1e3 * hx.derivative(u, "t")(x) + u(x))
    start = hx.Residual("start", lambda u, x, n: u(x), on=hx.Face("t", "lower"))
    seen = evolution(hx.Problem(hx.Box([0.0], [2e3], names=("t",)), (damped, start)))
    assert seen is not None
    np.testing.assert_allclose([s[0] for s in seen.scales], [1e3 / 2e3, 1.0], rtol=1e-12)


def test_what_is_no_evolution():
    steady = hx.Problem(hx.Box([0, 0], [1, 1]), (hx.Residual("r", lambda u, x: hx.laplacian(u)(x)),))
    assert evolution(steady) is None
    box = hx.Box([0, 0], [1, 1], names=("t", "x"))
    ends = hx.Residual("ends", lambda u, x, n: u(x), on=(hx.Face("t", "lower"), hx.Face("t", "upper")))
    inside = hx.Residual("r", lambda u, x: hx.derivative(u, "t")(x) - u(x) ** 2)
    assert evolution(hx.Problem(box, (inside, ends))) is None


# evolutions in time alone


def growth(rate, start=0.2, most=3.0):
    """`u' = rate u (1 - u / most)`: over a long time least squares fall to the unstable rest at zero."""

    def exact(x):
        return most / (1.0 + (most / start - 1.0) * jnp.exp(-rate * x[0]))

    def equation(u, x):
        return hx.derivative(u, "t")(x) - rate * u(x) * (1.0 - u(x) / most)

    first = hx.Residual("start", lambda u, x, normal: u(x) - start, on=hx.Face("t", "lower"))
    box = hx.Box([0.0], [10.0], names=("t",))
    return hx.Problem(box, (hx.Residual("growth", equation), first), reference=exact)


def test_a_false_minimum_is_left():
    solution = hx.train(growth(4.0), levels=7, budget=600.0)
    assert solution.result is RESULTS.successful, solution
    assert solution.accuracy.relative_l2 < 1e-5


def test_a_first_sweep_that_cannot_be_finished_is_begun_again_with_less_tolerance(monkeypatch):
    problem = growth(4.0)
    discrete = DiscreteProblem.of(problem, choose(problem, key=0), 0)
    asked = []

    def stuck(self, tolerance):
        asked.append(tolerance)
        raise Stuck("too short")

    monkeypatch.setattr(TimeSlabs, "_first", stuck)
    slabs, sweep = TimeSlabs.of(discrete, lambda: np.inf, lambda *_: None), Sweep(SlabsState("", FIRST_TOLERANCE))
    while sweep.reason is None:
        sweep = slabs.swept(sweep.state)
    assert (sweep.reason, sweep.sentence) == ("stalled", "too short")
    np.testing.assert_allclose(asked, [0.3, 0.015, 0.00075])


# fronts


def test_merging_shocks():
    decisions = []
    problem = hx.problems.burgers_merging(viscosity=0.03)
    solution = hx.train(
        problem,
        levels=7,
        budget=600.0,
        subscribers=[lambda e: decisions.append(e) if isinstance(e, Decision) else None],
    )
    assert isinstance(solution.field, Slabs)
    assert any("slabs" in decision.sentence for decision in decisions)
    assert solution.result is RESULTS.successful, solution
    assert solution.accuracy.relative_l2 < 1e-4, solution
    # from slab to slab the solution goes on without a jump, and it starts where it should
    x = np.linspace(-1, 1, 201)
    for before, after in zip(solution.field.parts, solution.field.parts[1:], strict=False):
        t = np.full_like(x, after.grid.breakpoints()[0][0])
        both = np.stack([t, x], axis=1)
        assert np.abs(values_at(before, both) - values_at(after, both)).max() < 2e-3
    start = np.stack([0 * x, x], axis=1)
    assert np.abs(solution.evaluate(start) - problem.reference.evaluate(start, "u")).max() < 2e-3
    assert np.all(np.isfinite(solution.evaluate(points(50), "u_xx")))


def test_a_branch_that_few_points_take_is_felt():
    box = hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x"))

    def equation(u, x):
        return jnp.where(x[1] < 0.1, hx.derivative(u, "tt")(x), 0.0) + hx.derivative(u, "t")(x)

    start = hx.Residual("start", lambda u, x: u(x), on=hx.Face("t", "lower"))
    found = evolution(hx.Problem(box, (hx.Residual("equation", equation), start)))
    assert found is not None
    assert found.orders["u"] == [2]

    def density(u, x):
        return 0.5 * jnp.where(x[1] < 0.1, hx.derivative(u, "xx")(x) ** 2, u(x) ** 2)

    (term,) = (bent := hx.Problem(box, (hx.Energy("energy", density),))).terms
    assert point_term(bent, term).order == 2  # pyright: ignore


def rates(w, t):
    """Chemical kinetics of Robertson (1966): rates from 0.04 to 3e7."""
    a, b, c = w.a(t), w.b(t), w.c(t)
    slow, back, fast = 0.04 * a, 1e4 * b * c, 3e7 * b * b
    given = jnp.array([-slow + back, slow - back - fast, fast])
    return jnp.array([hx.derivative(u, "t")(t) for u in (w.a, w.b, w.c)]) - given


def test_stiff_kinetics():
    start = hx.Residual("start", lambda w, t: jnp.array([w.a(t) - 1.0, w.b(t), w.c(t)]), on=hx.Face("t", "lower"))
    unknowns = {name: hx.Function() for name in "abc"}
    problem = hx.Problem(hx.Box([0.0], [40.0], names=("t",)), (hx.Residual("rates", rates), start), unknowns=unknowns)
    solution = hx.train(problem, budget=60.0, levels=6)
    assert solution.result is hx.RESULTS.successful
    end = [float(getattr(solution.field, name)(jnp.array([40.0]))) for name in "abc"]
    # Hairer, Wanner, Solving Ordinary Differential Equations II, 1996
    np.testing.assert_allclose(end, [0.7158270688, 9.185534764e-6, 0.2841637457], rtol=1e-6)


def test_values_and_slopes_in_one_condition_do_not_outweigh_each_other():
    """A relaxation oscillator of van der Pol, which stands nearly still at first."""

    def equation(u, t):
        return hx.derivative(u, "tt")(t) - 20.0 * (1.0 - u(t) ** 2) * hx.derivative(u, "t")(t) + u(t)

    def start(u, t):
        return jnp.array([u(t) - 2.0, hx.derivative(u, "t")(t)])

    terms = (hx.Residual("equation", equation), hx.Residual("start", start, on=hx.Face("t", "lower")))
    solution = hx.train(hx.Problem(hx.Box([0.0], [10.0], names=("t",)), terms), budget=60.0)
    assert solution.result is hx.RESULTS.successful
    assert "start[" in solution.guards["boundary"].sentence
    outcome = solve_ivp(
        lambda t, y: [y[1], 20.0 * (1.0 - y[0] ** 2) * y[1] - y[0]],
        (0, 10),
        [2.0, 0.0],
        "Radau",
        rtol=1e-10,
        atol=1e-12,
    )
    assert float(solution.field(jnp.array([10.0]))) == pytest.approx(outcome.y[0, -1], rel=1e-7)


@pytest.mark.parametrize(
    ("steps", "change", "linear", "sentence"),
    [(13, 0.1, False, refinement.FAR), (12, 0.1, False, None), (13, 1e-3, False, None), (13, 0.1, True, None)],
)
def test_slabs_follow_where_a_level_is_far_from_the_one_before(steps, change, linear, sentence):
    """Of a nonlinear evolution that does not settle: many steps lead into minima that are no solutions."""
    discrete = SimpleNamespace(
        plan=SimpleNamespace(evolution=object(), linear=linear), untrained_loss=1.0, periodic=(False, True)
    )
    visited = {k: SimpleNamespace(loss=10.0**-k, steps=steps) for k in range(3)}
    assert refinement.wants_slabs(discrete, 2, {1: 0.5, 2: change}, visited) == sentence  # pyright: ignore


@pytest.mark.parametrize(("order", "rate", "end"), [(1, 8.0, 3.0), (2, 100.0, 0.3)])
def test_linear_evolutions_that_grow_by_orders_go_on_by_slabs(order, rate, end):
    """`u' = k u` and `u'' = k^2 u` over e^24 and e^30: least squares over all times were near zero."""

    def equation(u, x):
        return hx.derivative(u, "t" * order)(x) - rate**order * u(x)

    def start(u, x, normal):
        return jnp.stack([u(x) - 1.0, hx.derivative(u, "t")(x)][:order])

    def exact(x):
        return jnp.exp(rate * x[0]) if order == 1 else jnp.cosh(rate * x[0])

    first = hx.Residual("start", start, on=hx.Face("t", "lower"))
    box = hx.Box([0.0], [end], names=("t",))
    problem = hx.Problem(box, (hx.Residual("growth", equation), first), reference=hx.Reference(exact, 1e-12))
    solution = hx.train(problem, levels=6, budget=60.0)
    assert isinstance(solution.field, Slabs)
    assert solution.guards["determined"].passed
    assert solution.guards["equation"].passed
    assert solution.result is RESULTS.successful
    assert solution.accuracy.relative_l2 < 1e-6


def test_what_grows_or_falls_is_refused_where_a_start_is_missing():
    """`u'' = 900 u` from a value alone: what grows may be added."""
    problem = hx.Problem(
        hx.Box([0.0], [1.0], names=("t",)),
        (
            hx.Residual("growth", lambda u, x: hx.derivative(u, "tt")(x) - 900.0 * u(x)),
            hx.Residual("start", lambda u, x, normal: u(x) - 1.0, on=hx.Face("t", "lower")),
        ),
    )
    assert not hx.train(problem, levels=6, budget=60.0).guards["determined"].passed


def test_slabs_follow_spline_grids_alone():
    """A decoded grid has the knots of one, but is no field that slabs can go on from."""
    problem = hx.problems.burgers()
    assert choose(problem, key=0).evolution is not None
    assert choose(problem, hierarchy=DecodedFeatures(), key=0).evolution is None
