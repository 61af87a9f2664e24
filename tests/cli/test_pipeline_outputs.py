"""Output folders of other pipelines through the command line: run as they are, by a baseline and a learnt method."""

import json

import numpy as np
import pytest
import rasterio
from pipeline_folders import asp_folder, cars_folder, micmac_folder, odm_folder, s2p_folder
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
