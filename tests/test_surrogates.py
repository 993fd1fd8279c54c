"""Families as surrogates: inputs, kernels that all members share, errors that are known, and run folders."""

import itertools
import json
import shutil
import signal
from dataclasses import make_dataclass, replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from scipy.io import netcdf_file

import hierax as hx
from hierax import cli, clock
from hierax._errors import InputError
from hierax.models import learning, operator_training, solving
from hierax.models.catalogue import families, flow_by_cells
from hierax.models.common_mesh import Member
from hierax.models.course import Course
from hierax.models.doubt import ErrorModel
from hierax.models.grids import relative_errors, resampled, symmetries
from hierax.models.judging import Judge, predict
from hierax.models.network import MultigridNetwork, predicted, to_cells, to_channels
from hierax.models.operators import in_blocks
from hierax.models.regression import fitted, products
from hierax.models.solving import _floor, restored
from hierax.models.surrogate import Calibration
from hierax.models.telescoped import CoarseNetwork, TelescopedNetwork
from hierax.objective.objective import flat_parameters
from hierax.objective.reduction import CHUNK
from hierax.records.folder import Folder
from hierax.results.archive import pack, unpack
from hierax.results.arrays import write_arrays
from studies import data_levels
from studies import families as families_study
from studies.media import amplitudes, gaussian, media

FILE = """
import jax.numpy as jnp
import hierax as hx


def problem(k=1.0, a=2.0):
    def equation(u, x):
        c, s = k / 4.0, jnp.pi * x[0]
        bend = (c**2 - jnp.pi**2) * jnp.sin(s) + 2.0 * c * jnp.pi * jnp.cos(s)
        return -hx.derivative(u, "xx")(x) + k * u(x) - a * jnp.exp(c * x[0]) * (k * jnp.sin(s) - bend)

    ends = hx.Residual("ends", lambda u, x: u(x), on="boundary")
    return hx.Problem(hx.Box([0.0], [1.0]), [hx.Residual("equation", equation), ends])


family = hx.Family(problem, {"k": hx.LogUniform(0.5, 8.0), "a": hx.Uniform(1.0, 3.0)})
"""


def exact(k, a, x):
    return a * np.exp(k / 4.0 * x) * np.sin(np.pi * x)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    (folder / "member.py").write_text(FILE)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    """A surrogate made on the command line."""
    path = folder / "run"
    words = [f"{folder}/member.py:problem", "--vary", "k=0.5:8:log", "a=1:3", "--tolerance", "1e-5", "--run", str(path)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("hierax.records.run.PERIOD", 0.1)
        patched.setattr("hierax.records.run.SHARE", 1.0)
        assert cli.main(["surrogate", *words, "--json", str(folder / "out.json")]) == 0
    return path


def test_a_family_goes_on_with_its_mesh_and_members(run, folder, tmp_path, monkeypatch):
    again, solved = tmp_path / "run", []
    shutil.copytree(run, again)
    solve = solving.MemberSolver.solve
    monkeypatch.setattr(solving.MemberSolver, "solve", lambda *words: solved.append(words[1]) or solve(*words))
    assert cli.main(["resume", str(again), "--problem", f"{folder}/member.py:problem"]) == 0
    before, after = hx.load(run), hx.load(again)
    # no mesh is looked for, and beside the middle only those are solved that came after the last state
    assert len(solved) < 64
    np.testing.assert_allclose(after.calibration.errors, before.calibration.errors, rtol=1e-6)
    assert after.record.seconds >= before.record.seconds_mesh


@pytest.fixture(scope="module")
def family(folder):
    return made(folder).family


def made(folder):
    import importlib.util

    spec = importlib.util.spec_from_file_location("member", folder / "member.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_family_from_a_file_is_learned_to_a_tolerance_with_errors_that_are_known(run, folder, family):
    record = json.loads((folder / "out.json").read_text())
    assert record["error_largest"] <= 1e-5
    assert record["stopped_by"] == "tolerance"
    shown = record["true_over_estimated_by_equations"]
    assert len(shown) == 8
    assert 0.5 < min(shown) <= max(shown) < 2.0
    surrogate, inputs, x = hx.load(run), family.drawn(8, 99), np.linspace(0.0, 1.0, 41)
    truth = np.array([exact(*one, x) for one in inputs])

    def errors(fields):
        found = np.array([jax.vmap(field)(jnp.asarray(x)[:, None]) for field in fields])
        return np.linalg.norm(found - truth, axis=1) / np.linalg.norm(truth, axis=1)

    assert np.all(errors(surrogate.solutions(inputs)) <= surrogate.error_bounds(inputs))
    seen = predict(surrogate, inputs, family=family)
    assert 0.7 < np.median(errors(seen.fields) / seen.errors) < 1.4
    assert np.all(errors(seen.fields) <= seen.bounds)
    best = predict(surrogate, inputs[:3], family=family, tolerance=1e-9)
    assert np.max(best.bounds) <= 1e-9
    truth = truth[:3]
    assert np.max(errors(best.fields)) <= 1e-9


def test_equations_show_errors_of_predictions_alone_and_nothing_at_a_solution_on_the_common_mesh(run, family):
    surrogate = hx.load(run)
    judge = Judge.of(surrogate, family)
    inputs = family.drawn(1, 3)[0]
    solved = judge.solver.solve(inputs).theta
    # the mesh leaves residuals, of which the correction sees nothing; what the start misses it sees in full
    assert judge.correction.size(judge.correction.step(inputs, solved), solved) < 1e-10
    other = 1.001 * solved
    assert judge.correction.size(judge.correction.step(inputs, other), other) == pytest.approx(1e-3, rel=0.05)


def test_the_page_shows_members_beside_the_truth_errors_and_costs(run):
    assert cli.main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    told = ("u of the worst (k = ", "truth and prediction", "True errors against estimated", "1e-05 was asked for",
            "Error against the seconds of one sample", "32 members, ", "the surrogate")  # fmt: skip
    assert [one for one in told if one not in page] == []


def test_an_artefact_gives_the_same_values_without_the_library(run, small, tmp_path):
    pytest.importorskip("flatbuffers")
    surrogate, x = hx.load(run), jnp.linspace(0.1, 0.9, 5)[:, None]
    surrogate.export(tmp_path / "family.jax")
    z = jnp.array([[2.0, 1.5], [4.0, 2.5], [1.0, 1.0]])
    found = export.deserialize((tmp_path / "family.jax").read_bytes()).call(z, x)
    np.testing.assert_allclose(found[..., 0], [jax.vmap(surrogate(one))(x) for one in z], rtol=1e-12)
    a, u = smoothed(24, 16, np.random.default_rng(2))
    inputs = {"a": a, "coarse": u[:, ::2, ::2], "size": np.abs(u).mean((1, 2))}
    operator = hx.surrogate(hx.Samples(inputs, {"u": u}, base="coarse", periodic=True), budget=0.1)
    operator.export(tmp_path / "operator.jax", inputs)
    few = {name: jnp.asarray(values[:3]) for name, values in inputs.items()}
    found = export.deserialize((tmp_path / "operator.jax").read_bytes()).call(few)["u"]
    np.testing.assert_allclose(found, operator(few)["u"], atol=2e-5 * np.abs(u).max())


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".nc"])
def test_samples_come_from_files_of_arrays_and_what_is_missing_in_them_is_told(tmp_path, suffix):
    arrays = {"a": np.arange(24.0).reshape(8, 3), "n": np.arange(8.0)}
    path = tmp_path / f"data{suffix}"
    if suffix == ".nc":
        with netcdf_file(path, "w") as file:
            for name, size in (("sample", 8), ("x", 3)):
                file.createDimension(name, size)
            file.createVariable("a", "f8", ("sample", "x"))[:] = arrays["a"]
            file.createVariable("n", "f8", ("sample",))[:] = arrays["n"]
            packed = file.createVariable("packed", "i2", ("sample",))
            packed[:], packed.scale_factor = 1, 0.1
            gaps = file.createVariable("gaps", "f8", ("sample",))
            gaps[:], gaps.missing_value = arrays["n"], 3.0
    else:
        if suffix == ".h5":
            pytest.importorskip("h5py")
        write_arrays(path, arrays)
    made = hx.Samples.read(path, ["n"], ["a"])
    np.testing.assert_array_equal(made.outputs["a"], arrays["a"])
    with pytest.raises(InputError, match="There is no array 'b'"):
        hx.Samples.read(path, ["b"], ["a"])
    if suffix == ".nc":
        with pytest.raises(InputError, match="is packed"):
            hx.Samples.read(path, ["packed"], ["a"])
        with pytest.raises(InputError, match="not finite, the first at \\(3,\\)"):
            hx.Samples.read(path, ["gaps"], ["a"])
    path.write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be read"):
        hx.Samples.read(path, ["n"], ["a"])


def test_members_follow_levels_in_calls_of_their_own_size():
    def make(k):
        walls = hx.Residual("walls", lambda u, x: u(x), on="boundary")
        bend = hx.Residual("bend", lambda u, x: hx.laplacian(u)(x) - k * u(x) ** 3 + 5.0)
        return hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), [bend, walls])

    levels = hx.FamilyLevels(hx.Family(make, {"k": hx.Uniform(1.0, 2.0)}), "mean(u)", levels=2)
    inputs = np.array([1.5])
    coarse, fine = (mesh._objective.terms[0] for mesh in levels.meshes)
    assert coarse.elements.order.size <= coarse.together < fine.together <= CHUNK
    # from the level below and from nothing
    followed, alone = levels.run(inputs, 1), levels.meshes[1].solve(inputs)
    field = flat_parameters(levels.meshes[1].field)[1](alone.theta)
    value = levels._seen(restored(levels.plan, levels.asked, field))
    np.testing.assert_allclose(followed.value, value, rtol=1e-8)


def test_where_the_finest_level_is_all_rounding_coarser_ones_tell_what_a_mesh_leaves():
    class Discrete:
        probe = staticmethod(lambda field: np.array([field]))

    visited = {0: SimpleNamespace(field=1.1, loss=1e-4), 1: SimpleNamespace(field=1.0, loss=1e-20)}
    state = SimpleNamespace(visited=visited, changes={1: 1e-6})
    found = Member(np.zeros(1), np.array([1.0]), 1e-20)
    assert _floor(Discrete, found, state) == pytest.approx(0.1 / 1e-2, rel=1e-3)
    seen = Member(np.zeros(1), np.array([1.0 + 1e-4]), 1e-8)
    assert _floor(Discrete, seen, state) == pytest.approx(1e-4 / 1e-4, rel=0.02)


def test_bounds_widen_where_the_equations_were_seen_to_tell_too_little():
    errors, told = np.array([1e-3, 4e-3, 1.0]), np.array([1e-3, 1e-3])
    assert Calibration(1.0, 1.0, 0.0, errors, errors, told).safety == pytest.approx(8.0)
    assert Calibration(1.0, 1.0, 0.0, errors, errors, 10.0 * told).safety == 2.0


def test_a_surrogate_can_be_differentiated_compiled_and_mapped(run):
    surrogate, x = hx.load(run), jnp.array([0.4])
    value = lambda z: surrogate(z)(x)  # noqa: E731
    z = jnp.array([2.0, 1.5])
    slope = jax.grad(value)(z)
    # the equation is linear in a, and the amplitude is a factor of the solution
    np.testing.assert_allclose(float(slope[1]) * 1.5, float(value(z)), rtol=1e-3)
    many = jnp.stack([z, z + 0.1])
    np.testing.assert_allclose(jax.jit(jax.vmap(value))(many), [value(row) for row in many], rtol=1e-10)


def test_nothing_is_promised_outside_and_with_the_problem_members_there_are_solved(run, folder, capsys):
    table = folder / "inputs.csv"
    table.write_text("k,a,x\n2,1.5,0.4\n40,1.5,0.4\n")
    assert cli.main(["predict", str(run), str(table), "--out", str(folder / "out.csv")]) == 0
    assert "outside of the ranges" in capsys.readouterr().err
    rows = np.genfromtxt(folder / "out.csv", delimiter=",", names=True)
    assert np.isfinite(rows["error_bound"][0])
    assert np.isinf(rows["error_bound"][1])
    words = ["--problem", f"{folder}/member.py:problem", "--tolerance", "1e-6", "--out", str(folder / "two.csv")]
    assert cli.main(["predict", str(run), str(table), *words]) == 0
    rows = np.genfromtxt(folder / "two.csv", delimiter=",", names=True)
    assert np.all(rows["error_bound"] <= 1e-6)
    np.testing.assert_allclose(rows["u"], [exact(2.0, 1.5, 0.4), exact(40.0, 1.5, 0.4)], rtol=1e-6)


def test_nothing_is_promised_beside_members_that_failed(run):
    made = hx.load(str(run))
    tried = made.calibration._replace(learned=np.array([[1.0, 2.0], [2.0, 2.0]]), failed=np.array([[6.0, 2.0]]))
    found = predict(replace(made, calibration=tried), np.array([[1.5, 2.0], [2.5, 2.0], [5.0, 2.0]]))
    assert np.isinf(found.bounds).tolist() == [False, False, True]
    # half the range of k is a factor of four
    assert found.outside[2] == pytest.approx(np.log(2.5) / np.log(4.0))


def test_a_pilot_gets_levels_until_they_settle(monkeypatch):
    def run(levels, _):
        return SimpleNamespace(visited=range(levels), changes={k: 0.1**k for k in range(1, levels)}, failure=None)

    monkeypatch.setattr(solving, "run", run)
    monkeypatch.setattr(solving, "begin", lambda levels: levels)
    monkeypatch.setattr(solving, "_context", lambda family, plan, discrete, inputs, budget: plan.cycle.most)
    plan = make_dataclass("Planned", ["cycle"])(hx.NestedIteration())
    found = solving._pilot(None, plan, None, np.zeros(1), 1e-5, 3, clock.seconds_now() + 60.0)  # pyright: ignore
    assert len(found.visited) == 7


def test_members_on_several_meshes_add_up_to_those_on_the_finest(monkeypatch):
    monkeypatch.setattr(solving, "SMALLEST", 4)
    monkeypatch.setattr(learning, "FIRST", 8)

    def make(k):
        wave = lambda x: jnp.sin(9.0 * x[0] * k) * x[0]  # noqa: E731
        terms = [
            hx.Residual("equation", lambda u, x: hx.derivative(u, "xx")(x) - hx.derivative(wave, 0, 2)(x)),
            hx.Residual("ends", lambda u, x: u(x) - wave(x), on="boundary"),
        ]
        return hx.Problem(hx.Box([0.0], [1.0]), terms)

    family = hx.Family(make, {"k": hx.Uniform(0.8, 1.2)})
    made = hx.surrogate(family, tolerance=1e-6, budget=60.0)
    sizes, counts = zip(*made.record.meshes, strict=True)
    assert len(sizes) > 1
    assert sorted(set(sizes)) == list(sizes)
    assert sorted(counts, reverse=True) == list(counts)
    assert len(made.basis[0]) == sizes[-1]
    inputs, x = family.drawn(8, 99), np.linspace(0.0, 1.0, 41)
    truth = np.sin(9.0 * x * inputs) * x
    found = np.array([jax.vmap(field)(jnp.asarray(x)[:, None]) for field in made.solutions(inputs)])
    errors = np.linalg.norm(found - truth, axis=1) / np.linalg.norm(truth, axis=1)
    assert np.all(errors <= made.calibration.bound * made.errors(inputs))
    assert np.max(errors) < 3e-6


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--vary", "q=0:1"], "no keyword 'q'"),
        (["--vary", "k=1"], "no range"),
        (["--vary", "k=2:1"], "in order"),
        (["--vary", "k=-1:1:log"], "above zero"),
        ([], "Nothing varies"),
    ],
)
def test_bad_ranges_are_refused_before_anything_is_solved(folder, capsys, words, told):
    assert cli.main(["surrogate", f"{folder}/member.py:problem", *words, "--run", str(folder / "bad")]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", families())
def test_families_of_the_catalogue_have_members_that_their_inputs_change(name, capsys):
    family = families()[name]()
    first, second = family.drawn(2, 0)
    if isinstance(family, hx.Family):
        bump = lambda x: jnp.sin(x[0] + 2.0 * x[1]) * jnp.ones(2 if name == "elastic-inclusions" else ())  # noqa: E731
        one, other = (family.problem(inputs).terms[0].function for inputs in (first, second))
        unknown = SimpleNamespace(u=bump) if name == "elastic-inclusions" else bump
        with hx.coordinates(family.problem(first).domain.names):
            found = [np.asarray(term(unknown, jnp.array([0.4, 0.45]))) for term in (one, other)]
    else:
        found = [family.run(inputs, 0).value for inputs in (first, second)]
    assert np.all(np.isfinite(found))
    assert np.any(found[0] != found[1])
    assert cli.main(["list"]) == 0
    assert f"  {name}\n" in capsys.readouterr().out


def test_a_domain_that_depends_on_the_inputs_is_refused():
    def make(length=1.0):
        box = hx.Box([0.0], [length])
        return hx.Problem(box, [hx.Residual("e", lambda u, x: hx.derivative(u, "xx")(x) - 1.0),
                                hx.Residual("b", lambda u, x: u(x), on="boundary")])  # fmt: skip

    with pytest.raises(InputError, match="traced"):
        hx.surrogate(hx.Family(make, {"length": hx.Uniform(1.0, 2.0)}))


def test_regressions_reach_the_accuracy_of_their_kind():
    rng = np.random.default_rng(0)
    z = rng.uniform(-1.0, 1.0, (80, 2))
    values = np.stack([np.exp(z[:, 0] + 0.5 * z[:, 1]), np.sin(2.0 * z[:, 0]) * z[:, 1]], axis=1)
    name, found, errors = fitted(z, values, np.linalg.norm(values, axis=1))
    assert errors[name] == min(errors.values()) < 1e-4
    at = np.array([0.2, -0.4])
    wanted = np.array([np.exp(0.2 - 0.2), np.sin(0.4) * -0.4])
    np.testing.assert_allclose(found.model(jnp.asarray(at)), wanted, atol=1e-4)
    # Legendre polynomials of mean square one
    nodes, weights = np.polynomial.legendre.leggauss(6)
    table = products(nodes[:, None], ((0,), (1,), (4,)), np)
    np.testing.assert_allclose(table.T @ (0.5 * weights[:, None] * table), np.eye(3), atol=1e-12)


# functions on grids


def smoothed(count, cells, rng, shift=0.0):
    """Pairs: random smooth fields, and their periodic average over neighbours, times three and with a drift."""
    k = np.fft.fftfreq(cells) * cells
    decay = 1.0 / (1.0 + (k[:, None] ** 2 + k[None] ** 2) / 4.0)
    waves = np.fft.fft2(rng.standard_normal((count, cells, cells)))
    a = np.real(np.fft.ifft2(waves * decay)) * 3.0
    u = np.real(np.fft.ifft2(np.fft.fft2(a) * decay))
    return a, u + shift * np.roll(u, 3, axis=1)


@pytest.fixture
def small(monkeypatch):
    """A network that is compiled in little time."""
    monkeypatch.setattr(operator_training, "WIDTHS", {2: ((8,), (1,))})


def test_patches_and_cells_are_inverse_and_a_network_serves_other_grids():
    x = np.arange(2 * 8 * 4 * 3.0).reshape(2, 8, 4, 3)
    np.testing.assert_array_equal(to_cells(to_channels(x, 4), 4), x)
    np.testing.assert_array_equal(to_channels(x, 4)[0, 0, 0, :3], x[0, 0, 0])
    network = MultigridNetwork.drawn(0, 2, 1, 2, patch=2, widths=(8, 8), blocks=(1, 1), periodic=True)
    y = jnp.asarray(np.random.default_rng(0).standard_normal((1, 16, 16, 1)), jnp.float32)
    # on a periodic grid a network of patches commutes with shifts by its patch on the coarsest grid
    np.testing.assert_allclose(jnp.roll(network(y), 4, 1), network(jnp.roll(y, 4, 1)), atol=1e-5)
    assert network(jnp.zeros((1, 24, 32, 1), jnp.float32)).shape == (1, 24, 32, 2)


def test_patches_are_larger_where_the_seconds_buy_few_steps(small):
    told, rng = [], np.random.default_rng(0)

    def patch(cells, budget, base=None):
        a, u = rng.standard_normal((2, 8, cells, cells))
        samples, pick = hx.Samples({"a": a}, {"u": u}, base=base), np.arange(8)
        training = operator_training.Training.of(
            samples, pick[:4], pick[4:], budget, 0, Course((told.append,)), moves=()
        )
        return training.affordable().patch

    assert [patch(128, budget) for budget in (1e-3, 1e9)] == [8, 4]
    assert "Patches of 8 cells" in told[0].sentence
    # no grid below 16 cells an axis, and what a base lacks has small patches
    assert [patch(64, 1e-3), patch(16, 1e-3), patch(128, 1e-3, "a")] == [4, 1, 4]
    assert len(told) == 1


def test_symmetries_are_those_of_the_data_alone():
    rng = np.random.default_rng(1)
    a, u = smoothed(200, 16, rng)
    assert symmetries(a[..., None], u[..., None]) == [("flip", 0), ("flip", 1), ("swap", 0)]
    a, u = smoothed(200, 16, rng, shift=0.8)
    assert symmetries(a[..., None], u[..., None]) == [("flip", 1)]
    # crests move to the right and troughs to the left: mirrored, this holds with the other sign alone
    x, k, (c, s) = np.arange(16) * np.pi / 8, np.array([1, 2]), rng.standard_normal((2, 1000, 1, 2))
    wave = lambda z: np.sum(c * np.cos(k * z[..., None]) + s * np.sin(k * z[..., None]), axis=-1)  # noqa: E731
    a = wave(np.broadcast_to(x, (1000, 16)))
    assert symmetries(a[..., None], wave(x - 0.6 * a)[..., None]) == []
    assert symmetries(a[..., None], a[..., None] ** 2) == [("flip", 0)]


def test_predictions_of_a_network_move_with_what_it_is_given():
    rng = np.random.default_rng(2)
    draw = lambda *shape: np.asarray(rng.standard_normal(shape), np.float32)  # noqa: E731
    moves = (("flip", 0), ("flip", 1), ("swap", 0))
    # what corrects a base is made of its slopes as well
    network = MultigridNetwork.drawn(0, 2, 2, 4, patch=2, widths=(8, 8), blocks=(1, 1), gain=1.0)
    seen, base, size, scale = draw(5, 16, 16, 2), draw(5, 16, 16, 1), np.ones((5, 1, 1, 1), np.float32), np.ones(1)
    values = lambda x, b, moves: in_blocks(network, x, b, size, scale, moves)  # noqa: E731
    found = values(seen, base, moves)
    for move in (lambda a: np.flip(a, 1), lambda a: np.flip(a, 2), lambda a: np.swapaxes(a, 1, 2)):
        np.testing.assert_allclose(values(move(seen), move(base), moves), move(found), atol=1e-5)
    turns = [lambda a, k=k: np.rot90(a, k, (1, 2)) for k in range(4)]
    four = [
        back(values(turn(seen), turn(base), ())) for turn, back in zip(turns, turns[:1] + turns[:0:-1], strict=True)
    ]
    other = [np.swapaxes(a, 1, 2) for a in (seen, base)]
    rest = [back(values(*map(turn, other), ())) for turn, back in zip(turns, turns[:1] + turns[:0:-1], strict=True)]
    mean = (np.mean(four, axis=0) + np.swapaxes(np.mean(rest, axis=0), 1, 2)) / 2
    np.testing.assert_allclose(found, mean, atol=1e-5)


def test_norms_of_errors_and_other_resolutions():
    x = (np.arange(32) + 0.5) / 32
    wave = np.sin(2.0 * np.pi * x)[None, :, None]
    l2, h1 = relative_errors(jnp.asarray(1.1 * wave), jnp.asarray(wave), True)
    np.testing.assert_allclose([float(l2[0]), float(h1[0])], 0.1, rtol=1e-6)
    fine = resampled(wave, (128,), True)
    np.testing.assert_allclose(fine[0, :, 0], np.sin(2.0 * np.pi * (np.arange(128) + 0.5) / 128), atol=1e-4)


def test_a_correction_learned_on_the_command_line_is_never_worse_than_its_base(small, tmp_path, capsys):
    a, u = smoothed(24, 16, np.random.default_rng(2))
    np.savez(tmp_path / "data.npz", a=a, u=u, coarse=u + 0.3 * a * np.abs(u).mean())
    words = [str(tmp_path / "data.npz"), "--outputs", "u", "--budget-seconds", "1", "--periodic"]
    run = tmp_path / "run"
    assert cli.main(["surrogate", *words, "--inputs", "a", "coarse", "--base", "coarse", "--run", str(run)]) == 0
    made = hx.load(run)
    assert np.mean(made.errors) <= made.candidates["base alone"]
    assert cli.main(["predict", str(run), str(tmp_path / "data.npz"), "--out", str(tmp_path / "out.npz")]) == 0
    found = np.load(tmp_path / "out.npz")
    assert found["u"].shape == u.shape
    assert cli.main(["report", str(run)]) == 0
    assert "base alone" in (page := (run / "report.html").read_text())
    assert page.count("<img") >= 9
    assert np.all(np.isfinite(found["error"]))
    capsys.readouterr()
    words_out = ["predict", str(run), str(tmp_path / "data.npz"), "--out", str(tmp_path / "out2.npz")]
    assert cli.main([*words_out, "--tolerance", "1e-3"]) == 1
    assert "arrays to arrays" in capsys.readouterr().err
    assert cli.main(["surrogate", *words, "--inputs", "b"]) == 1
    assert "There is no array 'b'" in capsys.readouterr().err


def test_a_learning_that_is_killed_goes_on_with_parameters_and_seconds(small, tmp_path, monkeypatch, capsys):
    a, u = smoothed(24, 16, np.random.default_rng(2))
    np.savez(tmp_path / "data.npz", a=a, u=u, c=u + 0.3 * a * np.abs(u).mean())
    np.savez(tmp_path / "coarse.npz", a=a, c=u[:, ::2, ::2])
    words = [
        "surrogate",
        str(tmp_path / "data.npz"),
        "--inputs",
        "a",
        "c",
        "--outputs",
        "u",
        "--base",
        "c",
        "--periodic",
    ]
    words += ["--coarse", str(tmp_path / "coarse.npz"), "--budget-seconds", "1.5"]
    ticks, taken, step_of, run = itertools.count(), [], operator_training._step, tmp_path / "run"
    monkeypatch.setattr(clock, "seconds_now", lambda: 0.01 * next(ticks))
    monkeypatch.setattr(operator_training, "KEEPING", 5)
    monkeypatch.setattr("hierax.records.run.PERIOD", 0.0)
    monkeypatch.setattr("hierax.records.run.SHARE", 1.0)

    def killing(*settings):
        step = step_of(*settings)

        def one(*parts):
            taken.append(parts)
            if len(taken) == 60:
                signal.raise_signal(signal.SIGTERM)
            return step(*parts)

        return one

    def kept():
        state = Folder.open(run).state()[1]["state"]
        return state.seconds, sum(part.steps for part in state.parts.values())

    monkeypatch.setattr(operator_training, "_step", killing)
    assert cli.main([*words, "--run", str(run)]) == 130
    assert f"hierax resume {run}" in capsys.readouterr().err
    with pytest.raises(InputError, match="was cut off"):
        hx.load(run)
    seconds, steps = kept()
    assert 0.5 < seconds < 1.5
    assert steps >= 50
    assert cli.main(["resume", str(run)]) in (0, 3)
    # steps that were kept are not taken again, and the seconds that they took are spent
    assert kept()[1] == steps + len(taken) - 60
    assert 1.4 < hx.load(run).seconds < 1.8


@pytest.mark.parametrize("often", [False, True])
def test_a_loss_that_is_not_finite_is_left_for_parameters_from_before(small, monkeypatch, often):
    """Steps in 32 bits may go too far once; where all of them do, the samples are to be looked at."""
    a, u = smoothed(24, 16, np.random.default_rng(8))
    every, calls, step_of = np.arange(24), [], operator_training._step

    def failing(*settings):
        step = step_of(*settings)

        def one(params, *rest):
            calls.append(rest[-1])
            found = step(params, *rest)
            lost = often or len(calls) == 12
            return (jax.tree.map(lambda leaf: leaf * jnp.nan, found[0]), found[1], jnp.nan) if lost else found

        return one

    monkeypatch.setattr(operator_training, "_step", failing)
    monkeypatch.setattr(operator_training, "KEEPING", 5)
    ticks = itertools.count()
    monkeypatch.setattr(clock, "seconds_now", lambda: 0.01 * next(ticks))
    samples = hx.Samples({"a": a}, {"u": u}, periodic=True)
    training = operator_training.Training.of(samples, every[:20], every[20:], 0.5, 0, Course())
    if often:
        with pytest.raises(InputError, match="The loss is nan after"):
            training.trained()
        return
    trained = training.trained()
    assert trained.steps > 12
    assert calls[12] < 0.55 * calls[10] * 13 / 11
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(trained.network) if hasattr(leaf, "dtype"))


def test_an_exact_base_is_kept_and_inputs_far_from_the_samples_are_told(small):
    a, u = smoothed(24, 16, np.random.default_rng(3))
    made = hx.surrogate(hx.Samples({"a": a, "base": u}, {"u": u}, base="base", periodic=True), budget=0.1)
    assert made.network is None
    np.testing.assert_allclose(made({"a": a, "base": u})["u"], u, rtol=1e-6)
    assert np.all(np.isfinite(made.error({"a": a, "base": u})[1]))
    assert np.all(np.isinf(made.error({"a": 9.0 * a, "base": u})[1]))


@pytest.mark.parametrize("lack", ["nothing", "noise", "size", "place", "roughness"])
def test_what_corrects_a_coarse_solution_is_never_worse_than_it_at_fresh_samples(lack, small, monkeypatch):
    # whether 150 or 300 steps fit into a budget is no matter of this test
    ticks = itertools.count()
    monkeypatch.setattr(clock, "seconds_now", lambda: 1e-3 * next(ticks))
    rng = np.random.default_rng(5)
    a, u = smoothed(44, 16, rng)
    coarse = {
        "nothing": u,
        "noise": u + 0.05 * np.std(u) * rng.standard_normal(u.shape),
        "size": u * rng.uniform(0.5, 1.5, (44, 1, 1)),
        "place": np.roll(u, 1, axis=2),
        "roughness": 0.7 * u + 0.1 * np.where(a > 0.0, 1.0, -1.0) * np.std(u),
    }[lack]
    samples = hx.Samples({"a": a, "coarse": coarse}, {"u": u}, base="coarse", periodic=True)
    made = hx.surrogate(samples.take(np.arange(24)), budget=0.3)
    assert np.mean(made.errors) <= made.candidates["base alone"]
    fresh = samples.take(np.arange(24, 44))
    truth = jnp.asarray(fresh.outputs["u"][..., None])
    found, own = (
        relative_errors(jnp.asarray(one[..., None]), truth, True)
        for one in (made(fresh.inputs)["u"], fresh.inputs["coarse"])
    )
    for norm in (0, 1):
        assert np.mean(found[norm]) <= np.mean(own[norm]) + 1e-6


def test_few_samples_of_a_linear_map_are_learned_by_a_kernel_on_any_grid(small, tmp_path):
    rng = np.random.default_rng(6)
    shapes = np.cos(np.pi * np.arange(6)[:, None] * (np.arange(16) + 0.5) / 16)
    waves = np.einsum("nij,ix,jy->nxy", rng.standard_normal((60, 6, 6)) / (1.0 + np.arange(6)), shapes, shapes)
    a, u = waves, 2.0 + waves @ shapes.T @ shapes
    made = hx.surrogate(hx.Samples({"a": a[:50]}, {"u": u[:50]}), budget=0.2)
    assert min(made.candidates, key=made.candidates.get) == "kernel"
    made.save(tmp_path / "map.npz")
    again = hx.load(tmp_path / "map.npz")
    found = again({"a": a[50:]})["u"]
    assert np.linalg.norm(found - u[50:]) < 1e-3 * np.linalg.norm(u[50:])
    assert again({"a": a[50:]}, grid=(32, 32))["u"].shape == (10, 32, 32)
    assert "kernel" in str(again)


def test_errors_of_an_operator_are_told_sample_by_sample_and_unlike_inputs_are_seen():
    rng = np.random.default_rng(0)
    mixed = np.array([[1.0, 0.9, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 1.0]])
    drawn = lambda n: rng.standard_normal((n, 3)) @ mixed + [3.0, -2.0, 0.0]  # noqa: E731
    wrong = lambda f: 1e-3 * np.exp(np.abs(f[:, 0] - 3.0) + 0.3 * rng.standard_normal(len(f)))  # noqa: E731
    apart = drawn(100)
    doubt = ErrorModel.of(drawn(900), apart, wrong(apart))
    new = drawn(1000)
    errors = wrong(new)
    estimates, bounds = doubt.told(new)
    ratios = errors / estimates
    assert np.all(np.abs(np.quantile(ratios, [0.05, 0.5, 0.95]) / [0.6, 1.0, 1.65] - 1.0) < 0.25)
    assert np.mean(errors > bounds) < 0.02
    assert np.mean(np.isinf(bounds)) < 0.02
    # each feature is within its range, but they never come together so
    assert np.all(np.isinf(doubt.told(np.array([[4.5, -3.2, 0.0], [3.0, -2.0, 9.0]]))[1]))
    # few samples promise little, and do not call all others unlike
    few = ErrorModel.of(drawn(8), apart[:4], wrong(apart[:4]))
    assert np.mean(np.isinf(few.told(new)[1])) < 0.25
    assert np.mean(errors > few.told(new)[1]) < 0.02
    # where inputs are further out than most, and errors grow faster than was seen, bounds are wider
    out = 1.5 * (drawn(1000) - new.mean(0)) + new.mean(0)
    grown, (told, wide) = wrong(out) * np.exp(0.5 * np.abs(out[:, 0] - 3.0)), doubt.told(out)
    assert np.mean(grown > wide) < 0.6 * np.mean(grown > np.where(np.isinf(wide), np.inf, doubt.factor * told))


def test_media_are_the_same_draw_on_every_grid_and_solutions_are_of_second_order():
    waves = amplitudes(np.random.default_rng(0), 16)
    fine, coarse = gaussian(waves, 128), gaussian(waves, 32)
    blocks = fine.reshape(32, 4, 32, 4).mean((1, 3))
    assert np.abs(blocks - coarse).max() < 0.03 * np.abs(coarse).max()
    np.testing.assert_allclose(np.std(gaussian(waves, 256)), np.sqrt(np.sum(waves**2)), rtol=0.01)
    smooth = lambda n: np.exp(gaussian(waves[:3, :3], n))  # noqa: E731
    errors = []
    truth = flow_by_cells(smooth(128))
    for n in (16, 32):
        block = 128 // n
        errors.append(np.abs(flow_by_cells(smooth(n)) - truth.reshape(n, block, n, block).mean((1, 3))).max())
    assert 1.8 < np.log2(errors[0] / errors[1]) < 2.4


def test_levels_of_data_are_chosen_by_fine_samples_and_need_no_coarse_solution_to_predict(small):
    a, u = smoothed(60, 16, np.random.default_rng(4))
    below = 0.9 * u.reshape(60, 8, 2, 8, 2).mean((2, 4))
    pairs = hx.Samples({"a": a[:8], "c": below[:8]}, {"u": u[:8]}, base="c", periodic=True)
    coarse = hx.Samples({"a": a[8:]}, {"c": below[8:]}, periodic=True)
    made = hx.surrogate(pairs, coarse=coarse, budget=1.0)
    assert made.inputs == ("a",)
    # they are chosen by errors in L2 and H1 together
    assert any(
        np.mean(made.errors) == pytest.approx(made.candidates[name]) for name in ("levels", "fine samples alone")
    )
    own = made({"a": a[:2]})["u"]
    assert own.shape == (2, 16, 16)
    # what was learned belongs to cells of one size: finer ones are between them
    np.testing.assert_allclose(made({"a": a[:2]}, grid=(48, 48))["u"][:, 1::3, 1::3], own, atol=1e-6)
    with pytest.raises(InputError, match="coarse samples map"):
        hx.surrogate(pairs, coarse=hx.Samples({"a": a[8:]}, {"v": below[8:]}), budget=1.0)


def test_fine_samples_that_seconds_limit_have_all_of_them(small, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(clock, "seconds_now", lambda: 0.01 * next(ticks))
    a, u = smoothed(60, 16, np.random.default_rng(4))
    below = 0.9 * u.reshape(60, 8, 2, 8, 2).mean((2, 4))
    coarse = hx.Samples({"a": a[:8]}, {"c": below[:8]}, periodic=True)

    def candidates(count):
        pairs = hx.Samples({"a": a[:count], "c": below[:count]}, {"u": u[:count]}, base="c", periodic=True)
        made = hx.surrogate(pairs, coarse=coarse, budget=1.0)
        assert made.seconds == pytest.approx(1.0, rel=0.1)
        return set(made.candidates)

    # hundred steps of four show six samples 67 times, and 54 of them seven times
    assert candidates(60) == {"fine samples alone"}
    assert "on a true coarse solution" in candidates(8)


def test_levels_of_data_that_teach_nothing_leave_their_seconds_to_the_fine_samples(small):
    rng = np.random.default_rng(7)
    shapes = np.cos(np.pi * np.arange(3)[:, None] * (np.arange(16) + 0.5) / 16)
    a = np.einsum("nij,ix,jy->nxy", rng.standard_normal((80, 3, 3)), shapes, shapes)
    u, noise = 2.0 + a, rng.standard_normal((80, 8, 8))
    pairs = hx.Samples({"a": a[:20], "c": noise[:20]}, {"u": u[:20]}, base="c")
    told = []
    made = hx.surrogate(
        pairs, coarse=hx.Samples({"a": a[20:]}, {"c": noise[20:]}), budget=0.5, subscribers=(told.append,)
    )
    assert any("do not help" in getattr(one, "sentence", "") for one in told)
    assert "levels" not in made.candidates
    assert np.mean(made.errors) < 0.01


def test_a_network_of_two_levels_is_its_parts_on_any_grids():
    rng, wave = np.random.default_rng(0), np.cos(np.pi * (np.arange(12) + 0.5) / 12)
    draw = lambda *sizes, **how: MultigridNetwork.drawn(*sizes, patch=1, widths=(8,), blocks=(1,), **how)  # noqa: E731
    first = CoarseNetwork(draw(0, 2, 4, 2), (8, 8), 2, False)
    x = jnp.asarray(rng.standard_normal((3, 1, 1, 1)) * wave[:, None, None] * wave[:, None], jnp.float32)
    # 12 cells an axis go to 16, two to each of the 8 coarse ones
    fine = jnp.asarray(resampled(np.asarray(x), (16, 16), False), jnp.float32)
    size = jnp.ones(1, jnp.float32)
    coarse = predicted(first.network, to_channels(fine, 2), None, 1.0, 2.0 * size)
    base = resampled(np.asarray(coarse), (12, 12), False).astype(np.float32)
    alone = TelescopedNetwork(first, None, (2.0 * size, size))
    np.testing.assert_allclose(predicted(alone, x, None, 1.0, size), base, atol=1e-5)
    second = draw(1, 2, 2, 4)
    scale = np.sqrt(np.mean(base**2, axis=(1, 2, 3), keepdims=True))
    wanted = predicted(second, jnp.concatenate([x, base / scale], -1), base, scale, 0.5 * size)
    kept = pack(TelescopedNetwork(first, second, (2.0 * size, 0.5 * size)))
    both = predicted(unpack(kept, "both"), x, None, 1.0, size)
    np.testing.assert_allclose(both, wanted, atol=1e-4)
    # the last outputs are factors of the slopes of the base
    flat = predicted(second, jnp.concatenate([x, base / scale], -1), 0.0 * base + 1.0, scale, 0.5 * size)
    out = second(jnp.concatenate([x, base / scale], -1))
    np.testing.assert_allclose(flat, 1.0 + scale * 0.5 * out[..., :1] * np.exp(out[..., 1:2]), rtol=1e-4, atol=1e-5)


def test_the_study_of_levels_of_data_goes_on_from_its_rows(small, tmp_path, monkeypatch):
    monkeypatch.setattr(data_levels, "media", lambda count, *rest: media(min(count, 40), *rest))
    monkeypatch.setattr(data_levels, "ARMS", (data_levels.ALONE,))
    monkeypatch.setattr(data_levels, "BUDGETS", (0.2, 60.0))
    summary = data_levels.run(tmp_path, True)["summary"]["data-levels"]
    assert 0.0 < summary["darcy, log-normal"][data_levels.ALONE]["8"] < 2.0
    levels = lambda *asked: [{"pairs": 4, "l2": 0.1, "h1": 0.2}]  # noqa: E731
    monkeypatch.setattr(data_levels, "measured", levels)
    monkeypatch.setattr(data_levels, "ARMS", (data_levels.ALONE, data_levels.LEVELS))
    again = data_levels.run(tmp_path, True)["summary"]["data-levels"]["darcy, log-normal"]
    assert again == summary["darcy, log-normal"] | {data_levels.LEVELS: {"8": 0.1}}


def test_the_study_of_families_tells_what_was_learned(small, tmp_path):
    found = families_study.run(tmp_path, quick=True)
    row = found["rows"][0]
    assert row["family"] == "darcy-two-phases"
    assert 0.0 < row["median"] <= row["worst"] < 1.0
    assert found["summary"]["darcy-two-phases"]["median"] == row["median"]
    assert "darcy-two-phases" in (tmp_path / "families.txt").read_text()
