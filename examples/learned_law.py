"""A material law learned from stresses, and a block made of it.

hierax train learned_law.py:law --run runs/law && hierax train learned_law.py:block --set run=runs/law
"""

import jax
import jax.numpy as jnp
import numpy as np

import hierax as hx

INVARIANTS = hx.Invariants(2)


GENT = hx.materials.gent(shear=1.0, lame=2.0, limit=2.0)
"""In place of a testing machine: stress has no bound where `tr C - 2` nears the limit."""


def measured(count, seed):
    """Tensors `C = F'F` of random deformations, and second Piola-Kirchhoff stresses `2 dW/dC`."""
    rng = np.random.default_rng(seed)
    f = np.eye(2) + rng.uniform(-0.3, 0.3, (4 * count, 2, 2))
    c = (f.transpose(0, 2, 1) @ f)[np.linalg.det(f) > 0.4]
    c = c[np.trace(c, axis1=1, axis2=2) < 3.6][:count]
    slope = np.asarray(jax.vmap(jax.grad(GENT))(jnp.asarray(c)))
    return c, slope + slope.transpose(0, 2, 1)


def law(count=2000, noise=0.0, seed=0):
    """The stored energy `W` of the invariants, from stresses with relative noise."""
    c, s = measured(count, seed)
    error = np.random.default_rng(seed + 1).standard_normal(s.shape)
    return hx.stored_energy(c, s + noise * s.std() * 0.5 * (error + error.transpose(0, 2, 1)), INVARIANTS)


def block(run="", load=0.6):
    """A square on rollers, pulled on its right side; with `run` its law is the one of that run, else Gent's."""
    material = hx.Hyperelastic(hx.load(run).function("W"), INVARIANTS) if run else hx.Hyperelastic(GENT)

    def pull(w, x, normal):
        return -load * 0.5 * (1.0 + jnp.cos(jnp.pi * x[1])) * w.u(x)[0]

    return hx.Problem(
        domain=hx.Box([0.0, 0.0], [1.0, 1.0]),
        terms=(
            hx.Energy("stored", lambda w, x: material.energy(w.u)(x)),
            hx.Energy("pull", pull, on=hx.Face("x", "upper")),
            hx.dirichlet(hx.Face("x", "lower"), unknown="u", component=0),
            hx.dirichlet(hx.Face("y", "lower"), unknown="u", component=1),
        ),
        unknowns={"u": hx.Function(2)},
        outputs={"sigma": lambda w, x: material.cauchy(w.u)(x)},
    )


def plate(run="", tension=0.15, radius=0.25):
    """A quarter of a plate with a hole at the origin, pulled along `x`; `run` as of `block`."""
    material = hx.Hyperelastic(hx.load(run).function("W"), INVARIANTS) if run else hx.Hyperelastic(GENT)
    return hx.Problem(
        domain=hx.Rectangle((0.0, 0.0), (1.0, 1.0)) - hx.Disk((0.0, 0.0), radius, name="hole"),
        terms=(
            hx.Energy("stored", lambda w, x: material.energy(w.u)(x)),
            hx.Energy("pull", lambda w, x, normal: -tension * w.u(x)[0], on="right"),
            hx.dirichlet("left", unknown="u", component=0),
            hx.dirichlet("bottom", unknown="u", component=1),
        ),
        unknowns={"u": hx.Function(2)},
        outputs={"sigma": lambda w, x: material.cauchy(w.u)(x)},
    )
