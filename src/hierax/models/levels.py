"""Levels of data: few samples on the fine level, many on a coarse one that cost little.

From pairs, the same input on both levels, a network learns what a coarse solution lacks: few pairs tell, since the
coarse solution is its base. The coarse solution itself is learned from as many inputs as the coarse level has, on its
own grid, and the two networks in a row are the map. Beside them stands what the fine samples alone give: fine samples
that neither has seen choose. Where there are so many fine samples that the seconds limit what they give, levels could
only take seconds away: the fine samples have all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import final

import jax.numpy as jnp
import numpy as np

from hierax import clock
from hierax._errors import InputError
from hierax.events import Subscriber
from hierax.models.course import Course, CourseState
from hierax.models.grids import resampled, symmetries
from hierax.models.operator_training import HELD, Training
from hierax.models.operators import Moves, Operator, Scaling
from hierax.models.samples import Samples, channels
from hierax.models.telescoped import CoarseNetwork, TelescopedNetwork

LEAST_PAIRS, LEAST_HELD = 4, 2
"""Fewest pairs, and fewest of them that choose."""
LIFTING, FINE = 0.4, 0.1
"""Shares of the budget for what coarse solutions lack, and for the network of the fine samples alone."""
START = "fine samples for a start"
"""The first training of fine samples alone."""
REPEATED = 10.0
"""Times that each image of a fine sample is seen, up to which steps limit a training, not the number of samples."""


def learn_levels(
    pairs: Samples, coarse: Samples, *, budget: float = 60.0, key: int = 0, subscribers: Iterable[Subscriber] = (),
    kept: CourseState | None = None,
) -> Operator:  # fmt: skip
    """Learn the fine map from few pairs and many coarse samples; see the head of the file.

    Parameters
    ----------
    pairs:
        Samples whose `base` is the coarse solution: inputs and both solutions.
    coarse:
        Samples of the coarse solution: the same inputs without it, and it as the output, by its name.
    budget, key, subscribers, kept:
        As those of `learn_operator`.

    Returns
    -------
    Operator
        From the inputs without the coarse solution to the fine one.

    Raises
    ------
    InputError
        For pairs without a base, other names or numbers of axes in the coarse samples, and fewer than four pairs.

    References
    ----------
    Lu, Pestourie, Johnson, Romano, Phys. Rev. Research 4 (2022), arXiv 2204.06684 (what a coarse solution lacks).
    """
    return learned_levels(pairs, coarse, budget, key, Course(subscribers, kept))


def learned_levels(pairs: Samples, coarse: Samples, budget: float, key: int, course: Course) -> Operator:
    """See `learn_levels`."""
    began, compiled = course.start("levels of data"), clock.compile_seconds()
    both = TwoLevels.of(pairs, coarse, key, course)
    fine = both.fine_alone()
    begun = course.reached(START) is not None
    # the network suits what the fine samples have of the seconds where they are all that is learned
    network = None if begun else replace(fine, budget=budget).affordable()
    first = replace(fine, budget=FINE * budget, name=START, start=network)
    trained, named = first.trained(), {}
    seen = fine.seen(budget, trained.pace)
    if seen <= REPEATED:
        why, fine = f"Seconds and not fine samples limit these, whose images are seen {seen:.2g} times", first
    else:
        why = "Coarse solutions do not help"
        named["fine samples alone"], lift = fine.judged(trained), both.lift(LIFTING * budget)
        if _error(lift) < _error(named["fine samples alone"]):
            made = both.telescoped(fine, lift, both.left(budget, "levels"))
            named["levels"] = replace(made, samples=len(pairs) + len(coarse))
        named["on a true coarse solution"] = lift
    if "levels" not in named:
        course.say(f"{why}: the seconds that are left are for the fine samples alone.")
        # the training for a start goes on from where it was, another one from its network
        named["fine samples alone"] = replace(fine, budget=both.left(budget, fine.name), start=trained.network).run()
    errors = {name: _error(one) for name, one in named.items()}
    chosen = named[min(("levels", "fine samples alone"), key=lambda name: errors.get(name, np.inf))]
    told = ", ".join(f"{name} {error:.3g}" for name, error in errors.items())
    course.say(f"Errors in L2 and H1 together at {len(both.apart)} fine samples kept apart: {told}.")
    return replace(
        chosen, candidates={name: float(np.mean(one.errors)) for name, one in named.items()},
        seconds=course.seconds - began, seconds_compile=clock.compile_seconds() - compiled,
    )  # fmt: skip


def _error(made: Operator) -> float:
    return float(np.mean(made.errors + made.h1))


@final
@dataclass(frozen=True, eq=False)
class TwoLevels:
    """Samples of two levels, and what their trainings share.

    Attributes
    ----------
    known, apart:
        Pairs that are learned, and those that choose; the coarse solution is the last input.
    coarse:
        Further coarse samples.
    raw, scaling, moves:
        All inputs that are learned, on the fine grid; their sizes and symmetries, of which few pairs show little.
    """

    known: Samples
    apart: Samples
    coarse: Samples
    raw: np.ndarray
    scaling: Scaling
    moves: Moves
    key: int
    course: Course

    @classmethod
    def of(cls, pairs: Samples, coarse: Samples, key: int, course: Course) -> TwoLevels:
        """A tenth of the pairs are kept apart, and two at least."""
        names = _inputs(pairs, coarse)
        given = {name: pairs.inputs[name] for name in (*names, str(pairs.base))}
        pairs = Samples(given, pairs.outputs, base=pairs.base, periodic=pairs.periodic)
        order = np.random.default_rng(key).permutation(len(pairs))
        count = max(LEAST_HELD, round(HELD * len(pairs)))
        known, apart = pairs.take(order[count:]), pairs.take(order[:count])
        inputs = {name: np.concatenate([coarse.inputs[name], known.inputs[name]]) for name in names}
        raw = channels(inputs, names, pairs.grid, pairs.periodic)
        return cls(known, apart, coarse, raw, Scaling.of(raw), shown_moves(coarse, names), key, course)

    def left(self, budget: float, part: str) -> float:
        """What of a budget was left when a part began."""
        return budget - (self.course.start(part) - self.course.start("levels of data"))

    def fine_alone(self) -> Training:
        """From inputs to fine solutions, by the pairs."""
        pairs = _both(self.known, self.apart)
        inputs = {name: pairs.inputs[name] for name in self.coarse.inputs}
        samples = Samples(inputs, pairs.outputs, periodic=pairs.periodic)
        return self._training(samples, len(self.apart), 0.0, "fine samples alone")

    def lift(self, budget: float) -> Operator:
        """From inputs and coarse solutions to fine ones, by the pairs."""
        training = self._training(_both(self.known, self.apart), len(self.apart), budget, "on a coarse solution")
        # what it teaches is judged at the end: a few samples need not be sure of it here
        return replace(training, sure=0.5).run()

    def telescoped(self, fine: Training, lift: Operator, budget: float) -> Operator:
        """From inputs to coarse solutions, by all of them, and from these to fine ones; judged as `fine` is."""
        (name,) = self.coarse.outputs
        own = self.coarse.outputs[name]
        below = resampled(self.known.inputs[name][..., None], own.shape[1:], self.coarse.periodic)[..., 0]
        inputs = {key: np.concatenate([values, self.known.inputs[key]]) for key, values in self.coarse.inputs.items()}
        samples = Samples(inputs, {name: np.concatenate([own, below])}, periodic=self.coarse.periodic)
        training = self._training(samples, 0, budget, "levels")
        # finest cells of an axis to one of the coarse grid
        block = max(-(-n // m) for n, m in zip(self.known.grid, samples.grid, strict=True))
        start = CoarseNetwork(training.network(block), samples.grid, block, samples.periodic)
        trained = replace(training, start=start).trained()
        sizes = tuple(jnp.asarray(size, jnp.float32) for size in (training.scale, lift.size))
        both = TelescopedNetwork(trained.network, lift.network, sizes)
        # sizes are those of the two networks
        judging = replace(fine, raw=self.raw, scale=np.ones(1))
        return judging.judged(trained._replace(network=both, steps=trained.steps + lift.steps))

    def _training(self, samples: Samples, held: int, budget: float, name: str) -> Training:
        """All but the last samples are learned, on the fine grid of inputs."""
        logs, shift, size = self.scaling
        # a base is seen in its own size
        own = Scaling((*logs, False), np.append(shift, 0.0), np.append(size, 1.0)) if samples.base else self.scaling
        numbers, learned = np.arange(len(samples)), len(samples) - held
        made = Training.of(
            samples, numbers[:learned], numbers[learned:], budget, self.key, self.course, self.moves, own,
            self.known.grid,
        )  # fmt: skip
        return replace(made, name=name)


def shown_moves(coarse: Samples, names: tuple[str, ...]) -> Moves:
    """Flips and swaps that the coarse samples show."""
    raw = channels(coarse.inputs, names, coarse.grid, coarse.periodic)
    return tuple(symmetries(Scaling.of(raw)(raw), np.stack(list(coarse.outputs.values()), axis=-1)))


def _inputs(pairs: Samples, coarse: Samples) -> tuple[str, ...]:
    """Names of the inputs of the map."""
    if pairs.base is None:
        raise InputError("The pairs do not say which input is the coarse solution.", "Samples(base=...)", "Name it.")
    names = tuple(name for name in pairs.inputs if name != pairs.base)
    if set(coarse.inputs) != set(names) or set(coarse.outputs) != {pairs.base}:
        raise InputError(
            f"The coarse samples map {', '.join(coarse.inputs)} to {', '.join(coarse.outputs)}.",
            "coarse=Samples(...)",
            f"Give {', '.join(names) or 'inputs'} and the output {pairs.base}.",
        )
    if not names or len(pairs) < LEAST_PAIRS:
        raise InputError(
            f"There are {len(pairs)} pairs of {len(names)} inputs.", "surrogate(pairs, coarse=...)",
            f"Give at least {LEAST_PAIRS} pairs, and one input beside the coarse solution.",
        )  # fmt: skip
    for name in names:
        if pairs.inputs[name].shape[1:] != coarse.inputs[name].shape[1:]:
            raise InputError(
                f"The input {name!r} has the shapes {pairs.inputs[name].shape} and {coarse.inputs[name].shape}.",
                "coarse=Samples(...)",
                "Give the inputs of the coarse samples on the grid of the others; only solutions are coarser.",
            )
    return names


def _both(first: Samples, second: Samples) -> Samples:
    inputs = {name: np.concatenate([values, second.inputs[name]]) for name, values in first.inputs.items()}
    outputs = {name: np.concatenate([values, second.outputs[name]]) for name, values in first.outputs.items()}
    return Samples(inputs, outputs, base=first.base, periodic=first.periodic)
