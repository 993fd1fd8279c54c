"""Problems in the units of their users: SI, millimetres, microns, seconds, years, unknowns of unlike size."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import hierax as hx
from studies.honesty.battery import END, LEFT, START, WALLS, Posed, enter, fixed, line, sloped
from studies.honesty.curves import boundary_value, initial_value

STEFAN_BOLTZMANN = 5.670374e-8
YEAR = 3.156e7


@enter()
def steel_cantilever() -> Posed:
    """`M'' = q`, `EI w'' = M` in SI units: 4 m long, 1.68 MN m^2, 5 kN/m, held at the left."""
    length, stiffness, load = 4.0, 210e9 * 8e-6, 5e3
    terms = (
        hx.Residual("moment", lambda w, x: hx.derivative(w.M, "xx")(x) - load),
        hx.Residual("bending", lambda w, x: stiffness * hx.derivative(w.w, "xx")(x) - w.M(x)),
        fixed("held", 0.0, LEFT, lambda w: w.w),
        sloped("clamped", 0.0, LEFT, lambda w: w.w),
        fixed("no moment", 0.0, END, lambda w: w.M),
        sloped("no force", 0.0, END, lambda w: w.M),
    )

    def deflection(x):
        return load / (24.0 * stiffness) * (x[0] ** 4 - 4.0 * length * x[0] ** 3 + 6.0 * length**2 * x[0] ** 2)

    problem = hx.Problem(line(length), terms, unknowns={"M": hx.Function(), "w": hx.Function()})
    return Posed(problem, ({"M": lambda x: 0.5 * load * (length - x[0]) ** 2, "w": deflection},))


@enter()
def beam_in_millimetres() -> Posed:
    """A simply supported beam in N and mm: 2400 mm, 9.45e11 N mm^2, 12 N/mm."""
    length, stiffness, load = 2400.0, 9.45e11, 12.0
    terms = (
        hx.Residual("moment", lambda w, x: hx.derivative(w.M, "xx")(x) + load),
        hx.Residual("bending", lambda w, x: stiffness * hx.derivative(w.w, "xx")(x) + w.M(x)),
        fixed("no moment", 0.0, "boundary", lambda w: w.M),
        fixed("held", 0.0, "boundary", lambda w: w.w),
    )
    truth = {
        "M": lambda x: 0.5 * load * x[0] * (length - x[0]),
        "w": lambda x: load / (24 * stiffness) * x[0] * (length**3 - 2 * length * x[0] ** 2 + x[0] ** 3),
    }
    problem = hx.Problem(line(length), terms, unknowns={"M": hx.Function(), "w": hx.Function()})
    return Posed(problem, (truth,))


@enter()
def steel_plate() -> Posed:
    """`D laplacian(laplacian(w)) = p` in SI units: 1.2 m x 0.8 m x 8 mm of steel, simply supported, 2 kPa."""
    a, b, load = 1.2, 0.8, 2000.0
    stiffness = 210e9 * 0.008**3 / (12.0 * (1.0 - 0.3**2))
    shape = lambda x: jnp.sin(jnp.pi * x[0] / a) * jnp.sin(jnp.pi * x[1] / b)  # noqa: E731
    size = load / (stiffness * np.pi**4 * (1.0 / a**2 + 1.0 / b**2) ** 2)
    terms = (
        hx.Residual("bending", lambda w, x: stiffness * hx.laplacian(hx.laplacian(w))(x) - load * shape(x)),
        fixed("held"),
        hx.Residual("no moment", lambda w, x, normal: stiffness * hx.laplacian(w)(x), on="boundary"),
    )
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [a, b]), terms), ({"u": lambda x: size * shape(x)},))


@enter()
def radiating_fin() -> Posed:
    """`k d / 4 T'' = epsilon sigma (T^4 - 300^4)`: a rod of 1 cm, 800 K at one end, insulated at the other."""
    conductance, emission = 50.0 * 0.0025, 0.7 * STEFAN_BOLTZMANN
    terms = (
        hx.Residual(
            "balance", lambda T, x: conductance * hx.derivative(T, "xx")(x) - emission * (T(x) ** 4 - 300.0**4)
        ),
        fixed("hot", 800.0, LEFT),
        sloped("insulated", 0.0, END),
    )
    exact, _ = boundary_value(
        lambda x, y: np.stack([y[1], emission / conductance * (y[0] ** 4 - 300.0**4)]),
        lambda a, b: np.array([a[0] - 800.0, b[1]]),
        lambda x: np.stack([800.0 - 1000.0 * x, 0.0 * x - 1000.0]),
        0.15,
    )
    return Posed(hx.Problem(line(0.15), terms), ({"u": exact},), centred=True)


@enter()
def quenched_slab() -> Posed:
    """`rho c T_t = k T_xx`: 5 cm of steel from a hot middle to walls of 293 K, in seconds and metres."""
    heat, conductivity, width = 3.9e6, 45.0, 0.05
    rate = conductivity / heat * (np.pi / width) ** 2
    exact = lambda x: 293.0 + 180.0 * jnp.exp(-rate * x[0]) * jnp.sin(jnp.pi * x[1] / width)  # noqa: E731
    terms = (
        hx.Residual("heat", lambda T, x: heat * hx.derivative(T, "t")(x) - conductivity * hx.derivative(T, "xx")(x)),
        fixed("walls", 293.0, WALLS),
        fixed("start", lambda x: 293.0 + 180.0 * jnp.sin(jnp.pi * x[1] / width), START),
    )
    problem = hx.Problem(hx.Box([0.0, 0.0], [60.0, width], names=("t", "x")), terms)
    return Posed(problem, ({"u": exact},), centred=True)


@enter()
def aquifer_in_seconds() -> Posed:
    """`S h_t = T h_xx` over 3 km and five years in metres and seconds, `S = 0.1`, `T = 0.01 m^2/s`."""
    length, storage, transmissivity = 3000.0, 0.1, 0.01
    rate = transmissivity / storage * (np.pi / length) ** 2

    def exact(x):
        return 25.0 + x[1] / 1000.0 + 3.0 * jnp.exp(-rate * x[0]) * jnp.sin(jnp.pi * x[1] / length)

    def flow(h, x):
        return storage * hx.derivative(h, "t")(x) - transmissivity * hx.derivative(h, "xx")(x)

    terms = (hx.Residual("flow", flow), fixed("rivers", exact, WALLS), fixed("start", exact, START))
    problem = hx.Problem(hx.Box([0.0, 0.0], [5.0 * YEAR, length], names=("t", "x")), terms)
    return Posed(problem, ({"u": exact},), centred=True)


@enter()
def reservoir() -> Posed:
    """Darcy's law, `q + 1e-10 p' = 0`, `q' = 0` over 800 m from 25 to 10 MPa."""
    mobility, length, drop = 1e-10, 800.0, 1.5e7
    terms = (
        hx.Residual("darcy", lambda w, x: w.q(x) + mobility * hx.derivative(w.p, "x")(x)),
        hx.Residual("volume", lambda w, x: hx.derivative(w.q, "x")(x)),
        fixed("inlet", 2.5e7, LEFT, lambda w: w.p),
        fixed("outlet", 1.0e7, END, lambda w: w.p),
    )
    truth = {"p": lambda x: 2.5e7 - drop * x[0] / length, "q": lambda x: mobility * drop / length + 0.0 * x[0]}
    problem = hx.Problem(line(length), terms, unknowns={"p": hx.Function(), "q": hx.Function()})
    return Posed(problem, (truth,))


@enter()
def ignition() -> Posed:
    """`T' = 1e6 exp(-7500 / T) (600 - T)` from 420 K, in seconds: it waits, then burns."""
    terms = (
        hx.Residual("heat", lambda T, x: hx.derivative(T, "t")(x) - 1e6 * jnp.exp(-7500.0 / T(x)) * (600.0 - T(x))),
        fixed("start", 420.0, START),
    )
    (exact,) = initial_value(lambda t, y: 1e6 * np.exp(-7500.0 / y) * (600.0 - y), [420.0], (0.0, 15.0))
    return Posed(hx.Problem(line(15.0, name="t"), terms), ({"u": exact},), centred=True)


@enter()
def cell_in_metres() -> Posed:
    """`D c'' = k c` across 20 microns in metres: `D = 1e-10 m^2/s`, `k = 0.5 / s`, 0.3 mol/m^3 at the wall."""
    diffusivity, uptake, width = 1e-10, 0.5, 2e-5
    rate = np.sqrt(uptake / diffusivity)
    terms = (
        hx.Residual("balance", lambda c, x: diffusivity * hx.derivative(c, "xx")(x) - uptake * c(x)),
        fixed("wall", 0.3, LEFT),
        sloped("middle", 0.0, END),
    )
    exact = lambda x: 0.3 * jnp.cosh(rate * (width - x[0])) / jnp.cosh(rate * width)  # noqa: E731
    return Posed(hx.Problem(line(width), terms), ({"u": exact},))


@enter()
def piezoelectric_rod() -> Posed:
    """Displacement of 1e-8 m and potential of 200 V: `(C u' + e p')' = 0`, `(e u' - k p')' = 0` over 1 cm."""
    elastic, coupling, permittivity, length, volts = 1.2e11, 17.0, 1.5e-8, 0.01, 200.0
    d = hx.derivative
    terms = (
        hx.Residual("force", lambda w, x: elastic * d(w.u, "xx")(x) + coupling * d(w.phi, "xx")(x)),
        hx.Residual("charge", lambda w, x: coupling * d(w.u, "xx")(x) - permittivity * d(w.phi, "xx")(x)),
        fixed("held", 0.0, LEFT, lambda w: w.u),
        hx.Residual("free", lambda w, x, n: elastic * d(w.u, "x")(x) + coupling * d(w.phi, "x")(x), on=END),
        fixed("earth", 0.0, LEFT, lambda w: w.phi),
        fixed("electrode", volts, END, lambda w: w.phi),
    )
    truth = {"u": lambda x: -coupling / elastic * volts * x[0] / length, "phi": lambda x: volts * x[0] / length}
    return Posed(hx.Problem(line(length), terms, unknowns={"u": hx.Function(), "phi": hx.Function()}), (truth,))


@enter()
def torsion_in_millimetres() -> Posed:
    """Prandtl's stress function of a bar of 40 mm x 20 mm, `laplacian(phi) = -2 G theta`, `G = 80 GPa` in MPa."""
    a, b, twist = 20.0, 10.0, 80e3 * 1e-5
    odd = jnp.arange(1, 200, 2)

    def exact(x):
        s, r = x[0] - a, jnp.abs(x[1] - b)
        wave = odd * jnp.pi / (2.0 * a)
        # cosh(wave r) / cosh(wave b) without overflow
        ratio = (jnp.exp(wave * (r - b)) + jnp.exp(-wave * (r + b))) / (1.0 + jnp.exp(-2.0 * wave * b))
        series = jnp.sum((-1.0) ** ((odd - 1) // 2) / odd**3 * ratio * jnp.cos(wave * s))
        return twist * (a**2 - s**2 - 32.0 * a**2 / jnp.pi**3 * series)

    terms = (hx.Residual("torsion", lambda u, x: hx.laplacian(u)(x) + 2.0 * twist), fixed("edge"))
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [2 * a, 2 * b]), terms), ({"u": exact},))


@enter()
def pipe_of_air() -> Posed:
    """Sound of 340 m/s in a tube of 2 m over 20 ms, in Pa: `p_tt = c^2 p_xx` with open ends."""
    speed, length = 340.0, 2.0
    wave = np.pi / length
    exact = lambda x: 80.0 * jnp.sin(wave * x[1]) * jnp.cos(wave * speed * x[0])  # noqa: E731
    terms = (
        hx.Residual("wave", lambda p, x: hx.derivative(p, "tt")(x) - speed**2 * hx.derivative(p, "xx")(x)),
        fixed("open", 0.0, WALLS),
        fixed("start", lambda x: 80.0 * jnp.sin(wave * x[1]), START),
        sloped("rest", 0.0, START),
    )
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [0.02, length], names=("t", "x")), terms), ({"u": exact},))
