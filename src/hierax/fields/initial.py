"""Initial numbers of networks, drawn on the host: compiling a normal law for every shape takes longer than training."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

Key = Array | int
"""A JAX key with a known value, or a seed."""


def as_key(key: Key) -> Array:
    """A JAX key; an integer is taken as its seed."""
    return jax.random.key(int(key)) if isinstance(key, int | np.integer) else key


def generator_of(key: Key) -> np.random.Generator:
    """A NumPy generator that depends on the key alone; the same key gives the same numbers everywhere.

    Raises
    ------
    jax.errors.TracerArrayConversionError
        For a key inside of a transformed function: its value has to be known.
    """
    if isinstance(key, int | np.integer):
        return np.random.default_rng(int(key) % 2**64)
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    words = np.asarray(jax.random.key_data(key) if typed else key)
    return np.random.default_rng(words.ravel().tolist())
