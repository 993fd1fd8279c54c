"""A family of heat equations, learned once: a value, its error, and its slope in the conductivity."""

import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from heat import problem

import hierax as hx

surrogate = hx.surrogate(hx.Family(problem, {"conductivity": hx.LogUniform(0.05, 0.5)}), tolerance=1e-5)
print(surrogate)
x = jnp.array([0.5, 0.3])
print(surrogate({"conductivity": 0.2})(x), surrogate.error({"conductivity": 0.2}))
print(jax.grad(lambda k: surrogate({"conductivity": k})(x))(0.2))
