"""What the linearisation of an objective shows of a training at one moment, and how its modes decay after that."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from jaxtyping import Float

from hierax.dynamics.curvature import Conditioning, Density, conditioning, density
from hierax.dynamics.tangent_kernel import DENSE, Modes, leading_modes, term_traces
from hierax.events import StepTaken
from hierax.objective.objective import Linearisation

STEPS, PROBES, RATIO_STEPS = 40, 2, 40
PRODUCTS = STEPS * PROBES + 2 * RATIO_STEPS
"""Products with the curvature that its density and condition numbers take."""
SMALL = 4 * DENSE
"""Most parameters of a level whose modes are looked at."""
NOTHING = Modes(np.zeros(0), np.zeros(0), np.zeros((0, 0)))
LATER = 5
"""Most further looks at the modes of one level, after 1, 2, 4, ... steps."""


@final
@dataclass(eq=False)
class Look:
    """The tangent kernel and the curvature of a level when it was first looked at.

    Of a level with more than `SMALL` parameters only the curvature is looked at.

    Attributes
    ----------
    seconds, level, step:
        When.
    modes, traces:
        Leading modes of the kernel; traces of its blocks, term by term.
    spectrum, ratios:
        Density of the eigenvalues of the curvature, and its condition numbers without and with scaling by its diagonal;
        nothing where they would have taken too long.
    later:
        Steps since then with the parts of the residuals along the modes, the first with zero steps.
    """

    seconds: float
    level: int
    step: int
    modes: Modes = NOTHING
    traces: Float[np.ndarray, " terms"] = field(default_factory=lambda: np.zeros(0))
    spectrum: Density | None = None
    ratios: Conditioning | None = None
    later: list[tuple[int, np.ndarray]] = field(default_factory=list)

    @classmethod
    def at(cls, objective: Any, taken: StepTaken, theta: np.ndarray, count: int, left: float) -> Look:
        """Look where a step has led; at the curvature only if that takes no more than the seconds that are `left`."""
        linearised, size = objective.linearise(theta), len(theta)
        if size <= SMALL:
            modes = leading_modes(linearised, count)
            look = cls(taken.seconds, taken.level, taken.step, modes, term_traces(objective, theta))
            look.later.append((0, modes.parts(linearised.gradient)))
        else:
            look = cls(taken.seconds, taken.level, taken.step)
        curvature = linearised.curvature
        began = time.perf_counter()
        curvature.mv(theta)
        if PRODUCTS * (time.perf_counter() - began) <= left:
            diagonal = curvature.diagonal()
            scaling = 1.0 / np.maximum(diagonal, 1e-14 * diagonal.max(initial=1e-300))
            look.spectrum = density(curvature.mv, size, STEPS, PROBES)
            look.ratios = conditioning(curvature.mv, lambda v: scaling * v, size, RATIO_STEPS)
        return look

    def wants(self, taken: StepTaken) -> bool:
        """Whether to look at the modes again after this step."""
        return (
            taken.level == self.level
            and 0 < len(self.later) <= LATER
            and taken.step - self.step >= 2 ** (len(self.later) - 1)
        )

    def again(self, taken: StepTaken, linearised: Linearisation) -> None:
        """Note the parts of the residuals along the modes as they are now."""
        self.later.append((taken.step - self.step, self.modes.parts(linearised.gradient)))

    @property
    def decay(self) -> Float[np.ndarray, " k"]:
        """Observed decay of every mode, a step: minus the mean change of the logarithm of its part; NaN if unknown."""
        if len(self.later) < 2:
            return np.full(len(self.modes.eigenvalues), np.nan)
        steps, parts = self.later[-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = -np.log(np.abs(parts / self.later[0][1])) / steps
        return np.where(np.isfinite(rate), rate, np.nan)
