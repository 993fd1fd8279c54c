"""The heat equation as a problem file: hierax train heat.py:problem --set conductivity=0.2"""

import jax.numpy as jnp

import hierax as hx


def problem(conductivity=0.1):
    """`u_t = conductivity u_xx` on the unit square, 0 at the walls, `sin(pi x)` at the start."""

    def interior(u, x):  # x: (2,) in the order of the names
        return hx.derivative(u, "t")(x) - conductivity * hx.derivative(u, "xx")(x)

    def wall(u, x, normal):  # boundary terms also get the outward unit normal
        return u(x)

    def start(u, x, normal):
        return u(x) - jnp.sin(jnp.pi * x[1])

    return hx.Problem(
        domain=hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")),
        terms=(
            hx.Residual("interior", interior),
            hx.Residual("wall", wall, on=(hx.Face("x", "lower"), hx.Face("x", "upper"))),
            hx.Residual("start", start, on=hx.Face("t", "lower")),
        ),
    )
