"""The shift between two DSMs against the known one of the golden pairs, and against what a published tool found."""

import numpy as np
import pytest
from golden import load_json
from golden_evaluation import FOLDER, cases

from refbench.evaluation.coregistration import coregister
from refbench.evaluation.evaluate import evaluate
from refbench.evaluation.shift import shifted
from refbench.formats.raster import open_dsm

GOLDENS = "published tools and closed forms"

COREG = FOLDER / "coreg"
EXPECTED = load_json(COREG / "expected.json") if COREG.is_dir() else {}
TOLERANCE_PX, TOLERANCE_M = 0.02, 0.02


def pair(name):
    return (open_dsm(COREG / name / f"{kind}.tif").read() for kind in ("to_align", "reference"))


@cases("name", EXPECTED)
def test_the_true_shift_is_found(name):
    to_align, reference = pair(name)
    found = coregister(to_align, reference)
    expected, size = EXPECTED[name]["truth"], EXPECTED[name]["resolution_m"]
    assert found.east_m / size == pytest.approx(expected["correction_east_m"] / size, abs=TOLERANCE_PX)
    assert found.north_m / size == pytest.approx(expected["correction_north_m"] / size, abs=TOLERANCE_PX)
    assert found.up_m == pytest.approx(expected["correction_up_m"], abs=TOLERANCE_M)


@cases("name", [name for name in EXPECTED if "xdem_NuthKaab_subsample1" in EXPECTED[name]])
def test_heights_come_as_close_as_the_published_tool(name):
    """One of its bars is missed by 2 mm in the plane, so the surfaces are compared: spread and median."""
    to_align, reference = pair(name)
    moved = shifted(to_align, coregister(to_align, reference))
    after = EXPECTED[name].get("xdem_stats_after")
    scores = evaluate(moved, reference, bootstrap=False, layers=())["all"]
    assert abs(scores["median"]) < TOLERANCE_M
    if after is not None:
        assert scores["nmad"] <= 1.02 * after["nmad"]
    assert np.isfinite(moved.heights).sum() == np.isfinite(to_align.heights).sum()
