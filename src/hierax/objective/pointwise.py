"""Terms at one point: value, gradient and curvature rows with respect to the few coefficients that matter there.

A density `W` at a point depends on the local coefficients `c`. Every term gives

    value   W(c),     gradient   dW/dc  (k,),     rows   A (m, k)  with  A' A  ~  d2W/dc2, positive semidefinite.

For a residual `r` these are `|r|^2 / 2`, `J' r`, `J` (Gauss-Newton). For an energy `e(jet)` of the values and
derivatives
`jet(c)` of the unknowns they are `e`, `D' e_jet`, `H^(1/2) D` with `D = d jet/dc` and `H` the positive semidefinite
part of the second derivative of `e` (generalised Gauss-Newton; Schraudolph, Neural Computation 14, 2002).
"""

from __future__ import annotations

import abc
import inspect
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import factorial, prod
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from hierax._errors import InputError
from hierax.fields.two_sided import two_sided
from hierax.geometry.regions import Regions, known
from hierax.objective.view import component, physical
from hierax.problems.calls import defined, usable
from hierax.problems.domain import Interface
from hierax.problems.interfaces import Cut, on_interface
from hierax.problems.operators import coordinates
from hierax.problems.problem import Problem
from hierax.problems.remembered import once_for_each
from hierax.problems.sampling import points_in
from hierax.problems.terms import AbstractValues, Energy, Residual, Term

Build = Callable[[Float[Array, " k"]], Any]
"""Local coefficients to the field that a term is evaluated with."""


class Place(NamedTuple):
    """One sample: the point `(dim,)`, the outward normal `(dim,)` (zero inside), the measured value `(m,)` and what is
    given with it.

    `inputs` `(k,)` are the numbers that tell a member of a family of problems; nothing where there is no family.
    `inside` `(shapes,)` says whether the point lies inside of shapes that divide the domain; nothing where it is not
    known beforehand.
    """

    x: Any
    normal: Any
    target: Any
    inputs: Any = ()
    inside: Any = ()


TRIED = 64
"""Points at which a term is tried: a branch that is taken in a part of the domain may look elsewhere, or at derivatives
that others do not."""
PER_SAMPLE = Place(0, 0, 0, None, 0)
"""Axes along which places are mapped: a member of a family is the same for all of its samples."""


class PointExpansion(NamedTuple):
    """Second-order expansion of a density in the local coefficients; see the head of the file."""

    value: Float[Array, ""]
    gradient: Float[Array, " k"]
    rows: Float[Array, "m k"]
    residual: Float[Array, " r"]


class AbstractPointTerm(abc.ABC):
    """A density at one point. Instances are compared by identity, so compiled kernels are found again."""

    name: str
    cut: Cut | None = None
    """The interface on which the term looks at fields from both sides."""
    regions: Regions | None = None
    """The parts of the domain, where shapes divide it."""

    def with_sides(self, field: Any) -> Any:
        """A field with local pieces as the term looks at it: on an interface with those of both sides."""
        return field if self.cut is None else two_sided(field, self.cut)

    @abc.abstractmethod
    def value(self, build: Build, c: Float[Array, " k"], place: Place) -> Float[Array, ""]:
        """The density."""

    @abc.abstractmethod
    def expand(self, build: Build, c: Float[Array, " k"], place: Place) -> PointExpansion:
        """The density with gradient and curvature rows."""

    @abc.abstractmethod
    def residual(self, field: Any, place: Place) -> Float[Array, " r"]:
        """What is reported as misfit at the point: the residual, or the density of an energy."""


@dataclass(frozen=True, eq=False)
class SquaredResidual(AbstractPointTerm):
    """Half the square of a residual."""

    name: str
    function: Callable[[Any, Place], Any]
    cut: Cut | None = None
    regions: Regions | None = None

    def residual(self, field: Any, place: Place) -> Float[Array, " r"]:
        return jnp.ravel(jnp.asarray(self.function(field, place)))

    def value(self, build: Build, c: Float[Array, " k"], place: Place) -> Float[Array, ""]:
        r = self.residual(build(c), place)
        return 0.5 * jnp.sum(r * r)

    def expand(self, build: Build, c: Float[Array, " k"], place: Place) -> PointExpansion:
        r, pull = jax.vjp(lambda z: self.residual(build(z), place), c)
        (rows,) = jax.vmap(pull)(jnp.eye(r.shape[0], dtype=r.dtype))
        return PointExpansion(0.5 * jnp.sum(r * r), r @ rows, rows, r)


@dataclass(frozen=True, eq=False)
class JetEnergy(AbstractPointTerm):
    """A density of the values and the derivatives up to `order` of the unknowns.

    Positive parts of its second derivative are those in derivatives along the unit box, which `lengths` `(dim,)` is the
    size of: in other units rounding of those of one order would hide the curvature of all others.
    """

    name: str
    density: Callable[[Any, Place], Any]
    view: Callable[[Any], Any]
    names: tuple[str, ...]
    constants: frozenset[str]
    named: bool
    order: int
    lengths: np.ndarray
    regions: Regions | None = None

    def residual(self, field: Any, place: Place) -> Float[Array, " r"]:
        return jnp.ravel(self.density(self.view(field), place))

    def value(self, build: Build, c: Float[Array, " k"], place: Place) -> Float[Array, ""]:
        return jnp.sum(self.residual(build(c), place))

    def expand(self, build: Build, c: Float[Array, " k"], place: Place) -> PointExpansion:
        def jets(z: Float[Array, " k"]) -> dict[str, list[Array]]:
            return self.jets(self.view(build(z)), place.x)

        own = jets(c)
        flat, unravel = ravel_pytree(own)
        units, _ = ravel_pytree({n: self._units([t.shape for t in tensors]) for n, tensors in own.items()})
        d, pull = jax.vjp(lambda z: ravel_pytree(jets(z))[0], c)
        (slopes,) = jax.vmap(pull)(jnp.eye(flat.shape[0], dtype=flat.dtype))

        def outer(j: Float[Array, " jet"]) -> Float[Array, ""]:
            return jnp.sum(jnp.asarray(self.density(self.taylor(unravel(j), place.x), place)))

        first = jax.grad(outer)(d)
        eigenvalues, vectors = jnp.linalg.eigh(units[:, None] * jax.hessian(outer)(d) * units)
        root = jnp.sqrt(jnp.maximum(eigenvalues, 0.0))[:, None] * vectors.T / units
        densities = jnp.ravel(self.density(self.taylor(unravel(d), place.x), place))
        return PointExpansion(jnp.sum(densities), first @ slopes, root @ slopes, densities)

    def jets(self, w: Any, x: Float[Array, " dim"]) -> dict[str, list[Array]]:
        """Values and derivative tensors of every unknown at `x`."""
        out: dict[str, list[Array]] = {}
        for name in self.names:
            u = getattr(w, name) if self.named else w
            if name in self.constants:
                out[name] = [jnp.asarray(u)]
                continue
            tensors, function = [], u
            for _ in range(self.order + 1):
                tensors.append(function(x))
                function = jax.jacfwd(function)
            out[name] = tensors
        return out

    def taylor(self, jets: dict[str, list[Array]], x: Float[Array, " dim"]) -> Any:
        """The collection of Taylor polynomials about `x` with these jets."""

        def polynomial(tensors: list[Array]) -> Callable[[Array], Array]:
            def evaluate(z: Array) -> Array:
                total = tensors[0]
                for k, tensor in enumerate(tensors[1:], 1):
                    for _ in range(k):
                        tensor = tensor @ (z - x)
                    total = total + tensor / factorial(k)
                return total

            return evaluate

        parts = {n: jets[n][0] if n in self.constants else polynomial(jets[n]) for n in self.names}
        return SimpleNamespace(**parts) if self.named else parts[self.names[0]]

    def _units(self, shapes: list[tuple[int, ...]]) -> list[Array]:
        """Derivative tensors of such shapes that are one along the unit box."""
        out, unit = [], np.ones(())
        for shape in shapes:
            out.append(jnp.broadcast_to(unit, shape))
            unit = unit[..., None] / self.lengths
        return out

    def units_of_jets(self, jets: Mapping[str, tuple[int, ...]]) -> np.ndarray:
        """Derivatives `orders_up_to` of shapes `(..., orders)` that are one along the unit box, one after another."""
        orders = np.array(orders_up_to(len(self.lengths), self.order), float)
        one = np.prod(self.lengths**-orders, axis=1)
        own = {n: np.broadcast_to(1.0 if n in self.constants else one, shape) for n, shape in jets.items()}
        return np.asarray(ravel_pytree(own)[0])

    def of_jets(self, jets: dict[str, Float[Array, "..."]], place: Place) -> Float[Array, ""]:
        """The density of a trained field whose unknowns have these derivatives `orders_up_to` at the point.

        They stand along the last axis, after that of the components; a constant is a number.
        """
        orders = orders_up_to(len(place.x), self.order)
        # powers as products of entries of (1, z - x), since a power zero has no derivative at zero
        axes = [[k + 1 for k, count in enumerate(own) for _ in range(count)] for own in orders]
        entries = np.array([own + [0] * (self.order - len(own)) for own in axes], dtype=int)
        scales = np.array([1.0 / prod(map(factorial, own)) for own in orders])

        def polynomial(own: Array) -> Callable[[Array], Array]:
            def evaluate(z: Array) -> Array:
                steps = jnp.concatenate([jnp.ones(1), z - place.x])
                return own @ (scales * jnp.prod(steps[entries], axis=1))

            return evaluate

        parts = {n: own if n in self.constants else polynomial(own) for n, own in jets.items()}
        field = SimpleNamespace(**parts) if self.named else parts[self.names[0]]
        return jnp.sum(self.residual(field, place))


def orders_up_to(dim: int, order: int) -> list[tuple[int, ...]]:
    """Of each partial derivative up to a total order how often it is along each axis."""
    axes = [which for total in range(order + 1) for which in itertools.combinations_with_replacement(range(dim), total)]
    return [tuple(which.count(k) for k in range(dim)) for which in axes]


@once_for_each
def point_term(problem: Problem, term: Term) -> AbstractPointTerm:
    """The pointwise form of one term of a problem; the same one whenever it is asked for, and so its kernels."""
    if isinstance(term, AbstractValues):
        return SquaredResidual(term.name, _misfit(problem, term))
    on_boundary = problem.places(term) != (None,)
    if isinstance(term, Residual):
        function = _caller(term, problem, on_boundary)
        if cut := _cut(problem, term):
            functions = tuple(problem.functions) if problem.named else None
            view = lambda field, place: on_interface(physical(problem, field), functions, cut, place.normal)  # noqa: E731
            return SquaredResidual(
                term.name, lambda field, place: function(view(field, place), place), cut, problem.regions
            )
        return SquaredResidual(
            term.name, lambda field, place: function(physical(problem, field), place), None, problem.regions
        )
    assert isinstance(term, Energy)
    density = _caller(term, problem, on_boundary)
    energy = JetEnergy(
        term.name,
        density,
        lambda field: physical(problem, field),
        tuple(problem.unknowns),
        frozenset(problem.constants),
        problem.named,
        order=1,
        lengths=np.subtract(*problem.domain.bounds()[::-1]),
        regions=problem.regions,
    )
    return energy if not _needs_second(energy, problem) else _with_order(energy, 2)


def _cut(problem: Problem, term: Term) -> Cut | None:
    """The interface on which a term holds, if it holds on one."""
    place, *_ = problem.places(term)
    return Cut.of(problem.domain, place, problem.regions) if isinstance(place, Interface) else None


@once_for_each
def value_term(problem: Problem) -> SquaredResidual:
    """The values of all unknown functions, one after the other; the same term for everybody who evaluates a problem."""

    def values(field: Any, place: Place) -> Array:
        return jnp.concatenate([jnp.ravel(component(problem, field, n)(place.x)) for n in problem.functions])

    return SquaredResidual("values", values)


def _caller(term: Residual | Energy, problem: Problem, on_boundary: bool) -> Callable[[Any, Place], Any]:
    """Call a user's function with the coordinate names known, and with the normal where it takes one."""
    names, shapes = tuple(problem.domain.names or ()), problem.regions.shapes if problem.regions else ()
    function = term.function if isinstance(term, Residual) else term.density
    what = f"{type(term).__name__}({term.name!r}, function)"
    takes_normal = on_boundary and _positional(function) >= 3

    def call(seen: Any, place: Place) -> Any:
        with coordinates(names), known(dict(zip(shapes, place.inside, strict=False))):
            value = function(seen, place.x, place.normal) if takes_normal else function(seen, place.x)
            return usable(value, what, function)

    return call


def _positional(function: Callable[..., Any]) -> int:
    """Number of positional arguments that a function without defaults for them requires or accepts."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return 3
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 3
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters)


def examples(problem: Problem, term: Term, places: Place, count: int) -> Place:
    """Places to try a term at: those given, but of an observation `count` of its own, with what is given there."""
    if not isinstance(term, AbstractValues):
        return places
    pick = np.linspace(0, len(term.points) - 1, count).astype(int)
    return Place(term.points[pick], np.zeros((count, problem.domain.dim)), term.targets[pick])


def _misfit(problem: Problem, term: AbstractValues) -> Callable[[Any, Place], Any]:
    name = problem.data_unknown(term)
    if name is None:
        return _observed(problem, term)

    def misfit(field: Any, place: Place) -> Any:
        seen = physical(problem, field)
        u = getattr(seen, name) if problem.named else seen
        return jnp.ravel(u(place.x)) - place.target

    return misfit


def _observed(problem: Problem, term: AbstractValues) -> Callable[[Any, Place], Any]:
    names, what = tuple(problem.domain.names or ()), f"{type(term).__name__}({term.name!r}, observe)"
    count = term.values[0].size

    def misfit(field: Any, place: Place) -> Any:
        given = () if term.given is None else (place.target[count:],)
        with coordinates(names):
            value = usable(term.observe(physical(problem, field), place.x, *given), what, term.observe)  # pyright: ignore
        if value.size != count:
            raise InputError(
                what=f"what is observed has shape {value.shape}, the values {term.values.shape[1:]} at a point",
                where=f"{what}{defined(term.observe)}",
                remedy="return a number, or as many as were measured at a point",
            )
        return jnp.ravel(value) - place.target[:count]

    return misfit


def _with_order(energy: JetEnergy, order: int) -> JetEnergy:
    return replace(energy, order=order)


def _needs_second(energy: JetEnergy, problem: Problem) -> bool:
    """Whether the density feels second derivatives anywhere: tried with random jets at many points."""
    x, rng = points_in(problem.domain, 0, TRIED), np.random.default_rng(0)
    places, dim = Place(x, np.zeros_like(x), np.zeros((len(x), 0))), problem.domain.dim
    trial = _with_order(energy, 2)

    def tensors(components: int | None) -> list[Array]:
        lead = () if components is None else (components,)
        return [jnp.asarray(0.5 + rng.random(lead + (dim,) * k)) for k in range(3)]

    jets = {n: tensors(f.components) for n, f in problem.functions.items()}
    jets |= {n: [jnp.asarray(c.initial)] for n, c in problem.constants.items()}

    def density(j: Any, place: Place) -> Array:
        return jnp.sum(jnp.asarray(trial.density(trial.taylor(j, place.x), place)))

    slopes = jax.vmap(jax.grad(density), in_axes=(None, PER_SAMPLE))(jets, places)
    return any(bool(np.any(np.abs(np.asarray(slopes[n][2])) > 0)) for n in problem.functions)
