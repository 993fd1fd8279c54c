"""Levels of data: few samples on the fine level, many on a coarse one that cost little.

From pairs, the same input on both levels, a network learns to lift a coarse solution to the fine one. It lifts all
coarse samples, and a network is trained on these labels and on the fine ones. Lifting is learned from few pairs since
the coarse solution is its base; the map itself is learned from as many inputs as the coarse level has. What is trained
on the fine samples alone stands beside it, and fine samples that neither has seen choose.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from hierax._errors import InputError
from hierax.events import Decision, Subscriber
from hierax.models.grids import symmetries
from hierax.models.operator_training import HELD, Training
from hierax.models.operators import Moves, Operator, Scaling
from hierax.models.samples import Samples, channels

LEAST_PAIRS, LEAST_HELD = 4, 2
"""Fewest pairs, and fewest of them that choose."""
LIFTING, FINE = 0.3, 0.2
"""Shares of the budget for lifting, and for the network of the fine samples alone."""


def learn_levels(
    pairs: Samples, coarse: Samples, *, budget: float = 60.0, key: int = 0, subscribers: Iterable[Subscriber] = ()
) -> Operator:
    """Learn the fine map from few pairs and many coarse samples; see the head of the file.

    Parameters
    ----------
    pairs:
        Samples whose `base` is the coarse solution: inputs and both solutions.
    coarse:
        Samples of the coarse solution: the same inputs without it, and it as the output, by its name.
    budget, key, subscribers:
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
    names = _inputs(pairs, coarse)
    told = tuple(subscribers)
    order = np.random.default_rng(key).permutation(len(pairs))
    count = max(LEAST_HELD, round(HELD * len(pairs)))
    learned, held = pairs.take(order[count:]), pairs.take(order[:count])
    # few pairs show no symmetry; the coarse samples do
    moves = shown_moves(coarse, names)
    lifting = _trained(joined(learned, held), count, LIFTING * budget, key, told, moves)
    (output,) = pairs.outputs
    lifted = lifting({**coarse.inputs, str(pairs.base): coarse.outputs[str(pairs.base)]}, pairs.grid)[output]
    fine_learned, fine_held = (_without_base(part, names) for part in (learned, held))
    more = Samples(coarse.inputs, {output: lifted}, periodic=pairs.periodic)
    everything = joined(joined(fine_learned, more), fine_held)
    levels = _trained(everything, count, (1.0 - LIFTING - FINE) * budget, key, told, moves)
    alone = _trained(joined(fine_learned, fine_held), count, FINE * budget, key, told, moves)
    own, other = float(np.mean(levels.errors)), float(np.mean(alone.errors))
    chosen = levels if own <= other else alone
    for subscriber in told:
        subscriber(
            Decision(f"Errors at {count} fine samples kept apart: with levels {own:.3g}, fine alone {other:.3g}.")
        )
    seconds = sum(one.seconds for one in (lifting, levels, alone))
    compiled = sum(one.seconds_compile for one in (lifting, levels, alone))
    candidates = {"levels": own, "fine samples alone": other, "lifting": float(np.mean(lifting.errors))}
    return replace(chosen, candidates=candidates, seconds=seconds, seconds_compile=compiled)


def shown_moves(coarse: Samples, names: tuple[str, ...]) -> Moves:
    """Flips and swaps that the coarse samples show."""
    raw = channels(coarse.inputs, names, coarse.grid, coarse.periodic)
    return tuple(symmetries(Scaling.of(raw)(raw), np.stack(list(coarse.outputs.values()), axis=-1)))


def _trained(
    samples: Samples, held: int, budget: float, key: int, subscribers: tuple[Subscriber, ...], moves: Moves
) -> Operator:
    """Train on all samples but the last ones, which judge."""
    order = np.arange(len(samples))
    return Training.of(samples, order[:-held], order[-held:], budget, key, subscribers, moves).run()


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


def _without_base(samples: Samples, names: tuple[str, ...]) -> Samples:
    return Samples({name: samples.inputs[name] for name in names}, samples.outputs, periodic=samples.periodic)


def joined(first: Samples, second: Samples) -> Samples:
    """Samples of both."""
    inputs = {name: np.concatenate([values, second.inputs[name]]) for name, values in first.inputs.items()}
    outputs = {name: np.concatenate([values, second.outputs[name]]) for name, values in first.outputs.items()}
    return Samples(inputs, outputs, base=first.base, periodic=first.periodic)
