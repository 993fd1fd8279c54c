"""Pictures of what was measured while training ran: spectrum, contraction, tangent kernel."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from hierax.results.figures import ACCENT, INK, WARM, add_bar, literal, plain_powers
from hierax.results.report.account import Account
from hierax.results.report.pictures import Picture

DECADES = 8
Measures = Mapping[str, np.ndarray]


def measured(account: Account) -> list[Picture]:
    """A picture for every kind of measure that there is."""
    arrays, kinds = account.measures, account.measured
    pictures = []
    if "spectrum" in kinds:
        what = str(arrays["spectrum_of"]) or "error"
        text = f"Heat map of the {what} by frequency against the records of the run: low frequencies at the bottom"
        pictures.append(Picture(text, functools.partial(_spectrum, arrays)))
    if "contraction" in kinds:
        pictures.append(
            Picture("Factor by which a step lowers the loss, visit by visit", functools.partial(_contraction, arrays))
        )
    if "kernel" in kinds:
        pictures.append(
            Picture("Eigenvalues of the tangent kernel, first and last", functools.partial(_eigenvalues, arrays))
        )
        pictures.append(
            Picture("Share of the residual along the kernel's modes", functools.partial(_alignment, arrays))
        )
        if np.isfinite(np.asarray(arrays.get("kernel_decay", np.nan))).any():
            text = "Observed decay of the residual along the kernel's modes, and that of gradient descent"
            pictures.append(Picture(text, functools.partial(_decay, arrays)))
        if np.shape(arrays["kernel_traces"])[1:] > (1,):
            pictures.append(Picture("Traces of the kernel's blocks, term by term", functools.partial(_traces, arrays)))
    if "curvature" in kinds:
        text = "Density of the eigenvalues of the curvature, first and last"
        pictures.append(Picture(text, functools.partial(_density, arrays)))
    if "curvature" in kinds or "solver" in kinds:
        text = "Condition numbers, level by level: of the curvature, scaled by its diagonal, and as the solver met it"
        pictures.append(Picture(text, functools.partial(_conditions, arrays)))
    return pictures


def _spectrum(arrays: Measures, axes: Axes) -> None:
    energy, edges = np.asarray(arrays["spectrum_energy"]), np.asarray(arrays["spectrum_edges"])
    size = np.sqrt(np.where(np.isfinite(energy), np.maximum(energy, 0.0), 0.0)).T
    most = float(np.max(size, initial=0.0)) or 1.0
    shown = np.maximum(size, most * 10.0**-DECADES)
    least = min(float(np.min(shown)), 0.1 * most)
    # Records at equal distances: steps of fine levels take longer, so that seconds would hide the coarse ones.
    norm = LogNorm(least, most)
    rows = np.arange(len(edges) - 1)
    drawn = axes.pcolormesh(np.arange(size.shape[1]), rows, shown, cmap="magma", norm=norm, rasterized=True)
    add_bar(axes, drawn)
    kept = rows[:: max(1, len(rows) // 8)]
    axes.set_yticks(kept, [f"{edges[k]:.3g}" for k in kept])
    _mark_levels(axes, np.asarray(arrays["spectrum_level"]))
    _mark_seconds(axes, np.asarray(arrays["spectrum_seconds"]))
    axes.set(title=f"{arrays['spectrum_of'] or 'error'} by frequency", ylabel="periods across the box, from")


def _mark_levels(axes: Axes, levels: np.ndarray) -> None:
    """A line where another level begins."""
    for change in np.flatnonzero(np.diff(levels)):
        axes.axvline(change + 0.5, color="white", lw=0.7, ls=(0, (2, 2)))


def _mark_seconds(axes: Axes, seconds: np.ndarray) -> None:
    kept = np.unique(np.linspace(0, len(seconds) - 1, 5).astype(int))
    axes.set_xticks(kept, [f"{seconds[k]:.3g}" for k in kept])
    axes.set_xlabel("seconds (records at equal distances; a line where the level changes)", fontsize=7.0)


def _contraction(arrays: Measures, axes: Axes) -> None:
    factors, levels = np.asarray(arrays["contraction_factor"]), np.asarray(arrays["contraction_level"])
    for level in np.unique(levels):
        own = np.flatnonzero(levels == level)
        axes.plot(own, factors[own], "o", ms=4, color=_shade(level, levels), label=f"level {int(level)}")
    axes.axhline(1.0, color=INK, lw=0.6, ls=(0, (4, 3)))
    axes.set(title="contraction of a step (root of the loss)", xlabel="visit", ylim=(0.0, None))
    if len(np.unique(levels)) <= 8:
        axes.legend(loc="best", ncols=2)


def _shade(level: float, levels: np.ndarray) -> str:
    """Coarse levels light, fine ones dark."""
    share = (level - np.min(levels)) / max(np.ptp(levels), 1)
    return (ACCENT, INK, WARM)[min(2, int(3 * share))]


def _eigenvalues(arrays: Measures, axes: Axes) -> None:
    values, seconds = np.asarray(arrays["kernel_eigenvalues"]), np.asarray(arrays["kernel_seconds"])
    for row, colour in _first_and_last(len(values)):
        axes.semilogy(np.arange(1, values.shape[1] + 1), _positive(values[row]), ".-", color=colour, lw=0.9, ms=4,
                      label=f"after {seconds[row]:.3g} s")  # fmt: skip
    plain_powers(axes.yaxis)
    axes.set(title="eigenvalues of the tangent kernel", xlabel="number")
    axes.legend(loc="best")


def _alignment(arrays: Measures, axes: Axes) -> None:
    shares, seconds = np.asarray(arrays["kernel_alignment"]), np.asarray(arrays["kernel_seconds"])
    for row, colour in _first_and_last(len(shares)):
        axes.plot(np.arange(1, shares.shape[1] + 1), np.nancumsum(shares[row]), ".-", color=colour, lw=0.9, ms=4,
                  label=f"after {seconds[row]:.3g} s")  # fmt: skip
    axes.set(title="share of the residual in the leading modes", xlabel="number of modes", ylim=(0.0, None))
    axes.legend(loc="best")


def _traces(arrays: Measures, axes: Axes) -> None:
    traces, seconds = np.asarray(arrays["kernel_traces"]), np.asarray(arrays["kernel_seconds"])
    for k, name in enumerate(arrays["kernel_terms"]):
        axes.semilogy(seconds, _positive(traces[:, k]), ".-", lw=1.0, ms=4, label=literal(str(name)))
    plain_powers(axes.yaxis)
    axes.set(title="trace of the kernel, term by term", xlabel="seconds")
    axes.legend(loc="best")


def _decay(arrays: Measures, axes: Axes) -> None:
    decay, values = np.asarray(arrays["kernel_decay"]), np.asarray(arrays["kernel_eigenvalues"])
    levels = np.asarray(arrays["kernel_level"])
    seen = np.flatnonzero(np.isfinite(decay).any(axis=1))
    for row, colour in zip((seen[0], seen[-1]), (ACCENT, WARM), strict=True):
        own = np.isfinite(decay[row]) & (values[row] > 0)
        axes.semilogx(values[row][own], decay[row][own], "o", ms=4, color=colour, label=f"level {int(levels[row])}")
        # the line of gradient descent goes through the observed decay of the leading mode
        lead = np.sort(values[row][own])
        if lead.size and decay[row][0] > 0:
            axes.semilogx(lead, decay[row][0] * lead / lead[-1], "-", lw=0.8, color=colour)
        if seen[0] == seen[-1]:
            break
    axes.axhline(0.0, color=INK, lw=0.5, ls=(0, (4, 3)))
    axes.set(title="decay of each mode, a step (line: gradient descent)", xlabel="eigenvalue of the tangent kernel")
    axes.legend(loc="best")


def _density(arrays: Measures, axes: Axes) -> None:
    nodes, weights = np.asarray(arrays["curvature_nodes"]), np.asarray(arrays["curvature_weights"])
    levels, most = np.asarray(arrays["curvature_level"]), np.nanmax(nodes)
    edges = np.geomspace(1e-14 * most, 1.01 * most, 30)
    for row, colour in _first_and_last(len(nodes)):
        own = np.isfinite(nodes[row])
        # what rounding makes negative or smaller than the last edge is a null space: in the first bin
        shares = np.histogram(np.maximum(nodes[row][own], edges[0]), edges, weights=weights[row][own])[0]
        axes.stairs(shares, edges, color=colour, lw=1.2, label=f"level {int(levels[row])}")
    axes.set(xscale="log", title="share of the curvature's eigenvalues", xlabel="eigenvalue")
    plain_powers(axes.xaxis)
    axes.legend(loc="best")


def _conditions(arrays: Measures, axes: Axes) -> None:
    ratios, levels = np.asarray(arrays["curvature_condition"]), np.asarray(arrays["curvature_level"])
    for values, name, colour in zip(ratios.T, ("curvature", "scaled by its diagonal"), (WARM, ACCENT), strict=True):
        axes.semilogy(levels, values, "o-", ms=4, lw=0.9, color=colour, label=name)
    solved, met = np.asarray(arrays.get("solver_level", ())), np.asarray(arrays.get("solver_condition", ()))
    if solved.size:
        axes.semilogy(solved, met, "s-", ms=4, lw=0.9, color=INK, label="as the solver met it, damped, preconditioned")
    plain_powers(axes.yaxis)
    axes.set_xticks(np.unique(np.concatenate([levels, solved])))
    axes.set(title="condition number (lower bound)", xlabel="level")
    axes.legend(loc="best")


def _first_and_last(count: int) -> list[tuple[int, str]]:
    return [(0, ACCENT), (count - 1, WARM)] if count > 1 else [(0, WARM)]


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)
