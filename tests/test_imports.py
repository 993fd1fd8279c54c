"""Imports point one way (problems, fields -> hierarchy -> objective -> ...), and only the command line prints.

The arrows are read from the source text, so that one inside a function or under `TYPE_CHECKING` counts as well.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hierax

SOURCE = Path(next(iter(hierax.__path__)))
FILES = sorted(SOURCE.rglob("*.py"))

# Every room may use these, and they use nothing.
FOUNDATION = frozenset({"_errors", "_types"})
# The package's own front page only collects names; inside the library it would hide where a name comes from.
FRONT = "hierax"

ROOMS = frozenset(
    {"problems", "fields", "hierarchy", "objective", "solvers", "cycles", "dynamics", "_results", "guards"}
    | {
        "clock",
        "coarsened",
        "distilling",
        "events",
        "evaluation",
        "families",
        "fidelities",
        "figures",
        "report",
        "sight",
        "solution",
        "strategy",
        "levels",
        "cycling",
        "ending",
        "marching",
        "moving",
        "outlook",
        "polishing",
        "stages",
        "train",
    }
    | {"records", "studies", "testing", "cli"}
)

OUTSIDE = ("coarsened", "distilling", "train", "records", "studies", "testing", "cli")
"""What looks on from outside, what makes levels and starts before training, and the loop that joins the rooms."""

ARROWS: dict[str, frozenset[str]] = {
    "_errors": frozenset(),
    "_types": frozenset(),
    "_results": frozenset(),
    "problems": frozenset(),
    "fields": frozenset(),
    "hierarchy": frozenset({"fields"}),
    "objective": frozenset({"problems", "fields", "hierarchy"}),
    "solvers": frozenset({"_results", "objective", "hierarchy", "fields"}),
    "cycles": frozenset({"_results", "hierarchy", "objective"}),
    "guards": frozenset({"problems", "fields", "objective", "_results", "events"}),
    "clock": frozenset(),
    "events": frozenset({"_results"}),
    "evaluation": frozenset({"problems", "fields", "objective"}),
    "figures": frozenset({"problems", "fields", "objective", "evaluation", "events"}),
    "report": frozenset({"_results", "problems", "events", "evaluation", "figures"}),
    "solution": frozenset(
        {"_results", "fields", "problems", "events", "evaluation", "figures", "report", "objective", "dynamics"}
    ),
    "dynamics": frozenset({"problems", "fields", "hierarchy", "objective"}),
    "families": frozenset({"problems", "fields", "hierarchy"}),
    "sight": frozenset({"problems", "objective"}),
    "strategy": ROOMS
    - {"levels", "fidelities", "cycling", "marching", "ending", "moving", "outlook", "polishing", "stages", *OUTSIDE},
    "levels": ROOMS
    - {"fidelities", "cycling", "marching", "ending", "moving", "outlook", "polishing", "stages", *OUTSIDE},
    "cycling": ROOMS - {"fidelities", "marching", "ending", "moving", "outlook", "polishing", "stages", *OUTSIDE},
    "marching": ROOMS - {"fidelities", "ending", "moving", "outlook", "polishing", "stages", *OUTSIDE},
    "moving": ROOMS - {"fidelities", "cycling", "marching", "ending", "outlook", "polishing", "stages", *OUTSIDE},
    "polishing": ROOMS - {"fidelities", "cycling", "marching", "ending", "moving", "outlook", "stages", *OUTSIDE},
    "ending": ROOMS - {"fidelities", "marching", "moving", "outlook", "stages", *OUTSIDE},
    "outlook": ROOMS - {"fidelities", "cycling", "marching", "ending", "moving", "polishing", "stages", *OUTSIDE},
    "stages": ROOMS - {"fidelities", "cycling", "marching", "ending", "moving", "outlook", "polishing", *OUTSIDE},
    "fidelities": ROOMS - {"cycling", "ending", "moving", "outlook", "polishing", "stages", *OUTSIDE},
    "coarsened": frozenset({"problems", "hierarchy", "objective", "solvers", "strategy", "levels"}),
    "distilling": frozenset(
        {"problems", "fields", "families", "objective", "solvers", "sight", "solution", "strategy"}
    ),
    "train": ROOMS - {"coarsened", "distilling", "records", "studies", "testing", "cli"},
    "records": frozenset({"solution", "problems", "fields", "_results", "events", "evaluation", "figures", "report"})
    | {"dynamics", "objective"},
    "studies": ROOMS - {"cli"} | {FRONT},
    "testing": ROOMS - {"cli"} | {FRONT},
    "cli": ROOMS | {FRONT},
    FRONT: ROOMS - {"cli"},
    "__main__": frozenset({"cli"}),
}


def room_of(file: Path) -> str:
    """Room of a file given relative to the package: its folder there, or its own name."""
    room = file.parts[0].removesuffix(".py")
    return FRONT if room == "__init__" else room


def package_of(file: Path) -> list[str]:
    """Dotted name, in parts, of the package that a file (relative to the package) belongs to."""
    return [FRONT, *file.parts[:-1]]


def imported_modules(tree: ast.AST, package: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Line and full dotted name, in parts, of everything that is imported, by statement or by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield node.lineno, [*base, alias.name]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value.split(".")


def forbidden_arrows(source: str, file: Path) -> list[str]:
    """Sentences about the imports of a file, given relative to the package, that its room may not have."""
    room = room_of(file)
    if room not in ARROWS:
        return [f"{file}: room '{room}' has no row in the table of arrows; state there what it may import"]
    complaints = []
    for line, parts in imported_modules(ast.parse(source), package_of(file)):
        if parts[0] != FRONT:
            continue
        target = parts[1] if len(parts) > 1 and parts[1] in ARROWS else FRONT
        if target == room or target in ARROWS[room] | (FOUNDATION if room not in FOUNDATION else frozenset()):
            continue
        complaints.append(f"{file}:{line}: '{room}' may not import '{target}' ({'.'.join(parts)})")
    return complaints


def printing_lines(source: str) -> list[int]:
    """Lines that name the built-in `print`, called or passed on, or `jax.debug.print`."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.Name) and node.id == "print")
        or (isinstance(node, ast.Attribute) and node.attr == "print" and ast.unparse(node.value).endswith("debug"))
    ]


def relative(file: Path) -> Path:
    return file.relative_to(SOURCE)


@pytest.mark.parametrize("file", FILES, ids=lambda file: relative(file).as_posix())
def test_imports_follow_the_arrows(file):
    complaints = forbidden_arrows(file.read_text(encoding="utf-8"), relative(file))
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("file", FILES, ids=lambda file: relative(file).as_posix())
def test_only_the_command_line_prints(file):
    if room_of(relative(file)) == "cli":
        return
    lines = printing_lines(file.read_text(encoding="utf-8"))
    assert not lines, f"{relative(file)} prints in lines {lines}; emit an event or return a text instead"


def test_problems_import_no_other_room():
    others = ROOMS - {"problems"} | {FRONT}
    for file in (f for f in FILES if room_of(relative(f)) == "problems"):
        for line, parts in imported_modules(ast.parse(file.read_text(encoding="utf-8")), package_of(relative(file))):
            if parts[0] == FRONT:
                target = parts[1] if len(parts) > 1 and parts[1] in ARROWS else FRONT
                assert target not in others, f"{relative(file)}:{line}: a problem imports {'.'.join(parts)}"


def test_there_is_something_to_check():
    assert {"problems", "fields"} <= {room_of(relative(file)) for file in FILES}


def test_the_arrows_have_no_loop():
    # `__init__` aside: Kahn's order over the rooms that do the work.
    below = {room: set(targets) - {room, FRONT} for room, targets in ARROWS.items() if room != FRONT}
    for name in ("studies", "testing"):  # may use each other: a study may show a law, a law may run a study
        below[name] -= {"studies", "testing"}
    while below:
        free = [room for room, targets in below.items() if not targets & below.keys()]
        assert free, f"loop among {sorted(below)}"
        for room in free:
            del below[room]


@pytest.mark.parametrize(
    ("file", "source", "target"),
    [
        ("problems/heat.py", "from hierax.fields import KAN", "fields"),
        ("problems/heat.py", "import hierax as hx", "hierax"),
        ("problems/heat.py", "from .. import solvers", "solvers"),
        ("fields/kan.py", "from ..problems.domain import Box", "problems"),
        ("fields/kan.py", "def f():\n    import hierax.hierarchy.level", "hierarchy"),
        ("objective.py", "from .solvers import GaussNewton", "solvers"),
        ("objective/local.py", "from ..solvers import GaussNewton", "solvers"),
        ("solvers/gauss_newton.py", "from hierax.cycles import VCycle", "cycles"),
        ("cycles/nested.py", "import importlib\nimportlib.import_module('hierax.train')", "train"),
        ("solution.py", "from hierax.records.figures import draw", "records"),
        ("train.py", "from hierax import records", "records"),
        ("train.py", "from hierax import KAN", "hierax"),
        ("strategy.py", "from .train import train", "train"),
        ("guards.py", "from .solution import Solution", "solution"),
        ("studies/kan.py", "from hierax.cli import main", "cli"),
        ("_errors.py", "from ._results import RESULTS", "_results"),
    ],
)
def test_a_forbidden_arrow_is_found(file, source, target):
    complaints = forbidden_arrows(source, Path(file))
    assert len(complaints) == 1
    assert f"may not import '{target}'" in complaints[0]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("problems/heat.py", "from .domain import Box\nfrom hierax._errors import InputError\nimport jax"),
        ("hierarchy/level.py", "from ..fields.base import AbstractField\nfrom .transfer import Transfer"),
        ("objective/local.py", "from ..problems import Problem\nfrom . import dense"),
        ("records/figures.py", "from hierax.solution import Solution"),
        ("train.py", "from .strategy import plan\nfrom .cycles.nested import NestedIteration"),
        ("studies/kan.py", "import hierax as hx\nfrom hierax.train import train"),
        ("__init__.py", "from .train import train as train"),
    ],
)
def test_a_permitted_arrow_passes(file, source):
    assert forbidden_arrows(source, Path(file)) == []


def test_an_unknown_room_is_asked_for_its_arrows():
    assert "no row" in forbidden_arrows("import jax", Path("attic/old.py"))[0]


@pytest.mark.parametrize("source", ["print('x')", "list(map(print, [1]))", "import jax\njax.debug.print('{}', 1)"])
def test_printing_is_found(source):
    assert printing_lines(source)


def test_a_method_called_print_is_not_printing():
    assert not printing_lines("'''Does not print.'''\nconsole.print('x')  # print")
