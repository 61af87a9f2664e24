"""``refbench table`` and ``refbench compare`` on sweeps that ``refbench bench`` made."""

import json
import shutil
from pathlib import Path

import pytest
from run_refbench import answer

SUITE = """
refbench_suite: 1
name: pair
methods: [guided, {{method: median, label: smooth, set: {{size: {size}}}}}, {last}]
scenes: [{{cut: {{scene: embedded, size_m: 100}}}}]
"""
SCENE = "embedded-100m"
PLUGIN = Path(__file__).with_name("run_plugin.py")


def refbench(*arguments, code=0):
    done = answer(None, *arguments, REFBENCH_PLUGINS=PLUGIN)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """Two sweeps of one scene: ``smooth`` smooths less in the second, and the last method fails in one of them."""
    folder = tmp_path_factory.mktemp("sweeps")
    for name, size, last, code in (("first", 9, "failing", 1), ("second", 3, "skipped", 0)):
        suite = folder / f"{name}.yaml"
        suite.write_text(SUITE.format(size=size, last=f"{{method: {last}, label: third}}"))
        refbench("bench", suite, "--out", folder / name, code=code)
    return folder


def test_a_table_names_every_method_with_intervals_and_failures(sweeps, tmp_path):
    text = refbench("table", sweeps / "first")
    rows = [line for line in text.splitlines() if line.startswith(f"| {SCENE}")]
    assert any("| smooth " in row and "[" in row for row in rows) and any("the roof is on fire" in row for row in rows)
    assert text.startswith("# Benchmark pair") and "## Cost" in text and "km²/h ↑" in text
    out = tmp_path / "table.tex"
    assert refbench("table", sweeps / "first", "--format", "latex", "--domain", "own", "--out", out).strip() == str(out)
    assert r"\toprule" in out.read_text() and "common domain" not in out.read_text()


def test_the_table_agrees_with_the_results(sweeps):
    found = json.loads(
        refbench("table", sweeps / "first", "--format", "json", "--metric", "mae", "--stratum", "building")
    )
    (own,) = (t for t in found["tables"] if t["name"] == "accuracy_own_building")
    (entry,) = (row[4] for row in own["rows"] if row[1]["text"] == "smooth")
    result = json.loads((sweeps / "first" / "jobs" / f"smooth--{SCENE}--seed0" / "result.json").read_text())
    assert entry["value"] == pytest.approx(result["metrics"]["own_domain"]["refined"]["building"]["mae"])
    kept = json.loads((sweeps / "first" / "comparison" / f"{SCENE}.json").read_text())
    interval = kept["methods"]["smooth"]["own"]["intervals"]["all"]["mae"]
    assert interval == pytest.approx(result["metrics"]["refined"]["intervals"]["all"]["mae"]), "one scene, one seed"


def test_compare_tells_change_from_noise(sweeps):
    found = json.loads(refbench("compare", sweeps / "first", sweeps / "second", "--format", "json"))
    tables = {table["name"]: table for table in found["tables"]}
    rows = {row[1]["text"]: [entry["text"] for entry in row] for row in tables["change_nmad"]["rows"]}
    assert rows["guided"][5:] == ["identical", "identical"] and rows["guided"][4] == "0.000"
    assert rows["smooth"][5:] == ["worse", "paired"] and "[" in rows["smooth"][4]
    assert set(rows) == {"guided", "smooth"}
    (change,) = tables["status_changes"]["rows"]
    assert [entry["text"] for entry in change[1:4]] == ["third", "failed", "skipped"]


def test_a_moved_sweep_is_compared_where_it_lies_now(sweeps, tmp_path):
    shutil.copytree(sweeps / "first", tmp_path / "moved", ignore=shutil.ignore_patterns("comparison"))
    shutil.rmtree(tmp_path / "moved" / "jobs" / f"guided--{SCENE}--seed0")
    text = refbench("compare", sweeps / "second", tmp_path / "moved")
    assert "missing" in text and "better" in text


def test_what_is_no_sweep_is_refused_in_one_sentence(tmp_path):
    for arguments in (("table", tmp_path), ("compare", tmp_path, tmp_path)):
        assert refbench(*arguments, code=2).startswith(f"Error: {tmp_path} holds no sweep")
    (tmp_path / "jobs" / "a--b--seed0").mkdir(parents=True)
    assert "no finished job" in refbench("table", tmp_path, code=2)
    (tmp_path / "jobs" / "a--b--seed0" / "result.json").write_text('{"schema_version": 1}')
    assert "is no result" in refbench("table", tmp_path, code=2)
