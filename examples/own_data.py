"""Arrays of your own: a smooth function from scattered noisy values, with its derivative, outside of any equation."""

import jax

jax.config.update("jax_enable_x64", True)
import numpy as np

import hierax as hx

CENTRES, WIDTH = np.array([[0.3, 0.4], [0.7, 0.6]]), 0.15


def measured(count=2000, noise=0.05, seed=0):
    """Points in the unit square and two bumps measured there with noise; in real life these come from a file."""
    rng = np.random.default_rng(seed)
    points = rng.random((count, 2))
    return points, bumps(points) + noise * rng.standard_normal(count)


def bumps(points):
    """What was measured, without the noise."""
    squares = np.sum((points[:, None, :] - CENTRES) ** 2, axis=2)
    return np.exp(-squares / (2 * WIDTH**2)).sum(axis=1)


def main(count=2000, budget=60.0):
    """Fit, and say how far the fit is from the values without noise at points it has not seen."""
    points, values = measured(count)
    problem = hx.Problem(
        domain=hx.Box([0.0, 0.0], [1.0, 1.0], names=("x", "y")),
        terms=(hx.Data("u", points, values),),  # noise=0.05 may be given; it is estimated where it is not
        name="bumps",
    )
    solution = hx.train(problem, budget=budget)
    print(solution)
    fresh = np.random.default_rng(1).random((1000, 2))
    error = np.sqrt(np.mean((solution.evaluate(fresh) - bumps(fresh)) ** 2))
    print(f"rms error without noise {error:.4f}, u_x at the middle {solution.evaluate([[0.5, 0.5]], 'u_x')[0]:.3f}")
    return error


if __name__ == "__main__":
    main()
