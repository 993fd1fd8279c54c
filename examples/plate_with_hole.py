"""A plate with a hole in tension: hierax train plate_with_hole.py:problem --set radius=0.1"""

import hierax as hx


def problem(radius=0.2, tension=1.0, young=1.0, poisson=0.3):
    """A quarter of a thin plate `[0, 1]^2` with a round hole at the origin, pulled along `x`."""
    plate = hx.Rectangle((0.0, 0.0), (1.0, 1.0)) - hx.Disk((0.0, 0.0), radius, name="hole")
    material = hx.Elastic(young, poisson, plane_stress=True)
    return hx.Problem(
        domain=plate,
        unknowns={"u": hx.Function(2)},
        terms=(
            hx.Residual("balance", lambda w, x: material.balance(w.u)(x)),
            hx.symmetry(("left", "bottom"), material.stress, unknown="u"),
            hx.traction(("hole", "top"), material.stress, unknown="u"),
            hx.traction("right", material.stress, (tension, 0.0), unknown="u"),
        ),
    )
