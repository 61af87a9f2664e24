"""One raster in regions: joined they are the raster of one run, byte by byte, and scored once."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from affine import Affine
from makers import UTM
from run_refbench import refbench

from refbench import DSM, Grid
from refbench.formats.raster import open_dsm, write_dsm

OF = 3
# Below 1024 rows, so that seams lie inside a block of the file and inside tiles of 512 px.
ROWS, COLS = 900, 300
RUN = (
    "run",
    "--method",
    "median",
    "--set",
    "size=7",
    "--dsm",
    "dsm.tif",
    "--reference",
    "reference.tif",
    "--no-report",
)


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a scene, ``whole`` run at once, and the regions of ``big``, each run by itself."""
    folder = tmp_path_factory.mktemp("regions")
    rng = np.random.default_rng(3)
    grid = Grid(COLS, ROWS, Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), UTM)
    reference = (100 + np.cumsum(rng.normal(0, 0.2, (ROWS, COLS)), axis=0)).astype(np.float32)
    noisy = (reference + rng.normal(0, 1, reference.shape)).astype(np.float32)
    noisy[rng.random(reference.shape) < 0.05] = np.nan
    noisy[:310] = np.nan  # the first region holds no height at all
    write_dsm(folder / "reference.tif", DSM(reference, grid))
    write_dsm(folder / "dsm.tif", DSM(noisy, grid))
    refbench(folder, *RUN, "--out", "whole")
    for index in range(OF):
        refbench(folder, *RUN, "--out", "big", "--region-index", index, "--of", OF)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """Return fresh copies, at the same place in the scene."""
    for name in ("big.regions", "whole"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


def test_joined_regions_are_the_raster_of_one_run_and_its_scores(made, folder):
    refbench(folder, "merge", "big", "--no-report", "--stac")
    assert sha(folder / "big" / "dsm.tif") == sha(folder / "whole" / "dsm.tif")
    whole, joined = (json.loads((folder / name / "result.json").read_text()) for name in ("whole", "big"))
    assert joined["metrics"] == whole["metrics"] and joined["metrics"]["refined"]["all"]["mae"] > 0
    assert joined["warnings"] == whole["warnings"] and joined["hashes"]["inputs"] == whole["hashes"]["inputs"]
    assert joined["notes"]["regions"]["count"] == OF
    assert [phase["name"] for phase in joined["phases"]] == ["open", "prepare", "join", "evaluate"]
    assert json.loads((folder / "big" / "item.json").read_text())["assets"]["dsm"]["href"] == "./dsm.tif"


def test_each_region_holds_its_rows_and_is_not_scored(made):
    first = 0
    for index in range(OF):
        region = made / "big.regions" / f"{index}-of-{OF}"
        result = json.loads((region / "result.json").read_text())
        assert result["metrics"] is None and "scored when all are joined" in result["metrics_reason"]
        assert result["notes"]["region"] == {"index": index, "of": OF, "row_off": first, "rows": 300}
        assert open_dsm(region / "dsm.tif").grid.shape == (300, COLS)
        first += 300


def test_a_region_that_is_finished_is_kept_and_another_request_runs_again(made):
    said = refbench(made, *RUN, "--out", "big", "--region-index", 1, "--of", OF)
    assert "is finished" in said
    said = refbench(made, *RUN, "--seed", 1, "--out", "big", "--region-index", 1, "--of", OF, code=2)
    assert "already holds a result" in said


def test_run_by_regions_at_once_goes_on_with_what_is_there(made, folder):
    for name in ("dsm.tif", "reference.tif"):
        shutil.copy(made / name, folder)
    shutil.rmtree(folder / "big.regions")
    said = refbench(folder, *RUN, "--out", "big", "--regions", 2, "--workers", 2)
    assert "2 of 2 regions" in said
    assert sha(folder / "big" / "dsm.tif") == sha(folder / "whole" / "dsm.tif")
    kept = folder / "big.regions" / "0-of-2" / "result.json"
    before = kept.stat().st_mtime_ns
    shutil.rmtree(folder / "big.regions" / "1-of-2")
    refbench(folder, *RUN, "--out", "big", "--regions", 2, "--overwrite")
    assert kept.stat().st_mtime_ns == before
    assert sha(folder / "big" / "dsm.tif") == sha(folder / "whole" / "dsm.tif")


def test_what_is_missing_changed_or_of_another_run_is_named(folder):
    regions = folder / "big.regions"
    path = regions / "1-of-3" / "result.json"
    text = path.read_text()
    for change, said in (
        ({"seed": 5}, "different seeds"),
        ({"status": "failed", "reason": "The roof."}, "ended as failed: The roof."),
        ({"notes": {}}, "is no region of a run"),
    ):
        path.write_text(json.dumps(json.loads(text) | change))
        assert said in refbench(folder, "merge", "big", code=2)
    path.write_text(text)
    dsm = regions / "1-of-3" / "dsm.tif"
    whole = dsm.read_bytes()
    dsm.write_bytes(whole[:-1])
    assert "was changed since it was written" in refbench(folder, "merge", "big", code=2)
    dsm.write_bytes(whole)
    shutil.rmtree(regions / "1-of-3")
    assert "1 of 3 regions are missing: 1;" in refbench(folder, "merge", "big", code=2)
    assert not (folder / "big").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--region-index", 0), "--region-index needs --of, too"),
        (("--of", 2), "--of needs --region-index, too"),
        (("--region-index", 2, "--of", 2), "counted from 0 to 1"),
        (("--region-index", 0, "--of", 9999), "cannot be cut into 9999 regions"),
        (("--region-index", 0, "--of", 2, "--regions", 2), "give one of the two"),
        (("--workers", 2), "--workers is for --regions N"),
        (("--scheduler", "tcp://127.0.0.1:1"), "--scheduler is for --regions N"),
    ],
)
def test_options_that_do_not_go_together(made, tmp_path, arguments, said):
    assert said in refbench(made, *RUN, "--out", tmp_path / "out", *arguments, code=2)
    assert not [*tmp_path.iterdir()]


def test_a_method_that_sees_the_whole_scene_is_not_cut(tmp_path):
    (tmp_path / "sees_all.py").write_text(
        "from refbench import Gives, MethodRecord, Need, Prediction, hookimpl\n"
        "class SeesAll:\n"
        "    def __init__(self, config, weights): pass\n"
        "    def refine(self, scene, context): return Prediction(scene.dsm.read())\n"
        "@hookimpl\ndef refbench_methods():\n"
        "    return [MethodRecord('sees-all', 'sees_all:SeesAll', 'x', (Need.DSM,), (Gives.DSM,))]\n"
    )
    plugin = {"REFBENCH_PLUGINS": str(tmp_path / "sees_all.py")}
    for how in (("--regions", 2), ("--region-index", 0, "--of", 2)):
        said = refbench(tmp_path, "run", "--method", "sees-all", "--out", "out", *how, code=3, **plugin)
        assert "sees the whole scene, not tiles" in said


LAYERED = """
import numpy as np
from refbench import Gives, MethodRecord, Need, TileMethod, TilePlan, hookimpl
class Layered(TileMethod):
    def __init__(self, config, weights): pass
    def plan(self, grid): return TilePlan.regular(grid, 48, 4)
    def layers(self): return ('confidence', 'provenance', 'other')
    def quality_layers(self): return ('count',)
    def refine_tiles(self, batch, context):
        known = np.isfinite(batch.dsm)
        return {
            'dsm': batch.dsm + 1,
            'confidence': np.abs(batch.dsm),
            'provenance': np.where(known, np.where(batch.dsm > 0, 1, 3), 0).astype(np.uint8),
            'other': batch.dsm - 1,
            'count': np.round(batch.dsm),
        }
@hookimpl
def refbench_methods():
    return [MethodRecord('layered', 'layered:Layered', 'x', (Need.DSM,), (Gives.DSM,))]
"""


def test_every_layer_is_joined_byte_by_byte(tmp_path):
    (tmp_path / "layered.py").write_text(LAYERED)
    plugin = {"REFBENCH_PLUGINS": str(tmp_path / "layered.py")}
    run = ("run", "--method", "layered", "--no-report")
    refbench(tmp_path, *run, "--out", "whole", **plugin)
    refbench(tmp_path, *run, "--out", "big", "--regions", 2, **plugin)
    whole, joined = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "big"))
    assert joined["outputs"] == whole["outputs"]
    assert set(whole["outputs"]) == {"dsm", "confidence", "provenance", "dsm_other", "count"}
    assert joined["hashes"]["outputs"] == whole["hashes"]["outputs"]
