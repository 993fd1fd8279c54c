"""Thresholds that guards share with each other and with decisions during training."""

from __future__ import annotations

SETTLED = 1e-3
"""Root of the loss over that of the untrained field, above which a solution that no longer changes is doubted."""
NEGLIGIBLE = 1e-4
"""What three further refinements may add up to, part of the solution, where changes by refinement grow."""
SMALL_CHANGE = 1e-3
"""A change of the solution by less is compared with the largest before, one for each axis and at least two."""
UNCHANGED = 1e-6
"""Relative change of the solution below which a refinement has not changed it."""
DOWNWARDS = 1e-6
"""An energy curves downwards where an eigenvalue of its second derivative, scaled to a unit diagonal, is below minus
this."""
FLAT, EXACTLY_FLAT = 1e-3, 1e-5
"""A change that violates the terms by less than this, relative to smooth changes of its size, is free where the
violation falls from level to level; and by itself."""
STAYS = 0.5
"""A least violation that a finer level lowers by no more than to this part is that of the problem itself."""
WITHIN = 0.2
"""Part of the noise of the data: changes by less from level to level follow it, and need not fall."""
SETTLING = 0.3
"""Factor above which the changes by two refinements one after the other no longer fall."""
OUTLYING = 0.25
"""Part of the squared misfit that single wrong values may make: more moves what is inferred and is worth a training."""
