"""A metric is one record: what it computes, and that everything that names it takes it from there."""

import json
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from click.testing import CliRunner
from sweep_maker import SIZE, SweepMaker, table

import refbench
from refbench.cli.validate import command as validate
from refbench.contracts.grid import Grid
from refbench.contracts.raster import DSM, Mask
from refbench.engine.sweeps.changes import sweep_changes
from refbench.evaluation.evaluate import evaluate, evaluate_pair
from refbench.evaluation.metrics import METRICS, RANKED, shown_in
from refbench.reporting.page.sweep import sweep_page
from refbench.reporting.tables.changes import change_tables
from refbench.reporting.tables.data import sweep_tables
from refbench.reporting.tables.formats import write_tables

KEY = "harm_rate"
ROWS, COLS = 128, 192
GRID = Grid(COLS, ROWS, Affine(1, 0, 0, 0, -1, ROWS))


def dsm(heights):
    return DSM(np.asarray(heights, np.float32), GRID)


def harmed(before, after, **options):
    flat = np.zeros((ROWS, COLS))
    return evaluate_pair(dsm(before), dsm(after), dsm(flat), **options)["refined"]


def test_harm_is_counted_among_the_pixels_that_were_right_before():
    before, after = np.zeros((ROWS, COLS)), np.zeros((ROWS, COLS))
    before[:, 96:] = 2.0  # half was wrong: whatever becomes of it is no harm
    after[:, 96:] = 3.0
    after[:32, :96] = -0.75  # a quarter of what was right
    after[32:64, :96] = 0.5  # still within
    water = Mask((np.arange(ROWS) < 64)[:, None] * np.ones(COLS, np.uint8), GRID, "water")
    found = harmed(before, after, masks={"water": water})
    assert found["all"][KEY] == 0.25 and found["water"][KEY] == 0.5
    interval = found["intervals"]["all"][KEY]
    assert interval["low"] <= 0.25 <= interval["high"] and interval["blocks"] == 6


def test_pixels_that_one_of_both_lacks_do_not_count():
    before, after = np.zeros((ROWS, COLS)), np.ones((ROWS, COLS))
    before[:, :64], after[64:] = np.nan, np.nan
    after[:32] = 0
    assert harmed(before, after)["all"][KEY] == 0.5
    assert harmed(before + 9, after)["all"][KEY] is None  # nothing was right before
    assert KEY not in harmed(before + 9, after)["intervals"]["all"]


def test_a_dsm_alone_has_no_pair():
    assert KEY not in evaluate(dsm(np.zeros((ROWS, COLS))), dsm(np.zeros((ROWS, COLS))), bootstrap=False)["all"]


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """Two sweeps with an input that is 0.4 m off: a method that harms 5 of 9 blocks, then one that harms none."""
    found = []
    for name, error in (("first", 1.0), ("second", 0.25)):
        maker = SweepMaker(tmp_path_factory.mktemp(name) / name, initial=0.4)
        checks = np.indices((SIZE, SIZE)).sum(0) // 64 % 2 == 0
        maker.ok("method", "east", np.where(checks, error, 0.1))
        found.append(maker.out)
    return found


def test_a_metric_comes_into_results_tables_pages_and_comparisons_by_its_record(sweeps):
    result = json.loads(next(sweeps[0].glob("**/result.json")).read_text())
    assert 0.4 < result["metrics"]["refined"]["all"][KEY] < 0.7
    accuracy = table(sweep_tables(sweeps[0]), "accuracy_common_all")
    (column,) = (index for index, column in enumerate(accuracy.columns) if column.metric == KEY)
    cells = {row[1].text: row[column] for row in accuracy.rows}
    assert cells["initial DSM"].value is None and cells["method"].value == result["metrics"]["refined"]["all"][KEY]
    assert cells["method"].low <= cells["method"].value <= cells["method"].high
    assert f",{KEY},fraction,lower," in write_tables(sweep_tables(sweeps[0]), "csv")
    assert any(column.metric == KEY for table in sweep_page(sweeps[0]).tables for column in table.columns)
    change = table(change_tables(sweep_changes(*sweeps), "A", "B"), f"change_{KEY}")
    assert [cell.text for cell in change.rows[0]][5:] == ["better", "paired"]


def test_the_schema_says_what_every_metric_is():
    done = CliRunner().invoke(validate, ["--schema"])
    heights = json.loads(done.stdout)["$defs"]["metrics_heights"]["properties"]
    assert heights[KEY]["description"] == METRICS[KEY].formula and heights[KEY]["x-better"] == "lower"
    assert heights["n"]["type"] == ["integer", "null"] and "abs_rel" not in heights


@pytest.mark.parametrize("key", [KEY, "le95", "edge_gradient_ratio", "step_edge_f1", "delta_1", "colour_mae"])
def test_a_metric_is_named_in_one_file_of_the_core(key):
    core = Path(refbench.__file__).parent
    assert len([path for path in core.rglob("*.py") if f'"{key}' in path.read_text()]) <= 1
    assert key in METRICS


def test_records_say_where_metrics_are_shown():
    assert shown_in("table")[0] == "completeness_valid" and shown_in("table")[-1] == "n"
    assert set(shown_in("narrow")) < set(shown_in("verb")) and KEY in RANKED
