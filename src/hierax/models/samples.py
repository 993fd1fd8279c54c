"""`Samples`: pairs of inputs and outputs, as arrays, from whatever made them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike

from hierax._errors import InputError
from hierax.models.grids import resampled
from hierax.results.arrays import named_arrays


@final
class Samples:
    """Samples of a map from functions and numbers to functions, all on grids of cells over one box.

    Parameters
    ----------
    inputs:
        By name arrays `(n, *grid)` of functions, or `(n,)` of numbers. Grids may differ: splines bring them to that
        of the outputs. A function that does not depend on an axis, such as a start, has one cell along it.
    outputs:
        By name arrays `(n, *grid)`, on one grid.
    base:
        Name of an input that is a coarse solution, of the only output: the model learns what it lacks, and is never
        worse than it on the samples that choose.
    periodic:
        Whether the grids wrap around.

    Raises
    ------
    InputError
        For arrays of unequal numbers of samples, that are not finite, or that are no grids.
    """

    def __init__(
        self,
        inputs: Mapping[str, ArrayLike],
        outputs: Mapping[str, ArrayLike],
        *,
        base: str | None = None,
        periodic: bool = False,
    ) -> None:
        self.inputs = {name: np.asarray(values, dtype=np.float64) for name, values in inputs.items()}
        self.outputs = {name: np.asarray(values, dtype=np.float64) for name, values in outputs.items()}
        self.base, self.periodic = base, bool(periodic)
        self._check()

    def __len__(self) -> int:
        return len(next(iter(self.outputs.values())))

    def _check(self) -> None:
        if not self.inputs or not self.outputs:
            raise InputError(
                "There are no inputs or no outputs.", "Samples(inputs, outputs)", "Name at least one of each."
            )
        count = len(self)
        for name, values in {**self.inputs, **self.outputs}.items():
            where = f"Samples, array {name!r}"
            if values.ndim == 0 or len(values) != count:
                raise InputError(f"It has shape {values.shape} for {count} samples.", where, "Give one entry a sample.")
            bad = np.argwhere(~np.isfinite(values))
            if bad.size:
                raise InputError(
                    f"{len(bad)} values are not finite, the first at {tuple(map(int, bad[0]))}.", where, "Leave it out."
                )
        grids = {values.shape[1:] for values in self.outputs.values()}
        if len(grids) > 1 or not 1 <= len(next(iter(grids))) <= 3:
            raise InputError(
                f"The outputs have the grids {sorted(grids)}.",
                "Samples(outputs)",
                "Give functions on one grid of 1 to 3 axes.",
            )
        if self.base is not None and len(self.outputs) > 1:
            raise InputError("There are several outputs.", "Samples(base=...)", "Learn them one by one.")
        if self.base is not None and self.base not in self.inputs:
            raise InputError(
                f"There is no input {self.base!r}.", "Samples(base=...)", f"Name one of {', '.join(self.inputs)}."
            )

    @property
    def grid(self) -> tuple[int, ...]:
        """Cells of the outputs."""
        return next(iter(self.outputs.values())).shape[1:]

    def take(self, pick: np.ndarray) -> Samples:
        """Some of the samples."""
        inputs = {name: values[pick] for name, values in self.inputs.items()}
        return Samples(
            inputs,
            {name: values[pick] for name, values in self.outputs.items()},
            base=self.base,
            periodic=self.periodic,
        )

    @classmethod
    def read(
        cls, path: str | Path, inputs: list[str], outputs: list[str], base: str | None = None, periodic: bool = False
    ) -> Samples:
        """Arrays of these names in an NPZ, HDF5 or NetCDF file; `(n, *grid)` along the axes of a NetCDF as they are.

        Raises
        ------
        InputError
            For a file or array that is missing.
        """
        arrays = named_arrays(Path(path), [*inputs, *outputs])
        return cls({n: arrays[n] for n in inputs}, {n: arrays[n] for n in outputs}, base=base, periodic=periodic)


def channels(
    inputs: Mapping[str, np.ndarray], names: tuple[str, ...], grid: tuple[int, ...], periodic: bool
) -> np.ndarray:
    """Inputs as channels `(n, *grid, c)`: functions on the outputs' grid, numbers as constants."""
    parts: list[Any] = []
    for name in names:
        values = np.asarray(inputs[name], dtype=np.float64)
        if values.ndim == 1:
            values = np.broadcast_to(values.reshape(-1, *(1,) * len(grid)), (len(values), *grid))
        if values.ndim != len(grid) + 1:
            raise InputError(
                f"The input {name!r} has shape {values.shape}.",
                "inputs",
                f"Give numbers, or functions on {len(grid)} axes.",
            )
        parts.append(resampled(values[..., None], grid, periodic))
    return np.concatenate(parts, axis=-1)
