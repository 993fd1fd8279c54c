"""Bodies as users write them: an elliptic ring, a gear, a disk that moves, and a half disk whose conditions change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

import hierax as hx


def ring() -> hx.Problem:
    """Poisson's equation between two ellipses that exchange heat with their surroundings."""
    body = hx.Ellipse((0.2, 0.1), (2.0, 1.2), name="outer") - hx.Ellipse((0.4, 0.0), (0.6, 0.3), 30.0, name="inner")

    def exact(x: Any) -> Any:
        return jnp.exp(x[0]) * jnp.sin(2.0 * x[1]) + x[0] * x[1]

    def exchange(u: Any, x: Any, normal: Any) -> Any:
        return (hx.gradient(u)(x) - hx.gradient(exact)(x)) @ normal + 2.0 * (u(x) - exact(x))

    terms = (hx.Residual("heat", _missed(hx.laplacian, exact)), hx.Residual("exchange", exchange, on="boundary"))
    return hx.Problem(body, terms, reference=hx.Reference(exact, 1e-14), name="ring")


def gear() -> hx.Problem:
    """`u^3 - Lap u = f` on a level set of eight teeth with a bore."""

    def teeth(x: Any) -> Any:
        square = x @ x + 1e-12
        return jnp.sqrt(square) - 1.0 - 0.12 * jnp.cos(8.0 * jnp.arctan2(x[1], x[0])) * jnp.tanh(square)

    def exact(x: Any) -> Any:
        return jnp.cos(2.0 * x[0]) * jnp.cosh(x[1])

    def equation(u: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x: u(x) ** 3 - hx.laplacian(u)(x)

    body = hx.LevelSet(teeth, (-1.2, -1.2), (1.2, 1.2), name="teeth") - hx.Disk((0, 0), 0.3, name="bore")
    terms = (hx.Residual("equation", _missed(equation, exact)), hx.dirichlet("boundary", exact))
    return hx.Problem(body, terms, reference=hx.Reference(exact, 1e-14), name="gear")


def moving() -> hx.Problem:
    """The heat equation in a disk that moves on a curve; `z` is the time."""

    def exact(x: Any) -> Any:
        return jnp.exp(-x[2]) * jnp.sin(x[0] + 2.0 * x[1]) + x[2] * x[0]

    def heat(u: Callable[..., Any]) -> Callable[..., Any]:
        rate, across, up = (hx.derivative(u, name) for name in ("z", "xx", "yy"))
        return lambda x: rate(x) - across(x) - up(x)

    def path(x: Any) -> Any:
        return jnp.sum((x[:2] - jnp.array([0.5 * x[2], 0.3 * jnp.sin(2.0 * x[2])])) ** 2) - 0.25

    tube = hx.LevelSet(path, (-0.6, -0.6, -0.5), (1.1, 0.9, 1.5), name="wall")
    body = tube & hx.Cuboid((-2, -2, 0), (2, 2, 1), name="times")
    start = body.boundary("times", where=lambda x: x[2] < 0.5)
    terms = (hx.Residual("heat", _missed(heat, exact)), hx.dirichlet(("wall", start), exact))
    return hx.Problem(body, terms, reference=hx.Reference(exact, 1e-14), name="moving")


def half() -> hx.Problem:
    """Laplace's equation by its energy on half a disk, with `u = 0` on one half of its diameter and no flux on the
    other: the root of the distance from the middle."""

    def exact(x: Any) -> Any:
        return jnp.sqrt(jnp.maximum(0.5 * (jnp.sqrt(x @ x + 1e-300) - x[0]), 0.0))

    body = hx.Disk((0, 0), 1.0, name="arc") & hx.Rectangle((-2, 0), (2, 2))
    stored = hx.Energy("stored", lambda u, x: 0.5 * hx.gradient(u)(x) @ hx.gradient(u)(x))
    held = ("arc", body.boundary("bottom", where=lambda x: x[0] > 0.0))
    return hx.Problem(body, (stored, hx.dirichlet(held, exact)), reference=hx.Reference(exact, 1e-14), name="half")


def _missed(operator: Callable[[Any], Callable[..., Any]], exact: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """What a function leaves of the equation that the exact solution satisfies."""
    return lambda u, x: operator(u)(x) - operator(exact)(x)


BODIES = {"ring": ring, "gear": gear, "moving disk": moving, "half disk": half}
