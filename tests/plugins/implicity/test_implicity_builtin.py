"""The built-in weights: what a newcomer meets first."""

import json
import re

import pytest
import rasterio
from run_refbench import answer

from refbench.scenes.scene_yaml import embedded_scene_path

pytest.importorskip("torch")
SCENE = embedded_scene_path()
WEIGHTS_LIMIT_BYTES = 8_000_000


def run(folder, *arguments):
    done = answer(folder, "run", "--method", "implicity", "--no-report", *arguments, "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "out" / "result.json").read_text()), done.stdout


def test_the_default_run_beats_its_input(tmp_path):
    result, shown = run(tmp_path, "--reporter", "implicity-eval")
    before, after = result["metrics"]["input"]["all"], result["metrics"]["refined"]["all"]
    assert after["mae"] <= 0.85 * before["mae"] and after["n"] == before["n"]
    assert result["notes"]["variant"] == "stereo" and "MAE" in shown
    table = (tmp_path / "out" / "implicity_eval.txt").read_text()
    own = result["metrics"]["own_domain"]["refined"]["all"]
    assert re.search(rf"^Overall +{own['mae']:.4f} ", table, re.MULTILINE) and "Terrain_wo_water" in table
    with rasterio.open(tmp_path / "out" / "dsm.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and "UTM zone 32N" in file.crs.to_wkt()


@pytest.mark.parametrize("orthos", [0, 1])
def test_fewer_orthos_fall_back_and_say_so(tmp_path, orthos):
    flags = ("--ortho", SCENE / "ortho_a.tif") * orthos
    files = ("--points", SCENE / "points.laz", "--dsm", SCENE / "dsm.tif", "--reference", SCENE / "reference.tif")
    result, shown = run(tmp_path, *files, *flags)
    assert result["notes"]["variant"] == "0" and "fell back" in " ".join(result["notes"]["remarks"])
    assert "fell back" in shown.replace("\n", " ")
    assert result["metrics"]["refined"]["all"]["mae"] < result["metrics"]["input"]["all"]["mae"]


def test_the_weights_are_small_and_have_cards():
    import refbench_implicity.method as module

    for name in ("stereo", "0"):
        folder = module.BUILT_IN / name
        assert sum(path.stat().st_size for path in folder.iterdir()) <= WEIGHTS_LIMIT_BYTES
        card = (folder / "README.md").read_text()
        for words in ("seed 0", "3600 steps", "Held-out scores", "Provisional"):
            assert words in card
