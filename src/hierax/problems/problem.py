"""`Problem`: a domain, unknowns, terms, and optionally a constraint and a reference. It says nothing about training."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from hierax._errors import InputError
from hierax._notebook import preformatted
from hierax.geometry import AbstractShape, Part
from hierax.geometry.regions import Regions
from hierax.problems.calls import check_arguments, usable
from hierax.problems.checked import as_floats
from hierax.problems.domain import TIME, Box, Domain, Face, Interface, PointCloud, repeated
from hierax.problems.operators import coordinates
from hierax.problems.reference import AnyReference, Reference, TabulatedReference
from hierax.problems.terms import AbstractValues, Data, Energy, Residual, Term, Values, Wrapped
from hierax.problems.unknowns import Constant, Function, Unknown

SINGLE = "u"


@functools.lru_cache(maxsize=64)
def _regions(domain: Domain, shapes: tuple[AbstractShape, ...]) -> Regions:
    """The same object whenever it is asked for, and with it all kernels; see `Regions` for what is refused."""
    whole = domain.as_shape() if isinstance(domain, Box) else domain
    if not isinstance(whole, AbstractShape) or any(shape.dim != whole.dim for shape in shapes):
        raise InputError(
            f"a shape with other coordinates than {domain!r:.60}", "hx.Interface(shape)",
            "give a shape in the coordinates of the domain, which is a box or a shape itself",
        )  # fmt: skip
    found = Regions(whole, shapes)
    _ = found.table
    return found


class Problem:
    """What is to be learned.

    Find the unknowns that minimise the sum over the terms of the integrals of their densities: half the square of a
    `Residual`, an `Energy`, half the squared misfit of `Data`; `Values` are met as conditions are.

    Parameters
    ----------
    domain:
        `Box`, a shape or `PointCloud`.
    terms:
        One or more `Residual`, `Energy`, `Data`, `Values`.
    unknowns:
        Names with `Function(...)` or `Constant(...)`. One scalar function `u` by default; then every term gets `u`
        itself, otherwise it gets the collection `w`, with `w.NAME` for each.
    constraint:
        A callable that turns the free function into one that satisfies conditions exactly, for example
        `lambda u: lambda x: x[0] * (1 - x[0]) * u(x)`; it owns no parameters. With named unknowns it maps `w` to an
        object with the same attributes.
    reference:
        A known solution, `Reference` or `TabulatedReference`; a bare callable counts as an exact one.
    interfaces:
        Planes or boundaries of shapes that divide the domain, across which coefficients jump; see `Interface`.
    outputs:
        Functions `function(u, x)` by name, of which values are asked as of unknowns: stresses, fluxes, energies.

    Raises
    ------
    InputError
        For terms with the same name, boundaries that the domain does not have, data outside the domain.
    """

    def __init__(
        self,
        domain: Domain,
        terms: Sequence[Term | Wrapped],
        *,
        unknowns: Mapping[str, Unknown] | None = None,
        constraint: Callable[[Any], Any] | None = None,
        reference: AnyReference | Callable[..., Any] | None = None,
        interfaces: Sequence[Interface] = (),
        outputs: Mapping[str, Callable[..., Any]] | None = None,
        name: str | None = None,
    ) -> None:
        every = tuple(terms) if isinstance(terms, Sequence) else (terms,)
        wraps = tuple(name for t in every if isinstance(t, Wrapped) for name in t.names)
        self.domain = repeated(domain, wraps) if wraps else domain
        self.terms = tuple(t for t in every if not isinstance(t, Wrapped))
        self.named = unknowns is not None
        self.unknowns: dict[str, Unknown] = dict(unknowns) if unknowns is not None else {SINGLE: Function()}
        self.constraint = constraint
        self.reference = self._as_reference(reference)
        self.interfaces = tuple(interfaces) if isinstance(interfaces, Sequence) else (interfaces,)
        self.outputs = dict(outputs or {})
        self.name = name or "problem"
        self._check()

    def changed(self, **parts: Any) -> Problem:
        """The problem with other parts, by the names of the arguments."""
        same = {
            "domain": self.domain, "terms": self.terms, "unknowns": self.unknowns if self.named else None,
            "constraint": self.constraint, "reference": self.reference, "interfaces": self.interfaces,
            "outputs": self.outputs, "name": self.name,
        }  # fmt: skip
        return Problem(**{**same, **parts})

    @functools.cached_property
    def regions(self) -> Regions | None:
        """The parts into which shapes divide the domain; `None` where none does."""
        places = [*self.interfaces, *(p for t in self.terms for p in self.places(t) if isinstance(p, Interface))]
        shapes = tuple(dict.fromkeys(place.shape for place in places if place.shape is not None))
        return _regions(self.domain, shapes) if shapes else None

    def __repr__(self) -> str:
        unknowns = ", ".join(f"{k}: {v}" for k, v in self.unknowns.items())
        terms = ", ".join(t.name for t in self.terms)
        return f"Problem({self.name}, {self.domain}, unknowns {unknowns}, terms {terms})"

    def _repr_html_(self) -> str:
        """Domain, unknowns and terms for notebooks."""
        unknowns = [f"{name}: {unknown}" for name, unknown in self.unknowns.items()]
        terms = [f"{type(term).__name__} {term.name}, {self.where(term)}" for term in self.terms]
        return preformatted("\n".join([str(self.domain), *unknowns, *terms]), self.name)

    def where(self, term: Term) -> str:
        """Where a term holds, in words."""
        if isinstance(term, AbstractValues):
            return f"{len(term.points)} points"
        if term.on is None or term.on == "boundary":
            return "inside" if term.on is None else "on the boundary"
        places = self.places(term)
        return f"on {', '.join(f'{p.name} ({p.side})' if isinstance(p, Face) else str(p) for p in places)}"

    @property
    def functions(self) -> dict[str, Function]:
        """The unknown functions, by name."""
        return {k: v for k, v in self.unknowns.items() if isinstance(v, Function)}

    @property
    def constants(self) -> dict[str, Constant]:
        """The unknown numbers, by name."""
        return {k: v for k, v in self.unknowns.items() if isinstance(v, Constant)}

    @property
    def time_axis(self) -> int | None:
        """Position of the coordinate named `t`, if there is one."""
        names = tuple(self.domain.names or ())
        return names.index(TIME) if TIME in names else None

    def places(self, term: Term) -> tuple[Face | Interface | Part | str | None, ...]:
        """Where a term holds: `(None,)` for the inside, else faces, interfaces, parts or names of boundaries."""
        on = term.on
        if on is None:
            return (None,)
        if isinstance(self.domain, AbstractShape):
            several = on if isinstance(on, tuple | list) else (on,)
            return tuple(Part(None if p == "boundary" else p) if isinstance(p, str) else p for p in several)
        if on == "boundary":
            return self.domain.faces() if isinstance(self.domain, Box) else tuple(self.domain.boundaries)
        return tuple(on) if isinstance(on, tuple | list) else (on,)

    def data_unknown(self, term: AbstractValues) -> str | None:
        """Name of the unknown whose values a term gives; `None` where something else is observed."""
        if term.observe is not None:
            return None
        return term.name if term.name in self.functions else next(iter(self.functions))

    def data_of(self, name: str) -> list[Data]:
        """The terms with measured values of an unknown."""
        return [t for t in self.terms if isinstance(t, Data) and self.data_unknown(t) == name]

    def _as_reference(self, reference: Any) -> AnyReference | None:
        if reference is None:
            return None
        if not isinstance(reference, Reference | TabulatedReference):
            reference = Reference(reference, 0.0)
        values = dict(reference.value) if isinstance(reference.value, Mapping) else {SINGLE: reference.value}
        if not isinstance(reference.value, Mapping) and self.named:
            values = {next(iter(self.unknowns)): reference.value}
        if isinstance(reference, Reference):
            values = {name: self._with_names(value) if callable(value) else value for name, value in values.items()}
        return type(reference)(values, reference.error_bound)

    def _with_names(self, value: Callable[..., Any]) -> Callable[..., Any]:
        """A reference may take derivatives by the names of the coordinates, as terms do."""

        @functools.wraps(value)
        def named(x: Any) -> Any:
            with coordinates(self.domain.names or ()):
                return value(x)

        return named

    def _check(self) -> None:
        if not isinstance(self.domain, Box | PointCloud | AbstractShape):
            raise InputError(
                what=f"the domain is {self.domain!r:.60}",
                where="Problem(domain=...)",
                remedy="give hx.Box(lower, upper), a shape such as hx.Disk(centre, radius), or hx.PointCloud(points)",
            )
        if not self.terms:
            raise InputError(what="no terms", where="Problem(terms=...)", remedy="add at least one Residual or Data")
        for term in self.terms:
            if not isinstance(term, Residual | Energy | AbstractValues):
                raise InputError(
                    what=f"{type(term).__name__} is no term",
                    where="Problem(terms=...)",
                    remedy="use Residual, Energy, Data or Values",
                )
        # an unknown may be prescribed at some points and measured at others
        names = [t.name for t in self.terms if not isinstance(t, Values)]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise InputError(
                what=f"two terms are called {twice!r}", where="Problem(terms=...)", remedy="give each its own name"
            )
        for key, value in self.unknowns.items():
            if not isinstance(value, Function | Constant) or not key.isidentifier():
                raise InputError(
                    what=f"unknown {key!r} is {value!r}",
                    where="Problem(unknowns=...)",
                    remedy="names are words, values Function(...) or Constant(...)",
                )
            self._check_coordinates(key, value)
        if not self.functions:
            raise InputError(
                what="no unknown function", where="Problem(unknowns=...)", remedy="at least one must be Function(...)"
            )
        self._check_callables()
        for place in self.interfaces:
            self._check_named(place)
        _ = self.regions
        for term in self.terms:
            self._check_places(term)
            if isinstance(term, AbstractValues):
                self._check_data(term)

    def _check_coordinates(self, name: str, unknown: Unknown) -> None:
        of = (unknown.of if isinstance(unknown, Function) else None) or ()
        stray = next((repr(n) for n in of if n not in (self.domain.names or ())), None)
        if stray is not None or (isinstance(unknown, Function) and unknown.of == ()):
            raise InputError(
                what=f"the function {name!r} is one of {stray or 'no coordinate'}",
                where="Function(of=...)",
                remedy=f"the coordinates are {', '.join(self.domain.names or ())}; hx.Constant is a number",
            )

    def _check_callables(self) -> None:
        for name, function in self.outputs.items():
            if not name.isidentifier() or name in self.unknowns:
                raise InputError(
                    what=f"the output {name!r} is {'an unknown' if name in self.unknowns else 'no word'}",
                    where="Problem(outputs=...)",
                    remedy="give it a name of its own",
                )
            check_arguments(function, f"Problem(outputs={{{name!r}: ...}})", (2,), "function(u, x)")
        if self.constraint is not None:
            check_arguments(self.constraint, "Problem(constraint=...)", (1,), "lambda u: lambda x: x[0] * u(x)")
        known = self.reference.named() if self.reference is not None else {}
        stray = next((n for n in known if n not in self.unknowns), None)
        if stray is not None:
            raise InputError(
                what=f"the reference gives {stray!r}, which is no unknown",
                where="Problem(reference=...)",
                remedy=f"the unknowns are {', '.join(self.unknowns)}",
            )
        if isinstance(self.reference, Reference):
            for name, value in known.items():
                self._check_reference(name, value)

    def _check_reference(self, name: str, value: Any) -> None:
        """Traced now, so that a mistake in it is not found after training only."""
        components = getattr(self.unknowns[name], "components", None)
        expected = () if components is None else (components,)
        shape = () if callable(value) else as_floats(value, "Problem(reference=...)").shape
        if callable(value):
            check_arguments(value, "Problem(reference=...)", (1,), "a function of the point x")
            point = jax.ShapeDtypeStruct((self.domain.dim,), float)
            shape = jax.eval_shape(lambda x: usable(value(x), "Problem(reference=...)", value), point).shape
        if math.prod(shape) != math.prod(expected):
            raise InputError(
                what=f"the reference of {name!r} has shape {shape} at a point",
                where="Problem(reference=...)",
                remedy=f"give a function from a point to an array of shape {expected}",
            )

    def _check_places(self, term: Term) -> None:
        if not self.places(term):
            raise InputError(
                what=f"{self.domain!r} has no boundary",
                where=f"term {term.name!r}, on={term.on!r}",
                remedy="remove the term, or give the domain a boundary",
            )
        if len(self.places(term)) > 1 and any(isinstance(place, Interface) for place in self.places(term)):
            raise InputError(
                what="an interface and another place for the same term",
                where=f"term {term.name!r}, on={term.on!r}",
                remedy="write one Residual for each interface",
            )
        for place in self.places(term):
            if place is None:
                continue
            where = f"term {term.name!r}, on={term.on!r}"
            if isinstance(place, Interface) and place.shape is not None:
                continue
            if isinstance(self.domain, AbstractShape):
                self._check_part(self.domain, place, where)
            elif isinstance(self.domain, Box):
                if not isinstance(place, Face | Interface):
                    raise InputError(
                        what=f"boundary {place!r} is unknown",
                        where=where,
                        remedy='a Box has hx.Face(name, "lower"|"upper"), "boundary" for all, hx.Interface(name, at)',
                    )
                if place.name not in self.domain.names:
                    raise InputError(
                        what=f"coordinate {place.name!r} is unknown",
                        where=where,
                        remedy=f"the coordinates are {', '.join(self.domain.names)}",
                    )
                if isinstance(place, Interface):
                    self._check_interface(self.domain, place, where)
                elif place.name in self.domain.periodic:
                    raise InputError(
                        what=f"coordinate {place.name!r} is periodic and has no faces",
                        where=where,
                        remedy="remove the term: periodicity is built in",
                    )
            elif place not in self.domain.boundaries:
                raise InputError(
                    what=f"boundary {place!r} is unknown",
                    where=where,
                    remedy=f"the cloud has {', '.join(self.domain.boundaries) or 'none'}",
                )

    def _check_part(self, shape: AbstractShape, place: Any, where: str) -> None:
        named = isinstance(place, Part) and (place.name is None or place.name in shape.boundaries)
        if not named or not shape.body.holds(place):
            raise InputError(
                what=f"{place if isinstance(place, Part) else repr(place)} is no part of the boundary",
                where=where,
                remedy=f'the parts are {", ".join(shape.boundaries)}; "boundary" is all of it, and '
                "shape.boundary(name, where=...) a part of one",
            )

    def _check_named(self, place: Any) -> None:
        where = "Problem(interfaces=...)"
        if not isinstance(place, Interface) or (place.shape is None and not isinstance(self.domain, Box)):
            raise InputError(
                f"{place!r:.60} is no interface of {self.domain!r:.60}", where,
                'give hx.Interface(shape), or in a box hx.Interface("x", 0.3)',
            )  # fmt: skip
        if place.shape is None:
            self._check_interface(self.domain, place, where)  # pyright: ignore

    def _check_interface(self, box: Box, place: Interface, where: str) -> None:
        axis = box.axis(place.name)
        if not box.lower[axis] < place.at < box.upper[axis]:  # pyright: ignore
            raise InputError(
                what=f"the interface {place} is not inside of {box}",
                where=where,
                remedy="give a value between both ends; on an end write hx.Face",
            )

    def _check_data(self, term: AbstractValues) -> None:
        where = f"{type(term).__name__}({term.name!r}, points)"
        name = self.data_unknown(term)
        if name is not None and len(self.functions) > 1 and term.name not in self.functions:
            raise InputError(
                what=f"{term.name!r} measures none of the unknowns {', '.join(self.functions)}",
                where=where,
                remedy="give the values the name of their unknown, or say what is observed: observe=function(w, x)",
            )
        if term.points.shape[1] != self.domain.dim:
            raise InputError(
                what=f"points have {term.points.shape[1]} coordinates, the domain {self.domain.dim}",
                where=where,
                remedy=f"give the columns {', '.join(self.domain.names or ())}",
            )
        if isinstance(self.domain, Box | AbstractShape):
            outside = np.flatnonzero(~self.domain.contains(term.points))
            if outside.size:
                i = int(outside[0])
                raise InputError(
                    what=f"point {i}, {term.points[i].tolist()}, is outside {self.domain} ({outside.size} such points)",
                    where=where,
                    remedy="widen the domain or remove the points",
                )
        if name is None:
            return
        components = self.functions[name].components
        expected = () if components is None else (components,)
        if term.values.shape[1:] != expected:
            raise InputError(
                what=f"values have shape {term.values.shape}, the unknown has components {expected or 'one'}",
                where=f"{type(term).__name__}({term.name!r}, values)",
                remedy="give one value a point and component",
            )
