"""`ProblemFeatures`: all that the default strategy decides by."""

from __future__ import annotations

from dataclasses import dataclass

from hierax.objective.build import Sampling, is_equation
from hierax.objective.order import reach
from hierax.objective.traced import measured
from hierax.planning.families import GRID_DIMENSIONS, grid_degree
from hierax.problems.problem import Problem
from hierax.problems.terms import Data, Energy


@dataclass(frozen=True)
class ProblemFeatures:
    """What can be seen of a problem.

    Attributes
    ----------
    dim, order:
        Coordinates; highest order of derivatives in any term.
    equations, energies, conditions, data:
        Numbers of terms of each kind (equations include energies).
    values:
        Number of measured values.
    hidden:
        Unknown functions without measurements while others are measured: coefficients and sources to be inferred.
    constants:
        Number of unknown constants.
    local, linear:
        Whether every term looks only at its own point; whether every residual is affine in the unknowns, and
        every energy quadratic and convex.
    convection:
        The largest Peclet number of an equation; see `hierax.objective.order.Reach`.
    """

    dim: int
    order: int
    equations: int
    energies: int
    conditions: int
    data: int
    values: int
    hidden: tuple[str, ...]
    constants: int
    local: bool
    linear: bool
    convection: float = 0.0

    @classmethod
    def of(cls, problem: Problem) -> ProblemFeatures:
        """Look at a problem."""
        data = [t for t in problem.terms if isinstance(t, Data)]
        seen = measured(problem)
        equations = [t for t in problem.terms if is_equation(t, problem)]
        energies = sum(isinstance(t, Energy) for t in problem.terms)
        hidden = tuple(n for n in problem.functions if n not in seen) if data and equations else ()
        found = [reach(problem, t) for t in problem.terms]
        conditions = len(problem.terms) - len(data) - len(equations)
        values = sum(t.values.size for t in data)
        return cls(
            problem.domain.dim, max(r.order for r in found), len(equations), energies, conditions, len(data), values,
            hidden, len(problem.constants), all(r.local for r in found),
            all(r.linear for r in found),
            max((r.convection for r, t in zip(found, problem.terms, strict=True) if t in equations), default=0.0),
        )  # fmt: skip

    @property
    def only_data(self) -> bool:
        """Whether there are measurements and no equation."""
        return self.data > 0 and self.equations == 0

    @property
    def gauss_points(self) -> Sampling:
        """Gauss points of an axis and cell for the equations, for energies and for conditions."""
        degree = grid_degree(self.dim, self.order)
        # with fewer points the residual vanishes at them far better than between them
        inside = max(2, (degree + 2) // 2) if self.dim < GRID_DIMENSIONS else max(2, degree // 2)
        return Sampling(inside=inside, energy=degree, boundary=degree)

    @property
    def text(self) -> str:
        """What was seen, in words."""
        parts = [f"{self.dim} coordinate{'s' * (self.dim != 1)}"]
        if self.equations:
            kind = "energy" if self.energies else "equation"
            parts.append(f"{self.equations} {kind}{'s' * (self.equations != 1)} of order {self.order}")
        if self.conditions:
            parts.append(f"{self.conditions} condition{'s' * (self.conditions != 1)}")
        if self.values:
            parts.append(f"{self.values} measured values")
        if self.hidden or self.constants:
            parts.append(f"{len(self.hidden)} unmeasured functions and {self.constants} constants to infer")
        return f"Seen: {', '.join(parts)}."
