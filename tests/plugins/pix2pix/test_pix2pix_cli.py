"""The DSM enhancer from the command line."""

import json

import numpy as np
import pytest
import rasterio
from PIL import Image as PilImage
from run_refbench import refbench

torch = pytest.importorskip("torch")
from makers import (  # noqa: E402
    grid_of,
    write_tif,
)
from pix2pix_blocks import official_run, surface  # noqa: E402

GRID = grid_of(260, 260)


def test_ndvi_comes_from_the_bands_of_an_ortho(tmp_path):
    official_run(tmp_path / "run")
    heights = surface(260, 260)
    write_tif(tmp_path / "dsm.tif", heights[None], GRID)
    rng = np.random.default_rng(0)
    bands = rng.integers(10, 2000, (4, 260, 260)).astype(np.uint16)
    write_tif(tmp_path / "ortho.tif", bands, GRID, names=("blue", "green", "Red", "NIR"))
    red, nir = bands[2].astype(float), bands[3].astype(float)
    write_tif(tmp_path / "ndvi.tif", ((nir - red) / (nir + red)).astype(np.float32)[None], GRID)
    plain = ("run", "--method", "pix2pix", "--weights", "run/latest_net_G.pth", "--dsm", "dsm.tif", "--no-report")
    refbench(tmp_path, *plain, "--ortho", "ortho.tif", "--out", "a")
    refbench(tmp_path, *plain, "--ndvi", "ndvi.tif", "--out", "b")
    with rasterio.open(tmp_path / "a" / "dsm.tif") as a, rasterio.open(tmp_path / "b" / "dsm.tif") as b:
        np.testing.assert_allclose(a.read(1), b.read(1), atol=1e-3)
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    assert any("NDVI from" in bridge for bridge in result["bridges"])


@pytest.mark.parametrize("kind", ["tall", "ndvi"])
def test_bad_input_is_one_sentence_and_nothing_is_written(tmp_path, kind):
    official_run(tmp_path / "run")
    heights, ndvi = surface(260, 260), np.zeros((260, 260), np.float32)
    if kind == "tall":
        heights[3, 3] = 300
    else:
        ndvi[3, 3] = 2
    write_tif(tmp_path / "dsm.tif", heights[None], GRID)
    write_tif(tmp_path / "ndvi.tif", ndvi[None], GRID)
    said = refbench(
        tmp_path,
        *("run", "--method", "pix2pix", "--config", "8bit", "--weights", "run", "--dsm", "dsm.tif"),
        *("--ndvi", "ndvi.tif", "--out", "out"),
        code=2,
    )
    assert ("0 to 255 m" if kind == "tall" else "[-1, 1]") in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_folder_of_official_tiles_goes_through(tmp_path):
    official_run(tmp_path / "run")
    heights, places = np.floor(surface(512, 256, base=30)), [(256, 12288, 6656), (256, 12288, 6912)]
    (tmp_path / "tiles").mkdir()
    for number, (size, x, y) in enumerate(places):
        part = np.concatenate([heights[256 * number : 256 * number + 256], np.full((256, 256), 116)], axis=1)
        pixels = np.repeat(part.astype(np.uint8)[..., None], 3, axis=2)
        PilImage.fromarray(pixels).save(tmp_path / "tiles" / f"{size}-{x}-{y}.tif")
    said = refbench(
        tmp_path,
        *("run", "tiles", "--method", "pix2pix", "--config", "8bit", "--weights", "run", "--no-report"),
        *("--reporter", "pix2pix-tiles", "--out", "out"),
    )
    assert "no georeference" in said.replace("\n", " ")
    with rasterio.open(tmp_path / "out" / "dsm.tif") as file:
        dsm = file.read(1)
    for number, (size, x, y) in enumerate(places):
        tile = np.asarray(PilImage.open(tmp_path / "out" / "pix2pix_outputs" / f"{size}-{x}-{y}.tif"))
        assert tile.shape == (256, 256, 3) and (tile[..., 0] == tile[..., 2]).all()
        np.testing.assert_array_equal(tile[..., 0], dsm[256 * number : 256 * number + 256])
    (tmp_path / "tiles" / "256-0-0.tif").write_bytes(b"no image")
    assert "cannot be read" in refbench(tmp_path, "run", "tiles", "--method", "pix2pix", "--out", "no", code=2)
