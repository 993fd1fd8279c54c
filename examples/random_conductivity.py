"""A random quantity on levels: hierax estimate random_conductivity.py:simulator --tolerance 1e-3

A bar with a random conductivity `exp(g)`, `g` a Gaussian field given by 30 numbers, is heated evenly; its
temperature in the middle is wanted. Level `l` has `8 * 2^l` cells.
"""

import numpy as np

import hierax as hx

MODES = 30


def middle(inputs, level):
    """Temperature in the middle of `-(k u')' = 1`, `u = 0` at both ends, by finite volumes."""
    cells = 8 * 2**level
    x = (np.arange(cells) + 0.5) / cells
    frequencies = np.pi * (np.arange(MODES) + 0.5)
    field = np.cos(np.outer(x, frequencies)) @ (1.5 / (1.0 + frequencies) * inputs["xi"])
    resistance = np.exp(-field) / cells
    # the flux is that at the left end less what was heated up to x
    flux = np.sum(resistance * x) / np.sum(resistance)
    return np.sum((resistance * (flux - x))[: cells // 2])


simulator = hx.Simulation(middle, {"xi": (hx.Normal(0.0, 1.0), MODES)})
