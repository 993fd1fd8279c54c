"""Shapes: measures, moments, boundaries and their names, quadrature on cut cells, and refusals."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

import hierax as hx
from hierax._errors import InputError
from hierax.checks.guards.gaps import Gaps
from hierax.geometry import Part
from hierax.geometry.body import interior_rule, surface_rule
from hierax.geometry.curves import root
from hierax.planning import knots
from hierax.results.figures import Plane, show_plane
from hierax.results.report.pictures import show_body

PLATE = hx.Rectangle((0.0, 0.0), (2.0, 1.0)) - hx.Disk((1.0, 0.5), 0.3, name="hole")

BLOCK = hx.Cuboid((0, 0, 0), (1, 2, 1)) - hx.Sphere((0.5, 1, 0.5), 0.3, name="hole")
ROD = hx.Cylinder((0, 0, 0), (2, 0, 0), 0.5) | hx.Cylinder((0, 0, 0), (-1, 0, 0), 0.5)


def _mesh(shape, counts):
    low, high = shape.bounds()
    return [np.linspace(a, b, n + 1) for a, b, n in zip(low, high, counts, strict=True)]


def _random(rng):
    centre = rng.uniform(-1, 1, 2)
    kind = rng.integers(3)
    if kind == 0:
        return hx.Disk(centre, rng.uniform(0.2, 0.8))
    if kind == 1:
        half = rng.uniform(0.2, 0.7, 2)
        return hx.Rectangle(centre - half, centre + half).rotated(rng.choice([0.0, 37.0]), centre)
    angles, radii = (np.arange(7) + rng.uniform(0.1, 0.9, 7)) * 2.0 * np.pi / 7, rng.uniform(0.3, 0.9, 7)
    return hx.Polygon(centre + np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1))


@pytest.mark.parametrize("seed", range(8))
def test_unions_and_differences_have_the_moments_that_their_boundaries_say(seed):
    rng = np.random.default_rng(seed)
    shape = _random(rng)
    for other in (_random(rng), _random(rng)):
        shape = shape | other
    shape = shape - _random(rng).scaled(0.7)
    cells = _mesh(shape, (9, 6))
    inside, wall = interior_rule(shape, cells, 8), surface_rule(shape, Part(), cells, 8)
    (x, y), (u, v), n = inside.points.T, wall.points.T, wall.normals
    assert np.all(inside.weights > 0)
    assert shape.contains(inside.points).all()
    assert inside.weights.sum() == pytest.approx(shape.measure, rel=1e-9)
    assert inside.weights @ (x**2 * y) == pytest.approx(wall.weights @ (u**3 * v * n[:, 0]) / 3, abs=1e-9)
    assert np.allclose(wall.weights @ n, 0.0, atol=1e-9)
    # a law of its own: the measure by counting
    low, high = shape.bounds()
    grid = low + (high - low) * (np.stack(np.meshgrid(*[np.arange(80)] * 2), -1).reshape(-1, 2) + 0.5) / 80
    counted = np.mean(shape.level(grid) < 0) * np.prod(high - low)
    assert counted == pytest.approx(shape.measure, abs=0.06)


def test_a_plate_with_a_hole_has_exact_measures_names_and_normals():
    assert pytest.approx(2.0 - 0.09 * np.pi, rel=1e-14) == PLATE.measure
    assert PLATE.boundaries == ("rectangle", "bottom", "right", "top", "left", "hole")
    hole = surface_rule(PLATE, PLATE.boundary("hole"), _mesh(PLATE, (8, 8)), 6)
    assert hole.weights.sum() == pytest.approx(0.6 * np.pi, rel=1e-12)
    assert np.allclose(hole.normals, (np.array([1.0, 0.5]) - hole.points) / 0.3, atol=1e-13)
    top = surface_rule(PLATE, PLATE.boundary("top"), None, 4)
    assert np.array_equal(top.normals, np.tile([0.0, 1.0], (len(top.points), 1)))
    arc = surface_rule(PLATE, PLATE.boundary("hole", where=lambda x: x[1] > 0.65), None, 12)
    assert arc.weights.sum() == pytest.approx(0.3 * 2.0 * np.arccos(0.5), rel=1e-9)


def test_polynomials_are_integrated_to_their_order_where_the_boundary_is_straight():
    wedge = hx.Polygon([[0, 0], [1, 0.13], [0.4, 0.9], [0.3, 0.4]])
    rules = [interior_rule(wedge, _mesh(wedge, (3, 4)), order) for order in (3, 8)]
    values = [rule.weights @ (rule.points[:, 0] ** 2 * rule.points[:, 1]) for rule in rules]
    assert values[0] == pytest.approx(values[1], rel=1e-13)


@pytest.mark.parametrize(
    ("body", "exact", "name", "area"),
    [
        (BLOCK, 2 - 0.036 * np.pi, "hole", 0.36 * np.pi),
        (ROD, 0.75 * np.pi, "end", 0.5 * np.pi),
        (hx.Extrusion(PLATE, 0.0, 0.5), 1.0 - 0.045 * np.pi, "top", 1.0),
        (hx.Sphere((0, 0, 0), 1.0) & hx.HalfSpace((0, 1, 1), (0, 0, 0), "cut"), 2 * np.pi / 3, "cut", np.pi),
    ],
)  # fmt: skip
def test_bodies_in_space_have_their_volumes_areas_and_normals(body, exact, name, area):
    cells = _mesh(body, (4, 4, 4))
    wall, part = surface_rule(body, Part(), cells, 4), surface_rule(body, body.boundary(name), cells, 6)
    assert body.measure == pytest.approx(exact, rel=1e-9)
    assert interior_rule(body, cells, 4).weights.sum() == pytest.approx(exact, rel=1e-6)
    assert wall.weights @ wall.normals == pytest.approx(np.zeros(3), abs=1e-4)
    assert part.weights.sum() == pytest.approx(area, rel=2e-5)


def test_a_level_set_is_traced_to_rounding_and_cut_off_by_its_box():
    disk = hx.LevelSet(lambda x: x @ x - 1.0, (-1.5, -1.5), (1.5, 1.5))
    assert disk.measure == pytest.approx(np.pi, rel=1e-10)
    wave = hx.LevelSet(lambda x: x[1] - 0.1 * jnp.sin(5 * x[0]), (-1, -1), (1, 1), name="wave")
    assert wave.measure == pytest.approx(2.0, rel=1e-9)


def test_distance_and_moves():
    turned = PLATE.translated(1, 0).rotated(90).scaled(2.0)
    assert turned.measure == pytest.approx(4 * PLATE.measure, rel=1e-12)
    assert PLATE.distance([[1.0, 0.9], [1.0, 0.5], [2.5, 1.0]]) == pytest.approx([-0.1, 0.3, 0.5], abs=1e-9)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: hx.Disk((0, 0), -1.0), "positive"),
        (lambda: hx.Polygon([[0, 0], [1, 1], [1, 0], [0, 1]]), "cross"),
        (lambda: hx.Rectangle((0, 0), (0, 1)), "lower ones first"),
        (lambda: (hx.Disk((0, 0), 1.0) & hx.Disk((5, 0), 1.0)).measure, "empty"),
        (lambda: PLATE.boundary("whole"), "hole"),
        (lambda: hx.LevelSet(lambda x: x, (0, 0), (1, 1)), "one number"),
        (lambda: PLATE | 3, "no shape"),
        (lambda: hx.Problem(PLATE, [hx.Residual("r", lambda u, x, n: u(x), on="hull")]), "the parts are rectangle"),
        (lambda: hx.Problem(PLATE, [hx.Data("u", [[1.0, 0.5]], [0.0])]), "outside"),
    ],
)
def test_refusals_say_what_to_do(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_poisson_on_a_disk_with_a_hole():
    body = hx.Disk((0, 0), 1.0) - hx.Disk((0.3, 0.1), 0.25, name="hole")
    exact = lambda x: jnp.exp(x[0]) * jnp.sin(x[1])  # noqa: E731
    problem = hx.Problem(
        domain=body,
        terms=(
            hx.Residual("laplace", lambda u, x: hx.laplacian(u)(x)),
            hx.dirichlet("boundary", exact),
        ),
        reference=exact,
    )
    solution = hx.train(problem, levels=2)
    assert solution.result.name == "successful"
    assert solution.accuracy.relative_l2 < 1e-6
    with pytest.raises(InputError, match="outside of the shape"):
        solution.evaluate([[0.3, 0.1]], "u")
    axes = Figure().add_subplot()
    show_body(SimpleNamespace(problem=problem, trained=solution.field), axes)  # pyright: ignore
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["disk", "hole"]  # pyright: ignore
    assert axes.get_title() == f"area {body.measure:.6g}, of points {body.measure:.6g}"


def test_knots_are_graded_towards_corners_into_a_body_and_hold_its_bends():
    ell = hx.Polygon([[0, 0], [1, 0], [1, 1], [-1, 1], [-1, -1], [0, -1]])
    assert np.allclose(ell.body.inward_corners, [[0.0, 0.0]])
    assert len(PLATE.body.inward_corners) == 0
    assert np.allclose(PLATE.body.bends[1], 0.3, rtol=0.01)
    breaks = hx.plan(hx.Problem(ell, [hx.dirichlet("boundary")])).hierarchy.levels[0].field.breakpoints()[0]
    assert np.min(np.diff(breaks)[np.abs(breaks[:-1]) < 1e-9]) < 2e-3


def test_an_energy_follows_the_root_at_an_edge_into_a_body_on_its_first_level():
    def exact(x):
        angle = jnp.mod(jnp.arctan2(x[1], x[0]), 2.0 * jnp.pi)
        return (x[0] ** 2 + x[1] ** 2 + 1e-300) ** (1.0 / 3.0) * jnp.sin(2.0 * angle / 3.0) * (1.0 + 0.0 * x[2])

    ell = hx.Polygon([[0, 0], [0, -1], [-1, -1], [-1, 1], [1, 1], [1, 0]])
    body = hx.Extrusion(ell, 0.0, 1.0)
    stored = hx.Energy("stored", lambda u, x: 0.5 * jnp.sum(hx.gradient(u)(x) ** 2))
    terms = (stored, hx.dirichlet(tuple(f"side{k}" for k in range(6)), exact))
    solution = hx.train(hx.Problem(body, terms, reference=hx.Reference(exact, 1e-12)), levels=1)
    assert solution.accuracy.relative_l2 < 5e-4


def test_edges_along_an_axis_into_a_body_in_space_have_knots():
    notch = hx.Cuboid((0, 0, 0), (2, 3, 4)) - hx.Cuboid((1.3, -1, 2.7), (5, 5, 5))
    np.testing.assert_allclose(notch.body.inward_corners, [[1.3, np.nan, 2.7]], rtol=1e-12)
    assert len((hx.Cuboid((0, 0, 0), (2, 2, 2)) - hx.Cylinder((1, 1, -1), (1, 1, 3), 0.4)).body.inward_corners) == 0
    across, along, up = (
        axis.breakpoints()
        for axis in hx.plan(hx.Problem(notch, [hx.dirichlet("boundary")])).hierarchy.levels[0].field.axes
    )
    for breaks, edge, size in ((across, 1.3, 2.0), (up, 2.7, 4.0)):
        beside = np.sort(np.abs(np.unique(breaks) - edge))[:9]
        wanted = size / 8.0 * 0.25 ** np.arange(3, -1, -1)
        np.testing.assert_allclose(beside, np.r_[0.0, np.repeat(wanted, 2)], atol=1e-12)
    assert len(along) == 5
    between = hx.Cuboid((0, 0, 0), (3, 1, 1)) - hx.Cuboid((1.4, -1, 0.6), (1.6, 2, 2))
    inner = hx.plan(hx.Problem(between, [hx.dirichlet("boundary")])).hierarchy.levels[0].field.axes[0].breakpoints()
    inner = np.unique(inner[(inner > 1.39) & (inner < 1.61)])
    # graded to both, with one in the middle
    np.testing.assert_allclose(inner - 1.5, 1.5 - inner[::-1], atol=1e-12)
    assert np.min(np.abs(inner - 1.5)) < 1e-12
    assert np.min(np.diff(inner)) == pytest.approx(0.1 / 64.0)
    np.testing.assert_allclose(along, np.linspace(0.0, 3.0, 5))


@pytest.mark.parametrize("fins", [1, 2, 3, 4, 5])
def test_knots_between_many_corners_stay_between_them(fins):
    """A comb: two corners into the body a fin, ever fewer break points for each."""
    comb = hx.Rectangle((0, 0), (2 * fins + 1, 1))
    for k in range(fins):
        comb = comb | hx.Rectangle((2 * k + 1, 0), (2 * k + 2, 3))
    edges = [edge for edge in knots.edges(hx.Problem(comb, [hx.dirichlet("boundary")])) if edge.axis == 0]
    assert [edge.at for edge in edges] == pytest.approx(list(range(1, 2 * fins + 1)))
    for edge in edges:
        assert len(edge.points) >= 3
        assert np.max(np.abs(edge.points - edge.at)) <= 0.5 + 1e-12


def test_integrals_over_a_body_and_a_part_of_its_boundary():
    body = hx.Rectangle((0.0, 0.0), (3.0, 1.0)) - hx.Disk((1.0, 0.5), 0.3, name="hole")
    inside, hole = body.quadrature(), body.quadrature("hole")
    top = body.quadrature(body.boundary("top", where=lambda x: x[0] > 2.0), order=2)
    x, y = inside.points.T
    assert inside.weights @ (x * y) == pytest.approx(4.5 * 0.5 - np.pi * 0.09 * 0.5, rel=1e-12)
    # the flux of (x, y) into the hole is twice its area
    assert hole.weights @ np.sum(hole.points * hole.normals, axis=1) == pytest.approx(-2.0 * np.pi * 0.09, rel=1e-12)
    assert top.weights.sum() == pytest.approx(1.0, rel=1e-12)
    with pytest.raises(hx.InputError, match="the names are"):
        body.quadrature("lid")


def test_a_level_set_that_moves_changes_only_at_its_ends():
    """Its boundary is traced through a grid, of which it crosses other cells at every height: that is no change."""
    moving = hx.LevelSet(lambda z: (z[0] - 0.3 * z[2]) ** 2 + z[1] ** 2 - 0.25, (-0.6, -0.6, 0.0), (0.9, 0.6, 1.0))
    assert len(moving.body.heights) == 2
    assert moving.measure == pytest.approx(0.25 * np.pi, rel=1e-10)
    # where the box cuts it there is boundary, with the normals of the box
    rim = moving.quadrature(moving.boundary())
    assert rim.weights @ np.sum(rim.points * rim.normals, axis=1) == pytest.approx(3 * moving.measure, rel=1e-9)
    start = moving.quadrature(moving.boundary(where=lambda z: z[2] < 1e-9))
    assert start.weights.sum() == pytest.approx(0.25 * np.pi, rel=1e-9)
    assert start.normals == pytest.approx(np.tile([0.0, 0.0, -1.0], (len(start.normals), 1)))


def test_corners_that_are_alike_about_the_middle_of_a_body_are_no_edge():
    tee = hx.Cylinder((-5, 0, 0), (5, 0, 0), 1.2) | hx.Cylinder((0, 0, 0), (0, 3, 3), 0.9)
    assert len(tee.body.inward_corners) == 0


@pytest.mark.parametrize(
    ("value", "exact", "most"),
    [(np.cos, np.pi / 2, 12), (lambda t: t**3 - 1e-9, 1e-3, 25), (lambda t: np.where(t < 0.3, -1.0, 1.0), 0.3, 60)],
)
def test_roots_are_found_to_rounding_in_few_steps(value, exact, most):
    steps = []
    found = root(lambda t: steps.append(None) or value(t), np.array([-0.4, 0.1]), np.array([2.0, 0.3 + 1.5]))
    if exact > 0.1:
        assert np.allclose(found, exact, rtol=0.0, atol=1e-15)
    else:
        assert abs(found[0] - exact) < 1e-12
    assert len(steps) <= most


def test_boxes_turned_into_each_other_are_sliced_at_their_corners():
    bar = hx.Cuboid((-1.0, -0.3, -0.3), (1.0, 0.3, 0.3))
    body = bar.rotated(25.0, axis="x").rotated(30.0, axis="z") - bar.rotated(70.0, axis="y").rotated(20.0, axis="x")
    cells = [np.linspace(a, b, 4) for a, b in zip(*body.bounds(), strict=True)]
    rule, wall = interior_rule(body, cells, 4), surface_rule(body, Part(), cells, 4)
    (x, y, z), (u, v, w) = rule.points.T, wall.points.T
    assert body.measure == pytest.approx(rule.weights.sum(), rel=1e-12)
    for inside, flux in ((1.0 + 0.0 * x, w), (z**2, w**3 / 3.0), (x * y**2 * z, u * v**2 * w**2 / 2.0)):
        assert rule.weights @ inside == pytest.approx(wall.weights @ (flux * wall.normals[:, 2]), rel=1e-12)


@pytest.mark.parametrize(("domain", "aspect"), [(hx.Rectangle((0, 0), (5, 1)), 1.0), (hx.Box([0, 0], [5, 1]), "auto")])
def test_a_plane_of_a_shape_is_drawn_to_scale_with_a_bar_as_high_as_it(domain, aspect):
    plane = Plane.through(hx.Problem(domain, [hx.dirichlet("boundary")]), (0, 1))
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    show_plane(axes, plane, plane.points[:, 0], "u", "viridis")
    figure.draw_without_rendering()
    assert axes.get_aspect() == aspect
    (bar,) = axes.child_axes
    assert bar.get_window_extent().height == pytest.approx(axes.get_window_extent().height)


def test_the_sides_of_a_notch_have_to_be_apart_by_a_cell():
    """A notch of four degrees is closed up to where it is as wide as cells; a hole and fins that cells see are not."""
    share = jnp.tan(jnp.deg2rad(2.0))
    notch = hx.Disk((0.0, 0.0), 1.0) - hx.Polygon([(0.0, 0.0), (2.0, -2.0 * share), (2.0, 2.0 * share)])

    def judged(domain, breaks):
        field = hx.SplineGrid.uniform([b[0] for b in breaks], [b[-1] for b in breaks], 1, 3)
        axes = tuple(axis.with_breakpoints(b) for axis, b in zip(field.axes, breaks, strict=True))
        field = hx.SplineGrid(axes, np.zeros([axis.size for axis in axes]))
        return Gaps().judge(SimpleNamespace(problem=hx.Problem(domain, [hx.dirichlet("boundary")]), field=field))

    coarse = judged(notch, [np.linspace(-1.0, 1.0, 41)] * 2)
    assert coarse.value == pytest.approx(1.0, abs=1e-12)
    across = np.r_[-1.0, -np.geomspace(0.5, 1e-4, 60), 0.0, np.geomspace(1e-4, 0.5, 60), 1.0]
    part = judged(notch, [np.linspace(-1.0, 1.0, 41), np.linspace(-1.0, 1.0, 201)])
    # 0.07 r wide, and two cells of 0.01 about the axis
    assert part.value == pytest.approx(0.01 / float(share), abs=0.05)
    assert "both sides of a gap narrower than its cells" in part.sentence
    assert judged(notch, [across, across]).passed
    assert judged(PLATE, [np.linspace(0.0, 2.0, 13), np.linspace(0.0, 1.0, 13)]).value == 0.0
    assert judged(hx.Disk((0.0, 0.0), 1.0), [np.linspace(-1.0, 1.0, 13)] * 2) is None
