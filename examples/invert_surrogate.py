"""Where is the burner, how strong is it, how much does the rod lose? Twelve noisy temperatures, and a surrogate."""

import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np

import hierax as hx

NOISE = 0.0005
TRUTH = {"loss": 4.0, "place": 0.37, "strength": 1.3}


def problem(loss=2.0, place=0.5, strength=1.0):
    """A rod with cold ends, `-u_xx + loss u` = a burner of width 0.15."""

    def balance(u, x):
        burner = strength * jnp.exp(-(((x[0] - place) / 0.15) ** 2))
        return -hx.derivative(u, "xx")(x) + loss * u(x) - burner

    ends = hx.Residual("ends", lambda u, x: u(x), on="boundary")
    return hx.Problem(hx.Box([0.0], [1.0]), [hx.Residual("balance", balance), ends])


family = hx.Family(
    problem, {"loss": hx.LogUniform(1.0, 10.0), "place": hx.Uniform(0.2, 0.8), "strength": hx.Uniform(0.5, 2.0)}
)


def found(surrogate, sensors, measured):
    """What explains the measurements, and its deviations: Gauss-Newton steps that stay where it was learned."""
    low, high = (family.valued(np.full(3, sign)) for sign in (-1.0, 1.0))
    predicted = jax.jit(lambda z: jax.vmap(surrogate(z))(sensors))
    slopes = jax.jit(jax.jacfwd(lambda z: jax.vmap(surrogate(z))(sensors)))
    misfit = lambda z: jnp.sum((predicted(z) - measured) ** 2)  # noqa: E731
    z = jnp.asarray(family.middle())
    for _ in range(20):
        step = jnp.linalg.lstsq(slopes(z), measured - predicted(z))[0]
        tried = [jnp.clip(z + share * step, low, high) for share in 0.5 ** np.arange(8)]
        better = next((one for one in tried if misfit(one) < misfit(z)), None)
        if better is None:
            break
        z = better
    return z, NOISE * jnp.sqrt(jnp.diag(jnp.linalg.inv(slopes(z).T @ slopes(z))))


def main():
    """Learn once, then invert."""
    surrogate = hx.surrogate(family, tolerance=1e-3)
    sensors = jnp.linspace(0.04, 0.96, 12)[:, None]
    measured = hx.train(problem(**TRUTH)).evaluate(sensors) + NOISE * np.random.default_rng(0).standard_normal(12)
    z, deviation = found(surrogate, sensors, measured)
    for name, value, spread in zip(family.names, z, deviation, strict=True):
        print(f"{name}: {value:.3f} +- {spread:.3f}, in truth {TRUTH[name]}")
    return np.asarray(z), np.asarray(deviation), surrogate


if __name__ == "__main__":
    main()
