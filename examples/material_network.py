"""A composite, learned once from linear phases: its effective tensor, a cyclic test, and a point law for a body."""

import jax

jax.config.update("jax_enable_x64", True)
import numpy as np

import hierax as hx


def cell(grid=32, count=4, fraction=0.25):
    """Round fibres across the plane: hierax material material_network.py:cell --set fraction=0.3"""
    return hx.materials.discs(grid, count, fraction)


if __name__ == "__main__":
    made = hx.materials.learn_network(cell(), depth=4, samples=60, members=1)
    print(made)
    laws = hx.materials.J2(1.0, 0.35, 0.01, 0.02), hx.materials.Linear(hx.materials.isotropic(5.0, 0.25))
    strain = np.zeros((40, 3))
    strain[:, 0] = 0.02 * np.sin(np.linspace(0.0, 2.0 * np.pi, 41)[1:])
    path = hx.materials.network_path(made, laws, strain, free=(1, 2))  # no stress across
    truth = hx.materials.cell_path(cell(), laws, hx.materials.Physics(2), strain, free=(1, 2))
    print("mean and largest error of the stress:", hx.materials.stress_error(path, truth))
    law = hx.materials.NetworkLaw(made, laws)
    tangent = jax.jacfwd(lambda e: law(e, law.initial(3))[0])(np.array([0.01, 0.0, 0.0]))
    print("consistent tangent:", tangent)
