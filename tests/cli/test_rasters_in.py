"""What the verbs make of rasters from the field: codes, alpha, masks, local units, disguises; closed-form numbers."""

import json

import numpy as np
import pytest
import rasterio
from makers import grid_of, hills, write_tif
from rasterio.crs import CRS
from run_refbench import refbench


@pytest.fixture
def grid(tmp_path):
    grid = grid_of(60, 60)
    write_tif(tmp_path / "reference.tif", hills(grid), grid)
    return grid


def evaluated(where, name, *options):
    text = refbench(where, "evaluate", name, "reference.tif", "--no-bootstrap", "--json", *options)
    return json.loads(text)


@pytest.mark.parametrize("code", [-9999.0, -32768.0, -99999.0, 1e20])
def test_undeclared_codes_are_no_heights(tmp_path, grid, code):
    heights = hills(grid) + 2
    heights[:6] = code
    write_tif(tmp_path / "dsm.tif", heights, grid)
    found = evaluated(tmp_path, "dsm.tif")
    assert found["all"]["n"] == 54 * 60 and found["all"]["bias"] == pytest.approx(2, abs=1e-4)
    assert any(f"dsm.tif: 360 pixels are {code:.9g}," in text for text in found["warnings"])


def test_other_codes_are_declared_and_come_back_in_the_output(tmp_path, grid):
    heights = hills(grid) + 2
    heights[:6] = -5000
    write_tif(tmp_path / "dsm.tif", heights, grid)
    assert any("--nodata-in -5000" in text for text in evaluated(tmp_path, "dsm.tif")["warnings"])
    found = evaluated(tmp_path, "dsm.tif", "--nodata-in", -5000)
    assert found["all"]["bias"] == pytest.approx(2, abs=1e-4) and "dsm.tif: 360" not in str(found["warnings"])
    run = ("run", "--method", "input", "--no-report", "--dsm", "dsm.tif", "--nodata-in", -5000)
    refbench(tmp_path, *run, "--out", "own")
    refbench(tmp_path, *run, "--nodata", -77, "--out", "asked")
    (tmp_path / "scene.yaml").write_text("refbench_scene: 1\nid: s\ndsm: dsm.tif\nnodata: -5000\n")
    refbench(tmp_path, "run", "scene.yaml", "--method", "input", "--no-report", "--out", "scene")
    for folder, code in (("own", -5000), ("asked", -77), ("scene", -5000)):
        with rasterio.open(tmp_path / folder / "dsm.tif") as file:
            assert file.nodata == code and (file.read(1)[:6] == code).all()
    (tmp_path / "scene.yaml").write_text("refbench_scene: 1\nid: s\ndsm: dsm.tif\nnodata: low\n")
    text = refbench(tmp_path, "run", "scene.yaml", "--method", "input", code=2)
    assert "nodata: input should be a valid number" in text


def test_alpha_masks_and_local_feet_are_scored_as_what_they_are(tmp_path, grid):
    opaque = np.ones(grid.shape, np.float32)
    opaque[:20] = 0
    heights = np.where(opaque > 0, hills(grid) + 1, 0).astype(np.float32)
    write_tif(tmp_path / "alpha.tif", np.stack([heights, opaque]), grid, ALPHA="YES")
    roofs = np.zeros(grid.shape, np.uint8)
    roofs[:, :30] = 255
    write_tif(tmp_path / "roofs.tif", roofs, grid)
    write_tif(tmp_path / "void.tif", np.zeros(grid.shape, np.uint8), grid)
    found = evaluated(tmp_path, "alpha.tif", "--mask", "roofs=roofs.tif", "--mask", "void=void.tif")
    assert found["all"]["n"] == 40 * 60 and found["all"]["mae"] == pytest.approx(1, abs=1e-4)
    assert found["roofs"]["n"] == 40 * 30
    assert [text for text in found["warnings"] if "void has no pixel inside" in text]
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["US survey foot",0.3048006]]')
    write_tif(tmp_path / "reference.tif", hills(grid), grid, crs=local)
    write_tif(tmp_path / "feet.tif", hills(grid) + 1, grid, crs=local)
    found = evaluated(tmp_path, "feet.tif")
    assert found["all"]["bias"] == pytest.approx(1200 / 3937, abs=1e-4)
    assert found["shape"]["slope_mae_deg"] == pytest.approx(0, abs=1e-3)  # both axes are converted alike
    assert sum("converted to metres" in text for text in found["warnings"]) == 4


def test_bad_rasters_end_in_one_sentence_with_code_2(tmp_path, grid):
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    write_tif(tmp_path / "local.tif", hills(grid), grid, crs=local)
    write_tif(tmp_path / "far.tif", hills(grid), grid_of(60, 60, west=900_000.0, north=100_000.0))
    write_tif(tmp_path / "ecef.tif", hills(grid), grid, crs="EPSG:4978")
    (tmp_path / "wms.tif").write_text("<GDAL_WMS><Service name='TMS'/></GDAL_WMS>")
    (tmp_path / "half.tif").write_bytes((tmp_path / "far.tif").read_bytes()[:9000])
    dsm = ("run", "--method", "input", "--out", "out", "--dsm")
    cases = {
        "No transformation leads from": ("evaluate", "local.tif", "reference.tif"),
        "no valid pixel in common": ("evaluate", "far.tif", "reference.tif"),
        "geocentric": (*dsm, "ecef.tif"),
        "nothing that it points to": (*dsm, "wms.tif"),
        "half.tif cannot be read": (*dsm, "half.tif"),
        "is a raster, not a scene; give it as --dsm": ("run", "--method", "input", "reference.tif"),
        "WGS 84, which has no heights": (*dsm, "reference.tif", "--vertical", "EPSG:4326"),
        "more than the limit of 3,599": (*dsm, "reference.tif", "--max-pixels", 3599),
    }
    for words, arguments in cases.items():
        text = refbench(tmp_path, *arguments, code=2)
        assert words in text and text.count("\n") == 1 and "unexpected" not in text, text
    assert not (tmp_path / "out").exists()
    (tmp_path / "cloud.tif").write_bytes(b"LASF" + bytes(400))
    assert "--points" in refbench(tmp_path, "run", "--method", "input", "cloud.tif", code=2)
