"""A large sparse DSM, made by window, refined by a baseline and scored within two gigabytes."""

import json

import numpy as np
import pytest
import rasterio
from makers import UTM
from rasterio.transform import from_origin
from rasterio.windows import Window
from run_refbench import refbench

SIDE, BLOCK, EVERY = 20_000, 512, 20
LIMIT_BYTES = 2 << 30


def write_sparse(folder, side):
    """Write DSM, reference and building mask that hold heights in every 20th block; return the number of pixels."""
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "crs": UTM, "SPARSE_OK": True}
    profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "BIGTIFF": "IF_SAFER", "compress": "deflate"}
    profile["transform"] = from_origin(5e5, 5.2e6, 0.5, 0.5)
    kinds = {"dsm": ("float32", -9999), "reference": ("float32", -9999), "building": ("uint8", 255)}
    files = {
        name: rasterio.open(folder / f"{name}.tif", "w", dtype=d, nodata=n, **profile) for name, (d, n) in kinds.items()
    }
    rng = np.random.default_rng(0)
    blocks = [(row, col) for row in range(0, side, BLOCK) for col in range(0, side, BLOCK)]
    held = 0
    for row, col in blocks[::EVERY]:
        height, width = min(BLOCK, side - row), min(BLOCK, side - col)
        down, right = np.mgrid[row : row + height, col : col + width]
        building = (down // 24 + right // 24) % 5 == 0
        truth = 250 + 5 * np.sin(right / 90) + 3 * np.cos(down / 70) + 8 * building
        found = truth + rng.laplace(0, 0.5, truth.shape)
        window = Window(col, row, width, height)
        for name, values in {"dsm": found, "reference": truth, "building": building}.items():
            files[name].write(values.astype(files[name].dtypes[0]), 1, window=window)
        held += truth.size
    for file in files.values():
        file.close()
    return held


@pytest.mark.slow
def test_a_large_sparse_dsm_is_refined_and_scored_in_two_gigabytes(tmp_path):
    held = write_sparse(tmp_path, SIDE)
    assert held >= 0.045 * SIDE**2
    files = ("--dsm", tmp_path / "dsm.tif", "--reference", tmp_path / "reference.tif")
    mask = ("--mask", f"building={tmp_path / 'building.tif'}")
    refbench(tmp_path, "run", "--method", "median", *files, *mask, "--memory", "1GiB", "--out", tmp_path / "out")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["status"] == "ok" and result["cost"]["peak_memory_bytes"] < LIMIT_BYTES
    before, after = (result["metrics"][name]["all"] for name in ("input", "refined"))
    assert before["n"] == after["n"] == held
    # A median of Laplace noise of 0.5 m is closer than the noise, whose mean size is 0.5 m.
    assert before["mae"] == pytest.approx(0.5, abs=0.01) and after["mae"] < 0.4
    assert before["medae"] == pytest.approx(0.5 * np.log(2), abs=0.005)
    with rasterio.open(tmp_path / "out" / "dsm.tif") as file:
        assert file.shape == (SIDE, SIDE) and file.overviews(1)
