"""Random functions as inputs, and members on levels: laws of the draws, one member on all levels, simulators."""

import math
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax import cli
from hierax._errors import InputError
from hierax.models import generated, operator_training, workers
from hierax.models.course import Course
from hierax.models.grids import resampled

BOX, BOX_OF_SPACE = hx.Box([0.0], [2.0]), hx.Box([0.0], [1.0])


def values(field, points):
    """Every mode at some points: rows whose products are covariances."""
    one = lambda numbers: jax.vmap(field.made(numbers))(jnp.array(points))  # noqa: E731
    return np.asarray(jax.vmap(one)(jnp.eye(field.modes)))


@pytest.mark.parametrize(
    ("smoothness", "law"),
    [
        (0.5, lambda r: math.exp(-r)),
        (1.5, lambda r: (1.0 + math.sqrt(3.0) * r) * math.exp(-math.sqrt(3.0) * r)),
        (math.inf, lambda r: math.exp(-0.5 * r**2)),
    ],
)
def test_draws_have_the_covariance_that_is_asked(smoothness, law):
    field = hx.GaussianField(0.8, smoothness, None, deviation=2.0, modes=120, box=BOX)
    at = values(field, [[0.3], [0.7], [1.9]])
    wanted = [[4.0 * law(abs(a - b) / 0.8) for b in (0.3, 0.7, 1.9)] for a in (0.3, 0.7, 1.9)]
    np.testing.assert_allclose(at.T @ at, wanted, atol=0.02)
    assert 0.99 < field.share <= 1.0 + 1e-6


def test_a_draw_is_one_function_on_every_grid_and_more_modes_hold_more():
    field = hx.GaussianField((0.3, 0.6), 1.5, modes=40, mean=0.4, box=hx.Box([0.0, -1.0], [1.0, 1.0]))
    draw = field.made(np.random.default_rng(0).standard_normal(40))
    fine, coarse = draw.on_cells((9, 15)), draw.on_cells((3, 5))
    np.testing.assert_allclose(fine[1::3, 1::3], coarse, rtol=1e-10)
    np.testing.assert_allclose(draw(jnp.array([0.5, 0.0])), coarse[1, 2], rtol=1e-10)
    assert hx.GaussianField(0.3, modes=5, box=BOX).share < hx.GaussianField(0.3, modes=10, box=BOX).share


def test_laws_of_draws_are_those_of_the_inputs():
    family = hx.Simulation(lambda inputs, level: 0.0, {"a": hx.Normal(1.0, 2.0), "k": hx.GaussianField(0.5, box=BOX)})
    assert family.columns[:3] == ("a", "k[0]", "k[1]")
    drawn = family.draw(4000, 0)
    np.testing.assert_allclose(drawn[:, 0].std(), 2.0, rtol=0.05)
    assert np.abs(drawn[:, 0] - 1.0).max() > 6.2
    learned = family.drawn(4000, 0)
    assert np.abs(learned[:, 0] - 1.0).max() <= 6.0
    np.testing.assert_allclose(drawn[:, 1:].std(), 1.0, rtol=0.01)


def flow(k, strength=1.0):
    equation = hx.Residual("flow", lambda u, x: -hx.divergence(lambda y: k(y) * hx.gradient(u)(y))(x) - strength)
    return hx.Problem(BOX, [equation, hx.Residual("ends", lambda u, x: u(x), on="boundary")])


def test_members_on_levels_converge_to_the_solution_that_integrals_give():
    inputs = {"k": hx.GaussianField(0.6, 2.5, modes=20, deviation=0.8), "strength": hx.Uniform(0.5, 2.0)}
    levels = hx.FamilyLevels(hx.Family(flow, inputs), lambda u: u(jnp.array([0.8])), levels=4)
    one = levels.draw(2, 3)
    found = np.array([levels.evaluate(one, level).values for level in range(4)])
    # (k u')' = -s: k u' = c - s x, u = int (c - s x) / k, with c such that u(2) = 0
    x = (np.arange(20000) + 0.5) / 10000
    for member, value in zip(one, found.T, strict=True):
        k = np.array(levels.given(member)["k"].on_cells((20000,)))
        c = member[-1] * np.sum(x / k) / np.sum(1.0 / k)
        exact = np.sum(((c - member[-1] * x) / k)[x < 0.8]) / 10000
        assert abs(value[-1] - exact) < 1e-6 * abs(exact)
        assert abs(value[2] - exact) < 0.05 * abs(value[0] - exact)
    with pytest.raises(InputError, match="no level 4"):
        levels.evaluate(one, 4)


def test_a_random_field_refuses_what_it_cannot_be():
    with pytest.raises(InputError, match="not all positive"):
        hx.GaussianField(0.0)
    with pytest.raises(InputError, match="no domain"):
        hx.GaussianField(0.3).made(np.zeros(100))
    with pytest.raises(InputError, match="too many"):
        hx.GaussianField((0.01, 1.0, 1.0), modes=3000, box=hx.Box([0.0] * 3, [1.0] * 3)).made(np.zeros(3000))
    with pytest.raises(InputError, match="1 coordinates"):
        hx.GaussianField(0.3, box=BOX, modes=5).made(np.zeros(5))(jnp.zeros(2))


def decay(inputs, level):
    """Euler steps of `v' = -r v`, and the process that takes them."""
    if inputs["r"] > 1.9:
        raise ValueError("too stiff")
    return np.array([(1.0 - inputs["r"] / 2**level / 4) ** (4 * 2**level), float(os.getpid())])


def test_simulators_run_in_processes_and_tell_what_failed():
    inputs = {"r": hx.Uniform(0.5, 2.0)}
    here = hx.Simulation(decay, inputs, levels=3)
    there = hx.Simulation(decay, inputs, levels=3, processes=1 + 1)
    rates = np.array([[0.7], [1.95], [1.1]])
    own, other = here.evaluate(rates, 2), there.evaluate(rates, 2)
    np.testing.assert_array_equal(own.values[:, 0], other.values[:, 0])
    assert own.values[0, 1] == os.getpid() != other.values[0, 1]
    assert np.all(np.isnan(own.values[1]))
    assert own.failures == other.failures == {"ValueError: too stiff": 1}
    with pytest.raises(InputError, match="cannot be sent"):
        hx.Simulation(lambda inputs, level: 0.0, inputs, processes=2).evaluate(rates, 0)


def fragile(inputs, level):
    """What its process dies of once where there is no mark of it, and always at large rates."""
    mark = os.path.join(os.environ["HIERAX_MARKS"], f"{inputs['r']:.3f}")
    if inputs["r"] > 1.9 or not os.path.exists(mark):
        open(mark, "w").close()
        os._exit(7)
    return inputs["r"]


def test_a_process_that_dies_is_replaced_and_its_member_done_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HIERAX_MARKS", str(tmp_path))
    (tmp_path / "0.700").touch()
    made = hx.Simulation(fragile, {"r": hx.Uniform(0.5, 2.0)}, levels=1, processes=2)
    found = made.evaluate(np.array([[0.7], [1.1], [1.95]]), 0)
    np.testing.assert_array_equal(found.values, [0.7, 1.1, np.nan])
    assert found.failures == {"its process ended with 7": 1}


def test_processes_that_never_answer_are_no_endless_loop(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "TRIES", 0)
    monkeypatch.setenv("HIERAX_MARKS", str(tmp_path))
    made = hx.Simulation(fragile, {"r": hx.Uniform(0.5, 2.0)}, levels=1, processes=2)
    with pytest.raises(InputError, match="give no answer"):
        made.evaluate(np.full((9, 1), 1.95), 0)


@pytest.fixture
def small(monkeypatch):
    """Few members, and a network that is compiled in little time."""
    monkeypatch.setattr(operator_training, "WIDTHS", {1: ((8,), (1,))})
    monkeypatch.setattr(generated, "MOST", 24)


def layers(calls):
    """Pressure in a layered medium, on twice as many cells on the finer level; one in five members fails."""

    def simulate(inputs, level):
        calls.append(level)
        if inputs["a"] > 1.8:
            raise ValueError("breaks")
        n = 16 * 2**level
        return inputs["a"] * np.cumsum(1.0 / inputs["k"].on_cells((n,))) / n

    field = hx.GaussianField(0.5, modes=8, box=hx.Box([0.0], [1.0]))
    return hx.Simulation(simulate, {"k": field, "a": hx.Uniform(1.0, 2.0)}, levels=2)


def test_a_simulator_is_learned_from_pairs_and_members_are_kept_and_never_made_twice(small, monkeypatch, tmp_path):
    monkeypatch.setattr(generated, "CHEAP", np.inf)
    calls, told = [], []
    hear = lambda event: told.append(getattr(event, "sentence", ""))  # noqa: E731
    made = generated.learn_generated(layers(calls), budget=1.0, subscribers=(hear,), keep=tmp_path / "kept.npz")
    assert made.inputs == ("k", "a")
    assert any("pairs on levels 1 and 0" in one and "failed: ValueError: breaks" in one for one in told)
    kept = np.load(tmp_path / "kept.npz")
    assert len(kept["values_1"]) + len(kept["values_0"]) < len(calls)
    n = len(kept["values_0"])
    np.testing.assert_allclose(kept["values_0"][:, -1] > 0.0, np.ones(n))
    again = layers(more := [])
    making = generated.Making.of(again, 0, tmp_path / "kept.npz", Course())
    assert set(kept["numbers_1"]) >= set(making.members(1, 0, -np.inf, 2))
    # those that failed are tried again
    assert len(more) <= generated.PILOT
    with pytest.raises(InputError, match="another seed"):
        generated.Making.of(again, 1, tmp_path / "kept.npz", Course())


def test_a_family_with_a_random_field_becomes_an_operator(small):
    family = hx.Family(
        flow, {"k": hx.GaussianField(0.8, 2.5, modes=6, deviation=0.3), "strength": hx.Uniform(0.5, 2.0)}
    )
    made = hx.surrogate(family, budget=2.0)
    assert (made.inputs, made.outputs, made.grid) == (("k", "strength"), ("u",), (128,))
    draw = family.given(family.draw(1, 5)[0])
    found = made({"k": draw["k"].on_cells((128,))[None], "strength": np.array([draw["strength"]])})
    assert found["u"].shape == (1, 128)
    with pytest.raises(InputError, match="learned for a time"):
        hx.surrogate(family, tolerance=1e-3)


def test_a_random_start_has_one_cell_along_the_time():
    def decay(start=lambda x: x[0]):
        equation = hx.Residual("equation", lambda u, x: hx.derivative(u, "t")(x) + u(x))
        begin = hx.Residual("begin", lambda u, x, n: u(x) - start(x[1:]), on=hx.Face("t", "lower"))
        return hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")), (equation, begin))

    field = hx.GaussianField(0.5, 2.5, None, modes=4, box=BOX_OF_SPACE)
    making = generated.Making.of(hx.Family(decay, {"start": field}), 0, None, Course())
    samples = making.samples(1, making.members(1, 0, -np.inf, 2))
    starts, found = samples.inputs["start"], samples.outputs["u"]
    assert starts.shape[1:] == (1, 32)
    times = (np.arange(32) + 0.5) / 32
    np.testing.assert_allclose(found, np.exp(-times)[:, None] * starts, atol=3e-3 * np.abs(starts).max())
    np.testing.assert_allclose(resampled(starts[..., None], (32, 32), False)[..., 0][:, 5], starts[:, 0])


def test_where_most_members_fail_nothing_is_learned(small):
    def simulate(inputs, level):
        raise RuntimeError("no licence")

    with pytest.raises(InputError, match="no licence"):
        hx.surrogate(hx.Simulation(simulate, {"a": hx.Uniform(0.0, 1.0)}))


SIMULATOR = """
import numpy as np
import hierax as hx

def simulate(inputs, level):
    return inputs["a"] * np.cumsum(inputs["k"].on_cells((16,))) / 16

field = hx.GaussianField(0.5, modes=6, box=hx.Box([0.0], [1.0]))
simulation = hx.Simulation(simulate, {"k": field, "a": hx.Uniform(1.0, 2.0)})
"""


def test_a_simulator_in_a_file_is_learned_on_the_command_line(small, tmp_path, capsys):
    (tmp_path / "walk.py").write_text(SIMULATOR)
    words = ["surrogate", f"{tmp_path}/walk.py:simulation", "--run", str(tmp_path / "run"), "--budget-seconds", "1"]
    assert cli.main([*words, "--keep", str(tmp_path / "kept.npz"), "--vary", "a=1:3"]) in (0, 3)
    made = hx.load(tmp_path / "run")
    assert (made.inputs, made.outputs, made.grid) == (("k", "a"), ("value",), (16,))
    assert np.load(tmp_path / "kept.npz")["inputs"][:, -1].max() > 2.0
    np.savez(tmp_path / "in.npz", k=np.ones((2, 16)), a=np.array([1.0, 2.0]))
    assert cli.main(["predict", str(tmp_path / "run"), str(tmp_path / "in.npz"), "--out", str(tmp_path / "o.npz")]) == 0
    assert np.load(tmp_path / "o.npz")["value"].shape == (2, 16)
    assert cli.main([*words, "--set", "a=2"]) == 1
    assert "no settings" in capsys.readouterr().err


def test_a_surrogate_that_is_killed_keeps_its_members_and_goes_on(small, tmp_path, monkeypatch, capsys):
    (tmp_path / "walk.py").write_text(SIMULATOR)
    path, name, train = tmp_path / "run", f"{tmp_path}/walk.py:simulation", operator_training.Training.trained

    def killed(training):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(operator_training.Training, "trained", killed)
    assert cli.main(["surrogate", name, "--run", str(path), "--budget-seconds", "1", "--seed", "3"]) == 130
    assert f"hierax resume {path}" in capsys.readouterr().err
    before = np.load(path / "members.npz")
    monkeypatch.setattr(operator_training.Training, "trained", train)
    assert cli.main(["resume", str(path), "--problem", name, "--budget-seconds", "0.5"]) in (0, 3)
    after = np.load(path / "members.npz")
    # those that were there are not made again: they have the seconds that they took
    count = len(before["seconds_0"])
    assert count >= 8
    np.testing.assert_array_equal(after["seconds_0"][:count], before["seconds_0"])
    assert hx.load(path).samples == len(after["seconds_0"])
