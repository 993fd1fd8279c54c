"""Twelve runs of a fine model, helped by two cheaper ones whose runs are at other points."""

import jax
import numpy as np

import hierax as hx

jax.config.update("jax_enable_x64", True)


def fine(x):
    return np.sin(8 * np.pi * x[:, 0]) * (1 + x[:, 0])


def medium(x):
    return 0.8 * fine(x) + 0.3 * x[:, 0] ** 2  # its error is smooth: that is what makes it useful


def coarse(x):
    return medium(x) / (1 + x[:, 0]) - np.cos(2 * x[:, 0])


def main() -> tuple[float, float]:
    """Errors with the help of the cheaper models, and of the fine runs alone."""
    rng = np.random.default_rng(0)
    runs = []
    for name, model, cost, count in (("coarse", coarse, 1, 80), ("medium", medium, 20, 30), ("fine", fine, 400, 12)):
        x = rng.random((count, 1))
        runs.append(hx.Fidelity(x, model(x), cost=cost, name=name))
    problem = hx.Fidelities(hx.Box([0.0], [1.0]), runs)
    solution = hx.train(problem)
    print(solution, solution.plan, sep="\n\n")
    points = np.linspace(0, 1, 500)[:, None]
    misfits = (s.evaluate(points) - fine(points) for s in (solution, hx.train(problem.alone(2))))
    with_help, alone = (float(np.sqrt(np.mean(misfit**2))) for misfit in misfits)
    return with_help, alone


if __name__ == "__main__":
    print(main())
