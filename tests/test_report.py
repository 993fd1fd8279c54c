"""The report: one page about any run folder, which loads nothing and tells what there is."""

import dataclasses
import json
import re
import shutil
import subprocess
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from handmade import exact_problem, solution_of
from matplotlib.figure import Figure
from test_records import EVENTS

import hierax as hx
import hierax.results.figures
import hierax.results.report
from hierax import cli
from hierax._errors import InputError
from hierax.events import Decision, Guard, RunFinished
from hierax.records import Folder, Run
from hierax.records.manifest import Entry, Manifest
from hierax.records.report import read_account, write_report
from hierax.results.evaluation import residual
from hierax.results.report import Account, page, pictures
from hierax.results.report.citations import METHODS, cited
from hierax.results.report.markup import Markup, element, table
from hierax.results.report.measured import measured
from hierax.results.report.words import MEANINGS

MEGABYTE = 1_000_000
SOURCE = Path(hierax.results.report.__file__).parent


class Page(HTMLParser):
    """What a browser would load and show of a page."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.images, self.tags, self.words, self.links = [], [], [], [], []
        self.feed(text)
        self.shown = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        if tag == "img":
            self.images.append(found)
        self.loaded += [found[name] for name in ("src", "srcset", "data", "poster", "action") if name in found]
        self.links += [found["href"]] if "href" in found else []

    def handle_data(self, data):
        if self.lasttag not in ("style", "script"):
            self.words.append(data)


def drawn(image):
    """The SVG text of an image of a page."""
    head, _, content = image["src"].partition(",")
    assert head == "data:image/svg+xml"
    return urllib.parse.unquote(content, errors="strict")


OWN = """
import jax.numpy as jnp
import hierax as hx

def problem(wave=3.0):
    return hx.Problem(
        hx.Box([0.0], [1.0], names=("x",)),
        (
            hx.Residual("interior", lambda u, x: hx.derivative(u, "xx")(x) + wave**2 * jnp.sin(wave * x[0])),
            hx.Residual("ends", lambda u, x, normal: u(x) - jnp.sin(wave * x[0]), on="boundary"),
        ),
        reference=lambda x: jnp.sin(wave * x[0]),
    )
"""


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The folder of a short training of a user's own problem with a known solution."""
    home = tmp_path_factory.mktemp("home")
    (home / "own.py").write_text(OWN)
    words = ["--set", "wave=2.0", "--levels", "2", "--seed", "3", "--budget-seconds", "100"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Run, "write_figure", lambda run, solution: None)
        assert cli.main(["train", f"{home / 'own.py'}:problem", *words, "--run", str(home / "run")]) == 0
    return home / "run"


@pytest.fixture(scope="session")
def shown(small):
    """The page about the short training, as it was written."""
    own = f"{small.parent / 'own.py'}:problem"
    return Page(write_report(small, problem=own).read_text(encoding="utf-8"))


@pytest.fixture
def folder(small, tmp_path):
    """A copy of the run folder, to be damaged, without pictures of its solution."""
    shutil.copytree(small, tmp_path / "run")
    return tmp_path / "run"


def forget(folder, *names):
    """Take files away, as if they had never been."""
    manifest = Manifest.read(folder).changed({}, set(names))
    for name in names:
        (folder / name).unlink(missing_ok=True)
    if "manifest.json" not in names:
        manifest.write(folder)


def killed(folder):
    """The folder as it would be if the run had been killed while it wrote an event."""
    forget(folder, "solution.json", "solution.npz", *(path.name for path in folder.glob("state*")))
    lines = (folder / "events.jsonl").read_text().splitlines()
    kept = [line for line in lines if '"RunFinished"' not in line]
    (folder / "events.jsonl").write_text("\n".join(kept[:-1]) + "\n" + kept[-1][:20])
    Manifest.read(folder).changed({"events.jsonl": Entry.of(kept[0].encode(), True)}).write(folder)
    return len(kept)


# the page


def test_the_page_loads_nothing_and_is_small(small, shown):
    size = (small / "report.html").stat().st_size
    assert 50_000 < size < MEGABYTE
    assert shown.loaded
    assert all(address.startswith("data:image/svg+xml,") for address in shown.loaded)
    assert all(link.startswith("#") for link in shown.links)
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(shown.tags)
    text = re.sub(r'src="[^"]*"', "", (small / "report.html").read_text(encoding="utf-8"))
    assert "url(" not in text
    assert "@import" not in text
    for image in shown.images:
        assert image["alt"]
        assert not re.search(r'href="(?!#|data:)|url\((?!#)', drawn(image))


def test_the_page_says_what_the_record_says(small, shown):
    record = json.loads((small / "solution.json").read_text())
    assert "Training ended in order" in shown.shown
    for number in (record["relative_l2"], record["seconds_total"], record["loss"]):
        assert f"{number:.3g}" in shown.shown
    assert "linear in its parameters" in shown.shown
    assert (
        f"hierax train {small.parent}/own.py:problem --set wave=2.0 --levels 2 --seed 3 --budget-seconds 100"
        in shown.shown
    )
    assert all(line in shown.shown for line in record["plan"].splitlines())
    (diagnosis,) = re.findall(r"[Ll](imited by \w+: .*)", (small / "diagnosis.txt").read_text())
    assert diagnosis in shown.shown
    for name, guard in record["guards"].items():
        assert guard["sentence"] in shown.shown
        assert MEANINGS[name] in shown.shown
    for section in ("Plan", "Guards", "Levels", "Convergence", "Solution", "Residuals", "Settings", "Environment"):
        assert section in shown.words
    assert "Training" not in shown.words
    for package in ("jax", "equinox", "numpy"):
        assert re.search(rf"{package} \d+\.\d+", shown.shown)


def test_pictures_are_those_of_the_solution(shown):
    texts = [image["alt"] for image in shown.images]
    assert texts[2:] == ["u", "Error of u", "Residual of interior"]
    assert all("<svg" in drawn(image) for image in shown.images)


def test_publications_follow_from_what_was_used(shown):
    cited = {re.match(r"@\w+\{(\w+)", text).group(1) for text in shown.words if text.startswith("@")}
    assert {"deboor2001", "bornemann1996", "marquardt1963", "sobol1967", "jax2018"} <= cited
    assert not {"liu2025kan", "kingma2015", "kennedy2000", "raissi2019", "rahaman2019"} & cited


def test_every_publication_is_of_a_method_and_known():
    keys = re.findall(r"^@\w+\{(\w+),", (SOURCE / "methods.bib").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(set(keys)) == len(keys)
    assert {key for method in METHODS for key in method.keys} == set(keys)


def test_a_page_of_a_solution_without_a_folder(tmp_path, monkeypatch):
    no_pictures(monkeypatch)
    solution = dataclasses.replace(solution_of(), linear_in_parameters=False, solver="adam")
    solution.report(tmp_path / "page.html")
    seen = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert [image["alt"] for image in seen.images][2:] == ["u", "Error of u", "u at 5 times", "Residual of interior"]
    assert any(text.startswith("@inproceedings{kingma2015") for text in seen.words)
    assert "nonlinear in its parameters" in seen.shown
    assert str(solution.diagnose())[1:] in seen.shown
    with pytest.raises(InputError, match="cannot be written"):
        solution.report(tmp_path / "nowhere" / "page.html")


def no_pictures(monkeypatch):
    """Drawing takes most of the time of a page, and of a command."""
    monkeypatch.setattr(Run, "write_figure", lambda run, solution: None)
    monkeypatch.setattr(pictures.Picture, "uri", lambda picture: "data:image/svg+xml,")


# hostile and odd


def test_hostile_names_are_escaped(monkeypatch):
    attack = "</title><script>alert(1)</script><img src=http://x.example/a.png onerror=x> $\\frac{"
    problem = exact_problem()
    problem.name = attack
    problem.terms = (dataclasses.replace(problem.terms[0], name=attack), problem.terms[1])
    guards = {attack: Guard(0.1, 1.0, True, attack)}
    solution = dataclasses.replace(solution_of(problem), guards=guards, plan=attack, field_kind=attack, solver=attack)
    monkeypatch.setattr(hierax.results.figures, "IMAGE_POINTS", 11)
    image = drawn({"src": pictures.residuals(account_of(solution))[0].uri()})
    assert "&lt;script&gt;" in image
    assert "<script" not in image
    no_pictures(monkeypatch)
    seen = Page(page(account_of(solution)))
    assert "script" not in seen.tags
    assert all(address.startswith("data:") for address in seen.loaded)
    assert seen.shown.count("<script>alert(1)</script>") >= 6


def account_of(solution):
    return Account(
        solution.to_json(), solution.levels, solution.history, problem=solution.problem, trained=solution.field
    )


def test_markup_escapes_all_but_itself():
    assert element("p", "a < b", [None, Markup("<br>")], title='"x"') == '<p title="&quot;x&quot;">a &lt; b<br></p>'
    assert "&lt;i&gt;" in table(["<i>"], [["<i>"]])
    assert "<i>" not in table(["<i>"], [["<i>"]])


# any run folder


def test_a_killed_run_is_told_as_far_as_it_went(folder, monkeypatch, capsys):
    no_pictures(monkeypatch)
    count = killed(folder)
    assert cli.main(["report", str(folder), "--out", str(folder.parent / "page.html")]) == 0
    assert "page.html" in capsys.readouterr().out
    seen = Page((folder.parent / "page.html").read_text(encoding="utf-8"))
    assert "has not ended" in seen.shown
    assert "did not come to its end" in seen.shown
    assert f"Line {count} of {count}" in seen.shown
    assert "before a level was trained" in seen.shown
    assert "No guard was computed" in seen.shown
    assert not (folder / "report.html").exists() or (folder / "report.html").stat().st_size > 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: (d / "solution.npz").write_bytes(b"x"), "solution.npz is damaged: it has 1 bytes"),
        (lambda d: (d / "solution.json").write_bytes(b"x"), "shown is what the events tell"),
        (lambda d: (d / "events.jsonl").unlink(), "events.jsonl is damaged: the file 'events.jsonl' is missing"),
        (lambda d: (d / "plan.txt").unlink(), "Training ended in order"),
        (lambda d: (d / "manifest.json").write_text("{}"), "manifest.json is damaged"),
    ],
)
def test_what_is_damaged_is_named_and_the_rest_is_told(folder, change, says, monkeypatch):
    no_pictures(monkeypatch)
    change(folder)
    assert says in Page(write_report(folder).read_text(encoding="utf-8")).shown


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (
            "guard_boundary",
            "Do not rely on this answer yet: training ended in order, but of its guards boundary failed.",
        ),
        ("singular", "Training failed (singular)"),
        ("interrupted", "The run was interrupted"),
    ],
)
def test_other_results_open_the_page_with_a_warning_and_a_remedy(result, says, monkeypatch):
    no_pictures(monkeypatch)
    seen = Page(page(account_of(solution_of(result=hx.RESULTS[result]))))
    assert says in seen.shown
    assert hx.RESULTS[result].value in seen.shown


def test_a_fit_shows_its_data_without_the_table(tmp_path, monkeypatch):
    no_pictures(monkeypatch)
    monkeypatch.chdir(tmp_path)
    field = hx.Unknowns(T=hx.SplineGrid.uniform([0.0], [1.0], 2, 2))
    monkeypatch.setattr(cli, "train", lambda problem, **rest: solution_of(problem, field))
    (tmp_path / "d.csv").write_text("x,T\n0,1\n0.5,2\n1,3\n")
    assert cli.main(["fit", "d.csv", "--inputs", "x", "--outputs", "T", "--run", "run"]) == 0
    (tmp_path / "d.csv").unlink()
    account, _ = read_account(Folder.open(tmp_path / "run"))
    assert account.data
    assert account.command == "hierax fit d.csv --inputs x --outputs T --seed 0 --budget-seconds 60"
    np.testing.assert_array_equal(account.problem.terms[0].values, [1, 2, 3])


def test_no_file_in_a_folder_is_run(folder, monkeypatch):
    no_pictures(monkeypatch)
    (folder / "own.py").write_text("raise SystemExit('was run')\n")
    account, _ = read_account(Folder.open(folder))
    assert account.trained is not None
    assert "own.py is damaged" in " ".join(account.notes)
    assert "by --problem FILE.py:OBJECT" in " ".join(account.notes)
    assert [image["alt"] for image in Page(page(account)).images][2:] == ["u"]
    with pytest.raises(InputError, match="not the one that the run was started with"):
        read_account(Folder.open(folder), str(folder / "own.py"))


def test_folders_that_are_no_run_are_refused(folder, tmp_path, capsys):
    (tmp_path / "study").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "settings.json").write_text("[]")
    for name, says in {
        "nothing": "no such run folder",
        "study": "it has no settings.json",
        "bad": "does not describe a run",
        ".": "Give one of those in it: bad, run",
    }.items():
        assert cli.main(["report", str(tmp_path / name)]) == 1
        assert says in capsys.readouterr().err
    assert cli.main(["report", str(folder), "--out", str(tmp_path / "no" / "page.html")]) == 1
    assert "no folder" in capsys.readouterr().err


def test_events_alone_give_levels_decisions_and_guards(folder):
    forget(folder, "solution.json", "events.jsonl")
    run = Run(folder)
    for event in (*EVENTS, Decision("<b>"), RunFinished(hx.RESULTS.guard_boundary, "levels", {}, 1.5)):
        run(event)
    run.close()
    account, _ = read_account(Folder.open(folder))
    assert [level.error for level in account.levels] == [0.25]
    assert account.decisions == ["The budget is spent.", "<b>"]
    assert account.record["result"] == "guard_boundary"
    assert account.record["seconds_total"] == 1.5
    assert np.isnan(account.history[0].decrease)


def test_a_continued_run_names_its_values_and_its_method(folder):
    forget(folder, "manifest.json")
    settings = json.loads((folder / "settings.json").read_text())
    options = settings["options"] | {"set": [], "continue": "wave=1.0,2.0"}
    (folder / "settings.json").write_text(json.dumps(settings | {"options": options}))
    account, _ = read_account(Folder.open(folder))
    assert "own.py:problem --continue wave=1.0,2.0 --levels 2" in account.command
    assert "--set" not in account.command
    record = {**account.record, "options": options}
    assert any(
        "allgower1990" in entry for _, texts in cited(dataclasses.replace(account, record=record)) for entry in texts
    )


# pictures


SLICES = {
    "line": (1, ("x",), 1, ["u"]),
    "plane": (2, ("x", "y"), 1, ["u"]),
    "plane and time": (3, ("t", "x", "y"), 1, ["u at t = 0", "u at t = 0.5", "u at t = 1"]),
    "space": (3, ("x", "y", "z"), 1, ["u at z = 0.5", "u at y = 0.5", "u at x = 0.5"]),
    "vector": (2, ("x", "y"), 2, ["u[0]", "u[1]", "u as arrows"]),
}


@pytest.mark.parametrize("kind", SLICES)
def test_slices_follow_the_coordinates(kind):
    dim, names, components, texts = SLICES[kind]
    field = hx.SplineGrid.uniform([0.0] * dim, [1.0] * dim, 1, 1, out=components)
    unknowns = {"u": hx.Function(components)} if components > 1 else None
    value = (lambda w, x: w.u(x)) if unknowns else (lambda u, x: u(x))
    problem = hx.Problem(hx.Box([0.0] * dim, [1.0] * dim, names=names), (hx.Residual("r", value),), unknowns=unknowns)
    account = account_of(solution_of(problem, hx.Unknowns(u=field) if unknowns else field))
    assert [picture.text for picture in pictures.solution(account)] == texts
    planes = pictures.residuals(account)
    assert len(planes) == (3 if dim == 3 else 1)


def test_arrows_and_the_residual_of_a_vector(monkeypatch):
    monkeypatch.setattr(hierax.results.figures, "IMAGE_POINTS", 31)
    field = hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], 1, 1, out=2)
    field = hx.Unknowns(u=hx.SplineGrid(field.axes, jnp.ones_like(field.coefficients)))
    problem = hx.Problem(
        hx.Box([0.0, 0.0], [1.0, 1.0], names=("x", "y")),
        (hx.Residual("r", lambda w, x: w.u(x) - jnp.array([3.0, 4.0])),),
        unknowns={"u": hx.Function(2)},
    )
    np.testing.assert_allclose(residual(problem, field, problem.terms[0], [[0.5, 0.5]]), [[-2.0, -3.0]])
    account = account_of(solution_of(problem, field))
    axes = Figure().add_subplot()
    pictures.solution(account)[-1].draw(axes)
    np.testing.assert_allclose(axes.collections[0].get_array(), np.sqrt(2.0))
    assert len(axes.collections[1].U) == pictures.ARROWS**2
    axes = Figure().add_subplot()
    pictures.residuals(account)[0].draw(axes)
    np.testing.assert_allclose(axes.collections[0].get_array(), np.sqrt(13.0))


def test_measures_become_pictures(monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {
        "spectrum_of": np.array("error"),
        "spectrum_seconds": np.arange(4.0),
        "spectrum_level": np.array([0, 0, 1, 1]),
        "spectrum_edges": np.arange(6.0),
        "spectrum_energy": rng.uniform(size=(4, 5)) * [[0.0], [1.0], [1e-9], [np.nan]],
        "contraction_level": np.array([0, 1]),
        "contraction_factor": np.array([0.5, 1.2]),
        "kernel_seconds": np.array([0.0, 1.0]),
        "kernel_eigenvalues": np.array([[3.0, 1.0, np.nan], [2.0, 1.0, 0.0]]),
        "kernel_alignment": np.array([[0.5, 0.2, np.nan], [0.1, 0.1, 0.1]]),
        "kernel_terms": np.array(["interior", "$wall"]),
        "kernel_traces": np.array([[1.0, 2.0], [1.0, 3.0]]),
        "kernel_level": np.array([0, 1]),
        "kernel_decay": np.array([[np.nan, np.nan, np.nan], [0.2, 0.1, 0.05]]),
        "curvature_level": np.array([0, 1]),
        "curvature_nodes": np.array([[-1e-20, 1.0, np.nan], [1e-3, 1.0, 2.0]]),
        "curvature_weights": np.array([[0.5, 0.5, np.nan], [0.2, 0.3, 0.5]]),
        "curvature_condition": np.array([[1e4, 1e2], [1e6, 1e2]]),
        "watching_seconds": np.array(0.1),
    }
    account = dataclasses.replace(account_of(solution_of()), measures=arrays, trained=None)
    no_pictures(monkeypatch)
    seen = Page(page(account))
    assert [image["alt"].split()[0] for image in seen.images[2:]] == [
        "Heat",
        "Factor",
        "Eigenvalues",
        "Share",
        "Observed",
        "Traces",
        "Density",
        "Condition",
    ]
    assert any("rahaman2019" in text for text in seen.words)
    titles = ("error by", "contraction", "eigen", "share", "decay", "trace", "share of the curv", "condition")
    for picture, title in zip(measured(account), titles, strict=True):
        axes = Figure().add_subplot()
        picture.draw(axes)
        assert axes.get_title(loc="left").startswith(title) or axes.get_title().startswith(title)
        if title == "decay":
            np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.2, 0.1])
            # gradient descent: half of the eigenvalue, half of the decay
            np.testing.assert_allclose(axes.lines[1].get_ydata(), [0.1, 0.2])
        if title.startswith("share of"):
            np.testing.assert_allclose(axes.patches[0].get_data().values.sum(), 1.0)
    assert account.measured == ["contraction", "curvature", "kernel", "spectrum"]
    empty = {name: np.zeros((0,) * np.ndim(array)) for name, array in arrays.items()}
    assert dataclasses.replace(account, measures=empty).measured == []


# in a browser


def test_no_sideways_scrolling_on_a_narrow_screen(small, shown, tmp_path):
    browser = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if browser is None:
        pytest.skip("no headless browser is installed (chromium)")
    probe = "<script>document.title='wide '+document.documentElement.scrollWidth+' of '+innerWidth</script>"
    # A headless window is at least 500 pixels wide; a frame may be narrower.
    text = (small / "report.html").read_text(encoding="utf-8").replace("</body>", f"{probe}</body>")
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    frame = '<iframe id=f width=360 height=800 src=page.html style="border:0"></iframe>'
    reads = "<script>f.onload=()=>document.body.append(f.contentDocument.title)</script>"
    (tmp_path / "frame.html").write_text(f"<!DOCTYPE html><body>{frame}{reads}")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom"]
    home = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [browser, *options, home, "--virtual-time-budget=5000", (tmp_path / "frame.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    wide, narrow = re.search(r"wide (\d+) of (\d+)", done.stdout.rpartition("</iframe>")[2]).groups()
    assert int(narrow) == 360
    assert int(wide) <= 360
