"""Settings shared by all tests: 64 bits, figures without a display, the same examples on every run."""

import os

# Before anything imports matplotlib.
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import matplotlib
from hypothesis import HealthCheck, settings

jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")

# No deadline and no check of speed: the first example of a test pays for compilation.
settings.register_profile(
    "fixed",
    derandomize=True,
    max_examples=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fixed")
