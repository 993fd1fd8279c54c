"""How a training ended: the names that appear in JSON, their sentences and their exit codes."""

import enum
from typing import final


@final
class RESULTS(enum.Enum):
    """The outcome of `train` and `fit`.

    The name is what the JSON carries under `result`; the value is a text for people that says what happened, the
    likely causes, and what to do. A name that begins with `guard_` means that training ended in order and that a check
    on points it had not seen says the answer should not be trusted.
    """

    successful = "Training ended and every guard passes."
    nonfinite = (
        "A step gave a value that is not finite; the last good state is returned. "
        "Likely causes: a residual with a singularity, square root or logarithm outside its range at some point of the "
        "domain, data that are not finite, or a step that is too long. "
        "Evaluate the terms at the point named in the run, restrict the domain, or use a smaller first step."
    )
    singular = (
        "The linear system of a step could not be solved, even with damping. "
        "Likely causes: parameters that no training point touches, terms that determine the solution only up to a "
        "constant, parts far thinner than cells, or terms whose scales differ by many orders of magnitude. "
        "Use more points or a coarser level, add the missing boundary or initial condition, replace a thin part by a "
        "condition on a line or surface, or rescale the terms."
    )
    no_decrease = (
        "No step lowered the loss, although its gradient is not small. "
        "Likely causes: a residual that is not smooth, a derivative cut off by a rounding or a branch, or 32-bit "
        "arithmetic that has reached its precision. "
        "Check the residual's derivatives against finite differences, and that the field's leaves are 64-bit."
    )
    guard_fresh_residual = (
        "The residual at fresh points is much larger than at the training points: the equations hold only where they "
        "were imposed. "
        "Likely causes: too few points for the number of parameters, or a layer near a boundary or the start time that "
        "the points miss. "
        "Use more points, fewer parameters, or a sampler that is denser where the residual is large."
    )
    guard_boundary = (
        "The boundary or start conditions are missed by more than the permitted part of the solution. "
        "Likely causes: conditions that contradict each other or the equation, boundary terms that weigh too little, "
        "or a field too coarse for the boundary data. "
        "Check the conditions where they meet, raise the scale of the boundary terms, impose them by a constraint, "
        "or refine."
    )
    guard_levels = (
        "Refinement does not converge: the solution still changes too much from level to level, or the residual does "
        "not fall. "
        "Likely causes: a solution with a jump or layer that no level resolves yet, infinite derivatives where the "
        "boundary has a corner or its conditions change, a problem with more than one solution, or a level that was "
        "stopped before it was trained. "
        "Add levels, give the run a larger budget, write the equation as an hx.Energy, which finds such solutions, or "
        "check that the problem has one solution."
    )
    guard_stationary = (
        "The answer is no minimum of its energy: the gradient does not vanish, or the energy curves downwards. "
        "Likely causes: an energy without a lower bound, a missing boundary condition, or a state of rest that is not "
        "stable, such as a straight column under more than its critical load. "
        "Check the sign of the energy and of the loads, add the missing condition, or begin from a state near the "
        "solution that is meant."
    )
    guard_coverage = (
        "The points of training do not see all that the terms do: a narrow peak lies between them, or a coefficient "
        "jumps inside of a derivative. "
        "Likely causes: a load, pulse or layer far narrower than the grid, or a flux through two materials that is "
        "differentiated point by point. "
        "Begin with knots or points around the peak; make the flux an unknown of its own, or minimise the energy."
    )
    guard_determined = (
        "The terms do not determine the solution: unknowns can change while every term is met as before. "
        "Likely causes: a missing start or boundary condition, a condition on derivatives alone, a resonance, or "
        "constants of which the terms see a combination only. "
        "Add the condition or the data that are missing, fix one of the constants, or prescribe the mean."
    )
    guard_admissible = (
        "Terms are evaluated where what they are made of is not known: a learned law at inputs that it has not seen, "
        "or a body at points where its deformation turns it inside out. "
        "Likely causes: loads that are larger than those of the samples of the law, a corner or a hole where strains "
        "concentrate, or a body that folds. "
        "Bring samples of the law that reach as far as the guard names, lower the load, or refine where it folds."
    )
    guard_validation = (
        "Values that training did not use are missed by more than a coarser level missed them, or by far more than "
        "their noise. Likely causes: more parameters than the data support, duplicated rows that hide the noise, "
        "features that are too fine for the levels or for the number of data, rows that are missing in between, or "
        "equations that do not fit the data. "
        "Return the level with the smallest validation error, state the noise of the data, or collect more data."
    )
    unchecked = (
        "Training ended in order, but nothing was checked: no guard applies. "
        "Likely causes: so few rows of data that none can be kept back and their neighbours show no noise, or terms of "
        "which none is an equation, an energy or a condition. "
        "Bring more data or state their noise, or compare the answer with values that were not fitted."
    )
    interrupted = (
        "The run was interrupted; the last good state is returned. "
        "Likely causes: the keyboard, or a signal from the system or a job scheduler. "
        "Start it again; the run folder says how far it came."
    )

    @property
    def exit_code(self) -> int:
        """Exit code of the command line: 0 guards pass, 2 numerical failure, 3 not confirmed, 130 interrupted.

        Code 3 stands for a guard that failed and for guards of which none applied.

        Code 1, bad input, belongs to `InputError`: nothing was trained, so there is no result.
        """
        if self is RESULTS.successful:
            return 0
        if self is RESULTS.interrupted:
            return 130
        if self.name.startswith("guard_") or self is RESULTS.unchecked:
            return 3
        return 2
