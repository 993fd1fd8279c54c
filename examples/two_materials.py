"""A rod in another material: hierax train two_materials.py:problem --set rod=1000"""

import jax.numpy as jnp

import hierax as hx


def problem(rod=1000.0, around=1.0, radius=0.3):
    """Heat flows through a square with a round rod in the middle, which conducts better."""
    interface = hx.Interface(hx.Disk((0.5, 0.5), radius, name="rod"))
    k = interface.by_side(inside=rod, outside=around)

    def heat(u, x):
        return hx.divergence(lambda z: k(z) * hx.gradient(u)(z))(x) + jnp.sin(jnp.pi * x[1])

    return hx.Problem(
        domain=hx.Box([0.0, 0.0], [1.0, 1.0]),
        terms=(
            hx.Residual("heat", heat),
            hx.dirichlet(hx.Face("x", "lower"), 1.0, name="hot"),
            hx.dirichlet(hx.Face("x", "upper"), 0.0, name="cold"),
            hx.neumann((hx.Face("y", "lower"), hx.Face("y", "upper")), name="sides"),
        ),
        interfaces=[interface],
    )
