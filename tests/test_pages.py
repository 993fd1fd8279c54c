"""Pages of measurements: the study of commands takes a folder up where it was, and what the demo says is for people."""

import json

import pytest

from hierax._errors import InputError
from studies import demo, overview, pages
from studies.__main__ import main

FOUND = {"parameters": 10, "linear_in_parameters": True, "seconds_compile": 1.0, "stopped_by": "levels"}


def left(folder, number, error, result="successful", **more):
    """What a command leaves in the folder of the study."""
    record = {**FOUND, "relative_l2": error, "result": result, **more}
    (folder / f"{number:02}.json").write_text(json.dumps(record))
    (folder / f"{number:02}.time").write_text("2.5 0.5 9.0\nrc=0\n")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which all commands of the short form have run, and a place for pages."""
    for number in range(1, len(overview.CHEAP) + 1):
        left(tmp_path, number, 10.0**-number)
    monkeypatch.setattr(pages, "PAGES", tmp_path / "pages")
    return tmp_path


def test_a_folder_of_finished_commands_becomes_a_page(folder, monkeypatch):
    monkeypatch.setattr(overview, "measure", None)  # nothing is run again
    pages.PAGES.mkdir()
    assert main(["overview", "--quick", "--out", str(folder), "--page"]) == 0
    written = (pages.PAGES / "overview.md").read_text()
    assert written == pages.page(pages.read("overview"))
    assert "short form" in written
    assert f"| `{overview.CHEAP[1]}` | 1.0e-02 | 10 | yes | 3 | 1 | levels |" in written
    assert "[short form](overview.md)" in (pages.PAGES / "index.md").read_text()


def test_pages_need_their_folder(folder):
    with pytest.raises(InputError, match="no folder of pages"):
        pages.keep({"study": "overview", "quick": True, "made": {}, "notes": "What.", "table": "x"})


def test_a_row_loses_where_the_default_is_better_and_the_text_counts_them(folder):
    left(folder, 1, 1e-8)
    left(folder, 2, 1e-2, "guard_levels", linear_in_parameters=False)
    words = ("burgers", "burgers --field kan")
    rows = [overview.row_of(word, folder, f"{number:02}") for number, word in enumerate(words, 1)]
    assert [overview.loses(row, rows) for row in rows] == [False, True]
    assert overview.verdict(rows[1], rows) == "`levels` fails; loses"
    assert "1 of 2 rows are spline grids" in overview.reading(rows)
    assert "Guards refuse 1 of them." in overview.reading(rows)


def test_an_excerpt_replaces_what_is_between_its_marks():
    text = "a\n<!-- x -->\nold\n<!-- end of x -->\nb <!-- y -->"
    assert pages.with_excerpt(text, "x", r"n\1") == "a\n<!-- x -->\nn\\1\n<!-- end of x -->\nb <!-- y -->"


def test_one_command_leaves_json_output_and_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(overview, "CHEAP", ("oscillator --levels 1",))
    record = overview.run(tmp_path, quick=True)
    assert record["rows"][0]["parameters"] > 0
    assert record["rows"][0]["seconds"] > 0
    assert "level 0" in (tmp_path / "01.out").read_text()


@pytest.mark.slow
def test_the_demo_speaks_to_people(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "LEVELS", 2)
    monkeypatch.setattr(demo, "MEASURED", 300)
    assert main(["demo", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out.partition("\nReport")[0]
    assert not any(word in said for word in ("None", "nan", "_", "{", "guard "))
    assert "Adam" in said
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "burgers.png").stat().st_size > 10_000
