"""Systems, fourth order, three dimensions, periodic boxes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import hierax as hx
from studies.honesty.battery import END, LEFT, START, WALLS, Posed, enter, fixed

SQUARE = hx.Box([0.0, 0.0], [1.0, 1.0])
CUBE = hx.Box([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])


@enter()
def stokes() -> Posed:
    """Stokes's equations with viscosity 0.3, velocities on the boundary, the pressure given in one corner."""
    viscosity = 0.3
    flow = lambda x: jnp.stack([jnp.sin(2 * x[0]) * jnp.cos(2 * x[1]), -jnp.cos(2 * x[0]) * jnp.sin(2 * x[1])])  # noqa: E731
    pressure = lambda x: x[0] ** 2 * x[1]  # noqa: E731

    def momentum(w, x):
        force = 8.0 * viscosity * flow(x) + jnp.stack([2.0 * x[0] * x[1], x[0] ** 2])
        return -viscosity * hx.laplacian(w.v)(x) + hx.gradient(w.p)(x) - force

    terms = (
        hx.Residual("momentum", momentum),
        hx.Residual("volume", lambda w, x: hx.divergence(w.v)(x)),
        fixed("edge", flow, "boundary", lambda w: w.v),
        hx.Data("p", np.array([[1.0, 1.0]]), np.array([1.0]), noise=0.0),
    )
    problem = hx.Problem(SQUARE, terms, unknowns={"v": hx.Function(2), "p": hx.Function()})
    return Posed(problem, ({"v": flow, "p": pressure},), tolerances={"p": 5e-2})


@enter()
def rubber_block() -> Posed:
    """Plane elasticity of rubber in Pa: shear modulus 0.4 MPa, Poisson's ratio 0.4995, displacements of millimetres."""
    shear = 4e5
    lame = 2.0 * shear * 0.4995 / (1.0 - 2.0 * 0.4995)
    exact = lambda x: 1e-3 * jnp.stack([jnp.sin(2 * x[0]) * jnp.cos(2 * x[1]), -jnp.cos(2 * x[0]) * jnp.sin(2 * x[1])])  # noqa: E731

    def stress(w, x):
        strain = 0.5 * (hx.gradient(w.v)(x) + hx.gradient(w.v)(x).T)
        return lame * jnp.trace(strain) * jnp.eye(2) + 2.0 * shear * strain

    terms = (
        hx.Residual("balance", lambda w, x: hx.divergence(lambda z: stress(w, z))(x) + 8.0 * shear * exact(x)),
        fixed("edge", exact, "boundary", lambda w: w.v),
    )
    return Posed(hx.Problem(SQUARE, terms, unknowns={"v": hx.Function(2)}), ({"v": exact},))


@enter()
def clamped_plate() -> Posed:
    """`laplacian(laplacian(w)) = f`, clamped, `w = sin(pi x)^2 sin(pi y)^2`."""
    exact = lambda x: jnp.sin(jnp.pi * x[0]) ** 2 * jnp.sin(jnp.pi * x[1]) ** 2  # noqa: E731

    def balance(w, x):
        # sin^2 = (1 - cos) / 2: the sum of three cosines with their eigenvalues
        c, s = jnp.cos(2 * jnp.pi * x[0]), jnp.cos(2 * jnp.pi * x[1])
        return hx.laplacian(hx.laplacian(w))(x) - 0.25 * (2 * jnp.pi) ** 4 * (4.0 * c * s - c - s)

    terms = (
        hx.Residual("bending", balance),
        fixed("held"),
        hx.Residual("clamped", lambda w, x, normal: normal @ hx.gradient(w)(x), on="boundary"),
    )
    return Posed(hx.Problem(SQUARE, terms), ({"u": exact},))


@enter()
def box_of_charge() -> Posed:
    """Poisson's equation on the unit cube, zero on its boundary."""
    exact = lambda x: jnp.sin(jnp.pi * x[0]) * jnp.sin(2 * jnp.pi * x[1]) * jnp.sin(jnp.pi * x[2])  # noqa: E731
    terms = (
        hx.Residual("balance", lambda u, x: hx.laplacian(u)(x) + 6.0 * jnp.pi**2 * exact(x)),
        fixed("edge"),
    )
    return Posed(hx.Problem(CUBE, terms), ({"u": exact},))


@enter()
def anisotropic_block() -> Posed:
    """`u_xx + 25 u_yy + 0.04 u_zz = 0` on the unit cube with the boundary values of `exp(x + z) cos(0.2 r y)`."""
    rate = np.sqrt(1.04 / 25.0)
    exact = lambda x: jnp.exp(x[0] + x[2]) * jnp.cos(rate * x[1])  # noqa: E731

    def balance(u, x):
        d = hx.derivative
        return d(u, "xx")(x) + 25.0 * d(u, "yy")(x) + 0.04 * d(u, "zz")(x)

    return Posed(hx.Problem(CUBE, (hx.Residual("balance", balance), fixed("edge", exact))), ({"u": exact},))


@enter()
def echoing_room() -> Posed:
    """`laplacian(u) + 8^2 u = 0` on the unit cube with the boundary values of a plane wave."""
    exact = lambda x: jnp.cos(8.0 * (0.48 * x[0] + 0.6 * x[1] + 0.64 * x[2]))  # noqa: E731
    terms = (hx.Residual("helmholtz", lambda u, x: hx.laplacian(u)(x) + 64.0 * u(x)), fixed("edge", exact))
    return Posed(hx.Problem(CUBE, terms), ({"u": exact},))


@enter()
def periodic_heat() -> Posed:
    """`u_t = 0.05 laplacian(u)` on a torus, mean 2."""

    def exact(x):
        return 2.0 + jnp.exp(-0.25 * x[0]) * jnp.sin(2.0 * x[1] + x[2]) + jnp.exp(-0.05 * x[0]) * jnp.cos(x[2])

    round_trip = 2.0 * np.pi
    box = hx.Box([0.0, 0.0, 0.0], [2.0, round_trip, round_trip], names=("t", "x", "y"), periodic=("x", "y"))
    terms = (
        hx.Residual("heat", lambda u, x: hx.derivative(u, "t")(x) - 0.05 * hx.laplacian(u)(x)),
        fixed("start", exact, START),
    )
    return Posed(hx.Problem(box, terms), ({"u": exact},))


@enter()
def decaying_vortices() -> Posed:
    """Navier and Stokes in two dimensions, viscosity 0.05: vortices on `[0, 3]^2` with velocities on the walls.

    The pressure is given on the left wall.
    """
    viscosity = 0.05

    def flow(x):
        fade = jnp.exp(-2.0 * viscosity * x[0])
        return fade * jnp.stack([jnp.cos(x[1]) * jnp.sin(x[2]), -jnp.sin(x[1]) * jnp.cos(x[2])])

    def pressure(x):
        return -0.25 * jnp.exp(-4.0 * viscosity * x[0]) * (jnp.cos(2 * x[1]) + jnp.cos(2 * x[2]))

    def momentum(w, x):
        carried = hx.gradient(w.v)(x)[:, 1:] @ w.v(x)
        push = hx.gradient(w.p)(x)[1:]
        return hx.derivative(w.v, "t")(x) + carried + push - viscosity * hx.laplacian(w.v)(x)

    sides = (*WALLS, hx.Face("y", "lower"), hx.Face("y", "upper"))
    terms = (
        hx.Residual("momentum", momentum),
        hx.Residual("volume", lambda w, x: hx.divergence(w.v)(x)),
        fixed("walls", flow, sides, lambda w: w.v),
        fixed("start", flow, START, lambda w: w.v),
        fixed("pressure", pressure, LEFT, lambda w: w.p),
    )
    box = hx.Box([0.0, 0.0, 0.0], [2.0, 3.0, 3.0], names=("t", "x", "y"))
    problem = hx.Problem(box, terms, unknowns={"v": hx.Function(2), "p": hx.Function()})
    return Posed(problem, ({"v": flow, "p": pressure},), tolerances={"p": 5e-2})


@enter()
def free_particle() -> Posed:
    """`i psi_t = -psi_xx / 2`, real and imaginary part, two waves on a circle."""
    wave = lambda x, k: (jnp.cos(k * x[1] - 0.5 * k**2 * x[0]), jnp.sin(k * x[1] - 0.5 * k**2 * x[0]))  # noqa: E731
    real = lambda x: wave(x, 1.0)[0] + 0.5 * wave(x, 3.0)[0]  # noqa: E731
    imaginary = lambda x: wave(x, 1.0)[1] + 0.5 * wave(x, 3.0)[1]  # noqa: E731
    d = hx.derivative
    terms = (
        hx.Residual("real", lambda w, x: d(w.a, "t")(x) + 0.5 * d(w.b, "xx")(x)),
        hx.Residual("imaginary", lambda w, x: d(w.b, "t")(x) - 0.5 * d(w.a, "xx")(x)),
        fixed("a starts", real, START, lambda w: w.a),
        fixed("b starts", imaginary, START, lambda w: w.b),
    )
    box = hx.Box([0.0, 0.0], [2.0, 2.0 * np.pi], names=("t", "x"), periodic="x")
    problem = hx.Problem(box, terms, unknowns={"a": hx.Function(), "b": hx.Function()})
    return Posed(problem, ({"a": real, "b": imaginary},))


@enter()
def stretched_strip() -> Posed:
    """Plane stress in SI units: steel 2 m x 0.1 m, pulled at the right by 80 MPa, guided at the left and below."""
    young, ratio, pull = 210e9, 0.3, 80e6

    def stress(w, x):
        strain = 0.5 * (hx.gradient(w.v)(x) + hx.gradient(w.v)(x).T)
        return young / (1.0 - ratio**2) * ((1.0 - ratio) * strain + ratio * jnp.trace(strain) * jnp.eye(2))

    floor, top = hx.Face("y", "lower"), hx.Face("y", "upper")
    terms = (
        hx.Residual("balance", lambda w, x: hx.divergence(lambda z: stress(w, z))(x)),
        hx.Residual("guided", lambda w, x, n: w.v(x)[0], on=LEFT),
        hx.Residual("no friction", lambda w, x, n: stress(w, x)[0, 1], on=(LEFT, floor)),
        hx.Residual("on the floor", lambda w, x, n: w.v(x)[1], on=floor),
        hx.Residual("pulled", lambda w, x, n: stress(w, x) @ n - pull * n, on=END),
        hx.Residual("free", lambda w, x, n: stress(w, x) @ n, on=top),
    )
    exact = lambda x: pull / young * jnp.stack([x[0], -ratio * x[1]])  # noqa: E731
    problem = hx.Problem(hx.Box([0.0, 0.0], [2.0, 0.1]), terms, unknowns={"v": hx.Function(2)})
    return Posed(problem, ({"v": exact},))
