"""`estimate`: a statistic of a random quantity with its interval, from models on levels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np

from hierax import clock
from hierax._errors import InputError
from hierax.models.family import Family
from hierax.models.family_levels import on_levels
from hierax.models.leveled import AbstractLeveled
from hierax.results.intervals import LEVEL
from hierax.statistics.estimating import Estimation, State
from hierax.statistics.kept import KeptValues
from hierax.statistics.models import SURROGATE, Models
from hierax.statistics.quantities import AbstractStatistic, Mean
from hierax.statistics.rates import SLOWEST
from hierax.statistics.samples import REPLICATES, NotFiniteError, Part

HEAVY, SINGLE, ENOUGH = 0.5, 0.3, 32
"""What the tails may lack, over the error, and share of the variance that one sample has, of at least so many, above
which intervals cannot be trusted."""
MATTERS = 0.1
"""Share of the variance below which the tails of a part are not judged: few of its samples are needed."""
USELESS = 0.5
"""Variance of a difference over that of the level itself, above which the level below does not help."""
EXACT = 1e-6
"""Square of what finer levels would change over the variance of an estimate, below which their rates say nothing."""
SHARES = tuple(np.round(np.linspace(0.02, 0.98, 49), 2))
"""Probabilities of the quantiles that show a distribution."""


class Row(NamedTuple):
    """What a level, or a model, has told.

    Attributes
    ----------
    name:
        Number of the level, or `surrogate`.
    samples, cost, spent:
        Samples, cost of one, and of all.
    mean, variance:
        Of the model itself; of fields the root mean square, and the mean over components.
    difference, variance_of_difference:
        The same of the difference to the level below, of an ensemble to the truth; NaN where there is none.
    """

    name: str
    samples: int
    cost: float
    spent: float
    mean: float
    variance: float
    difference: float
    variance_of_difference: float


@final
@dataclass(frozen=True, eq=False)
class Estimate:
    """A statistic with its interval.

    Attributes
    ----------
    statistic, method:
        What was asked for and how it was estimated, in words.
    value, error, low, high:
        Estimates, root mean square errors and ends of intervals, in the shape of the quantity.
    bias:
        Part of the error that comes from levels that are left out, as a root mean square over components.
    rows:
        One for each level or model.
    rates:
        Exponents of bias, variance and cost to the base 2 for a level; NaN where nothing tells them.
    spent, plain:
        What all samples cost; what plain Monte Carlo on the finest level would cost for the same statistical error.
    tolerance:
        Root mean square error that was wanted, if any.
    failed:
        Samples that were left out since a model gave no finite value.
    reached:
        Whether the tolerance was reached and nothing speaks against the interval.
    sentences:
        What has to be said of it.
    distribution:
        Quantiles at `SHARES` of the first component on the level with most samples.
    """

    statistic: str
    method: str
    value: Any
    error: Any
    low: Any
    high: Any
    bias: float
    rows: tuple[Row, ...]
    rates: tuple[float, float, float]
    spent: float
    plain: float
    tolerance: float | None
    failed: int
    reached: bool
    sentences: tuple[str, ...]
    distribution: np.ndarray

    @property
    def size_of_error(self) -> float:
        """Root mean square of the errors of all components."""
        return float(np.sqrt(np.mean(np.square(self.error))))

    def __str__(self) -> str:
        lines = [f"{self.method}\n", _head()]
        lines += [_line(row) for row in self.rows]
        known = [f"{name} {rate:.2f}" for name, rate in zip(("alpha", "beta", "gamma"), self.rates, strict=True)
                 if np.isfinite(rate)]  # fmt: skip
        lines += [f"rates  {', '.join(known)}"] if known else []
        lines += [f"cost   {self.spent:.3g}; plain Monte Carlo on the finest level {self.plain:.3g}"]
        lines += [f"note   {sentence}" for sentence in self.sentences]
        return "\n".join([*lines, self._answer()])

    def _answer(self) -> str:
        if np.ndim(self.value):
            return (f"{self.statistic} of {np.size(self.value)} components, rms {np.sqrt(np.mean(self.value**2)):.6g}, "
                    f"rms error {self.size_of_error:.2g}")  # fmt: skip
        digits = int(np.clip(np.ceil(np.log10(max(abs(self.value), 1e-300) / max(self.error, 1e-300))) + 2, 3, 12))
        ends = f"{100 * LEVEL:g} %: {self.low:.{digits}g} to {self.high:.{digits}g}"
        return f"{self.statistic} {self.value:.{digits}g} ({ends}), rms error {self.error:.2g}"


def estimate(
    source: Family | AbstractLeveled,
    quantity: Callable[[Any], Any] | str | None = None,
    statistic: AbstractStatistic | None = None,
    *,
    tolerance: float | None = None,
    budget: float = 60.0,
    surrogate: Any = None,
    quasi: bool | None = None,
    key: int = 0,
    keep: Path | None = None,
    watch: Callable[[State], None] = lambda state: None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Estimate:
    """Estimate a statistic of a random quantity from models on levels.

    Levels that converge are estimated by multilevel Monte Carlo with as many levels as the bias needs; an ensemble of
    models by the best linear unbiased estimator. A surrogate is one more level, below all others: it makes the
    estimate cheaper, and not wrong, since what it lacks is estimated by levels.

    Parameters
    ----------
    source:
        `hx.Family`, `hx.FamilyLevels` or `hx.Simulation`.
    quantity:
        Of a family's solutions, see `hx.FamilyLevels`.
    statistic:
        `hx.Mean()`, `hx.Variance()`, `hx.Probability(above)` or `hx.Quantile(probability)`; the mean if not given.
    tolerance:
        Root mean square error that is wanted, in the units of the quantity; with it estimation ends as soon as it is
        reached.
    budget:
        Seconds, or units of the costs of a simulation.
    surrogate:
        A `hx.Surrogate` of the family. Or a function that costs little: it gets inputs of many members at once, `(n,)`
        or `(n, count)` each, and returns `(n, ...)`. It is left out where it does not help.
    quasi:
        Take scrambled Sobol sequences or not; up to 32 random numbers they are the default.
    key:
        Seed. Costs that are measured decide how many samples there are: only with given costs are two runs equal.
    keep:
        Folder in which values are kept as they come; those that it has are not evaluated again.
    watch, tell:
        Are called with the state after every round, and with sentences about decisions.

    Raises
    ------
    InputError
        For a tolerance or budget that is not above zero, and for values of the simulator that cannot be used.

    References
    ----------
    Giles, Oper. Res. 56 (2008); Collier et al., BIT 55 (2015); Schaden, Ullmann, SIAM/ASA J. Uncertain. Quantif. 8
    (2020); Giles, Waterhouse, Radon Ser. Comput. Appl. Math. 8 (2009).
    """
    for name, number in (("tolerance", tolerance), ("budget", budget)):
        if number is not None and not (np.isfinite(number) and number > 0):
            raise InputError(f"The {name} is {number}.", f"estimate({name}=...)", "Give a number above zero.")
    asked = statistic or Mean()
    with contextlib.closing(KeptValues(keep)) as kept:
        models = Models(on_levels(source, quantity), surrogate, kept)
        before = kept.spent / models.leveled.processes if models.measured else 0.0
        made = Estimation(models, asked, tolerance, budget, quasi, key, tell, before)
        try:
            state = _watched(made, watch)
        except NotFiniteError:
            if quasi is not None:
                raise
            tell("A member has no finite value: independent samples from here on, without those that have none.")
            before += clock.seconds_now() - made.begun
            made = Estimation(models, asked, tolerance, budget, False, key, tell, before)
            state = _watched(made, watch)
    asked.check(state.found.value.size)
    return summary(made, state)


def _watched(made: Estimation, watch: Callable[[State], None]) -> State:
    """The last state."""
    state = None
    for state in made.rounds():
        watch(state)
    assert state is not None
    return state


def summary(made: Estimation, state: State) -> Estimate:
    """The estimate of a state."""
    shape, found = made.simulator.shape, state.found
    value, wide, low, high = (np.reshape(part, shape) if shape else float(part[0]) for part in found)
    factor = made.statistic.factor(found, state.moment)
    error = float(np.sqrt(np.mean(np.square(found.error))))
    failed = sum(part.failed for part in state.parts)
    faults = _faults(made, state, error, failed)
    return Estimate(
        statistic=made.statistic.words, method=_method(made, state.parts), value=value, error=wide, low=low, high=high,
        bias=factor * float(np.sqrt(state.missing)), rows=rows(state), rates=state.rates, spent=state.spent,
        plain=sampled_plainly(state), tolerance=made.tolerance, failed=failed, reached=not faults,
        sentences=(*faults, *_remarks(made, state)), distribution=quantiles(state),
    )  # fmt: skip


def rows(state: State) -> tuple[Row, ...]:
    """A row for each level of a chain, or for each model of an ensemble."""
    if len(state.parts) == 1:
        part = state.parts[0]
        return tuple(_row_of_model(part, place) for place in reversed(range(len(part.models))))
    return tuple(_row_of_level(part) for part in state.parts)


def _row_of_level(part: Part) -> Row:
    group = max((g for g in part.groups if g[0] == 0), key=part.count)
    values = part.groups[group].values
    own = values[:, :, 0]
    both = own - values[:, :, 1] if np.count_nonzero(part.contrast[0]) > 1 else np.full(own.shape, np.nan)
    name = str(part.level) if part.level > SURROGATE else "surrogate"
    return Row(name, part.count(group), part.cost_of((0,)), part.spent, *_moments(own), *_moments(both))


def _row_of_model(part: Part, place: int) -> Row:
    with_it = {g: s for g, s in part.groups.items() if place in g}
    most = max(with_it, key=part.count)
    own = with_it[most].values[:, :, most.index(place)]
    together = [(g, s) for g, s in with_it.items() if 0 in g and place > 0]
    difference = np.full((2, 1, 1), np.nan)
    if together:
        group, samples = max(together, key=lambda pair: pair[1].count)
        difference = samples.values[:, :, 0] - samples.values[:, :, group.index(place)]
    model = part.models[place]
    spent = sum(float(s.costs[g.index(place)]) for g, s in with_it.items())
    count = sum(s.count for s in with_it.values())
    name = str(model) if model > SURROGATE else "surrogate"
    return Row(name, count, float(part.unit_costs()[place]), spent, *_moments(own), *_moments(difference))


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Root mean square of the means, signed for a single component, and mean of the variances."""
    flat = values.reshape(-1, values.shape[-1])
    mean = np.mean(flat, axis=0)
    size = float(mean[0]) if mean.size == 1 else float(np.sqrt(np.mean(mean**2)))
    return size, float(np.mean(np.var(flat, axis=0, ddof=1)))


def _head() -> str:
    names = f"{'level':>9}  {'samples':>8}  {'cost':>8}  {'share':>5}  {'mean':>10}  {'variance':>8}"
    return f"{names}  {'of difference':>13}"


def _line(row: Row) -> str:
    last = "" if np.isnan(row.variance_of_difference) else f"{row.variance_of_difference:13.2e}"
    return (f"{row.name:>9}  {row.samples:8d}  {row.cost:8.2e}  {row.spent:5.2g}  {row.mean:10.4g}  "
            f"{row.variance:8.2e}  {last:>13}")  # fmt: skip


def _method(made: Estimation, parts: tuple[Part, ...]) -> str:
    used = any(SURROGATE in part.models for part in parts)
    beside = ", with a surrogate as control variate" if used else ""
    drawn = f"{REPLICATES} scrambled Sobol sequences" if made.by_sequences else "independent samples"
    if made.simulator.levels == 1:
        return f"One level, whose own error is not seen, {drawn}{beside}"
    if made.chain:
        return f"Multilevel Monte Carlo of the limit of the levels, {drawn}{beside}"
    return f"Best linear unbiased estimator of the last of {made.simulator.levels} models, {drawn}{beside}"


def sampled_plainly(state: State) -> float:
    """Cost of plain Monte Carlo on the finest level for the same statistical error, if levels vary alike."""
    values = state.transform(_most_samples(state))
    spread = float(np.mean(np.var(values.reshape(-1, values.shape[-1]), axis=0)))
    return spread / max(state.statistical, 1e-300) * float(state.parts[-1].unit_costs()[0])


def quantiles(state: State) -> np.ndarray:
    """Quantiles at `SHARES` of the first component on the level with most samples."""
    return np.quantile(_most_samples(state)[..., 0], SHARES)


def _most_samples(state: State) -> np.ndarray:
    """Values `(blocks, each, m)` on the level with most samples."""
    part = state.parts[0]
    group = max((g for g in part.groups if g[0] == 0), key=part.count)
    return part.groups[group].values[:, :, 0]


def _faults(made: Estimation, state: State, error: float, failed: int) -> list[str]:
    """What speaks against the estimate."""
    said = []
    if made.tolerance is not None and error > made.tolerance * (1.0 + 1e-6):
        why = "the budget is spent"
        if made.chain and made.statistic.factor(state.found, state.moment) ** 2 * state.missing > 0.5 * error**2:
            why = "the finest level that there is, or that can be paid, is not fine enough"
        said.append(f"The tolerance {made.tolerance:g} is missed, {why}: the error is estimated as {error:.2g}.")
    if failed:
        said.append(f"{failed} samples gave no finite value and are left out: the others may not stand for them.")
    said += heavy_tails(state)
    if not np.any(state.moment.error) and not np.any(np.ptp(_most_samples(state), axis=(0, 1))):
        count = max(row.samples for row in rows(state))
        rare = f"what fewer than one in {max(count // 3, 1)} members do may be missing"
        said.append(f"All {count} samples are equal: {rare}, and no error can be told.")
    if len(state.aside) + len(state.parts) > 3 and _levels_matter(made, state):
        if state.rates.beta <= 0 or state.rates.alpha <= 0:
            said.append("Differences of levels do not become smaller: the levels do not converge, and have no limit.")
        elif max(state.rates[:2]) < SLOWEST:
            powers = " and ".join(f"{rate:.2g}" for rate in state.rates[:2])
            said.append(
                f"Differences of levels fall by powers {powers} of two (mean, variance): too slowly to tell by them "
                "what finer levels would change."
            )
    return said


def heavy_tails(state: State) -> tuple[str, ...]:
    """Whether the samples leave open what their tails are."""
    variances = np.array([np.sum(moment.variance) for moment in state.moments])
    shares = variances / max(np.sum(variances), 1e-300)
    counts = np.array([max(part.count(g) for g in part.groups if g[0] == 0) for part in state.parts])
    single = np.array([moment.weight for moment in state.moments]) * shares * (counts >= ENOUGH)
    ends = np.array([np.max(np.linalg.norm(moment.unseen, axis=1)) for moment in state.moments])
    lacking = np.where(shares > MATTERS, ends, 0.0)
    lack = float(np.linalg.norm(lacking) / max(np.linalg.norm(state.moment.error), 1e-300))
    said = []
    if max(single) > SINGLE:
        said.append(f"a single sample of level {state.parts[np.argmax(single)].level} makes "
                    f"{100 * max(single):.0f} % of the variance")  # fmt: skip
    if lack > HEAVY:
        said.append(f"what lies beyond the largest samples of level {state.parts[np.argmax(lacking)].level} may "
                    f"change the result by {lack:.2g} times the error")  # fmt: skip
    if not said:
        return ()
    return (f"Tails are heavy, and the interval cannot be trusted: {', and '.join(said)}.",)


def _levels_matter(made: Estimation, state: State) -> bool:
    """Whether levels differ by more than rounding beside what samples leave open."""
    return made.chain and state.missing > EXACT * state.statistical


def _remarks(made: Estimation, state: State) -> list[str]:
    """What a reader should know."""
    said = []
    slow = state.rates
    if slow.beta < slow.gamma and _levels_matter(made, state):
        said.append(
            f"Variances of differences fall more slowly ({slow.beta:.2g}) than costs rise ({slow.gamma:.2g}): most of "
            "the cost is on the finest levels."
        )
    for row in rows(state):
        if row.variance_of_difference > USELESS * row.variance:
            said.append(
                f"Level {row.name} and the one that it is compared with have little in common: the variance of their "
                "difference is not below half of their own."
            )
    return said
