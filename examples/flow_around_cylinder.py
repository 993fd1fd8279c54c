"""Steady flow around a cylinder: hierax train flow_around_cylinder.py:problem --budget-seconds 120"""

import jax
import jax.numpy as jnp
import numpy as np

import hierax as hx

HEIGHT, DIAMETER = 0.41, 0.1


def problem(speed=0.3, viscosity=1e-3):
    """A channel with a cylinder a little off its middle, Reynolds number 20 (Schaefer and Turek, 1996)."""
    channel = hx.Rectangle((0.0, 0.0), (2.2, HEIGHT)) - hx.Disk((0.2, 0.2), DIAMETER / 2, name="cylinder")

    def momentum(w, x):
        slope = hx.gradient(w.u)(x)
        return slope @ w.u(x) - viscosity * hx.laplacian(w.u)(x) + hx.gradient(w.p)(x)

    def mass(w, x):
        return hx.divergence(w.u)(x)

    def inflow(x):
        return jnp.array([4.0 * speed * x[1] * (HEIGHT - x[1]) / HEIGHT**2, 0.0])

    def outflow(w, x, normal):
        return viscosity * hx.gradient(w.u)(x) @ normal - w.p(x) * normal

    return hx.Problem(
        domain=channel,
        unknowns={"u": hx.Function(2), "p": hx.Function()},
        terms=(
            hx.Residual("momentum", momentum),
            hx.Residual("mass", mass),
            hx.dirichlet(("bottom", "top", "cylinder"), unknown="u", name="no slip"),
            hx.dirichlet("left", inflow, unknown="u", name="inflow"),
            hx.Residual("outflow", outflow, on="right"),
        ),
    )


def coefficients(solution, speed=0.3, viscosity=1e-3):
    """Coefficients of drag and lift, by the stress on the cylinder, and the pressure drop across it."""
    wall = solution.problem.domain.quadrature("cylinder")
    values = [f"u[{i}]_{x}" for i in range(2) for x in "xy"]
    slope = np.stack([solution.evaluate(wall.points, value) for value in values], axis=1).reshape(-1, 2, 2)
    pressure = solution.evaluate(wall.points, "p")[:, None]
    # normals point out of the fluid, into the cylinder
    stress = viscosity * np.einsum("nij,nj->ni", slope, wall.normals) - pressure * wall.normals
    drag, lift = -wall.weights @ stress / (0.5 * (2.0 / 3.0 * speed) ** 2 * DIAMETER)
    front, back = solution.evaluate([[0.15, 0.2], [0.25, 0.2]], "p")
    return drag, lift, front - back


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    found = hx.train(problem(), budget=120.0)
    print(found)
    print("drag {:.6f}, lift {:.7f}, pressure drop {:.7f}".format(*coefficients(found)))
