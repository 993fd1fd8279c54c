"""`learn_operator`: a multigrid network that is trained on samples of functions, by Muon, on a schedule of seconds."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array
from scipy.special import stdtrit

from hierax import clock
from hierax._errors import InputError
from hierax.devices import DEVICES, Division, agree_on, division, shares
from hierax.events import Subscriber
from hierax.models.course import Course, CourseState
from hierax.models.doubt import ErrorModel
from hierax.models.grids import moved_batch, relative_errors, symmetries
from hierax.models.kernel_map import KernelMap, fitted_map
from hierax.models.muon import muon
from hierax.models.network import MultigridNetwork, fitting, predicted
from hierax.models.operators import Moves, Operator, Scaling, features, in_blocks, prepared
from hierax.models.samples import Samples, channels
from hierax.models.surrogate import ranked

BATCH, OF_FEW = 8, 4
"""Samples of a step, and of one where there are few: more steps of fewer come further."""
RATES, DECAY = (2.7e-3, 2e-3), 0.3
"""Steps of Muon (root mean square 0.2 each) and of Adam at the height of the schedule; what a step takes from kernels,
over that of Muon."""
WARM, LAST = 60, 0.01
"""Steps until the height is reached; share of it at the end."""
SURE = 0.977
"""Probability with which a correction has to gain on its base, by the samples that choose, where nothing else does."""
HELD, LEAST = 0.1, 4
"""Share of the samples that choose, and the least number of them."""
FEW = 256
"""Samples below which there are few: a kernel stands beside the network."""
CLIPPED = 2.0
"""Largest norm of a gradient."""
KEEPING, CALMEST = 100, 0.1
"""Steps after which parameters are kept, to go on from with steps of half the height where a loss is not finite; the
height below which there is no further try."""
LOOK = "Look at the samples: sizes, and outliers."
WIDTHS = {1: ((64, 64, 96, 96), (2, 1, 1, 2)), 2: ((48, 64, 64), (1, 1, 1))}
"""Channels and blocks on each grid, by the number of axes."""
USUAL, WIDE, STEPS, TIMED = 4, 8, 1000, 4
"""Cells along an axis of patches; with the larger ones, if the usual ones leave fewer steps than this; steps timed."""


def learn_operator(
    samples: Samples, *, budget: float = 60.0, key: int = 0, subscribers: Iterable[Subscriber] = (),
    kept: CourseState | None = None,
) -> Operator:  # fmt: skip
    """Learn the map from inputs to outputs of samples.

    A network of convolutions on patches and a U of coarser grids is trained on the sum of relative errors in L2 and H1,
    with steps of equal size for every direction of a kernel (Muon) and Adam for the rest, on a cosine over the budget.
    Patches are larger where the seconds buy few steps with small ones.
    Samples are mirrored as the data allow. Beside few samples stands a kernel between the modes of inputs and outputs.
    Some samples are kept apart: they choose between network, kernel and base, and tell the error.

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
    kept:
        What a learning of the same samples that was cut off had come to.

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
    return learned_operator(samples, budget, key, Course(subscribers, kept))


def learned_operator(samples: Samples, budget: float, key: int, course: Course) -> Operator:
    """See `learn_operator`."""
    if len(samples) < 2 * LEAST:
        raise InputError(f"There are {len(samples)} samples.", "learn_operator(samples)", f"Give at least {2 * LEAST}.")
    if not (math.isfinite(budget) and budget > 0.0):
        raise InputError(
            f"The budget is {budget} s.", "learn_operator(budget=...)", "Give a positive number of seconds."
        )
    order = np.random.default_rng(key).permutation(len(samples))
    count = max(LEAST, round(HELD * len(samples)))
    return Training.of(samples, order[count:], order[:count], budget, key, course).run()


class Trained(NamedTuple):
    """A network, its steps, the seconds of one (not a number where they are not known), and what the clocks of seconds
    and of compilation said before."""

    network: Any
    steps: int
    pace: float
    began: float
    compiled: float


class TrainingState(NamedTuple):
    """A network on the way, the leaves of the optimiser's state, steps, their height over that of the schedule, the
    share of the schedule that is done, and the seconds of a step."""

    network: Any
    moments: tuple[Any, ...]
    steps: int
    calm: float
    share: float
    pace: float = math.nan


@final
@dataclass(frozen=True, eq=False)
class Training:
    """One training: arrays of the samples that are learned and of those kept apart, all in 32 bits; the network that it
    starts from, a new one if there is none; the probability with which a correction has to gain on its base; the
    samples of a step; the course of which it is a part of this name."""

    samples: Samples
    budget: float
    key: int
    course: Course
    scaling: Scaling
    learned: tuple[np.ndarray, ...]
    held: tuple[np.ndarray, ...]
    apart: Samples
    raw: np.ndarray
    scale: np.ndarray
    moves: Moves
    start: Any = None
    sure: float = SURE
    batch: int = BATCH
    name: str = "network"

    @classmethod
    def of(
        cls, samples: Samples, learned: np.ndarray, held: np.ndarray, budget: float, key: int,
        course: Course, moves: Moves | None = None, scaling: Scaling | None = None,
        grid: tuple[int, ...] | None = None,
    ) -> Training:  # fmt: skip
        """Of samples, those to learn and those to keep apart, by number; moves and the scaling of inputs, where other
        data show them; the grid of inputs where that is not the one of the outputs."""
        names = tuple(samples.inputs)
        raw = channels(samples.inputs, names, grid or samples.grid, samples.periodic)
        outputs = np.stack(list(samples.outputs.values()), axis=-1)
        scaling = scaling or Scaling.of(raw[learned])
        seen, base, size = prepared(raw, scaling, names, samples.base)
        left = outputs if base is None else (outputs - base) / size
        scale = np.maximum(np.sqrt(np.mean(left[learned] ** 2, axis=tuple(range(left.ndim - 1)))), 1e-30)
        bases = np.zeros((*seen.shape[:-1], 0)) if base is None else base
        parts = [np.asarray(part, np.float32) for part in (seen, outputs, bases, size)]
        moves = tuple(symmetries(seen[learned], outputs[learned])) if moves is None else moves
        own, other = (tuple(part[pick] for part in parts) for pick in (learned, held))
        return cls(
            samples, budget, key, course, scaling, own, other, samples.take(held), raw[learned], scale, moves,
            batch=BATCH if len(learned) >= FEW else OF_FEW,
        )  # fmt: skip

    def run(self) -> Operator:
        """See `learn_operator`."""
        return self.judged(self.trained())

    def judged(self, trained: Trained) -> Operator:
        """The best of a network and of what needs no training, at the samples kept apart."""
        learned, held = len(self.learned[0]), len(self.held[0])
        # a kernel has learned the samples as they are
        maps: dict[str, Any] = {"kernel": (self._kernel(), ())} if learned < FEW else {}
        maps["network"] = trained.network, self.moves
        found = {name: self._errors(*one) for name, one in maps.items()}
        candidates = {name: float(np.mean(own[0])) for name, own in found.items()}
        best = min(candidates, key=candidates.__getitem__)
        (network, moves), (errors, h1) = maps[best], found[best]
        again = clock.seconds_now()
        self._errors(network, moves)
        took = (clock.seconds_now() - again) / held
        if self.samples.base is not None:
            own = self._errors(None, ())
            candidates["base alone"] = float(np.mean(own[0]))
            # a correction that makes slopes worse is none
            if not (_better(errors, own[0], self.sure) and _better(h1, own[1], self.sure)):
                network, (errors, h1) = None, own
                self.course.say("The base alone is as good as what was learned: it is kept.")
        if not np.all(np.isfinite(errors)):
            raise InputError("The training has failed: errors are not finite.", "learn_operator", LOOK)
        shown = self.apart.take(np.array(ranked(errors)))
        apart = channels(self.apart.inputs, tuple(self.samples.inputs), self.samples.grid, self.samples.periodic)
        own, other = (features(self.scaling(raw)) for raw in (self.raw, apart))
        doubt = ErrorModel.of(own, other, errors)
        return Operator(
            network, tuple(self.samples.inputs), tuple(self.samples.outputs), self.samples.base, self.samples.periodic,
            self.samples.grid, self.scaling, self.scale.astype(np.float32), errors, h1, candidates, moves, doubt,
            trained.steps, clock.seconds_now() - trained.began, clock.compile_seconds() - trained.compiled,
            learned + held, (shown.inputs, shown.outputs), took,
        )  # fmt: skip

    def _kernel(self) -> KernelMap:
        """What few samples determine."""
        seen, outputs, base, size = self.learned
        left = outputs - base if base.shape[-1] else outputs
        return fitted_map(seen, left / size / self.scale)

    def affordable(self) -> MultigridNetwork:
        """A network, of larger patches where the seconds buy too few steps with the usual ones. On a line steps cost
        little, and what a base lacks is small in extent: large patches miss it."""
        dim, usual, wide = len(self.samples.grid), self.network(), self.network(largest=WIDE)
        if dim == 1 or self.samples.base is not None or wide.patch == usual.patch:
            return usual
        steps = self.budget * (usual.patch / wide.patch) ** dim / self._seconds_step(wide)
        if steps >= STEPS:
            return usual
        self.course.say(f"Patches of {wide.patch} cells an axis: of smaller ones {steps:.0f} steps would fit.")
        return wide

    def _seconds_step(self, network: MultigridNetwork) -> float:
        """What a step costs: the fastest of a few."""
        params, rest = eqx.partition(network, eqx.is_inexact_array)
        params, state = _fetched((params, _optimiser().init(params)))
        step = _step(self.moves, self.samples.periodic, division())
        batch = _spread(self.learned, np.arange(self.batch) % len(self.learned[0]))
        scale, on, took = np.asarray(self.scale, np.float32), np.zeros(len(self.moves), np.float32), []
        for _ in range(TIMED):
            began = clock.seconds_now()
            float(step(params, rest, state, batch, scale, on, np.float32(0.0))[2])
            took.append(clock.seconds_now() - began)
        return min(took)

    def network(self, block: int = 1, largest: int = USUAL) -> MultigridNetwork:
        """A network that fits the grid of the outputs, with patches up to the largest; it reads functions by blocks of
        cells on that."""
        grid, dim, corrects = self.samples.grid, len(self.samples.grid), self.samples.base is not None
        outputs = 2 * len(self.samples.outputs) + (dim if corrects else 0)
        widths, blocks = WIDTHS[min(dim, 2)]
        patch, levels = fitting(grid, largest, len(widths))
        return MultigridNetwork.drawn(
            self.key, dim, self.learned[0].shape[-1] * block**dim, outputs, patch=patch, widths=widths[:levels],
            blocks=blocks[:levels], gain=0.02 if corrects else 0.1, periodic=self.samples.periodic,
        )  # fmt: skip

    def trained(self) -> Trained:
        """Steps until the seconds are over; the step falls to nothing by then."""
        if self.batch % shares():
            raise InputError(
                f"A step has {self.batch} samples, which {shares()} devices cannot share evenly.",
                "Devices(samples=...)",
                f"Give a divisor of {self.batch}.",
            )
        start, compiled = self.course.start(self.name), clock.compile_seconds()
        names, apart = ", ".join(f"{kind} {axis}" for kind, axis in self.moves) or "none", len(self.held[0])
        count, order = len(self.learned[0]), np.zeros(0, dtype=int)
        self.course.say(f"{count} samples learned, {apart} kept apart; symmetries that they show: {names}.")
        at = self.course.reached(self.name) or TrainingState(self.start or self.affordable(), (), 0, 1.0, 0.0)
        params, rest = eqx.partition(at.network, eqx.is_inexact_array)
        step = _step(self.moves, self.samples.periodic, division())
        state = _optimiser().init(params)
        state = jax.tree.unflatten(jax.tree.structure(state), at.moments) if at.moments else state
        params, state = _fetched((params, state))
        scale, rng = np.asarray(self.scale, np.float32), np.random.default_rng(self.key + 1 + at.steps)
        done, calm, pace = at.steps, at.calm, at.pace
        # of a larger budget than before a smaller share is done
        first, behind = None, min(at.share, (self.course.seconds - start) / self.budget)
        kept, fresh, share = (params, state), (params, state), behind
        while share < 1.0:
            if len(order) < self.batch:
                order = np.concatenate([order, *(rng.permutation(count) for _ in range(-(-self.batch // count)))])
            pick, order = order[: self.batch], order[self.batch :]
            height = calm * (LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * share))) * min(1.0, (done + 1) / WARM)
            on = rng.random(len(self.moves)).astype(np.float32)
            batch = _spread(self.learned, pick)
            params, state, loss = step(params, rest, state, batch, scale, on, np.float32(height))
            # the loss is waited for: the schedule follows the seconds that steps take
            loss, done = float(loss), done + 1
            if not math.isfinite(loss):
                if calm < CALMEST:
                    raise InputError(f"The loss is {loss} after {done} steps.", "learn_operator", LOOK)
                (params, state), fresh, calm = kept, kept, 0.5 * calm
            elif done % KEEPING == 0:
                # what is finite now may have parameters that are not: those of the time before have shown a loss
                kept, fresh = fresh, _fetched((params, state))
                self._keep(kept, rest, done, calm, share, pace)
            now = self.course.seconds - start
            first = now if first is None else first
            pace = (now - first) / (done - at.steps - 1) if done > at.steps + 1 else pace
            passed = (now - first) / max(self.budget - first, 1e-3)
            share = behind + (1.0 - behind) * passed if now < self.budget else 1.0
        params = _fetched(params)
        agree_on(params)
        network = self._keep((params, state), rest, done, calm, share, pace)
        return Trained(network, done, pace, self.course.origin + start, compiled)

    def _keep(self, reached: tuple[Any, Any], rest: Any, *how: Any) -> Any:
        """Let the course note parameters and the state of the optimiser; the network that has them."""
        network = eqx.combine(jax.tree.map(jnp.asarray, reached[0]), rest)
        moments = tuple(jax.tree.leaves(reached[1]))
        self.course.keep(self.name, TrainingState(network, moments, *how))
        return network

    def seen(self, seconds: float, pace: float) -> float:
        """How often a training of so many seconds, with steps of `pace` each, sees each image of a sample."""
        return self.batch * seconds / pace / (len(self.learned[0]) * 2 ** len(self.moves))

    def _errors(self, network: Any, moves: Moves) -> tuple[np.ndarray, np.ndarray]:
        seen, outputs, base, size = self.held
        found = in_blocks(network, seen, base if base.shape[-1] else None, size, self.scale, moves)
        errors = relative_errors(jnp.asarray(found), jnp.asarray(outputs), self.samples.periodic)
        return np.asarray(errors[0], float), np.asarray(errors[1], float)


def _better(errors: np.ndarray, others: np.ndarray, sure: float) -> bool:
    """Whether errors are smaller, with this probability by what so few samples tell (Student's distribution)."""
    gains = np.log(np.maximum(others, 1e-300) / np.maximum(errors, 1e-300))
    least = stdtrit(len(gains) - 1, sure) * np.std(gains, ddof=1) / len(gains) ** 0.5
    return bool(np.mean(errors) < np.mean(others) and np.mean(gains) > least)


def _optimiser() -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(CLIPPED), muon(*RATES, DECAY))


@functools.cache
def _step(moves: Moves, periodic: bool, own: Division | None) -> Callable[..., Any]:
    """One step, compiled once for all trainings of networks of one shape; devices divide its samples.

    There is no loop of steps that is compiled: convolutions inside of one run many times slower on a processor.
    """
    optimiser = _optimiser()

    def loss(params: Any, rest: Any, batch: Any, scale: Any, on: Any) -> Array:
        seen, outputs, base = (moved_batch(part, on, moves) for part in batch[:3])
        found = predicted(eqx.combine(params, rest), seen, base if base.shape[-1] else None, batch[3], scale)
        l2, h1 = relative_errors(found, outputs, periodic)
        return jnp.mean(l2 + h1)

    slopes = _averaged(jax.value_and_grad(loss), own, (False, False, True, False, False))

    @jax.jit
    def step(
        params: Any, rest: Any, state: Any, batch: Any, scale: Any, on: Any, height: Any
    ) -> tuple[Any, Any, Array]:
        value, gradient = slopes(params, rest, batch, scale, on)
        updates, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, jax.tree.map(lambda u: height * u, updates)), state, value

    return step


def _spread(parts: tuple[np.ndarray, ...], pick: np.ndarray) -> tuple[Any, ...]:
    """Rows of arrays, of which every device gets its share, and every process reads no more than that of its own."""
    own = division()
    if own is None:
        return tuple(part[pick] for part in parts)
    sharding = NamedSharding(own.every, PartitionSpec(DEVICES))

    def divided(part: np.ndarray) -> jax.Array:
        share: Callable[[Any], np.ndarray] = lambda index: part[pick[index[0]]]  # noqa: E731
        return jax.make_array_from_callback((len(pick), *part.shape[1:]), sharding, share)

    return tuple(map(divided, parts))


def _averaged(function: Callable[..., Any], own: Division | None, divided: tuple[bool, ...]) -> Callable[..., Any]:
    """A traced function whose value is a mean over samples, as the mean over devices of what each makes of its share;
    `divided` says which arguments belong to samples."""
    if own is None:
        return function
    specs = tuple(PartitionSpec(DEVICES) if each else PartitionSpec() for each in divided)
    return jax.shard_map(
        lambda *arguments: jax.lax.pmean(function(*arguments), DEVICES),
        mesh=own.every, in_specs=specs, out_specs=PartitionSpec(), check_vma=False,
    )  # fmt: skip


def _fetched(tree: Any) -> Any:
    """Arrays that are the same on all devices, as arrays of NumPy; as they are where nothing is divided."""
    return tree if division() is None else jax.tree.map(np.asarray, tree)
