"""Domains that shapes divide: parts, what holds between them, broken grids, and a problem of high contrast."""

import io
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import values_at

import hierax as hx
from hierax.checks.guards.coverage import _sentence
from hierax.fields.broken_grid import BrokenGrid
from hierax.geometry.regions import Regions, inside
from hierax.hierarchy import IntervalDoubling, Level
from hierax.objective.extension import Extension
from hierax.objective.interfaces import named, with_interfaces
from hierax.objective.missed import Jump
from hierax.objective.pointwise import Place, point_term
from hierax.results.codec import Arrays, Codec
from hierax.testing import check_field
from hierax.training.state import RunState, in_parts_of

SQUARE = hx.Box([0.0, 0.0], [1.0, 1.0])
MIDDLE, RADIUS = jnp.array([0.48, 0.53]), 0.27
ROD = hx.Interface(hx.Disk(np.asarray(MIDDLE), RADIUS, name="rod"))
CORE, COAT = hx.Disk((0.5, 0.5), 0.1), hx.Disk((0.5, 0.5), 0.3)
LAYERS = Regions(SQUARE.as_shape(), (CORE, COAT))
EDGE = hx.dirichlet("boundary")


def rod(inner, outer):
    """A heated rod in a flow of heat along `x`; the sources are in the rod alone."""
    k, source = ROD.by_side(inner, outer), ROD.by_side(2.0 * outer / RADIUS**2, 0.0)
    share = (inner - outer) / (inner + outer)

    def exact(x):
        away = x - MIDDLE
        squares = jnp.sum(away**2) / RADIUS**2
        within = 0.5 * outer / inner * (1.0 - squares) + away[0] * (1.0 - share)
        return jnp.where(squares < 1.0, within, -0.5 * jnp.log(squares) + away[0] * (1.0 - share / squares))

    def heat(u, x):
        return hx.divergence(lambda z: k(z) * hx.gradient(u)(z))(x) + source(x)

    terms = (hx.Residual("heat", heat), hx.dirichlet("boundary", exact))
    return hx.Problem(SQUARE, terms, interfaces=[ROD], reference=hx.Reference(exact, 1e-14))


def grid(intervals=6):
    whole = hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], intervals, 3)
    field = BrokenGrid.of(whole, LAYERS)
    return BrokenGrid(field.axes, np.random.default_rng(0).normal(size=field.coefficients.shape), LAYERS)


def test_parts_are_found_and_fill_the_domain():
    assert LAYERS.table.tolist() == [[False, False], [False, True], [True, True]]
    measures = [1.0 - 0.09 * np.pi, 0.08 * np.pi, 0.01 * np.pi]
    np.testing.assert_allclose([body.measure for body in LAYERS.bodies], measures, rtol=1e-12)
    rule = LAYERS.interior([np.linspace(0, 1, 8)] * 2, 4)
    np.testing.assert_allclose(np.bincount(LAYERS.number(rule.points), rule.weights), measures, rtol=1e-7)
    wall = LAYERS.wall(CORE, None, 4)
    assert set(LAYERS.beside(CORE, wall.points, False)) == {2}
    assert set(LAYERS.beside(CORE, wall.points, True)) == {1}


def test_an_interface_outside_of_the_domain_is_refused():
    with pytest.raises(hx.InputError, match="not inside of the domain"):
        hx.Problem(SQUARE, (EDGE,), interfaces=[hx.Interface(hx.Disk((3.0, 3.0), 0.5))])
    with pytest.raises(hx.InputError, match="none of them periodic"):
        hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], periodic="x"), (hx.Residual("e", lambda u, x: u(x)),),
                   interfaces=[ROD])  # fmt: skip
    with pytest.raises(hx.InputError, match="Interface"):
        hx.Interface("x")


@pytest.mark.parametrize("shape", [
    COAT - CORE, COAT | hx.Rectangle((0.0, 0.0), (0.2, 0.3)),
    hx.LevelSet(lambda x: x[0] ** 2 + x[1] - 0.4, (0.0, 0.0), (1.0, 1.0)),
])  # fmt: skip
def test_where_a_point_lies_is_known_while_jax_traces(shape):
    points = np.random.default_rng(1).random((200, 2))
    found = jax.jit(jax.vmap(lambda x: inside(shape, x)))(points)
    np.testing.assert_array_equal(found, shape.level(points) <= 0.0)
    slope = jax.grad(lambda x: jnp.where(inside(shape, x), 3.0, 5.0) * x[0])(jnp.array([0.5, 0.65]))
    assert float(slope[0]) in (3.0, 5.0)


def test_a_broken_grid_is_a_field_and_keeps_its_function_on_finer_levels():
    field, points = grid(), jnp.asarray(np.random.default_rng(2).random((40, 2)))
    check_field(field, key=0, points=points, lower=[0.0, 0.0], upper=[1.0, 1.0])
    fine, _ = IntervalDoubling().refine(Level(field))
    own, finer = (np.asarray(values_at(f, points)) for f in (field, fine.field))
    np.testing.assert_allclose(finer, own, rtol=1e-11, atol=1e-12)
    number = LAYERS.number(np.asarray(points))
    for k, part in enumerate(field.grids):
        np.testing.assert_allclose(own[number == k], values_at(part, points[number == k]), rtol=1e-12)


def test_files_keep_a_broken_grid():
    arrays = Arrays()
    described = Codec().describe(grid(), arrays)
    saved = io.BytesIO()
    np.savez(saved, **arrays.named)  # pyright: ignore
    saved.seek(0)
    read = Codec().rebuild(described, dict(np.load(saved)))
    points = np.random.default_rng(3).random((20, 2))
    np.testing.assert_array_equal(values_at(read, points), values_at(grid(), points))  # pyright: ignore


def test_functions_of_each_part_that_hardly_meet_it_are_bound_to_others():
    field = grid(12)
    bound = Extension.of(field, None, LAYERS)
    assert bound is not None
    count = field.coefficients[0].size
    alive = np.bincount(bound.inner // count, minlength=3)
    # polynomials stay what they are in every part
    values = np.concatenate([g.positions() @ [2.0, -1.0] + k for k, g in enumerate(field.grids)])
    touched = np.asarray(abs(bound.matrix).sum(axis=1)).ravel() > 0
    np.testing.assert_allclose(bound.projected(values)[touched], values[touched], atol=1e-12)
    assert alive[0] > alive[1] > alive[2] > 0


def test_the_flux_that_an_equation_keeps_is_the_conormal_one():
    problem = rod(10.0, 3.0)
    made = with_interfaces(problem, named(problem, 2))
    across = {t.name: point_term(made, t) for t in made.terms if t.name.endswith("'rod'")}
    assert len(across) == 2
    normal = np.array([0.6, 0.8])
    place = Place(MIDDLE + RADIUS * normal, normal, np.zeros(0))
    u = lambda x: jnp.where(inside(ROD.shape, x), 2.0, 5.0) * jnp.sum((x - MIDDLE) ** 2)  # noqa: E731 # pyright: ignore
    found = {name.split(" ")[0]: float(term.residual(u, place)[0]) for name, term in across.items()}
    assert found["heat"] == pytest.approx(2.0 * RADIUS * (3.0 * 5.0 - 10.0 * 2.0), rel=1e-9)
    assert found["u"] == pytest.approx(3.0 * RADIUS**2, rel=1e-9)


def test_a_coefficient_outside_of_the_derivative_is_refused():
    k = ROD.by_side(10.0, 1.0)
    terms = (hx.Residual("heat", lambda u, x: k(x) * hx.laplacian(u)(x) + 1.0), EDGE)
    with pytest.raises(hx.InputError, match="inside of the outer derivative"):
        hx.plan(hx.Problem(SQUARE, terms, interfaces=[ROD]))
    with pytest.raises(hx.InputError, match="not broken by a shape"):
        hx.plan(rod(2.0, 1.0), hx.MLP([2, 8, 1], key=0))


def test_an_energy_keeps_values_together():
    k = ROD.by_side(100.0, 1.0)
    terms = (hx.Energy("heat", lambda u, x: 0.5 * k(x) * jnp.sum(hx.gradient(u)(x) ** 2)), EDGE)
    problem = hx.Problem(SQUARE, terms, interfaces=[ROD])
    (place,) = named(problem, 1)
    assert place.continuity == 0
    assert [t.name for t in with_interfaces(problem, (place,)).terms][2:] == [f"u across {place}"]


def test_a_jump_that_nobody_named_tells_how_to_name_it():
    class Seen:
        problem = rod(2.0, 1.0)
        sampled = problem

    said = _sentence(Seen(), Jump(0, 0, np.array([0.4, 0.5]), False, True))  # pyright: ignore
    assert "interfaces=[hx.Interface(shape)]" in said


def test_a_rod_that_conducts_a_million_times_better():
    solution = hx.train(rod(1e6, 1.0), levels=1)
    assert solution.accuracy.relative_l2 < 1e-4  # pyright: ignore
    assert "determined" not in solution.guards or solution.guards["determined"].passed
    assert float(solution.evaluate(np.asarray(MIDDLE)[None], "u")[0]) == pytest.approx(0.0, abs=1e-3)


def test_a_state_of_a_file_goes_on_with_the_parts_of_its_problem():
    # terms know the shapes of their problem, and of a function of the user a file keeps an interpolation
    field, copy = grid(), BrokenGrid(grid().axes, grid().coefficients, Regions(SQUARE.as_shape(), (CORE, COAT)))
    plan = SimpleNamespace(hierarchy=SimpleNamespace(levels=(Level(field),)))
    state = RunState(0, (Level(copy), Level(grid())), (), (None,), changes={1: 0.5}, history=())
    own = in_parts_of(plan, state)  # pyright: ignore
    assert [level.field.regions is LAYERS for level in own.levels] == [True, True]
    np.testing.assert_array_equal(own.levels[0].field.coefficients, copy.coefficients)
    assert own.changes == {1: 0.5}
    assert in_parts_of(SimpleNamespace(hierarchy=SimpleNamespace(levels=())), state) is state  # pyright: ignore
