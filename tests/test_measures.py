"""The file of what was measured while training ran."""

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax._errors import InputError
from hierax.events import AbstractWatcher
from hierax.records.measures import MEASURES, Measures, read_measures, write_measures


def test_measures_come_back(tmp_path):
    assert read_measures(tmp_path) is None
    energy = np.random.default_rng(0).uniform(size=(3, 2))
    kept = Measures(
        spectrum_of="error", spectrum_energy=energy, kernel_terms=("interior", "wall"), watching_seconds=0.5
    )
    write_measures(tmp_path, kept)
    again = read_measures(tmp_path)
    assert (again.spectrum_of, again.kernel_terms, again.watching_seconds) == ("error", ("interior", "wall"), 0.5)
    np.testing.assert_array_equal(again.spectrum_energy, energy)
    assert again.contraction_loss.shape == (0, 2)
    write_measures(tmp_path, Measures())
    assert read_measures(tmp_path).kernel_terms == ()


def test_names_of_later_versions_are_passed_over_and_damage_is_named(tmp_path):
    path = write_measures(tmp_path, Measures(training_seconds=2.0))
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays, tomorrow=np.ones(3))
    assert read_measures(tmp_path).training_seconds == 2.0
    (tmp_path / MEASURES).write_bytes(b"PK broken")
    with pytest.raises(InputError, match="Remove the file"):
        read_measures(tmp_path)


def test_a_watcher_sees_every_step_with_its_parameters():
    class Losses(AbstractWatcher):
        def __init__(self):
            self.events, self.seen = [], []

        def __call__(self, event):
            self.events.append(event)

        def look(self, step, view):
            assert self.events[-1] is step
            self.seen.append((step.loss, view.objective.value(view.theta), float(view.build(view.theta)(jnp.zeros(1)))))

    watcher = Losses()
    x = np.linspace(0.0, 1.0, 40)[:, None]
    problem = hx.Problem(hx.Box([0.0], [1.0]), (hx.Data("u", x, np.exp(x[:, 0])),))
    field = hx.MLP([1, 3, 1], key=0, domain=([0.0], [1.0]))
    solution = hx.train(problem, field, solver=hx.GaussNewton(), subscribers=[watcher], budget=20)
    assert len(watcher.seen) == len(solution.history)
    assert all(loss == pytest.approx(value, rel=1e-9) for loss, value, _ in watcher.seen)
    assert watcher.seen[-1][2] == pytest.approx(1.0, abs=1e-2)
