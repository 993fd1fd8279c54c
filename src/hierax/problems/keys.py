"""Random keys on the host: one key is split by fixed numbers, without compiling anything."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

Key = jax.Array | int
"""A JAX key, or a seed."""


def seed_of(key: Key, *path: int) -> int:
    """A seed that depends on the key and on the path of numbers alone."""
    if isinstance(key, int):
        words = [key % 2**64]
    elif jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        words = np.asarray(jax.random.key_data(key)).ravel().tolist()
    else:
        words = np.asarray(key).ravel().tolist()
    return int(np.random.SeedSequence([*words, *path]).generate_state(1, np.uint32)[0])
