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
    for method in ("input", "resdepth"):
        said = refbench(tmp_path, "run", "out", "--method", method, "--out", "refined", code=3)
        assert "is no scene" not in said and "unsupported" in said
        shutil.rmtree(tmp_path / "refined")
    assert "is no scene" not in refbench(tmp_path, "run", "out", "--method", "diffrender", "--dry-run")
