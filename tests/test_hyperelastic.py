"""Finite strain: laws from stresses, laws inside of other problems, outputs, and guards of what is not known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import values_at
from scipy.spatial.transform import Rotation

import hierax as hx
from hierax.objective.marked import marked_values
from hierax.objective.pointwise import Place, SquaredResidual, point_term
from hierax.problems.watched import SeenInputs, watched

NEO_HOOKE = hx.materials.neo_hooke(shear=1.0, lame=2.0)


@pytest.mark.parametrize("dim", [2, 3])
def test_invariants_do_not_change_when_the_body_is_turned(dim):
    """Those of `C` are the same after a rotation of the deformed body, to rounding; a stress turns with it."""
    rng = np.random.default_rng(0)
    f = jnp.asarray(np.eye(dim) + 0.2 * rng.standard_normal((dim, dim)))
    q = jnp.asarray(
        Rotation.from_rotvec([0.3, -0.5, 1.1][: 3 if dim == 3 else 0] or [0, 0, 1.1]).as_matrix()[:dim, :dim]
    )
    invariants = hx.Invariants(dim, [np.ones(dim)])
    material = hx.Hyperelastic(lambda i: jnp.sum(jnp.sin(i)), invariants)
    np.testing.assert_allclose(invariants(f.T @ q.T @ q @ f), invariants(f.T @ f), rtol=1e-13)
    turned, own = jax.grad(material.stored)(q @ f), jax.grad(material.stored)(f)
    np.testing.assert_allclose(turned, q @ own, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("dim", "fibres"), [(2, []), (3, []), (3, [[1.0, 2.0, 0.5]])])
def test_the_undeformed_body_has_neither_energy_nor_stress(dim, fibres):
    """Whatever the function of the invariants is."""
    material = hx.Hyperelastic(lambda i: jnp.sum(jnp.exp(0.3 * i) + i**3), hx.Invariants(dim, fibres))
    value, slope = jax.value_and_grad(material.stored)(jnp.eye(dim))
    assert abs(value) < 1e-14
    assert np.abs(slope).max() < 1e-13


def test_stresses_of_a_known_law():
    """First and true stress of neo-Hooke in simple shear, by hand: `P = F - F^-T` where the volume stays."""
    shear = jnp.asarray([[0.0, 0.4], [0.0, 0.0]])
    material, f = hx.Hyperelastic(NEO_HOOKE), jnp.eye(2) + shear
    displacement = lambda x: shear @ x  # noqa: E731
    x = jnp.asarray([0.2, 0.7])
    np.testing.assert_allclose(material.stress(displacement)(x), f - jnp.linalg.inv(f).T, atol=1e-13)
    np.testing.assert_allclose(material.cauchy(displacement)(x), f @ f.T - jnp.eye(2), atol=1e-13)
    np.testing.assert_allclose(material.balance(displacement, (1.0, 0.0))(x), [1.0, 0.0], atol=1e-13)


@pytest.mark.parametrize(
    ("energy", "moduli"),
    [
        (hx.materials.neo_hooke(2.0, 3.0), (2.0, 3.0, 0.0)),
        (hx.materials.gent(2.0, 3.0, 0.5), (2.0, 11.0, 0.0)),
        (hx.materials.fibre_reinforced([0.0, 3.0, 0.0], 4.0, 0.5, shear=2.0, lame=3.0), (2.0, 3.0, 4.0)),
    ],
)
def test_energies_have_their_moduli_at_rest(energy, moduli):
    """Second derivatives at rest: `lame I x I + 2 shear`, and four times the stiffness of stretched fibres."""
    shear, lame, stiffness = moduli
    strain = np.array([[0.3, 0.1, 0.0], [0.1, 0.5, 0.2], [0.0, 0.2, -0.4]])
    along = lambda t: energy(jnp.eye(3) + 2.0 * t * strain)  # noqa: E731
    assert abs(along(0.0)) < 1e-15
    assert abs(jax.grad(along)(1e-9)) < 1e-7
    expected = lame * np.trace(strain) ** 2 + 2.0 * shear * np.sum(strain**2) + 4.0 * stiffness * strain[1, 1] ** 2
    np.testing.assert_allclose(jax.grad(jax.grad(along))(1e-9), expected, rtol=1e-6)


def test_energies_of_bodies_that_give_way_are_refused():
    """Moduli are checked where they are given."""
    materials = hx.materials
    refused = (
        lambda: materials.neo_hooke(-1.0),
        lambda: materials.gent(1.0, -1.0, 1.0),
        lambda: materials.gent(limit=0.0),
        lambda: materials.fibre_reinforced([1, 0, 0], 0.0),
    )
    for make in refused:
        with pytest.raises(hx.InputError, match="positive"):
            make()


def samples(count, seed, reach=0.25, energy=NEO_HOOKE):
    rng = np.random.default_rng(seed)
    f = np.eye(2) + rng.uniform(-reach, reach, (count, 2, 2))
    c = f.transpose(0, 2, 1) @ f
    slope = np.asarray(values_at(jax.grad(energy), c))
    return c, slope + slope.transpose(0, 2, 1)


@pytest.fixture(scope="module")
def law():
    """A law learned from 150 stresses without noise."""
    return hx.train(hx.stored_energy(*samples(150, 0)), budget=20, levels=1)


def test_a_law_from_stresses_meets_others(law):
    """Stresses of samples that it has not seen, to a part in a thousand."""
    material = hx.Hyperelastic(law.function("W"), hx.Invariants(2))
    assert law.result.exit_code == 0, str(law)
    c, s = samples(300, 1, reach=0.2)
    slope = values_at(jax.grad(lambda c: material.stored(jnp.linalg.cholesky(c).T)), c)
    found = np.asarray(slope + jnp.swapaxes(slope, 1, 2))
    assert np.linalg.norm(found - s) < 1e-3 * np.linalg.norm(s)


def bar(material, stretch):
    """One coordinate of a body whose sides are held, pulled to a stretch."""
    stored = lambda u, x: material.stored(jnp.diag(jnp.stack([1.0 + hx.derivative(u, "x")(x), 1.0])))  # noqa: E731
    ends = hx.dirichlet("boundary", lambda x: (stretch - 1.0) * x[0])
    return hx.Problem(hx.Box([0.0], [1.0]), (hx.Energy("stored", stored), ends))


@pytest.mark.slow
def test_a_learned_law_in_a_body_and_what_it_has_not_seen(law, tmp_path):
    """A body is solved with a law that was read from a file, as problem files do; what the law has seen is known."""
    law.save(tmp_path / "law.hx")
    function, invariants = hx.load(tmp_path / "law.hx").function("W"), hx.Invariants(2)
    near = hx.train(bar(hx.Hyperelastic(function, invariants), 1.1), budget=20, levels=1)
    assert near.guards["admissible"].passed, str(near)
    np.testing.assert_allclose(near.evaluate([[0.3], [1.0]]), [0.03, 0.1], rtol=1e-6)
    asked = np.stack([invariants(jnp.diag(jnp.asarray([stretch**2, 1.0]))) for stretch in (1.1, 2.0)])
    assert list(function.seen.beyond(asked)) == [False, True]
    assert function.seen.words(asked[1]) == "I1 = 2.5, J = 2"


def test_a_body_beyond_the_samples_of_its_law_has_a_minimum_and_is_told(law):
    """A bar at twice its length is solved, to a homogeneous stretch, and refused as the law has not seen such ones."""
    far = hx.train(bar(hx.Hyperelastic(law.function("W"), hx.Invariants(2)), 2.0), budget=90, levels=1)
    assert far.guards["stationary"].passed, str(far)
    assert not far.guards["admissible"].passed
    assert far.result.exit_code == 3
    assert "I1 = 2.5, J = 2" in far.guards["admissible"].sentence
    np.testing.assert_allclose(far.evaluate([[0.3], [1.0]]), [0.3, 1.0], rtol=1e-6)


def test_a_learned_energy_grows_without_bound_beyond_its_samples(law):
    """Itself among the samples; more and more where matter is pulled or pressed to nothing."""
    invariants = hx.Invariants(2)
    # made inside of what is traced, as in a term
    stored = jax.jit(lambda f: hx.Hyperelastic(law.function("W"), invariants).stored(f))
    raw, slope = jax.value_and_grad(law.function("W"))(invariants(jnp.eye(2)))
    now = invariants(jnp.diag(jnp.asarray([1.1**2, 1.0])))
    rest = invariants(jnp.eye(2))
    seen = law.function("W")(now) - raw - slope[1] * (now - rest)[1]
    np.testing.assert_allclose(stored(jnp.diag(jnp.asarray([1.1, 1.0]))), seen, rtol=1e-12)
    for sides in (lambda s: [s, s], lambda s: [s, 1.0 / s], lambda s: [1.0 / s, 1.0 / s]):
        energies = [float(stored(jnp.diag(jnp.asarray(sides(s))))) for s in (1.5, 3.0, 10.0, 30.0, 100.0)]
        assert np.all(np.diff(np.log(energies)) > 0.2)


def test_a_polyconvex_energy_from_few_samples_is_stable_everywhere():
    """Near to a law that is no sum of those it is made of, half as far again as samples, too; convex along waves."""
    invariants = hx.Invariants(2)
    material = hx.Hyperelastic(hx.polyconvex_energy(*samples(60, 0), invariants), invariants)
    second = jax.jit(jax.vmap(jax.grad(lambda c: 2.0 * material.stored(jnp.linalg.cholesky(c).T))))
    for reach, limit in ((0.25, 0.03), (0.375, 0.1)):
        c, s = samples(300, 1, reach)
        found = second(jnp.asarray(c))
        found = 0.5 * (found + jnp.swapaxes(found, 1, 2))
        assert np.linalg.norm(found - s) < limit * np.linalg.norm(s)
    rng = np.random.default_rng(0)
    f = np.eye(2) + rng.uniform(-2.0, 2.0, (400, 2, 2))
    f = f[np.linalg.det(f) > 0.05]
    curved = np.asarray(jax.jit(jax.vmap(jax.hessian(material.stored)))(jnp.asarray(f)))
    angles = np.pi * np.arange(12) / 12
    waves = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert np.min(np.einsum("zijkl,ai,bj,ak,bl->zab", curved, waves, waves, waves, waves)) > 0.0


def test_a_polyconvex_energy_knows_how_fast_fibres_stiffen():
    """Half as far again as the samples, where between two exponents the steeper one would take over."""
    invariants, energy = hx.Invariants(2, [(1.0, 2.0)]), hx.materials.fibre_reinforced((1.0, 2.0), 1.0, 1.4)
    material = hx.Hyperelastic(hx.polyconvex_energy(*samples(300, 0, 0.3, energy), invariants), invariants)
    c, s = samples(300, 1, 0.45, energy)
    found = np.asarray(
        jax.jit(jax.vmap(jax.grad(lambda c: 2.0 * material.stored(jnp.linalg.cholesky(c).T))))(jnp.asarray(c))
    )
    assert np.linalg.norm(0.5 * (found + found.transpose(0, 2, 1)) - s) < 0.08 * np.linalg.norm(s)


def test_marks_are_found_under_derivatives_and_compilation():
    """Inputs of a law inside of `grad`, `vmap` and `jit` are the numbers it was called with."""
    mark = SeenInputs("law", hx.Box([0.0], [1.0]))

    def inner(x):
        return jnp.sum(watched(x, mark) ** 3)

    term = hx.Residual("term", lambda u, x: jax.vmap(jax.grad(jax.jit(inner)))(jnp.stack([x, 2.0 * x]))[:, 0] * u(x))
    problem = hx.Problem(hx.Box([0.0], [1.0]), (term,))
    x = np.array([[0.25], [0.75]])
    found = marked_values(point_term(problem, term), lambda x: x[0], Place(x, np.zeros_like(x), np.zeros((2, 0))))
    assert [key for key, _ in found] == [mark.key]
    np.testing.assert_allclose(found[0][1].reshape(2, -1), [[0.25, 0.5], [0.75, 1.5]])
    assert list(mark.beyond(np.array([[0.5], [1.5]]))) == [False, True]
    # a member of a family has the same numbers at all points
    member = SquaredResidual("member", lambda u, place: watched(place.x, mark) * place.inputs[1])
    places = Place(x, np.zeros_like(x), np.zeros((2, 0)), np.array([1.0, 2.0]))
    np.testing.assert_allclose(marked_values(member, None, places)[0][1], x)


def test_outputs_are_asked_by_name(tmp_path):
    """Scalars, components and derivatives of functions of the problem's own; what is wrong is named."""
    problem = hx.Problem(
        hx.Box([0.0, 0.0], [1.0, 1.0]),
        (hx.Residual("known", lambda u, x: u(x) - x[0] ** 2 * x[1]),),
        outputs={"flux": lambda u, x: -hx.gradient(u)(x), "energy": lambda u, x: 0.5 * u(x) ** 2},
    )
    solution = hx.train(problem, budget=10)
    points = np.array([[0.5, 0.25], [0.2, 0.8]])
    x, y = points.T
    np.testing.assert_allclose(solution.evaluate(points, "flux"), np.stack([-2 * x * y, -(x**2)], axis=1), atol=1e-6)
    np.testing.assert_allclose(solution.evaluate(points, "flux[0]_y"), -2 * x, atol=1e-5)
    np.testing.assert_allclose(solution.evaluate(points, "energy"), 0.5 * (x**2 * y) ** 2, atol=1e-7)
    with pytest.raises(hx.InputError, match="shape \\(2,\\)"):
        solution.evaluate(points, "flux[2]")
    with pytest.raises(hx.InputError, match="the outputs flux, energy"):
        solution.evaluate(points, "fluxes")
    solution.save(tmp_path / "known.hx")
    with pytest.raises(hx.InputError, match="output 'energy' is code"):
        hx.load(tmp_path / "known.hx").evaluate(points, "energy")
    with pytest.raises(hx.InputError, match="is an unknown"):
        hx.Problem(problem.domain, problem.terms, outputs={"u": lambda u, x: u(x)})


def test_samples_of_stresses_that_cannot_be_are_refused():
    """Shapes that do not fit, and tensors that no deformation has."""
    c, s = samples(5, 0)
    with pytest.raises(hx.InputError, match="the shapes are"):
        hx.stored_energy(c, s[:, 0])
    with pytest.raises(hx.InputError, match="positive definite"):
        hx.stored_energy(-c, s)


def test_a_bar_that_is_pressed_far_is_solved():
    """The full step to a tenth of the length leaves the set where the energy is finite; shortened ones lead there."""
    stored = lambda u, x: (lambda f: 0.5 * f**2 - jnp.log(f))(1.0 + hx.derivative(u, "x")(x)) + 0.1 * x[0] * u(x)  # noqa: E731
    ends = hx.dirichlet("boundary", lambda x: -0.9 * x[0])
    solution = hx.train(hx.Problem(hx.Box([0.0], [1.0]), (hx.Energy("stored", stored), ends)), budget=20, levels=1)
    assert solution.guards["stationary"].passed, str(solution)
    assert solution.guards["boundary"].passed
