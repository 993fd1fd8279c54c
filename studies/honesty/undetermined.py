"""Problems that nothing determines: a condition was forgotten, or only a combination of the unknowns is seen."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import hierax as hx
from studies.honesty.battery import LEFT, START, WALLS, Posed, enter, fixed, line

PLANE = hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x"))


def _heat(*conditions: hx.Residual) -> Posed:
    law = hx.Residual("heat", lambda u, x: hx.derivative(u, "t")(x) - 0.3 * hx.derivative(u, "xx")(x))
    return Posed(hx.Problem(PLANE, (law, *conditions)), ())


@enter()
def heat_without_a_start() -> Posed:
    """The heat equation between walls at 0 and 1."""
    return _heat(fixed("walls", lambda x: x[1], WALLS))


@enter()
def heat_without_walls() -> Posed:
    """The heat equation from a start, and nothing at the walls."""
    return _heat(fixed("start", lambda x: jnp.sin(jnp.pi * x[1]), START))


@enter()
def one_ended() -> Posed:
    """`u'' = cos(3 x)` with a value at one end: its slope is free."""
    terms = (
        hx.Residual("balance", lambda u, x: hx.derivative(u, "xx")(x) - jnp.cos(3.0 * x[0])),
        fixed("left", 2.0, LEFT),
    )
    return Posed(hx.Problem(line(2.0), terms), ())


@enter()
def resonance() -> Posed:
    """`u'' + 4 pi^2 u = 0` with zero ends: any multiple of `sin(2 pi x)`."""
    terms = (
        hx.Residual("balance", lambda u, x: hx.derivative(u, "xx")(x) + 4.0 * jnp.pi**2 * u(x)),
        fixed("ends"),
    )
    return Posed(hx.Problem(line(1.0), terms), ())


@enter()
def square_resonance() -> Posed:
    """`laplacian(u) + 5 pi^2 u = 0` on the unit square: two modes are free."""
    terms = (hx.Residual("balance", lambda u, x: hx.laplacian(u)(x) + 5.0 * jnp.pi**2 * u(x)), fixed("edge"))
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), terms), ())


@enter()
def decay_without_a_value() -> Posed:
    """`u' = -3 u` and no value anywhere."""
    terms = (hx.Residual("decay", lambda u, x: hx.derivative(u, "t")(x) + 3.0 * u(x)),)
    return Posed(hx.Problem(line(2.0, name="t"), terms), ())


@enter()
def only_a_sum() -> Posed:
    """Loss by two ways, `u' = -(a + b) u`, from data of `u`: only `a + b` is seen."""
    times = np.linspace(0.0, 3.0, 50)
    terms = (
        hx.Residual("loss", lambda w, x: hx.derivative(w.u, "t")(x) + (w.a + w.b) * w.u(x)),
        hx.Data("u", times[:, None], 4.0 * np.exp(-0.9 * times)),
    )
    unknowns = {"u": hx.Function(), "a": hx.Constant(1.0), "b": hx.Constant(0.2)}
    return Posed(hx.Problem(line(3.0, name="t"), terms, unknowns=unknowns), ())


@enter()
def only_a_product() -> Posed:
    """`u'' = -gain * load * sin(x)` from noisy data of `u`: only the product is seen."""
    x = np.random.default_rng(5).uniform(0.0, np.pi, 80)
    values = 2.4 * np.sin(x) + 0.01 * np.random.default_rng(6).normal(size=80)
    terms = (
        hx.Residual("balance", lambda w, x: hx.derivative(w.u, "xx")(x) + w.gain * w.load * jnp.sin(x[0])),
        fixed("ends", 0.0, "boundary", lambda w: w.u),
        hx.Data("u", x[:, None], values, noise=0.01),
    )
    unknowns = {"u": hx.Function(), "gain": hx.Constant(1.0), "load": hx.Constant(1.0)}
    return Posed(hx.Problem(line(float(np.pi)), terms, unknowns=unknowns), ())


@enter()
def steady_diffusivity() -> Posed:
    """`D u'' = 0` from data of a straight line: every `D` fits."""
    x = np.linspace(0.0, 1.0, 30)
    terms = (
        hx.Residual("steady", lambda w, x: w.D * hx.derivative(w.u, "xx")(x)),
        hx.Data("u", x[:, None], 1.0 + 2.0 * x),
    )
    problem = hx.Problem(line(1.0), terms, unknowns={"u": hx.Function(), "D": hx.Constant(0.7, bounds=(0.0, None))})
    return Posed(problem, ())


@enter()
def wave_from_start_and_end() -> Posed:
    """`u_tt = u_xx` from values at `t = 0` and `t = 1`: the modes `sin(n pi t)` are free."""
    terms = (
        hx.Residual("wave", lambda u, x: hx.derivative(u, "tt")(x) - hx.derivative(u, "xx")(x)),
        fixed("walls", 0.0, WALLS),
        fixed("start", lambda x: jnp.sin(2 * jnp.pi * x[1]), START),
        fixed("end", lambda x: jnp.sin(2 * jnp.pi * x[1]), hx.Face("t", "upper")),
    )
    return Posed(hx.Problem(PLANE, terms), ())


@enter()
def wave_without_a_velocity() -> Posed:
    """`u_tt = u_xx` from values at `t = 0` alone."""
    terms = (
        hx.Residual("wave", lambda u, x: hx.derivative(u, "tt")(x) - hx.derivative(u, "xx")(x)),
        fixed("walls", 0.0, WALLS),
        fixed("start", lambda x: jnp.sin(jnp.pi * x[1]), START),
    )
    return Posed(hx.Problem(PLANE, terms), ())


@enter()
def heated_on_all_sides() -> Posed:
    """Poisson's equation with insulated sides and a source that adds up to zero: free up to a constant."""
    terms = (
        hx.Residual("balance", lambda u, x: hx.laplacian(u)(x) + jnp.cos(jnp.pi * x[0]) * jnp.cos(2 * jnp.pi * x[1])),
        hx.Residual("insulated", lambda u, x, normal: normal @ hx.gradient(u)(x), on="boundary"),
    )
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), terms), ())


@enter()
def periodic_without_a_mean() -> Posed:
    """`u'' = sin(x)` on a circle: free up to a constant."""
    box = hx.Box([0.0], [2.0 * np.pi], periodic="x")
    return Posed(hx.Problem(box, (hx.Residual("balance", lambda u, x: hx.laplacian(u)(x) - jnp.sin(x[0])),)), ())


@enter()
def beam_without_slopes() -> Posed:
    """`w'''' = 24` with `w = 0` at both ends: two conditions where four are needed."""
    terms = (hx.Residual("bending", lambda w, x: hx.derivative(w, "xxxx")(x) - 24.0), fixed("ends"))
    return Posed(hx.Problem(line(1.0), terms), ())


@enter()
def stokes_without_a_pressure() -> Posed:
    """Channel flow with all velocities given: the pressure is free up to a constant."""
    terms = (
        hx.Residual("momentum", lambda w, x: hx.laplacian(w.v)(x) - hx.gradient(w.p)(x)),
        hx.Residual("volume", lambda w, x: hx.divergence(w.v)(x)),
        hx.Residual("edge", lambda w, x, normal: w.v(x) - jnp.stack([x[1] * (1.0 - x[1]), 0.0 * x[0]]), on="boundary"),
    )
    problem = hx.Problem(hx.Box([0.0, 0.0], [2.0, 1.0]), terms, unknowns={"v": hx.Function(2), "p": hx.Function()})
    return Posed(problem, ())


@enter()
def floating_body() -> Posed:
    """Plane elasticity under tension with tractions on all sides: displacement and rotation are free."""

    def stress(w, x):
        strain = 0.5 * (hx.gradient(w)(x) + hx.gradient(w)(x).T)
        return 1.2 * jnp.trace(strain) * jnp.eye(2) + 1.6 * strain

    terms = (
        hx.Residual("balance", lambda w, x: hx.divergence(lambda z: stress(w.v, z))(x)),
        hx.Residual(
            "traction", lambda w, x, normal: stress(w.v, x) @ normal - jnp.stack([normal[0], 0.0]), on="boundary"
        ),
    )
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), terms, unknowns={"v": hx.Function(2)}), ())


@enter()
def cooling_that_is_over() -> Posed:
    """`T' = -h(t) (T - 293 K)` from readings with 0.3 K of noise, in which nothing is seen after 300 s: `h` is open."""
    times = np.sort(np.random.default_rng(24).uniform(0.0, 1000.0, (150, 1)), axis=0)
    lost = 0.02 * times[:, 0] + 0.6 * (1.0 - np.cos(times[:, 0] / 40.0))
    readings = 293.0 + 67.0 * np.exp(-lost) + 0.3 * np.random.default_rng(25).normal(size=150)
    terms = (
        hx.Residual("cooling", lambda w, x: hx.derivative(w.T, "t")(x) + w.h(x) * (w.T(x) - 293.0)),
        hx.Data("T", times, readings, noise=0.3),
    )
    unknowns = {"T": hx.Function(), "h": hx.Function()}
    return Posed(hx.Problem(line(1000.0, name="t"), terms, unknowns=unknowns), ())
