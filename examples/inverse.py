"""An unknown coefficient: growth rate and capacity of `u' = rate u (1 - u / capacity)` from noisy measurements of u."""

import jax

jax.config.update("jax_enable_x64", True)
import numpy as np

import hierax as hx

RATE, CAPACITY, START = 0.8, 3.0, 0.2


def exact(t):
    """The solution with the true numbers, from which the measurements are made."""
    return CAPACITY / (1.0 + (CAPACITY / START - 1.0) * np.exp(-RATE * t))


def problem(count=60, noise=0.05, seed=0):
    """The equation with two unknown numbers, and `count` measurements at random times."""
    rng = np.random.default_rng(seed)
    times = 10.0 * rng.random((count, 1))
    values = exact(times[:, 0]) + noise * rng.standard_normal(count)

    def growth(w, x):
        return hx.derivative(w.u, "t")(x) - w.rate * w.u(x) * (1.0 - w.u(x) / w.capacity)

    return hx.Problem(
        domain=hx.Box([0.0], [10.0], names=("t",)),
        terms=(hx.Residual("growth", growth), hx.Data("u", times, values, noise=noise)),
        unknowns={
            "u": hx.Function(),
            "rate": hx.Constant(0.3, bounds=(0.0, None)),
            "capacity": hx.Constant(1.0, bounds=(0.0, None)),
        },
        name="growth",
    )


def main(budget=60.0):
    """Train, and print the two numbers."""
    solution = hx.train(problem(), budget=budget)
    print(solution)
    found = {name: float(solution.evaluate([[0.0]], name)[0]) for name in ("rate", "capacity")}
    print(f"rate {found['rate']:.3f} (true {RATE}), capacity {found['capacity']:.3f} (true {CAPACITY})")
    return solution


if __name__ == "__main__":
    main()
