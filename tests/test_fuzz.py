"""Input that nobody meant: problem files, tables, run folders and command lines, made from a seed.

Each ends with an exit code and a sentence; what is raised out of the command line is a fault. These are short forms:
with larger numbers of cases they have found the kinds of faults that are mended now.
"""

import contextlib
import io
import json
import random
import shutil

import numpy as np
import pytest
from handmade import solution_of
from test_records import EVENTS

import hierax as hx
from hierax import cli
from hierax.records import Folder, Run, write_columns
from hierax.records.fingerprint import fingerprint
from hierax.records.manifest import Entry, Manifest
from hierax.records.sources import CatalogueSource, FileSource
from hierax.records.user_file import user_errors
from hierax.results import archive

HEAD = "import math\nimport jax\nimport jax.numpy as jnp\nimport numpy as np\nimport hierax as hx\n"
VALUES = """u(x)|u|u(x)-1|-u|u**2|u(x,x)|u()|w.u(x)|w(x)|w|hx.derivative(u,'x')|hx.derivative(u,'q')(x)
hx.gradient(u)(x)|hx.derivative(u,0)(x)|hx.laplacian(u(x))|np.sin(u(x))|math.sin(u(x))|float(u(x))
u(x) if u(x)>0 else 0.|not u(x)|None|'text'|[u(x),u(x)]|{'a':u(x)}|jnp.zeros(3)|1.0|x[7]*u(x)|u(x)*1j|1/0
undefined(x)|u(x).foo|u(x)[0]|u(x)==0|range(3)
lambda z: u(z)|len(u(x))|[u(x) for _ in x]|hx.Box|jax.grad(u)(x)|x @ u(x)|exit()|jnp.inf*u(x)|{1,2}|u('x')|u(None)"""
ARGUMENTS = ("u,x", "u,x", "u,x", "u", "", "u,x,n", "u,x,n,m", "w,x", "*a", "*,u,x", "**k")
PLACES = ("", "", ", on='boundary'", ", on=hx.Face('q','lower')", ", on='top'", ", on=3", ", on=()", ", on=hx.Face")
DOMAINS = """hx.Box([0.,0.],[1.,1.],names=('t','x'))|hx.Box([0.],[1.])|hx.Box(0,1)|hx.Box([0.],[0.])|hx.Box('a','b')
None|hx.Box([0.],[float('nan')])|hx.Box([0.],[1.],names=(1,))|hx.Box|hx.PointCloud(np.zeros((0,2)))|hx.PointCloud([['a']])"""
UNKNOWNS = """|{'u':hx.Function(2)}|{'u':hx.Function(),'nu':hx.Constant(0.1)}|{}|{'1u':hx.Function()}|{'u':1}
['u']|{1:3}|{'u':hx.Function('a')}|{'u':hx.Function(prior=1)}
{'u':hx.Function(initial=lambda: 0)}|{'u':hx.Constant('a')}"""
OTHERS = """|constraint=3|constraint=lambda u: None|constraint=lambda: 1|constraint=lambda u: lambda x: None|reference=3
reference=lambda: 1|reference=lambda x: None|reference='x'|reference=lambda x: np.sin(x[0])|reference=lambda x: x[5]"""


def several(text):
    return [part for line in text.splitlines() for part in line.split("|")]


def problem_text(rng):
    """A problem file that may be wrong in several ways."""
    pick = lambda words, often: rng.choice(words) if rng.random() > often else words[0]  # noqa: E731
    value, arguments = rng.choice(several(VALUES)), pick(ARGUMENTS, 0.5)
    unknowns, other = pick(several(UNKNOWNS), 0.7), pick(several(OTHERS), 0.8)
    kind, line = rng.choice(("Residual", "Residual", "Energy")), rng.choice(("return ", "return ", "return ", "y = "))
    more = (f", unknowns={unknowns}" if unknowns else "") + (f", {other}" if other else "")
    term = f"hx.{kind}('r', term{pick(PLACES, 0.8)})"
    made = f"hx.Problem({pick(several(DOMAINS), 0.8)}, ({term},){more})"
    return f"{HEAD}\ndef term({arguments}):\n    {line}{value}\n\ndef problem():\n    return {made}\n"


@pytest.mark.parametrize("seed", range(4))
def test_problem_files(seed, tmp_path):
    rng, path, refused = random.Random(seed), tmp_path / "own.py", 0
    for _ in range(60):
        path.write_text(problem_text(rng))
        try:
            source = FileSource(path, "problem")
            problem = source.load()
            with user_errors(path):
                fingerprint(problem)
        except hx.InputError as error:
            refused += bool(error.where and error.remedy)
    assert refused > 20


REMEDIES = {
    "def term(u): return 1.0": "cannot be called with 2 arguments",
    "def term(u, x): return u": "u(x) in place of u",
    "def term(u, x): return u - 1": "u(x) in place of u",
    "def term(u, x): u(x)": "end it with `return`",
    "def term(u, x): return u(x) if x[0] > 0 else 0.0": "jnp.where",
    "def term(u, x): return np.sin(u(x))": "jnp.sin in place of np.sin",
    "def term(u, x): return w.u(x)": "name 'w' is not defined",
    "def term(u, x): return u.v(x)": "without `unknowns=`|write u(x), not w.u(x)",
    "def term(u, x): return u(x) > 0": "no derivative|have no derivative",
    "def term(u, x): return {'a': u(x)}": "jnp.stack",
}


@pytest.mark.parametrize("text", REMEDIES)
def test_common_mistakes_are_told_with_their_line_and_remedy(text, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(f"{HEAD}{text}\nproblem = hx.Problem(hx.Box([0.], [1.]), (hx.Residual('r', term),))\n")
    with pytest.raises(hx.InputError, match=REMEDIES[text].replace("(", r"\(").replace(")", r"\)")) as caught:
        _traced(path)
    assert "own.py, line" in caught.value.where


def _traced(path):
    with user_errors(path):
        fingerprint(FileSource(path, "problem").load())


def test_a_reference_that_is_a_text_is_refused():
    with pytest.raises(hx.InputError, match="no array of real numbers"):
        hx.Problem(hx.Box([0.0], [1.0]), (hx.Residual("r", lambda u, x: u(x)),), reference="x")


def test_named_unknowns_are_not_called(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        f"{HEAD}problem = hx.Problem(hx.Box([0.], [1.]), (hx.Residual('r', lambda w, x: w(x)),), "
        "unknowns={'u': hx.Function()})\n"
    )
    with pytest.raises(hx.InputError, match=r"write w\.u\(x\)"):
        _traced(path)


# tables


def mutated(rng, content):
    """Bytes with some flipped, missing, repeated or foreign."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        place, kind = rng.randrange(len(content) + 1), rng.random()
        if kind < 0.4 and place < len(content):
            content[place] ^= 1 << rng.randrange(8)
        elif kind < 0.6:
            del content[place : place + rng.choice((1, 10, 200))]
        elif kind < 0.9:
            content[place:place] = rng.choice(
                (b",", b"\n", b"\x00", b'"', b"#", b"nan", b"1e999", b"1,5", b"\xff", b"_")
            )
        else:
            del content[place:]
    return bytes(content)


@pytest.mark.parametrize("suffix", ["csv", "npz", "h5", "parquet"])
def test_tables(suffix, tmp_path, monkeypatch):
    pytest.importorskip({"h5": "h5py", "parquet": "pyarrow"}.get(suffix, "numpy"))
    rng, path = random.Random(suffix), tmp_path / f"t.{suffix}"
    x = np.linspace(0, 1, 20)
    write_columns(path, {"x": x, "y": x**2, "u": np.sin(x)})
    content = path.read_bytes()

    def stop(problem, **rest):
        raise hx.InputError("read", "", "")

    monkeypatch.setattr(cli, "train", stop)
    monkeypatch.setattr(Run, "write_settings", lambda *arguments: None)
    ways = (
        [],
        [],
        ["--drop-missing"],
        ["--level", "y"],
        ["--rename", "u=v"],
        ["--log", "u"],
        ["--sigma", "y"],
        ["--domain", "x=0:1", "--periodic", "y=1"],
    )
    for _ in range(60):
        path.write_bytes(mutated(rng, content))
        inputs = rng.choice((["x", "y"], ["x,y"], ["points"], ["q"]))
        with contextlib.redirect_stderr(io.StringIO()) as told:
            words = ["fit", str(path), "--inputs", *inputs, "--outputs", "u", *rng.choice(ways)]
            assert cli.main([*words, "--run", str(tmp_path / "run")]) == 1
        assert "remedy" in told.getvalue()


# folders

ODD = (
    None,
    True,
    -1,
    10**30,
    1e300,
    "",
    "x",
    "../../x",
    [],
    {},
    [[]],
    {"kind": "tuple", "items": []},
    "é" * 99,
    [1, 2],
)


def changed(rng, document):
    """A JSON document with some of its parts missing or exchanged."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        node, places = document, []
        while isinstance(node, dict | list) and len(node) and rng.random() < 0.8:
            key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
            places.append((node, key))
            node = node[key]
        if places:
            parent, key = places[-1]
            if rng.random() < 0.3:
                del parent[key]
            else:
                parent[key] = json.loads(json.dumps(rng.choice(ODD)))
    return document


class Written:
    """Stands for the codec: writes the description that it is given, with the arrays of another one."""

    def __init__(self, description, arrays):
        self.description, self.arrays = description, arrays

    def describe(self, node, arrays):
        arrays.named.update(self.arrays)
        return self.description


def tampered(rng, name, content):
    """The content of a file with something else in it, for which it has the right sums."""
    if name.endswith(".json"):
        return json.dumps(changed(rng, json.loads(content))).encode()
    if name.endswith(".jsonl"):
        lines = content.splitlines()
        lines[rng.randrange(len(lines))] = rng.choice(
            (b"[]", b"null", b"{", b"\xff", b'{"event": 3}', b'{"event": "Decision"}')
        )
        return b"\n".join(lines)
    with np.load(io.BytesIO(content)) as read:
        arrays = {name: read[name] for name in read.files}
    description = json.loads(arrays.pop("description").tobytes())["object"]
    return archive.pack(None, Written(changed(rng, description), arrays))


def test_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("hierax.results.report.pictures.Picture.uri", lambda picture: "data:image/svg+xml,")
    whole, folder, rng = tmp_path / "whole", tmp_path / "run", random.Random(0)
    solution, run = solution_of(), Run.create("x", whole)
    run.write_settings(CatalogueSource("poisson-2d"), solution.problem, {"seed": 0})
    for event in EVENTS:
        run(event)
    run.write_solution(solution, solution.to_json())
    run.close()
    (tmp_path / "p.csv").write_text("t,x\n0.5,0.5\n")
    names = sorted(path.name for path in whole.iterdir() if path.suffix in (".json", ".npz", ".jsonl"))
    names.remove("manifest.json")
    for _ in range(80):
        shutil.copytree(whole, folder)
        name = rng.choice(names)
        (folder / name).write_bytes(content := tampered(rng, name, (folder / name).read_bytes()))
        Manifest.read(folder).changed({name: Entry.of(content)}).write(folder)
        assert not Folder.open(folder).faults
        words = rng.choice((["predict", str(folder), str(tmp_path / "p.csv")], ["report", str(folder)]))
        with contextlib.redirect_stderr(io.StringIO()) as told, contextlib.redirect_stdout(io.StringIO()):
            code = cli.main([*words, "--out", str(tmp_path / f"out.{'csv' if words[0] == 'predict' else 'html'}")])
        assert code in (0, 2) or "remedy" in told.getvalue()
        shutil.rmtree(folder)


# command lines

WORDS = several("""train|fit|predict|resume|report|list|burgers|poisson-2d|d.csv|none|--inputs|--outputs|x|u|--set|-
viscosity=0.1|viscosity=a|=|--continue|viscosity=1,2|--field|grid|pou|--levels|0|3|-1|1e9|--cycle|v|--solver|adam|--seed|-3
--budget-seconds|nan|--run|d.csv|--json|o.json|--out|o.csv|o.txt|--values|u_x|u[0]|--state|99|--problem|own.py:p|--outside
clip|--force|--help|--|--rename|a=b|--log|--sigma|--drop-missing|--live|é""")


def test_command_lines(tmp_path, monkeypatch):
    def stop(problem, **rest):
        raise hx.InputError("asked", "", "nothing")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "train", stop)
    monkeypatch.setattr(Run, "write_settings", lambda *arguments: None)
    (tmp_path / "d.csv").write_text("x,u\n0,1\n1,2\n2,5\n")
    rng = random.Random(0)
    starts = (
        ["train", "burgers"],
        ["fit", "d.csv", "--inputs", "x", "--outputs", "u"],
        ["predict", "none"],
        [],
        ["train"],
    )
    for _ in range(100):
        words = [*rng.choice(starts), *(rng.choice(WORDS) for _ in range(rng.choice((0, 1, 2, 3, 6))))]
        with contextlib.redirect_stderr(io.StringIO()) as told, contextlib.redirect_stdout(io.StringIO()) as shown:
            assert cli.main(words) in (0, 1)
        assert told.getvalue() or shown.getvalue()
