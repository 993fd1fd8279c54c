"""Cells, their solvers and material networks: closed forms, laws of transfers and derivatives, and what is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.cli import main
from hierax.materials import fitting, network
from hierax.materials.fitting import TensorSamples

PHYSICS = [
    hx.materials.Physics(2),
    hx.materials.Physics(2, False),
    hx.materials.Physics(3),
]
LAWS = (hx.materials.J2(1.0, 0.35, 0.01, 0.02), hx.materials.Linear(hx.materials.isotropic(5.0, 0.25)))
PLANE = hx.materials.Physics(2)


def words(physics):
    return f"{'elastic' if physics.elastic else 'conduction'}-{physics.dimension}d"


def layers(dimension, grid=8):
    image = np.zeros((grid,) * dimension, int)
    image[: grid // 4] = 1
    return hx.materials.pixels(image)


@pytest.mark.parametrize("physics", PHYSICS, ids=words)
def test_the_cell_of_layers_has_the_tensor_of_the_laminate(physics):
    phases = hx.materials.random_phases(2, physics)
    found = hx.materials.effective_tensors(layers(physics.dimension), phases, physics, 1e-9).tensors
    normal = np.eye(physics.dimension)[0]
    exact = network.laminate(
        jnp.asarray(phases[:, 1]), jnp.asarray(phases[:, 0]), jnp.asarray(0.25), physics.jump(normal)
    )
    assert np.max(np.abs(found - exact)) < 1e-12 * np.max(np.abs(exact))


def test_grids_converge_to_the_dilute_limit_and_show_one_microstructure():
    # Maxwell: dilute discs of conductivity s in 1 give (1 + b f) / (1 - b f), b = (s - 1) / (s + 1)
    physics, fraction = hx.materials.Physics(2, False), 0.02
    phases = np.stack([np.eye(2), 5.0 * np.eye(2)])[None]
    errors = []
    for grid in (32, 128):
        cell = hx.materials.discs(grid, 1, fraction)
        found = hx.materials.effective_tensors(cell, phases, physics, 1e-6).tensors[0]
        share = 2.0 / 3.0 * cell.fractions[1]
        exact = (1.0 + share) / (1.0 - share)
        errors.append(abs(found[0, 0] - exact))
    assert errors[1] < 1e-3 < 3e-3 > errors[0]
    for make in (hx.materials.discs, hx.materials.random_field):
        cell = make(24)
        # every third pixel of a grid three times as fine has the same centre
        assert np.array_equal(cell.on(72).image[1::3, 1::3], cell.image)
    fibres = hx.materials.fibres(24, fraction=0.1)
    assert abs(fibres.fractions[1] - 0.1) < 0.01
    assert cell.window((3, 20), 8).image.shape == (8, 8)


def test_one_cell_of_a_nonlinear_material_follows_the_point_law():
    cell = hx.materials.pixels(np.zeros((4, 4), int))
    law = LAWS[0]
    targets = np.zeros((6, 3))
    targets[:, 2] = [0.01, 0.02, 0.03, 0.0, -0.03, 0.01]
    path = hx.materials.cell_path(cell, (law,), PLANE, targets)
    assert path.converged.all()
    state, stresses = law.initial(3), []
    for strain in targets:
        stress, state = law(jnp.asarray(strain), state)
        stresses.append(stress)
    assert np.allclose(path.stress, stresses, atol=1e-12)
    # pure shear flows at the yield stress over sqrt3, and hardens with the plastic strain
    shear, hardening = 1.0 / 2.7, 0.02
    first = (np.sqrt(1.5) * 2.0 * shear * 0.03 - 0.01) / (3.0 * shear + hardening)
    assert np.sqrt(1.5) * path.stress[2, 2] == pytest.approx(0.01 + hardening * first, rel=1e-10)


def trained(physics, count=40, depth=3):
    """A tree learns from another one, so that no error of a solver is between."""
    phases = hx.materials.random_phases(count, physics, seed=3)
    teacher = network.seedling(depth, physics, 2, 11)
    return TensorSamples(
        phases, np.asarray(jax.jit(jax.vmap(lambda p: teacher(p)))(phases)), np.asarray(teacher.volume(2))
    )


@pytest.mark.parametrize("physics", PHYSICS[1:], ids=words)
def test_the_jacobian_by_localisation_is_that_of_autodiff_and_trees_keep_the_bounds(physics):
    tree = network.seedling(2, physics, 2, 5)
    tensors = jnp.asarray(hx.materials.random_phases(1, physics)[0])
    effective, slopes = jax.jit(lambda t: tree.jacobian(t))(tensors)

    def of(fractions, angles):
        return network.MaterialNetwork(fractions, angles, tree.phases, physics)(tensors)

    own = jax.jit(jax.jacrev(of, argnums=(0, 1)))(tree.fractions, tree.angles)
    exact = np.concatenate([np.moveaxis(one, (0, 1), (-2, -1)).reshape(-1, *effective.shape) for one in own])
    assert np.max(np.abs(slopes - exact)) < 1e-12 * np.max(np.abs(exact))
    volume = np.asarray(tree.volume(2))
    voigt = np.einsum("p,pij->ij", volume, tensors)
    reuss = np.linalg.inv(np.einsum("p,pij->ij", volume, np.linalg.inv(tensors)))
    assert np.linalg.eigvalsh(voigt - effective).min() > -1e-10
    assert np.linalg.eigvalsh(effective - reuss).min() > -1e-10


def test_nucleation_changes_nothing_and_its_slope_is_the_derivative():
    physics = PLANE
    samples = trained(physics)
    shares = np.full(len(samples), 1.0 / len(samples))
    tree = network.seedling(3, physics, 2, 0, 2)
    adjoints = fitting._adjoints(tree, samples.phases, samples.effective, shares)[:, tree.levels[2]]
    grown = network.nucleated(tree, 2, adjoints, samples.phases)
    before, after = (np.asarray(jax.jit(jax.vmap(lambda p, one=one: one(p)))(samples.phases)) for one in (tree, grown))
    assert np.max(np.abs(before - after)) <= 1e-12 * np.max(np.abs(before))
    own, slope = tree.phases[::2], []
    jumps = physics.jump(network.normals_of(grown.angles[grown.levels[2]]))
    slopes = network._nucleation_slopes(adjoints, samples.phases, own, jumps)
    slope = np.asarray(slopes)[np.arange(4), 1 - own, np.arange(4)]
    # a fraction of 1 leaves its bound downwards: the slope of the loss by it is that of the new phase, reversed
    gradient = 2.0 * np.asarray(fitting._normal(grown, *samples.arrays, shares).gradient)[grown.levels[2]]
    volume = jax.grad(
        lambda f: fitting._misfit(network.MaterialNetwork(f, grown.angles, grown.phases, physics), *samples.arrays)[1]
    )(grown.fractions)
    assert np.allclose(-(gradient - volume[grown.levels[2]]), slope, rtol=1e-8, atol=1e-12)
    assert slope.min() < 0.0
    # splitting a leaf into two of its own kind does nothing
    assert np.allclose(np.asarray(slopes)[np.arange(4), own, np.arange(4)], 0.0, atol=1e-12)


def test_fractions_stay_in_their_bounds_and_a_tree_finds_its_teacher():
    samples = trained(PLANE)
    shares = np.full(len(samples), 1.0 / len(samples))
    rng = np.random.default_rng(0)
    teacher = network.seedling(3, PLANE, 2, 11)
    moved = np.asarray(teacher.fractions) + rng.uniform(-0.1, 0.1, 7), teacher.angles + rng.uniform(-0.1, 0.1, (7, 1))
    start = network.MaterialNetwork(jnp.asarray(moved[0]), moved[1], teacher.phases, PLANE)
    near, _, _ = fitting.fitted(start, samples, shares)
    assert np.mean(fitting.relative_errors(near, samples)) < 1e-3
    # from far away, with a level that has to grow: what it could not do without it
    start = network.seedling(3, PLANE, 2, 1, 2)
    without, _, _ = fitting.fitted(start, samples, shares, 2)
    found = fitting.grow(start, samples, shares, 2)
    before, after = (np.mean(fitting.relative_errors(one, samples)) for one in (without, found))
    assert after < 0.7 * before
    assert np.all((np.asarray(found.fractions) >= 0.0) & (np.asarray(found.fractions) <= 1.0))
    assert np.allclose(found.volume(2), samples.fractions, atol=0.05)
    assert np.sum(found.pruned(0.01).alive) <= np.sum(found.alive)


def test_a_laminate_online_is_the_cell_of_layers():
    tree = network.MaterialNetwork(jnp.array([0.25]), jnp.zeros((1, 1)), jnp.array([1, 0]), PLANE)
    targets = np.zeros((12, 3))
    targets[:, 0] = np.concatenate([np.linspace(0.005, 0.03, 6), np.linspace(0.02, -0.03, 6)])
    targets[:, 2] = 0.5 * targets[:, 0] ** 2 / 0.03
    for free in ((), (1,)):
        truth = hx.materials.cell_path(layers(2), LAWS, PLANE, targets, free, tolerance=1e-9)
        path = hx.materials.network_path(tree, LAWS, targets, free)
        assert np.all(path.converged & truth.converged)
        assert np.max(np.abs(path.stress - truth.stress)) < 1e-7 * np.max(np.abs(truth.stress))
        assert np.allclose(path.strain, truth.strain, atol=1e-8)


def test_a_network_is_a_law_with_an_exact_tangent():
    tree = network.seedling(2, PLANE, 2, 4)
    law = hx.materials.NetworkLaw(tree, LAWS)
    strain = jnp.array([0.02, -0.005, 0.01])
    stress, state = jax.jit(lambda e: law(e, law.initial(3)))(strain)
    assert np.allclose(stress, hx.materials.network_path(tree, LAWS, np.asarray(strain)[None]).stress[0], atol=1e-12)

    second = jax.jit(lambda strain: law(strain, state)[0])

    strain = strain + jnp.array([0.004, 0.0, -0.02])
    tangent = jax.jit(jax.jacrev(second))(strain)
    step = 1e-6
    differences = [(second(strain + step * e) - second(strain - step * e)) / (2.0 * step) for e in np.eye(3)]
    assert np.allclose(tangent, np.stack(differences, axis=1), atol=1e-7)
    assert np.allclose(tangent, tangent.T, atol=1e-10)


def test_a_cell_is_learned_and_judged(tmp_path):
    cell = hx.materials.discs(16, 1, 0.25)
    made = hx.materials.learn_network(cell, depth=3, samples=40, members=1, devices=hx.Devices(seeds=1))
    assert made.passed, str(made)
    assert np.mean(made.errors) < 0.02
    assert made.path_error[1] < 0.06
    assert abs(made.volume[1] - cell.fractions[1]) < 0.01
    hx.save(made, tmp_path / "network.npz")
    again = hx.load(tmp_path / "network.npz")
    phases = hx.materials.random_phases(1, PLANE, seed=9)[0]
    assert np.array_equal(again.network(phases), made.network(phases))
    assert str(again) == str(made)


def test_coarse_solves_keep_the_bounds_and_what_they_lack_is_learned():
    rng = np.random.default_rng(0)
    conduction = hx.materials.Physics(2, False)
    cells = [hx.materials.random_field(32, rng.uniform(0.25, 0.6), 2, seed) for seed in range(40)]
    phases = np.array([[np.eye(2), rng.uniform(5.0, 50.0) * np.eye(2)] for _ in cells])
    known, fresh = slice(0, 30), slice(30, 40)
    made = hx.materials.learn_correction(cells[known], phases[known], conduction, (4, 8))
    assert np.mean(made.errors) <= np.mean(made.coarse_errors)
    found = made(cells[fresh], phases[fresh])
    truth = np.array(
        [hx.materials.composite_tensor(c, 32, p, conduction) for c, p in zip(cells[30:], phases[30:], strict=True)]
    )
    errors = np.linalg.norm(found.tensors - truth, axis=(1, 2)) / np.linalg.norm(truth, axis=(1, 2))
    assert np.mean(errors) < 3.0 * np.mean(made.errors)
    fractions = np.array([cell.fractions for cell in cells[fresh]])
    voigt, reuss = hx.materials.voigt_reuss(phases[fresh], fractions)
    assert np.linalg.eigvalsh(voigt - found.tensors).min() > -1e-9
    assert np.linalg.eigvalsh(found.tensors - reuss).min() > -1e-9
    # far from what was learned nothing is promised
    assert np.all(np.isinf(made(cells[:1], np.array([[np.eye(2), 1e4 * np.eye(2)]])).bounds))


def test_a_coarse_pixel_along_an_interface_is_exact():
    # layers of 3 fine pixels do not fit the coarse grid: mixed pixels are laminates, and so is the cell
    image = np.zeros((16, 16), int)
    image[:3] = 1
    cell, phases = hx.materials.pixels(image), hx.materials.random_phases(1, PLANE)[0]
    fine, coarse = (hx.materials.composite_tensor(cell, grid, phases, PLANE) for grid in (16, 4))
    assert np.allclose(coarse, fine, rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: hx.materials.discs(16, 12, 0.8), "inclusions were placed"),
        (lambda: hx.materials.pixels(np.zeros((3, 4))), "is no cell"),
        (lambda: hx.materials.J2(1.0, 0.5, 0.01), "poisson"),
        (lambda: hx.materials.Linear(-np.eye(3)), "not positive definite"),
        (lambda: hx.materials.Physics(4), "dimension is 4"),
        (lambda: hx.materials.effective_tensors(layers(2), np.ones((1, 1, 3, 3)), PLANE), r"Give \(samples, 2, 3, 3\)"),
        (lambda: hx.materials.cell_path(layers(2), LAWS[:1], PLANE, np.zeros((2, 3))), "one law for each phase"),
        (lambda: hx.materials.learn_network(layers(2), depth=12), "depth of 1 to 9"),
    ],
)
def test_bad_input_is_refused(call, said):
    with pytest.raises(hx.InputError, match=said):
        call()


def test_the_command_line_learns_a_cell_and_predicts_tensors(tmp_path, capsys):
    file, arrays, out = tmp_path / "cells.py", tmp_path / "phases.npz", tmp_path / "effective.npz"
    file.write_text("import hierax as hx\n\ndef cell(fraction=0.2):\n    return hx.materials.discs(16, 1, fraction)\n")
    words = ["material", f"{file}:cell", "--set", "fraction=0.3", "--conduction", "--depth", "2", "--samples", "20"]
    words += ["--members", "1", "--run", str(tmp_path / "run"), "--json", str(tmp_path / "record.json")]
    code = main(words)
    record = json.loads((tmp_path / "record.json").read_text())
    assert code == (0 if all(guard["passed"] for guard in record["guards"].values()) else 3)
    assert record["fractions"][1] == pytest.approx(0.3, abs=0.03)
    phases = hx.materials.random_phases(3, hx.materials.Physics(2, False), seed=8)
    np.savez(arrays, phases=phases)
    assert main(["predict", str(tmp_path / "run"), str(arrays), "--out", str(out)]) == 0
    assert np.array_equal(np.load(out)["effective"], hx.load(tmp_path / "run").effective(phases))
    np.savez(arrays, phases=-phases)
    assert main(["predict", str(tmp_path / "run"), str(arrays), "--out", str(out), "--force"]) == 1
    assert main(["material", f"{file}:nothing"]) == 1
    assert "no 'nothing'" in capsys.readouterr().err


def test_a_network_stands_in_a_term_of_a_problem():
    # a bar of layers under its own weight, along the layers' normal: stress and strain follow from the laminate
    tree = network.MaterialNetwork(jnp.array([0.5]), jnp.zeros((1, 1)), jnp.array([1, 0]), PLANE)
    law = hx.materials.NetworkLaw(tree, (LAWS[1], hx.materials.Linear(hx.materials.isotropic(1.0, 0.25))))

    def stress(u):
        return lambda x: law(jnp.zeros(3).at[0].set(hx.derivative(u, "x")(x)), law.initial(3))[0][0]

    problem = hx.Problem(
        domain=hx.Box([0.0], [1.0], names=("x",)),
        terms=(
            hx.Residual("equilibrium", lambda u, x: hx.derivative(stress(u), "x")(x) + 0.01),
            hx.Residual("held", lambda u, x, normal: u(x), on=hx.Face("x", "lower")),
            hx.Residual("free", lambda u, x, normal: stress(u)(x), on=hx.Face("x", "upper")),
        ),
    )
    solution = hx.train(problem, levels=2)
    stiffness = 2.0 / (1.0 / 6.0 + 1.0 / 1.2)
    assert solution.evaluate([[1.0]], "u")[0] == pytest.approx(0.005 / stiffness, rel=1e-6)
