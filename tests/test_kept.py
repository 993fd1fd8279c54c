"""From Python: solutions in files and pickles, fields and solvers from elsewhere, words, what notebooks show."""

import dataclasses
import itertools
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from handmade import exact_field, exact_problem, solution_of
from matplotlib.figure import Figure

import hierax as hx
from hierax.records.run import STATES
from hierax.results import codec

POINTS = np.random.default_rng(0).uniform(0, 1, (60, 2))


class Own(eqx.Module):
    """A field of a user's own class, with a function that is no array."""

    weights: jax.Array
    activation: object = jnp.tanh

    def __call__(self, x):
        return jnp.sum(self.weights * self.activation(x))


def fitted():
    data = hx.Data("u", POINTS, np.sin(3 * POINTS[:, 0] * POINTS[:, 1]))
    return hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("x", "y")), (data,), name="wave")


def network(inputs=2, out="scalar"):
    return eqx.nn.MLP(inputs, out, 4, 1, activation=jnp.tanh, key=jax.random.key(0))


@pytest.fixture(scope="module")
def trained():
    """An Equinox module, trained by an Optax optimiser."""
    return hx.train(fitted(), field=network(), solver=optax.adam(1e-2))


def test_an_equinox_module_is_trained_by_an_optax_optimiser(trained):
    assert type(trained.field) is eqx.nn.MLP
    assert (trained.field_kind, trained.solver) == ("MLP", "Optax")
    misfit = trained.evaluate(POINTS) - np.sin(3 * POINTS[:, 0] * POINTS[:, 1])
    assert np.sqrt(np.mean(misfit**2)) < 0.05
    assert float(trained.field(jnp.array([0.5, 0.5]))) == pytest.approx(trained.evaluate([[0.5, 0.5]])[0], abs=1e-14)


def test_solutions_come_back_from_files_and_pickles(trained, tmp_path):
    trained.save(tmp_path / "solution.npz")
    for again in (hx.load(tmp_path / "solution.npz"), pickle.loads(pickle.dumps(trained))):
        assert str(again) == str(trained)
        memory = {"peak_memory_mib": None}
        assert again.to_json() | memory == trained.to_json() | memory
        np.testing.assert_array_equal(again.evaluate(POINTS, "u_x"), trained.evaluate(POINTS, "u_x"))
        np.testing.assert_array_equal(again.problem.terms[0].values, trained.problem.terms[0].values)


def test_a_solution_with_a_field_of_ones_own_can_be_pickled(tmp_path):
    problem = hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), (hx.Data("u", POINTS, np.ones(60)),))
    solution = solution_of(problem, Own(jnp.array([1.0, 2.0])))
    again = pickle.loads(pickle.dumps(solution))
    np.testing.assert_array_equal(again.evaluate(POINTS), solution.evaluate(POINTS))
    solution.save(tmp_path / "own.npz")
    with pytest.raises(hx.InputError, match=r"class 'Own'(?s:.)*classes="):
        hx.load(tmp_path / "own.npz")
    np.testing.assert_array_equal(hx.load(tmp_path / "own.npz", classes=(Own,)).field.weights, [1.0, 2.0])


def test_every_domain_and_unknown_is_kept(tmp_path):
    boundary = hx.Boundary(np.array([[0.0, 0.5]]), np.array([[-1.0, 0.0]]))
    cloud = hx.PointCloud(POINTS, boundaries={"left": boundary}, names=("r", "z"))
    unknowns = {"u": hx.Function(2, bounds=(0, None), initial=lambda x: x), "k": hx.Constant(1.0, prior=(1.0, 0.1))}
    terms = (hx.Residual("r", lambda w, x: w.u(x)), hx.Energy("e", lambda w, x: w.k * jnp.sum(w.u(x)) ** 2, on="left"))
    hx.save(hx.Problem(cloud, terms, unknowns=unknowns, constraint=lambda w: w, name="all"), tmp_path / "p.npz")
    again = hx.load(tmp_path / "p.npz")
    np.testing.assert_array_equal(again.domain.points, POINTS)
    np.testing.assert_array_equal(again.domain.boundaries["left"].normals, boundary.normals)
    assert again.domain.names == ("r", "z")
    rod = hx.Box([0.0], [1.0], names=("t",), units={"t": "s"})
    hx.save(hx.Problem(rod, (hx.Residual("r", lambda u, x: u(x)),)), tmp_path / "rod.npz")
    assert repr(hx.load(tmp_path / "rod.npz").domain) == "Box(t [s]: 0..1)"
    assert again.unknowns["k"] == unknowns["k"]
    assert again.unknowns["u"] == hx.Function(2, bounds=(0, None))
    assert [(type(t).__name__, t.name, t.on) for t in again.terms] == [("Residual", "r", None), ("Energy", "e", "left")]
    for code in (again.terms[0].function, again.terms[1].density, again.constraint):
        with pytest.raises(hx.InputError, match="is code, which files do not keep"):
            code(None, None)


@pytest.mark.parametrize("kind", ["mlp", "grid"])
def test_fields_work_inside_transformations(trained, kind):
    """A field is a plain module: a function of one point, for `jit`, `vmap` and `grad`."""
    field, x = trained.field if kind == "mlp" else exact_field(), jnp.array([0.3, 0.4])
    alone = float(field(x))
    assert float(jax.jit(lambda z: field(z))(x)) == pytest.approx(alone, abs=1e-14)
    assert jax.vmap(field)(jnp.stack([x, x])).tolist() == pytest.approx([alone, alone], abs=1e-14)
    step = jnp.array([1e-6, 0.0])
    slope = float(field(x + step) - field(x - step)) / 2e-6
    assert float(jax.grad(lambda z: field(z))(x)[0]) == pytest.approx(slope, abs=1e-8)


BAD = {
    "word of a field": ({"field": "grd"}, "Did you mean grid"),
    "word of a solver": ({"solver": "adm"}, "Did you mean adam"),
    "word of a cycle": ({"cycle": "vv"}, "The words are auto, nested"),
    "class of a cycle": ({"cycle": hx.VCycle}, "the class VCycle"),
    "no solver": ({"solver": optax.adam}, r"optax\.adam\(1e-3\)"),
    "no field": ({"field": 3}, "a callable module"),
    "two fields": ({"field": "grid", "hierarchy": "mlp"}, "give one of them"),
    "inputs": ({"field": network(3)}, "does not take a point of 2 coordinates(?s:.)*in_size=2"),
    "outputs": ({"field": network(2, 1)}, r"shape \(1,\)(?s:.)*out_size='scalar'"),
    "nothing to train": ({"field": lambda x: x[0]}, "no arrays that could be trained"),
    "no levels": ({"field": "pou", "solver": "lbfgs", "cycle": "v"}, "visits levels that are made beforehand"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_trained_is_refused(case):
    arguments, says = BAD[case]
    with pytest.raises(hx.InputError, match=says):
        hx.train(fitted(), **arguments)


def test_words_mean_what_they_mean_on_the_command_line():
    plan = hx.plan(fitted(), "mlp", solver="lbfgs", cycle="single")
    assert (type(plan.solver).__name__, type(plan.cycle).__name__) == ("Optax", "SingleLevel")
    assert "schwarz" not in plan.text
    assert type(hx.plan(fitted(), solver="schwarz").solver).__name__ == "Schwarz"


@pytest.mark.parametrize("shown", [solution_of(), exact_problem(), fitted(), hx.refine(exact_field())])
def test_notebooks_show_the_text_as_it_is(shown):
    text = shown._repr_html_()
    assert text.startswith("<div><strong>")
    assert text.endswith("</pre></div>")
    assert "<" not in text.removeprefix("<div><strong>").partition("<pre")[2].partition(">")[2].removesuffix(
        "</pre></div>"
    )


def test_columns_are_taken_by_their_names(trained):
    x, y = POINTS.T
    expected = trained.evaluate(POINTS, "u_x")
    np.testing.assert_array_equal(trained.evaluate({"y": y, "other": x, "x": x}, "u_x"), expected)
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(trained.evaluate(pandas.DataFrame({"y": y, "x": x}), "u_x"), expected)
    with pytest.raises(hx.InputError, match=r"no column 'y' among x, z(?s:.)*called x, y"):
        trained.evaluate(pandas.DataFrame({"x": x, "z": y}))
    with pytest.raises(hx.InputError, match=r"shapes \(60,\), \(59,\)(?s:.)*meshgrid"):
        trained.evaluate({"x": x, "y": y[1:]})


def test_values_inside_transformations(trained):
    u = trained.function("u")
    slopes = jax.jit(jax.vmap(jax.grad(u)))(POINTS)
    np.testing.assert_allclose(slopes[:, 0], trained.evaluate(POINTS, "u_x"), rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(trained.function("u_y"))(POINTS), slopes[:, 1], rtol=1e-12)
    with pytest.raises(hx.InputError, match=r"solution\.function"):
        jax.jit(trained.evaluate)(POINTS)


def test_a_session_of_32_bits_keeps_the_digits_of_a_file(trained, tmp_path):
    solution = dataclasses.replace(trained, problem=fitted())
    solution.save(tmp_path / "kept.npz")
    expected = solution.evaluate(POINTS)
    with jax.enable_x64(False):
        np.testing.assert_array_equal(hx.load(tmp_path / "kept.npz").evaluate(POINTS), expected)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(solution)).evaluate(POINTS), expected)


def test_figures_can_be_changed_and_drawn_into(trained, tmp_path):
    drawing = trained.plot(tmp_path / "all.png")
    assert len(drawing.axes) == 3
    assert (tmp_path / "all.png").stat().st_size > 1000
    assert drawing._repr_png_().startswith(b"\x89PNG")
    own = Figure().add_subplot()
    assert trained.plot(value="u_x", axes=own) == (own.figure, (own,))
    assert own.get_title("left") == "u_x"
    with pytest.raises(hx.InputError, match="3 axes are needed, given were 1"):
        trained.plot(axes=own)


def test_no_two_classes_of_files_have_one_name():
    known = codec._library(STATES.extra)
    modules = itertools.chain.from_iterable(map(codec._modules, (*codec.ROOMS, *STATES.extra)))
    kinds = {kind for module in modules for kind in vars(module).values() if codec._holds_data(kind)}
    kinds = {kind for kind in kinds if kind.__module__.startswith(tuple((*codec.ROOMS, *STATES.extra)))}
    assert len(kinds) > 200
    assert kinds <= set(known.values())
    # a second class of a name renames the first, and files that were written before cannot be read
    assert {name.rpartition(".")[2] for name in known if name.startswith("hierax.")} <= {
        "AbstractLeaf",
        "Part",
        "Pieces",
    }
