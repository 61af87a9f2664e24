"""Tables of sweeps: what is compared, marked and averaged, and that no name can break a format."""

import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from sweep_maker import SIZE, SweepMaker, table

from refbench.contracts.errors import InputError
from refbench.engine.sweeps.common_domain import compare_sweep
from refbench.evaluation.reported import Measured, Verdict, verdict
from refbench.registry.records import Reported
from refbench.reporting.reported import reported_table
from refbench.reporting.tables.as_latex import FIT
from refbench.reporting.tables.as_latex import escape as latex_escape
from refbench.reporting.tables.data import sweep_tables
from refbench.reporting.tables.formats import FORMATS, write_tables
from refbench.reporting.tables.model import Column, Document, Entry, Figure, Table, figure_entries, marks, text_column
from refbench.reporting.tables.rows import read_data

HOSTILE = (
    '<script>alert("x")</script>',
    "a | b\n| c |",
    r"\input{/etc/passwd} \\ & % $x^2_i$ ~ #1 {",
    "=HYPERLINK(1)",
    "`code` *bold* [link](javascript:1) <img src=x onerror=y> & \x00\x1b[31m",
    "[1] -- ''tis ?` ” ∑ é",
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two scenes; ``half`` lacks one of them, ``seeded`` has two seeds, ``broken`` failed."""
    maker = SweepMaker(tmp_path_factory.mktemp("sweep") / "out")
    holes = np.zeros((SIZE, SIZE), bool)
    holes[:, :64] = True
    for scene in ("east", "west"):
        maker.ok("good", scene, 0.25)
        maker.ok("bad", scene, -3.0, holes=holes)
        maker.ok("seeded", scene, 1.5, seed=0)
        maker.ok("seeded", scene, 2.5, seed=1)
        maker.ended("broken", scene, "failed", "It broke.", log=["line"])
    maker.ok("half", "east", 0.5)
    maker.ended("half", "west", "timeout", "It was stopped.")
    return maker


@pytest.fixture(scope="module")
def document(sweep):
    return sweep_tables(sweep.out)


def rows_of(found):
    names = [column.metric for column in found.columns]
    return {tuple(entry.text for entry in row[:2]): dict(zip(names, row, strict=True)) for row in found.rows}


def test_accuracy_has_intervals_completeness_marks_and_ranks(document):
    rows = rows_of(table(document, "accuracy_common_all"))
    good, bad, seeded = (rows["east", name] for name in ("good", "bad", "seeded"))
    assert re.fullmatch(r"0\.25 \[0\.25, 0\.25\]", good["mae"].text) and good["mae"].mark == "best"
    assert rows["east", "half"]["mae"].mark == "second" and rows["west", "good"]["mae"].mark == "best"
    assert bad["completeness_valid"].value == pytest.approx(2 / 3) and bad["completeness_valid"].low < 2 / 3
    assert bad["n"].value == good["n"].value == SIZE * 128 and bad["blocks"].value == 6
    assert seeded["mae"].text.startswith("2.00 ± 0.71 [") and seeded["status"].text == "ok, 2 seeds"
    assert [rows["east", name]["rank"].text for name in ("good", "half", "seeded", "bad")] == ["1", "2", "3", "4"]
    assert rows["east", "initial DSM"]["mae"].value == pytest.approx(1, abs=1e-4)
    assert (rows["west", "broken"]["status"].text, rows["west", "broken"]["mae"].text) == ("failed", "–")
    own = rows_of(table(document, "accuracy_own_all"))
    assert own["east", "good"]["n"].value == SIZE**2 and not any(c.mark for row in own.values() for c in row.values())


def test_no_mean_over_unequal_sets_of_scenes(document, tmp_path):
    means = table(document, "means_all")
    assert {row[0].text for row in means.rows} == {"initial DSM", "good", "bad", "seeded"}
    assert "half has no mean" in means.notes[1] and "west" in means.notes[1]
    mae = {row[0].text: row[2] for row in means.rows}
    assert mae["good"].mark == "best" and mae["good"].value == pytest.approx(0.25, abs=1e-4)
    lonely = SweepMaker(tmp_path / "out")
    lonely.ok("a", "east", 1.0)
    lonely.ok("b", "west", 1.0)
    found = table(sweep_tables(lonely.out), "means_all")
    assert [row[0].text for row in found.rows] == ["initial DSM"] and len(found.notes) == 3


def test_scenes_of_one_size_are_drawn_independently(tmp_path):
    maker = SweepMaker(tmp_path / "out")
    error = 1 + np.kron(np.arange(9.0).reshape(3, 3), np.ones((64, 64)))
    for scene in ("east", "west"):
        maker.ok("a", scene, error)
    document = sweep_tables(maker.out)
    single = rows_of(table(document, "accuracy_common_all"))["east", "a"]["mae"]
    (mean,) = (row[2] for row in table(document, "means_all").rows if row[0].text == "a")
    assert mean.value == pytest.approx(single.value, abs=1e-3)
    assert (mean.high - mean.low) / (single.high - single.low) == pytest.approx(np.sqrt(0.5), abs=0.12)


def test_failures_and_cost_have_their_rows(document):
    endings = table(document, "endings")
    assert [tuple(entry.text for entry in row) for row in endings.rows][-1] == (
        "west",
        "half",
        "0",
        "timeout",
        "It was stopped.",
    )
    cost = rows_of(table(document, "cost"))["east", "good"]
    assert cost["peak_mib"].value == 64 and cost["px_per_s"].value == SIZE**2
    assert cost["km2_per_h"].value == pytest.approx(3600 * SIZE**2 / 1e6)


def test_strata_metrics_and_domains_can_be_chosen(sweep):
    found = sweep_tables(sweep.out, metrics=("le90", "within_1m"), domains=("own",))
    names = [column.metric for column in table(found, "accuracy_own_all").columns]
    assert names[3:7] == ["completeness_valid", "le90", "within_1m", "n"]
    assert {t.name for t in found.tables} == {"accuracy_own_all", "cost", "endings"}
    with pytest.raises(InputError, match="no stratum 'roofs'"):
        sweep_tables(sweep.out, strata=("roofs",))
    with pytest.raises(InputError, match="did you mean"):
        sweep_tables(sweep.out, metrics=("nmda",))


def test_a_comparison_is_kept_until_a_entry_changes(tmp_path):
    maker = SweepMaker(tmp_path / "out")
    maker.ok("a", "east", 1.0)
    first = compare_sweep(maker.out)["east"]
    path = maker.out / "comparison" / "east.json"
    before = path.stat().st_mtime_ns
    assert compare_sweep(maker.out)["east"] == first == json.loads(path.read_text())
    assert path.stat().st_mtime_ns == before
    maker.ok("a", "east", 2.0)
    assert compare_sweep(maker.out)["east"]["methods"]["a"]["own"]["all"]["mae"] == pytest.approx(2, abs=1e-4)
    with np.load(maker.out / "comparison" / "east_blocks.npz") as blocks:
        assert list(blocks["runs"]) == ["input", "a--east--seed0"] and blocks["own_n"].shape == (2, 9)
        assert blocks["own_sum_abs_e"][1].sum() / blocks["own_n"][1].sum() == pytest.approx(2, abs=1e-4)


def test_a_scene_that_cannot_be_compared_says_why(tmp_path):
    maker = SweepMaker(tmp_path / "out")
    maker.ok("a", "east", 1.0)
    maker.ended("b", "west", "oom", "No memory.")
    (maker.out / "scenes" / "east" / "reference.tif").unlink()
    document = sweep_tables(maker.out)
    found = table(document, "accuracy_common_all")
    assert any("east: not compared" in note and "reference.tif" in note for note in found.notes)
    assert rows_of(found)["east", "a"]["mae"].text == "–"
    own = rows_of(table(document, "accuracy_own_all"))["east", "a"]
    assert own["mae"].value == pytest.approx(1, abs=1e-4), "the job's own result is still shown"
    assert any("west: not compared: No job" in note for note in found.notes)


def hostile_document():
    columns = (text_column("scene", "scene"), text_column("method", HOSTILE[0]), Column("mae", HOSTILE[1], "↓"))
    rows = tuple(
        (Entry(name), Entry(name), Entry("-1.20 [0.10, 3.40]", 1.2, 0.1, 3.4, mark="best")) for name in HOSTILE
    )
    return Document(HOSTILE[0], (Table(HOSTILE[0], HOSTILE[2], columns, rows, HOSTILE),), HOSTILE)


class Collector(HTMLParser):
    """Collects tags and text of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def test_html_shows_hostile_names_as_text():
    page = Collector()
    page.feed(write_tables(hostile_document(), "html"))
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "a", "link"} and not any(k.startswith("on") for _, a in page.tags for k in a)
    assert HOSTILE[0] in page.texts and "\x00" not in "".join(page.texts)
    assert sum(tag == "tr" for tag, _ in page.tags) == 1 + len(HOSTILE)


def test_html_loads_nothing(document):
    text = write_tables(document, "html")
    assert not re.search(r"(src|href|url)\s*[=(]", text) and text.startswith("<!DOCTYPE html>")


def test_markdown_stays_a_table_whatever_the_names():
    lines = [line for line in write_tables(hostile_document(), "md").splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(HOSTILE)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {4}
    assert len({len(line) for line in lines}) == 1, "columns are aligned"
    text = write_tables(hostile_document(), "md")
    assert "<" not in text and "\x1b" not in text and "](" not in text.replace("\\]", "")
    assert "**-1.20 [0.10, 3.40]**" in text


def commands(text):
    """Return the LaTeX commands of a text without comments, after checks of braces and special letters."""
    text = text.replace(FIT, "{")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[\\{}$&#%_]", "", body)
    depth = 0
    for letter in bare:
        depth += (letter == "{") - (letter == "}")
        assert depth >= 0
    assert depth == 0 and bare.count("$") % 2 == 0 and "%" not in bare and "#" not in bare
    outside = re.sub(r"\$[^$]*\$", "", bare)
    assert not set('_^~<>|"`') & set(outside.replace("{`}", "").replace("{''}", "")) and bare.isascii()
    return set(re.findall(r"\\([a-zA-Z]+)", bare))


def test_latex_uses_two_packages_alone_and_escapes_every_name(document):
    known = {"begin", "end", "centering", "scriptsize", "setlength", "tabcolsep", "caption", "label"}
    known |= {"toprule", "midrule", "bottomrule", "textbf", "underline", "pm", "downarrow", "uparrow", "to", "times"}
    known |= {"textbackslash", "textasciicircum", "textasciitilde", "textendash", "geq"}
    for text in (write_tables(hostile_document(), "latex"), write_tables(document, "latex")):
        assert commands(text) <= known
        for block in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.DOTALL):
            rows = [line for line in block.splitlines() if line != r"\midrule"]
            entries = {len(re.findall(r"(?<!\\)&", re.sub(r"\\\\", "", line))) for line in rows}
            assert len(entries) == 1 and all(line.endswith(r" \\") and not line.startswith(("[", "*")) for line in rows)
    assert r"% \usepackage{booktabs,graphicx}" in text
    assert latex_escape("a -- b") == "a -{-} b" and latex_escape("é∑") == "e?"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")
def test_latex_compiles_and_fits_the_page(document, tmp_path):
    body = "\n".join(write_tables(some, "latex") for some in (document, hostile_document()))
    preamble = "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n\\begin{document}\n"
    (tmp_path / "paper.tex").write_text(f"{preamble}{body}\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and (tmp_path / "paper.pdf").is_file(), done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_csv_has_a_line_per_number_and_no_formula(document):
    lines = list(csv.DictReader(io.StringIO(write_tables(document, "csv"))))
    (good,) = (
        line
        for line in lines
        if (line["table"], line["scene"], line["method"], line["metric"])
        == ("accuracy_common_all", "east", "good", "mae")
    )
    assert float(good["value"]) == pytest.approx(0.25, abs=1e-4) and good["mark"] == "best" and good["unit"] == "m"
    assert (good["domain"], good["stratum"], good["better"]) == ("common", "all", "lower")
    hostile = csv.DictReader(io.StringIO(write_tables(hostile_document(), "csv")))
    assert not [text for line in hostile for text in line.values() if text.startswith(("=", "+", "@"))]


def test_json_holds_what_the_tables_hold(document):
    found = json.loads(write_tables(document, "json"))
    entry = found["tables"][0]["rows"][1][3]
    assert found["schema_version"] == 1 and {"text", "value", "low", "high", "spread", "mark"} == set(entry)
    assert set(FORMATS) == {"md", "latex", "csv", "html", "json"}


def test_the_best_must_beat_everybody():
    def entry(first, second, better):
        return {"first": first, "second": second, "better": better}

    full = [entry("a", "b", "first"), entry("a", None, "first"), entry("b", None, "first")]
    assert marks(full, ["a", "b", None]) == {"a": "best", "b": "second"}
    assert marks([entry("a", "b", None), *full[1:]], ["a", "b", None]) == {}
    assert marks([*full[:2], entry("b", None, None)], ["a", "b", None]) == {"a": "best"}
    assert marks([], ["a"]) == {}


def test_small_columns_have_a_decimal_more():
    texts = [entry.text for entry in figure_entries("mae", [Figure(0.05, 0.04, 0.06), Figure(1.0), Figure()])]
    assert texts == ["0.050 [0.040, 0.060]", "1.000", "–"]
    assert figure_entries("mae", [Figure(1.23, 1.1, 1.37)])[0].text == "1.23 [1.10, 1.37]"


@pytest.mark.parametrize(
    ("values", "dataset", "protocol", "expected"),
    [
        ((1.04,), "City 7", "own", Verdict.REPRODUCES),
        ((1.2,), "city-7", "own", Verdict.DIFFERS),
        ((1.0, 1.3), "city-7", "own/all", Verdict.REPRODUCES),
        ((1.0,), "city-7", "own/building", Verdict.PROTOCOL_DIFFERS),
        ((1.0,), "city-7", "eight-fold, filtered", Verdict.PROTOCOL_DIFFERS),
        ((1.0,), "city-8", "own", Verdict.DATA_UNAVAILABLE),
        ((), "city-7", "own", Verdict.DATA_UNAVAILABLE),
    ],
)
def test_verdicts_are_computed(values, dataset, protocol, expected):
    rows = [Measured("city-7", tuple({"own": {"all": {"truncated_5m": {"mae": value}}}} for value in values))]
    reported = Reported("truncated_5m.mae", 1.0, "Table 2", dataset, protocol)
    decided, value = verdict(reported, rows)
    assert decided is expected and (value is None) == (expected not in (Verdict.REPRODUCES, Verdict.DIFFERS))


def test_reported_numbers_of_records_stand_below_the_table(sweep, tmp_path, monkeypatch):
    assert reported_table(read_data(sweep.out).rows).rows == ()
    plugin = tmp_path / "reporting_plugin.py"
    plugin.write_text(
        "from refbench import Gives, MethodRecord, Need, hookimpl\n"
        "from refbench.registry.records import Reported\n"
        "@hookimpl\n"
        "def refbench_methods():\n"
        "    numbers = [Reported('mae', v, 'Table 1', s, 'own') for v, s in ((0.25, 'east'), (9.0, 'west'))]\n"
        "    return [MethodRecord(name='good', target='x:y', summary='s', needs=(Need.DSM,), gives=(Gives.DSM,),"
        " reported=tuple(numbers), unreported='RMSE')]\n"
    )
    from refbench.registry import registry

    monkeypatch.setenv("REFBENCH_PLUGINS", str(plugin))
    registry.load_registry.cache_clear()
    try:
        found = table(sweep_tables(sweep.out), "reported")
    finally:
        registry.load_registry.cache_clear()
    assert [row[-1].text for row in found.rows] == ["reproduces", "differs", "–"] and found.rows[1][7].text == "0.250"
    assert found.rows[2][4].text == "RMSE" and found.rows[2][6].text == "none available"
