"""`learn_operator`: a multigrid network that is trained on samples of functions, by Muon, on a schedule of seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from optax.contrib import MuonDimensionNumbers, muon

from hierax import clock
from hierax._errors import InputError
from hierax.events import Decision, Subscriber
from hierax.fields import parameter_count
from hierax.models.grids import moved_batch, relative_errors, symmetries
from hierax.models.network import MultigridNetwork
from hierax.models.samples import Samples, channels
from hierax.results.archive import save

BATCH = 16
"""Samples of a step."""
RATES = 2.7e-3, 2e-3
"""Steps of Muon (root mean square 0.2 each) and of Adam at the height of the schedule."""
WARM, LAST = 60, 0.01
"""Steps until the height is reached; share of it at the end."""
HELD, LEAST = 0.1, 4
"""Share of the samples that choose, and the least number of them."""
CLIPPED = 2.0
"""Largest norm of a gradient."""
SKEWED = 1.5
"""Factor by which a logarithm has to make an input less skewed to be taken."""
LOOK = "Look at the samples: sizes, and outliers."
WIDTHS = {1: ((64, 64, 96, 96), (2, 1, 1, 2)), 2: ((48, 64, 64), (2, 1, 2))}
"""Channels and blocks on each grid, by the number of axes."""
PATCHED = 16
"""Cells along an axis that the finest grid of a network keeps at least."""
EVALUATED = 20
"""Samples that are evaluated at a time."""
FAR = 3.0
"""Distance of an input from those that were learned, in standard deviations, above which nothing is promised."""


Moves = tuple[tuple[str, int], ...]
"""Flips and swaps, see `hierax.models.grids.symmetries`."""


class Scaling(NamedTuple):
    """How an array is brought to size one: `(log(x) or x - shift) / size`, channel by channel."""

    logs: tuple[bool, ...]
    shift: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Scaling:
        """By the samples; a positive channel that spreads over decades is replaced by its logarithm."""
        logs = tuple(_prefers_log(values[..., k]) for k in range(values.shape[-1]))
        taken = _logged(values, logs)
        axes = tuple(range(values.ndim - 1))
        size = taken.std(axes)
        return cls(logs, taken.mean(axes), np.where(size > 0.0, size, 1.0))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return ((_logged(values, self.logs) - self.shift) / self.size).astype(np.float32)


def _logged(values: np.ndarray, logs: tuple[bool, ...]) -> np.ndarray:
    parts = [np.log(np.maximum(values[..., k], 1e-300)) if log else values[..., k] for k, log in enumerate(logs)]
    return np.stack(parts, axis=-1)


def _prefers_log(values: np.ndarray) -> bool:
    if np.any(values <= 0.0) or values.std() == 0.0:
        return False
    skew = lambda v: abs(float(np.mean((v - v.mean()) ** 3)) / max(float(v.std()) ** 3, 1e-300))  # noqa: E731
    return skew(values) > SKEWED * max(skew(np.log(values)), 0.1)


@final
@dataclass(frozen=True, eq=False)
class Operator:
    """A map from functions and numbers to functions, learned from samples; it serves any grid that fits its patches.

    Attributes
    ----------
    network:
        What was trained; `None` where the base alone was at least as good on the samples that choose.
    inputs, outputs, base, periodic:
        Names of arrays, and what `Samples` says of them.
    scaling, size:
        Of the inputs, and the size of the outputs.
    errors, h1:
        Relative errors of the samples that chose.
    candidates:
        Error of every candidate there.
    moves:
        Flips and swaps that the samples show to change nothing.
    typical:
        Mean and standard deviation of features of the inputs that were learned, see `outside`.
    steps, seconds, seconds_compile, samples:
        How it was trained.
    """

    network: MultigridNetwork | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    base: str | None
    periodic: bool
    grid: tuple[int, ...]
    scaling: Scaling
    size: np.ndarray
    errors: np.ndarray
    h1: np.ndarray
    candidates: Mapping[str, float]
    moves: Moves
    typical: tuple[np.ndarray, np.ndarray]
    steps: int
    seconds: float
    seconds_compile: float
    samples: int

    def __call__(self, inputs: Mapping[str, Any], grid: tuple[int, ...] | None = None) -> dict[str, np.ndarray]:
        """Outputs `(n, *grid)` by name, of inputs by name; on the grid of the samples, or another one.

        Raises
        ------
        InputError
            For inputs that are missing, and a grid that does not fit the patches.
        """
        grid = self.grid if grid is None else tuple(grid)
        raw = self._channels(inputs, grid)
        found = _in_blocks(self.network, *self._prepared(raw), self.size)
        return {name: found[..., k] for k, name in enumerate(self.outputs)}

    def outside(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Distance `(n,)` of inputs from those learned: of the worst feature, in standard deviations."""
        mean, deviation = self.typical
        own = _features(self.scaling(self._channels(inputs, self.grid)))
        return np.max(np.abs(own - mean) / deviation, axis=1)

    def error(self, inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Estimates `(n,)` of relative L2 errors, and bounds that 95 % stay below; infinite far from samples."""
        far = self.outside(inputs)
        growth = np.maximum(1.0, far / max(FAR, 1e-300))
        estimate = float(np.median(self.errors)) * growth
        bound = float(np.quantile(self.errors, 0.95)) * (1.0 + 4.0 / len(self.errors))
        return estimate, np.where(far > FAR, np.inf, bound)

    def save(self, path: str | Path) -> None:
        """Write it into one file, which `hierax.load` reads."""
        save(self, Path(path))

    def _channels(self, inputs: Mapping[str, Any], grid: tuple[int, ...]) -> np.ndarray:
        missing = [name for name in self.inputs if name not in inputs]
        if missing:
            raise InputError(f"The input {missing[0]!r} is missing.", "inputs", f"Give {', '.join(self.inputs)}.")
        multiple = 1 if self.network is None else self.network.multiple
        if any(count % multiple for count in grid):
            raise InputError(
                f"A grid of {grid} cells does not fit.", "grid", f"Give multiples of {multiple} along each axis."
            )
        return channels(
            {name: np.asarray(inputs[name], dtype=float) for name in self.inputs}, self.inputs, grid, self.periodic
        )

    def _prepared(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        return prepared(raw, self.scaling, self.inputs, self.base)

    def __str__(self) -> str:
        low, high = np.quantile(self.errors, [0.05, 0.95])
        size = "" if self.network is None else f"multigrid network of {parameter_count(self.network)} parameters, "
        arrow, cells = f"{', '.join(self.inputs)} -> {', '.join(self.outputs)}", " x ".join(map(str, self.grid))
        lines = [
            f"operator {arrow} on {cells} cells",
            f"{size}{self.steps} steps on {self.samples} samples; symmetries: "
            + (", ".join(f"{kind} {axis}" for kind, axis in self.moves) or "none"),
            *(
                f"{name}: relative L2 error {error:.3g} at samples kept apart"
                for name, error in self.candidates.items()
            ),
            f"relative L2 error at {len(self.errors)} samples kept apart {np.mean(self.errors):.3g} "
            f"(5 to 95 %: {low:.2g} to {high:.2g}), H1 {np.mean(self.h1):.3g}",
            f"{self.seconds:.2f} s, of which compilation {self.seconds_compile:.2f} s",
        ]
        return "\n".join(lines)


def prepared(
    raw: np.ndarray, scaling: Scaling, names: tuple[str, ...], base: str | None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Channels that the network sees, the base `(n, *grid, 1)` if there is one, and what outputs are multiplied by."""
    seen = scaling(raw)
    ones = np.ones((len(raw), *(1,) * (raw.ndim - 1)), np.float32)
    if base is None:
        return seen, None, ones
    own = raw[..., [names.index(base)]]
    size = np.maximum(np.sqrt(np.mean(own**2, axis=tuple(range(1, raw.ndim)), keepdims=True)), 1e-30)
    # the base is seen in its own size, and so is what is learned of it
    seen[..., names.index(base)] = (own / size)[..., 0]
    return seen, own.astype(np.float32), size.astype(np.float32)


def _features(seen: np.ndarray) -> np.ndarray:
    """Mean, deviation and sizes of differences over 1, 2, 4, ... cells of every channel `(n, features)`."""
    axes = tuple(range(1, seen.ndim - 1))
    parts = [seen.mean(axes), seen.std(axes)]
    for axis in axes:
        step = 1
        while step < seen.shape[axis]:
            parts.append(np.log(np.abs(np.roll(seen, step, axis) - seen).mean(axes) + 1e-6))
            step *= 4
    return np.concatenate(parts, axis=1)


def predicted(network: MultigridNetwork, seen: Any, base: Any, size: Any, scale: Any) -> Float[Array, "batch *grid c"]:
    """What the network makes of a batch: values, each with a factor that it chooses; with a base what this lacks."""
    out = network(seen)
    half = out.shape[-1] // 2
    values = size * scale * out[..., :half] * jnp.exp(jnp.clip(out[..., half:], -4.0, 4.0))
    return values if base is None else base + values


@eqx.filter_jit
def _called(network: Any, seen: Any, base: Any, size: Any, scale: Any) -> Any:
    return predicted(network, seen, base, size, scale)


def _in_blocks(network: Any, seen: np.ndarray, base: Any, size: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Predictions of many samples, a block of one shape at a time."""
    if network is None:
        return np.asarray(base)
    out, scale = [], np.asarray(scale, np.float32)
    for start in range(0, len(seen), EVALUATED):
        pick = np.minimum(np.arange(start, start + EVALUATED), len(seen) - 1)
        own = None if base is None else base[pick]
        out.append(np.asarray(_called(network, seen[pick], own, size[pick], scale))[: len(seen) - start])
    return np.concatenate(out)


def learn_operator(
    samples: Samples, *, budget: float = 60.0, key: int = 0, subscribers: Iterable[Subscriber] = ()
) -> Operator:
    """Learn the map from inputs to outputs of samples.

    A network of convolutions on patches and a U of coarser grids is trained on the sum of relative errors in L2 and H1,
    with steps of equal size for every direction of a kernel (Muon) and Adam for the rest, on a cosine over the budget.
    Samples are mirrored as the data allow. Some are kept apart: they choose between the network and the base, and tell
    its error.

    Parameters
    ----------
    samples:
        At least eight.
    budget:
        Seconds, compilation among them.
    key:
        Seed of weights, batches and the samples kept apart.
    subscribers:
        Get what is decided.

    Raises
    ------
    InputError
        For too few samples, and grids of fewer than eight cells.

    References
    ----------
    Ronneberger, Fischer, Brox, MICCAI 2015, arXiv 1505.04597 (the U); He, Liu, Xu, ICLR 2024, arXiv 2310.19809
    (multigrid and the H1 loss); Liu et al., arXiv 2502.16982 (Muon).
    """
    if not isinstance(samples, Samples):
        raise InputError(f"This is a {type(samples).__name__}.", "learn_operator(samples)", "Give hx.Samples.")
    if len(samples) < 2 * LEAST:
        raise InputError(f"There are {len(samples)} samples.", "learn_operator(samples)", f"Give at least {2 * LEAST}.")
    if not (math.isfinite(budget) and budget > 0.0):
        raise InputError(
            f"The budget is {budget} s.", "learn_operator(budget=...)", "Give a positive number of seconds."
        )
    order = np.random.default_rng(key).permutation(len(samples))
    count = max(LEAST, round(HELD * len(samples)))
    return Training.of(samples, order[count:], order[:count], budget, key, tuple(subscribers)).run()


@final
@dataclass(frozen=True, eq=False)
class Training:
    """One training: arrays of the samples that are learned and of those kept apart, all in 32 bits."""

    samples: Samples
    budget: float
    key: int
    subscribers: tuple[Subscriber, ...]
    scaling: Scaling
    learned: tuple[np.ndarray, ...]
    held: tuple[np.ndarray, ...]
    raw: np.ndarray
    scale: np.ndarray
    moves: Moves

    @classmethod
    def of(
        cls, samples: Samples, learned: np.ndarray, held: np.ndarray, budget: float, key: int,
        subscribers: tuple[Subscriber, ...], moves: Moves | None = None,
    ) -> Training:  # fmt: skip
        """Of samples, those to learn and those to keep apart, by number; moves, where other data show them."""
        names = tuple(samples.inputs)
        raw = channels(samples.inputs, names, samples.grid, samples.periodic)
        outputs = np.stack(list(samples.outputs.values()), axis=-1)
        scaling = Scaling.of(raw[learned])
        seen, base, size = prepared(raw, scaling, names, samples.base)
        left = outputs if base is None else (outputs - base) / size
        scale = np.maximum(np.sqrt(np.mean(left[learned] ** 2, axis=tuple(range(left.ndim - 1)))), 1e-30)
        bases = np.zeros((len(seen), 0)) if base is None else base
        parts = [np.asarray(part, np.float32) for part in (seen, outputs, bases, size)]
        moves = tuple(symmetries(seen[learned], outputs[learned])) if moves is None else moves
        own, apart = (tuple(part[pick] for part in parts) for pick in (learned, held))
        return cls(samples, budget, key, subscribers, scaling, own, apart, raw[learned], scale, moves)

    def say(self, sentence: str) -> None:
        for subscriber in self.subscribers:
            subscriber(Decision(sentence))

    def run(self) -> Operator:
        """See `learn_operator`."""
        began, compiled = clock.seconds_now(), clock.compile_seconds()
        names = ", ".join(f"{kind} {axis}" for kind, axis in self.moves) or "none"
        learned, held = len(self.learned[0]), len(self.held[0])
        self.say(f"{learned} samples learned, {held} kept apart; symmetries that they show: {names}.")
        network, steps = self._trained(began)
        errors, h1 = self._errors(network)
        candidates = {"network": float(np.mean(errors))}
        if self.samples.base is not None:
            own = self._errors(None)
            candidates["base alone"] = float(np.mean(own[0]))
            # a correction that makes slopes worse is none
            if not (np.mean(errors) < np.mean(own[0]) and np.mean(h1) < np.mean(own[1])):
                network, (errors, h1) = None, own
                self.say("The base alone is as good as what was learned: it is kept.")
        if not np.all(np.isfinite(errors)):
            raise InputError("The training has failed: errors are not finite.", "learn_operator", LOOK)
        features = _features(self.scaling(self.raw))
        deviation = np.maximum(features.std(axis=0), 1e-6 + 1e-3 * np.abs(features).max(axis=0))
        far = np.max(np.abs(features - features.mean(axis=0)) / deviation, axis=1)
        # the largest of many features is further out than each of them
        typical = features.mean(axis=0), deviation * max(1.0, float(far.max()) / FAR)
        return Operator(
            network, tuple(self.samples.inputs), tuple(self.samples.outputs), self.samples.base, self.samples.periodic,
            self.samples.grid, self.scaling, self.scale.astype(np.float32), errors, h1, candidates, self.moves, typical,
            steps, clock.seconds_now() - began, clock.compile_seconds() - compiled, len(self.samples),
        )  # fmt: skip

    def _network(self) -> MultigridNetwork:
        """A network whose first grid has 16 cells an axis or more, and that fits the grid."""
        grid, dim = self.samples.grid, len(self.samples.grid)
        outputs = 2 * len(self.samples.outputs)
        widths, blocks = WIDTHS[min(dim, 2)]
        fitting = [p for p in (4, 2, 1) if min(grid) // p >= PATCHED and all(n % p == 0 for n in grid)]
        patch = fitting[0] if fitting else 1
        levels = len(widths)
        while levels > 1 and any(n % (patch * 2 ** (levels - 1)) or n < patch * 2 ** (levels + 1) for n in grid):
            levels -= 1
        return MultigridNetwork.drawn(
            self.key, dim, self.learned[0].shape[-1], outputs, patch=patch, widths=widths[:levels],
            blocks=blocks[:levels], gain=0.1 if self.samples.base is None else 0.02, periodic=self.samples.periodic,
        )  # fmt: skip

    def _trained(self, began: float) -> tuple[MultigridNetwork, int]:
        """Steps until the seconds are over; the step falls to nothing by then."""
        network, rng = self._network(), np.random.default_rng(self.key + 1)
        optimiser = optax.chain(optax.clip_by_global_norm(CLIPPED), _muon(network))
        params, rest = eqx.partition(network, eqx.is_inexact_array)
        state = optimiser.init(params)
        data = tuple(map(jnp.asarray, self.learned))
        step = _step(optimiser, rest, data, jnp.asarray(self.scale, jnp.float32), self.moves, self.samples)
        count, order, done = len(self.learned[0]), np.zeros(0, dtype=int), 0
        first, share = 0.0, 0.0
        while share < 1.0:
            if len(order) < BATCH:
                order = np.concatenate([order, *(rng.permutation(count) for _ in range(-(-BATCH // count)))])
            pick, order = order[:BATCH], order[BATCH:]
            height = (LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * share))) * min(1.0, (done + 1) / WARM)
            on = rng.random(len(self.moves)).astype(np.float32)
            params, state, loss = step(params, state, pick, on, np.float32(height))
            # the loss is waited for: the schedule follows the seconds that steps take
            loss, done = float(loss), done + 1
            if not math.isfinite(loss):
                raise InputError(
                    f"The loss is {loss} after {done} steps.",
                    "learn_operator",
                    LOOK,
                )
            now = clock.seconds_now() - began
            first = now if done == 1 else first
            share = (now - first) / max(self.budget - first, 1e-3) if now < self.budget else 1.0
        return eqx.combine(params, rest), done

    def _errors(self, network: MultigridNetwork | None) -> tuple[np.ndarray, np.ndarray]:
        seen, outputs, base, size = self.held
        found = _in_blocks(network, seen, base if base.shape[-1] else None, size, self.scale)
        errors = relative_errors(jnp.asarray(found), jnp.asarray(outputs), self.samples.periodic)
        return np.asarray(errors[0], float), np.asarray(errors[1], float)


def _muon(network: MultigridNetwork) -> optax.GradientTransformation:
    """Muon for kernels with at least eight rows and columns, as matrices from all that they read to channels."""

    def numbers(params: Any) -> Any:
        def one(leaf: Any) -> MuonDimensionNumbers | None:
            if leaf is None or leaf.ndim < 2 or leaf.shape[-1] < 8:
                return None
            return MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

        return jax.tree.map(one, params)

    rate, own = RATES
    del network
    return muon(rate, adam_learning_rate=own, consistent_rms=0.2, adam_b2=0.99, muon_weight_dimension_numbers=numbers)


def _step(optimiser: Any, rest: Any, data: Any, scale: Any, moves: Moves, samples: Samples) -> Any:
    """One compiled step: convolutions inside of a loop that is compiled run many times slower on a processor."""
    seen, outputs, bases, sizes = data
    with_base = samples.base is not None

    def loss(params: Any, pick: Any, on: Any) -> Array:
        moved = lambda part: moved_batch(part[pick], on, moves)  # noqa: E731
        base = moved(bases) if with_base else None
        found = predicted(eqx.combine(params, rest), moved(seen), base, sizes[pick], scale)
        l2, h1 = relative_errors(found, moved(outputs), samples.periodic)
        return jnp.mean(l2 + h1)

    @jax.jit
    def step(params: Any, state: Any, pick: Any, on: Any, height: Any) -> tuple[Any, Any, Array]:
        value, gradient = jax.value_and_grad(loss)(params, pick, on)
        updates, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, jax.tree.map(lambda u: height * u, updates)), state, value

    return step
