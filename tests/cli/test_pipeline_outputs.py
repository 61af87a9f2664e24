"""Output folders of other pipelines through the command line: run as they are, by a baseline and a learnt method."""

import json
import shutil

import numpy as np
import pytest
import rasterio
from pipeline_folders import (
    asp_folder,
    cars_folder,
    eth3d_folder,
    micmac_folder,
    odm_folder,
    opensfm_folder,
    s2p_folder,
    transforms_folder,
)
from run_refbench import refbench

from refbench.scenes.scene_yaml import load_scene

FOLDERS = {"cars": cars_folder, "s2p": s2p_folder, "odm": odm_folder, "asp": asp_folder, "micmac": micmac_folder}


@pytest.mark.parametrize("tool", FOLDERS)
@pytest.mark.parametrize("method", ["input", "resdepth"])
def test_a_method_runs_on_the_folder_of_a_pipeline(tmp_path, tool, method):
    FOLDERS[tool](tmp_path / "out")
    said = refbench(tmp_path, "run", "out", "--method", method, "--out", "refined")
    assert "is no scene" not in said
    result = json.loads((tmp_path / "refined/result.json").read_text())
    assert result["status"] == "ok" and result["hashes"]["inputs"]
    with rasterio.open(tmp_path / "refined/dsm.tif") as file:
        heights = file.read(1, masked=True)
    # The hole of the pipeline's DSM stays one, everything else has a height.
    assert heights.mask[:6, :7].all() and not heights.mask[6:].any() and np.isfinite(heights.compressed()).all()


AERIAL_IMAGES = {"transforms.json": transforms_folder, "eth3d": eth3d_folder, "opensfm": opensfm_folder}


@pytest.mark.parametrize("tool", AERIAL_IMAGES)
def test_images_without_ground_go_to_methods_that_take_them(tmp_path, tool):
    AERIAL_IMAGES[tool](tmp_path / "out")
    # Sparse points of a reconstruction are gridded; a row of them spans no ground.
    code = 3 if tool == "eth3d" else 0
    for method in ("input", "resdepth"):
        said = refbench(tmp_path, "run", "out", "--method", method, "--out", "refined", code=code)
        assert "is no scene" not in said and ("unsupported" in said) == (code == 3)
        shutil.rmtree(tmp_path / "refined")
    assert "is no scene" not in refbench(tmp_path, "run", "out", "--method", "diffrender", "--dry-run")


def test_a_result_goes_back_into_the_tree_of_its_pipeline(tmp_path):
    cars_folder(tmp_path / "out")
    refbench(tmp_path, "run", "out", "--method", "fill", "--out", "refined")
    said = refbench(tmp_path, *["scene", "export", "--to", "cars", "refined", "--scene", "out", "--out", "written"])
    assert "Wrote written" in said
    with rasterio.open(tmp_path / "refined/dsm.tif") as one, rasterio.open(tmp_path / "written/dsm/dsm.tif") as two:
        assert np.array_equal(one.read(1), two.read(1)) and two.nodata == -32768
    assert (tmp_path / "written/dsm/image.tif").is_file() and (tmp_path / "written/config.yaml").is_file()
    with rasterio.open(tmp_path / "written/dsm/filling.tif") as file:
        filling = file.read(1)
    assert (filling[:6, :7] == 7).all() and (filling[30:] == 1).all()
    # The tree is read as the first one was.
    refbench(tmp_path, "run", "written", "--method", "input", "--out", "twice")
    for arguments, words in (
        ("--to cars refined --out written", "not empty"),
        ("--to nothing refined --out x", "no method or layout nothing"),
        ("--to cars out --scene out --out x", "is no result"),
        ("--to cars out", "Give the folder to write once"),
        ("--to colmap out --out x", "no method or layout colmap"),
        ("--to cars gone --out x", "gone"),
    ):
        assert words in refbench(tmp_path, "scene", "export", *arguments.split(), code=2)
    assert not (tmp_path / "x").exists()


def test_a_folder_is_imported_as_a_scene_of_its_own_files(tmp_path):
    s2p_folder(tmp_path / "out")
    assert "tiles" in refbench(tmp_path, *["scene", "import", "out", "--out", "scene"])
    shutil.rmtree(tmp_path / "out")
    scene = load_scene(tmp_path / "scene")
    assert sorted(scene.layers) == ["confidence"] and scene.points.count() == 72 * 80
    assert not scene.layers["confidence"].read().valid[:6, :7].any()
    assert "not empty" in refbench(tmp_path, *["scene", "import", "scene", "--out", "scene"], code=2)
    assert "no importer" in refbench(tmp_path, *["scene", "import", "scene", "--from", "no", "--out", "x"], code=2)


def test_the_halves_of_a_layer_are_strata(tmp_path):
    folder = s2p_folder(tmp_path / "out")
    refbench(tmp_path, *["scene", "import", "out", "--out", "scene"])
    shutil.copy(folder / "dsm.tif", tmp_path / "scene/truth.tif")
    with rasterio.open(folder / "confidence.tif") as file:
        confidence = file.read(1)
    with rasterio.open(tmp_path / "scene/truth.tif", "r+") as file:
        heights = file.read(1)
        heights[confidence > np.nanmedian(confidence)] += (
            1  # where confidence is above its median, all heights are a metre too low
        )
        file.write(heights, 1)
    text = (tmp_path / "scene/scene.yaml").read_text() + "reference: {dsm: truth.tif}\n"
    (tmp_path / "scene/scene.yaml").write_text(text)
    refbench(tmp_path, *["run", "scene", "--method", "input", "--out", "scored"])
    strata = json.loads((tmp_path / "scored/result.json").read_text())["metrics"]["refined"]
    assert strata["confidence_low"]["mae"] == 0 and strata["confidence_high"]["mae"] == pytest.approx(1, abs=1e-5)
