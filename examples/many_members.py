"""A family of heat equations learned once: the place of a source is found by gradients through the surrogate."""

import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from heat import problem

import hierax as hx

surrogate = hx.surrogate(hx.Family(problem, {"conductivity": hx.LogUniform(0.05, 0.5)}), tolerance=1e-5)
print(surrogate)
x = jnp.array([0.5, 0.3])
value = lambda k: surrogate({"conductivity": k})(x)
print(value(0.2), jax.grad(value)(0.2), surrogate.error({"conductivity": 0.2}))
