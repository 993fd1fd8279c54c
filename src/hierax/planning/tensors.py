"""The plan for low-rank tensors: by integrals along the axes where the terms separate, else at points."""

from __future__ import annotations

from hierax.cycles import NestedIteration
from hierax.fields import LowRank
from hierax.hierarchy import AbstractRefinement, Hierarchy
from hierax.objective.build import Sampling
from hierax.objective.separation import Separation
from hierax.planning.features import ProblemFeatures
from hierax.planning.inverse import FROM_DATA
from hierax.planning.plan import Plan
from hierax.problems.problem import Problem
from hierax.problems.sampling import Arcsine, Sobol
from hierax.solvers import GaussNewton, Tolerances

BENT = 5
"""Most coordinates for which points crowd at the faces: with more almost all of them are near some face anyway."""
RATIO = 15.0
"""Points for each parameter: with fewer the residual between them is much larger than at them."""


STEPS, LEAST = 40, 6
"""Most steps on a level, as products creep and the next level does more; and fewest, as new ones begin at zero."""
LARGEST = 3000
"""Most parameters of a level."""


def plan_for_tensors(
    problem: Problem, hierarchy: Hierarchy, rule: AbstractRefinement | None, seen: ProblemFeatures
) -> Plan:
    """Levels of growing rank, each trained in all its factors at once."""
    first = hierarchy.levels[0].field
    quadratic = seen.linear or seen.energies > 0
    separation = Separation.of(problem, first) if isinstance(first, LowRank) and quadratic else None
    levels = (
        "Levels: from few products and coarse knots to more products, and to finer knots where jumps of the highest "
        "derivative ask for them; each starts from the one before and is solved by damped Gauss-Newton steps in all "
        "factors."
    )
    if separation is not None:
        weak = separation.sign is not None
        how = "its energy" if seen.energies else "its weak form" if weak else "its squares"
        return Plan(
            hierarchy,
            rule,
            GaussNewton(tolerances=Tolerances(1e-13 if weak else 1e-4, STEPS, LEAST)),
            NestedIteration(tolerance=0.0),
            separation=separation,
            largest=LARGEST,
            reasons=(levels, f"Terms: short sums of products, so {how} by integrals along the axes, without points."),
        )
    bent = seen.dim <= BENT
    return Plan(
        hierarchy,
        rule,
        GaussNewton(tolerances=Tolerances(1e-3, STEPS, LEAST)),
        NestedIteration(tolerance=0.0),
        sampling=Sampling(ratio=RATIO, scattered=Arcsine if bent else Sobol),
        easier=() if seen.linear or not seen.data else FROM_DATA,
        largest=LARGEST,
        reasons=(
            levels,
            f"Points: {RATIO:g} for each parameter, {'denser towards the faces' if bent else 'evenly spread'}.",
            "Conditions weigh as much as the equations where both act, times 100.",
        ),
    )
