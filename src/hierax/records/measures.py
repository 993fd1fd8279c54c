"""What was measured while training ran, as one file `measures.npz` in the run folder.

The arrays, by the names that they have in the file; every group may be empty (length zero):

| name | shape | what |
|---|---|---|
| `spectrum_of` | text | `error` (against the reference), `residual` (of the terms), or empty |
| `spectrum_seconds`, `spectrum_step`, `spectrum_level` | `(s,)` | when: seconds and steps since the start, level |
| `spectrum_edges` | `(b + 1,)` | edges of the bands of wave numbers, in periods across the box |
| `spectrum_energy` | `(s, b)` | mean square in each band over that of the reference (error) or of the first record |
| `contraction_level`, `contraction_visit`, `contraction_steps` | `(c,)` | a visit: its level, its number, its steps |
| `contraction_factor` | `(c,)` | mean factor of a step of the visit on the root of the loss |
| `contraction_loss` | `(c, 2)` | loss after the first and after the last step of the visit |
| `kernel_seconds`, `kernel_level` | `(k,)` | when the tangent kernel was measured |
| `kernel_eigenvalues` | `(k, m)` | largest ones, falling; NaN where there are fewer |
| `kernel_alignment` | `(k, m)` | share of the residual's mean square along each of the eigenvectors |
| `kernel_terms` | `(t,)` text | names of the terms |
| `kernel_traces` | `(k, t)` | trace of the kernel's diagonal block of each term |
| `kernel_decay` | `(k, m)` | observed decay of the residual along each of them, a step; NaN where not seen again |
| `curvature_seconds`, `curvature_level` | `(c,)` | when the curvature was measured |
| `curvature_nodes`, `curvature_weights` | `(c, n)` | quadrature of the density of its eigenvalues, padded by NaN |
| `curvature_condition` | `(c, 2)` | condition numbers without and with scaling by the diagonal |
| `solver_level`, `solver_condition` | `(l,)` | of damped and preconditioned systems: what their iterations met |
| `watching_seconds`, `training_seconds` | numbers | seconds that watching took, and those of the run with it |
"""

from __future__ import annotations

import dataclasses
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int

from hierax._errors import InputError
from hierax.results.files import check_sizes, read_bytes, written

MEASURES = "measures.npz"


def _none(*shape: int) -> np.ndarray:
    return dataclasses.field(default_factory=lambda: np.zeros(shape))  # pyright: ignore


@final
@dataclass(frozen=True, eq=False)
class Measures:
    """The contents of `measures.npz`; see the head of the file for every member."""

    spectrum_of: str = ""
    spectrum_seconds: Float[np.ndarray, " s"] = _none(0)
    spectrum_step: Int[np.ndarray, " s"] = _none(0)
    spectrum_level: Int[np.ndarray, " s"] = _none(0)
    spectrum_edges: Float[np.ndarray, " edges"] = _none(0)
    spectrum_energy: Float[np.ndarray, "s bands"] = _none(0, 0)
    contraction_level: Int[np.ndarray, " c"] = _none(0)
    contraction_visit: Int[np.ndarray, " c"] = _none(0)
    contraction_steps: Int[np.ndarray, " c"] = _none(0)
    contraction_factor: Float[np.ndarray, " c"] = _none(0)
    contraction_loss: Float[np.ndarray, "c 2"] = _none(0, 2)
    kernel_seconds: Float[np.ndarray, " k"] = _none(0)
    kernel_level: Int[np.ndarray, " k"] = _none(0)
    kernel_eigenvalues: Float[np.ndarray, "k m"] = _none(0, 0)
    kernel_alignment: Float[np.ndarray, "k m"] = _none(0, 0)
    kernel_terms: tuple[str, ...] = ()
    kernel_traces: Float[np.ndarray, "k t"] = _none(0, 0)
    kernel_decay: Float[np.ndarray, "k m"] = _none(0, 0)
    curvature_seconds: Float[np.ndarray, " c"] = _none(0)
    curvature_level: Int[np.ndarray, " c"] = _none(0)
    curvature_nodes: Float[np.ndarray, "c n"] = _none(0, 0)
    curvature_weights: Float[np.ndarray, "c n"] = _none(0, 0)
    curvature_condition: Float[np.ndarray, "c 2"] = _none(0, 2)
    solver_level: Int[np.ndarray, " l"] = _none(0)
    solver_condition: Float[np.ndarray, " l"] = _none(0)
    watching_seconds: float = 0.0
    training_seconds: float = 0.0


def write_measures(folder: Path, measures: Measures) -> Path:
    """Write the file into a run folder; returns its path."""
    path = folder / MEASURES
    arrays: dict[str, Any] = {f.name: np.asarray(getattr(measures, f.name)) for f in dataclasses.fields(measures)}
    with written(path) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    return path


def read_measures(folder: Path) -> Measures | None:
    """Measures of a run folder; `None` where the run was not watched.

    Names that this version does not know are passed over, missing ones are empty.

    Raises
    ------
    InputError
        For a file that is damaged.
    """
    path = folder / MEASURES
    if not path.is_file():
        return None
    remedy = "Remove the file; the run is complete without it."
    try:
        content = io.BytesIO(read_bytes(path, remedy))
        check_sizes(content, path)
        with np.load(content, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        what = error.what if isinstance(error, InputError) else f"The measures cannot be read ({error})."
        raise InputError(what, str(path), remedy) from error
    known = {f.name for f in dataclasses.fields(Measures)}
    values: dict[str, Any] = {name: found[name] for name in known & set(found)}
    values = {name: array.item() if array.ndim == 0 else array for name, array in values.items()}
    values["kernel_terms"] = tuple(str(name) for name in values.get("kernel_terms", ()))
    return Measures(**values)
