"""Four dimensions: too many for a grid, so the default strategy takes a low-rank tensor of splines.

Run with: hierax train examples/poisson_4d.py:problem
"""

import jax.numpy as jnp

import hierax as hx


def problem(dim=4):
    """`-Laplacian u = f` on the unit cube of `dim` dimensions, with a product of sines as solution."""

    def solution(x):
        return jnp.prod(jnp.sin(jnp.pi * x))

    def interior(u, x):
        return hx.laplacian(u)(x) + dim * jnp.pi**2 * solution(x)

    def boundary(u, x, normal):
        return u(x)

    return hx.Problem(
        domain=hx.Box([0.0] * dim, [1.0] * dim),
        terms=(hx.Residual("interior", interior), hx.Residual("boundary", boundary, on="boundary")),
        reference=hx.Reference(solution, 0.0),
    )
