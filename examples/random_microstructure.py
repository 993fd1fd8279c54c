"""The stiffness of a random composite, by windows and grids: hierax estimate random_microstructure.py:stiffness

Two phases where a Gaussian field is above or below a threshold. The truth is a window of twelve correlation lengths on
64 x 64 pixels; coarser grids of it, and a quarter of the window, cost less and know much of it.
"""

import jax

jax.config.update("jax_enable_x64", True)
import numpy as np

import hierax as hx

PHYSICS = hx.materials.Physics(2)
PHASES = np.array([hx.materials.isotropic(1.0, 0.3), hx.materials.isotropic(10.0, 0.3)])
MODELS = ((32, 8), (64, 16), (64, 32), (64, 64))
"""Pixels of the window, and of the grid on which it is solved."""


def stiffness():
    """The entry 11 of the effective stiffness, a model for each entry of `MODELS`, the last of which is asked for."""

    def simulate(inputs, model):
        window, grid = MODELS[model]
        image = (inputs["field"].on_cells((64, 64)) > 1.0).astype(int)
        cell = hx.materials.pixels(image[:window, :window])
        return hx.materials.composite_tensor(cell, grid, PHASES, PHYSICS)[0, 0]

    field = hx.GaussianField(1.0 / 12.0, modes=150, box=hx.Box([0.0, 0.0], [1.0, 1.0]))
    return hx.Simulation(simulate, {"field": field}, levels=len(MODELS), ensemble=True)
