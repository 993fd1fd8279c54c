"""`Operator`: a map from functions and numbers to functions, with an estimate of its own error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.fields import parameter_count
from hierax.models.doubt import ErrorModel
from hierax.models.exporting import open_sizes, write_export
from hierax.models.grids import between, resampled
from hierax.models.kernel_map import KernelMap
from hierax.models.network import MultigridNetwork, mean_predicted
from hierax.models.samples import channels
from hierax.models.telescoped import TelescopedNetwork
from hierax.results.archive import save

SKEWED = 1.5
"""Factor by which a logarithm has to make an input less skewed to be taken."""
EVALUATED = 32
"""Images of samples that are evaluated at a time."""


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

    def __call__(self, values: Any) -> Any:
        return ((_logged(values, self.logs) - self.shift) / self.size).astype(np.float32)


def _logged(values: Any, logs: tuple[bool, ...]) -> Any:
    xp = _module(values)
    parts = [xp.log(xp.maximum(values[..., k], 1e-300)) if log else values[..., k] for k, log in enumerate(logs)]
    return xp.stack(parts, axis=-1)


def _module(values: Any) -> Any:
    return np if isinstance(values, np.ndarray) else jnp


def _prefers_log(values: np.ndarray) -> bool:
    if np.any(values <= 0.0) or values.std() == 0.0:
        return False
    skew = lambda v: abs(float(np.mean((v - v.mean()) ** 3)) / max(float(v.std()) ** 3, 1e-300))  # noqa: E731
    return skew(values) > SKEWED * max(skew(np.log(values)), 0.1)


@final
@dataclass(frozen=True, eq=False)
class Operator:
    """A map from functions and numbers to functions, learned from samples.

    What was learned belongs to the grid of the samples: splines bring inputs there, and outputs to any other.

    Attributes
    ----------
    network:
        What was trained, or a kernel where that was better; `None` where the base alone was at least as good on the
        samples that choose.
    inputs, outputs, base, periodic:
        Names of arrays, and what `Samples` says of them.
    scaling, size:
        Of the inputs, and the size of the outputs.
    errors, h1:
        Relative errors of the samples that chose.
    candidates:
        Error of every candidate there.
    moves:
        Flips and swaps that the samples show to change nothing; predictions of a network are means over them.
    doubt:
        How far inputs are from those that were learned, and the errors to be expected, by their `features`.
    steps, seconds, seconds_compile, samples:
        How it was trained.
    examples:
        Inputs and outputs of three of the samples that chose, see `hierax.models.surrogate.ranked`.
    seconds_prediction:
        What a prediction costs.
    levels:
        Of what the samples were made by: seconds of each level, and the relative change by the next.
    """

    network: MultigridNetwork | TelescopedNetwork | KernelMap | None
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
    doubt: ErrorModel
    steps: int
    seconds: float
    seconds_compile: float
    samples: int
    examples: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    seconds_prediction: float = 0.0
    levels: tuple[tuple[float, float], ...] = ()

    def __call__(self, inputs: Mapping[str, Any], grid: tuple[int, ...] | None = None) -> dict[str, np.ndarray]:
        """Outputs `(n, *grid)` by name, of inputs by name; on the grid of the samples, or another one.

        Raises
        ------
        InputError
            For inputs that are missing, and another number of axes.
        """
        grid = self.grid if grid is None else tuple(grid)
        if len(grid) != len(self.grid):
            raise InputError(f"The grid {grid} has {len(grid)} axes.", "grid", f"Give {len(self.grid)} numbers.")
        found = in_blocks(self.network, *self._prepared(self._channels(inputs)), self.size, self.moves)
        found = resampled(found, grid, self.periodic)
        return {name: found[..., k] for k, name in enumerate(self.outputs)}

    def outside(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Distance `(n,)` of inputs from those learned; above 1 they are unlike all of them."""
        return self.doubt.outside(self._features(inputs))

    def error(self, inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Estimates `(n,)` of relative L2 errors, and bounds that 98 % stay below; infinite for unlike inputs."""
        return self.doubt.told(self._features(inputs))

    def _features(self, inputs: Mapping[str, Any]) -> np.ndarray:
        return features(self.scaling(self._channels(inputs)))

    def save(self, path: str | Path) -> None:
        """Write it into one file, which `hierax.load` reads."""
        save(self, Path(path))

    def export(self, path: str | Path, inputs: Mapping[str, Any]) -> None:
        """Write it as an artefact of `jax.export`, which JAX calls without this library.

        `jax.export.deserialize(Path(path).read_bytes()).call(inputs)` takes arrays by name, of the shapes of these
        examples but for the number of samples, and returns outputs by name on the grid of the samples.

        Raises
        ------
        InputError
            For inputs that are missing, where the package `flatbuffers` is, or a file that cannot be written.
        """
        self._channels(inputs)
        shapes = {name: np.shape(inputs[name])[1:] for name in self.inputs}
        onto = {name: between(shape, self.grid, self.periodic) for name, shape in shapes.items()}

        def values(given: dict[str, Any]) -> dict[str, Any]:
            raw = jnp.stack([onto[name](given[name]) for name in self.inputs], axis=-1)
            seen, base, size = self._prepared(raw)
            if self.network is None:
                found = base
            else:
                found = mean_predicted(self.network, seen, base, size, self.size, self.moves)
            return {name: found[..., k] for k, name in enumerate(self.outputs)}

        (many,) = open_sizes("n")
        write_export(Path(path), values, {
            name: jax.ShapeDtypeStruct((many, *shape), jnp.zeros(()).dtype) for name, shape in shapes.items()
        })  # fmt: skip

    def _channels(self, inputs: Mapping[str, Any]) -> np.ndarray:
        missing = [name for name in self.inputs if name not in inputs]
        if missing:
            raise InputError(f"The input {missing[0]!r} is missing.", "inputs", f"Give {', '.join(self.inputs)}.")
        given = {name: np.asarray(inputs[name], dtype=float) for name in self.inputs}
        return channels(given, self.inputs, self.grid, self.periodic)

    def _prepared(self, raw: Any) -> tuple[Any, Any, Any]:
        return prepared(raw, self.scaling, self.inputs, self.base)

    def __str__(self) -> str:
        low, high = np.quantile(self.errors, [0.05, 0.95])
        size = "kernel, " if isinstance(self.network, KernelMap) else ""
        if isinstance(self.network, MultigridNetwork | TelescopedNetwork):
            kind = "multigrid network" if isinstance(self.network, MultigridNetwork) else "two multigrid networks"
            size = f"{kind} of {parameter_count(self.network)} parameters, "
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


def prepared(raw: Any, scaling: Scaling, names: tuple[str, ...], base: str | None) -> tuple[Any, Any, Any]:
    """Channels that the network sees, the base `(n, *grid, 1)` if there is one, and what outputs are multiplied by."""
    xp, seen = _module(raw), scaling(raw)
    if base is None:
        return seen, None, xp.ones((raw.shape[0], *(1,) * (raw.ndim - 1)), np.float32)
    own = raw[..., [names.index(base)]]
    size = xp.maximum(xp.sqrt(xp.mean(own**2, axis=tuple(range(1, raw.ndim)), keepdims=True)), 1e-30)
    # the base is seen in its own size, and so is what is learned of it
    seen = xp.where(np.arange(len(names)) == names.index(base), (own / size).astype(np.float32), seen)
    return seen, own.astype(np.float32), size.astype(np.float32)


def features(seen: np.ndarray) -> np.ndarray:
    """Mean, deviation and sizes of differences over 1, 2, 4, ... cells of every channel `(n, features)`."""
    axes = tuple(range(1, seen.ndim - 1))
    parts = [seen.mean(axes), seen.std(axes)]
    for axis in axes:
        step = 1
        while step < seen.shape[axis]:
            parts.append(np.log(np.abs(np.roll(seen, step, axis) - seen).mean(axes) + 1e-6))
            step *= 4
    return np.concatenate(parts, axis=1)


_called = eqx.filter_jit(mean_predicted)


def in_blocks(
    network: Any, seen: np.ndarray, base: Any, size: np.ndarray, scale: np.ndarray, moves: Moves
) -> np.ndarray:
    """Predictions of many samples as means over moves, a block of one shape at a time."""
    if network is None:
        return np.asarray(base)
    out, scale, block = [], np.asarray(scale, np.float32), max(1, EVALUATED >> len(moves))
    for start in range(0, len(seen), block):
        pick = np.minimum(np.arange(start, start + block), len(seen) - 1)
        own = None if base is None else base[pick]
        out.append(np.asarray(_called(network, seen[pick], own, size[pick], scale, moves))[: len(seen) - start])
    return np.concatenate(out)
