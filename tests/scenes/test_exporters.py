"""Scenes in the layouts of other pipelines: read, written and read again they are the same."""

import math

import numpy as np
import pytest
import rasterio
from makers import dsm_with, hills, scene_with
from pipeline_folders import asp_folder, cars_folder, micmac_folder, odm_folder, rpc_image, s2p_folder, the_grid

from refbench import Scene
from refbench.contracts.errors import InputError
from refbench.formats.raster import ArraySource
from refbench.registry.records import resolve
from refbench.registry.registry import load_registry

FOLDERS = {"cars": cars_folder, "s2p": s2p_folder, "odm": odm_folder, "asp": asp_folder, "micmac": micmac_folder}
CODES = {"cars": -32768, "s2p": math.nan, "odm": -9999, "asp": -1e6}
DSMS = {"cars": "dsm/dsm.tif", "s2p": "dsm.tif", "odm": "odm_dem/dsm.tif", "asp": "*-DEM.tif"}


def again(tool, scene, folder):
    """Write a scene in a layout and open what was written."""
    record = load_registry().importers.get(tool)
    notes = resolve(record.writer)(scene, folder)
    assert resolve(record.recognises)(folder)
    return resolve(record.target)(folder), notes


@pytest.mark.parametrize("tool", FOLDERS)
def test_read_written_and_read_again_a_folder_is_the_same(tmp_path, tool):
    record = load_registry().importers.get(tool)
    first = resolve(record.target)(FOLDERS[tool](tmp_path / "out"))
    second, _notes = again(tool, first, tmp_path / "written")
    assert second.grid == first.grid and second.vertical == first.vertical
    one, two = first.dsm.read(), second.dsm.read()
    assert np.array_equal(one.valid, two.valid)
    assert np.nanmax(np.abs(one.heights - two.heights)) <= (1e-4 if tool == "micmac" else 0)
    assert set(second.layers) - set(first.layers) <= {"weights"} and set(first.layers) <= set(second.layers)
    for name, layer in first.layers.items():
        a, b = layer.read(), second.layers[name].read()
        known = np.ones(a.shape, bool) if a.valid is None else a.valid
        # MicMac's correlations are bytes without a NoData code.
        assert tool == "micmac" or np.array_equal(known, np.ones(b.shape, bool) if b.valid is None else b.valid)
        assert np.array_equal(a.pixels[0][known], b.pixels[0][known])
    assert sorted(second.masks) == sorted(first.masks)
    for name, mask in first.masks.items():
        assert np.array_equal(mask.read().is_class, second.masks[name].read().is_class), name
    if first.points is not None:
        assert np.abs(first.points.read().xyz - second.points.read().xyz).max() < 1e-3
    for name in first.orthos if tool != "micmac" else ():
        a, b = first.orthos[name].read(), second.orthos[name].read()
        assert np.array_equal(a.pixels[:, a.valid], b.pixels[:, a.valid]) if a.valid is not None else True


@pytest.mark.parametrize("tool", CODES)
def test_each_pipeline_gets_its_own_nodata_code(tmp_path, tool):
    scene = resolve(load_registry().importers.get(tool).target)(FOLDERS[tool](tmp_path / "out"))
    again(tool, scene, tmp_path / "written")
    (path,) = (tmp_path / "written").glob(DSMS[tool])
    with rasterio.open(path) as file:
        assert file.nodata == CODES[tool] or (math.isnan(CODES[tool]) and math.isnan(file.nodata))
        assert file.count == 1 and file.dtypes == ("float32",)
        assert file.tags().get("AREA_OR_POINT") == ("Point" if tool == "asp" else "Area")
        assert file.transform == the_grid().transform
        # CARS takes a described band for a stack of bands.
        assert file.descriptions == (None,)


def test_the_classes_of_a_performance_map_go_along(tmp_path):
    scene = resolve(load_registry().importers.get("cars").target)(cars_folder(tmp_path / "out"))
    second, _ = again("cars", scene, tmp_path / "written")
    assert "0.968" in second.layers["performance_map"].tags["CLASSES"]


def test_what_a_layout_has_no_place_for_is_said(tmp_path):
    scene = resolve(load_registry().importers.get("cars").target)(cars_folder(tmp_path / "out"))
    _, notes = again("micmac", scene, tmp_path / "written")
    text = "; ".join(notes)
    assert "orthos left out: image" in text and "points left out" in text and "masks left out: filled" in text
    assert "layers left out: ambiguity" in text


def test_images_with_rpc_are_named_to_s2p(tmp_path):
    images = [rpc_image(tmp_path / f"{name}.tif", the_grid(), lean) for name, lean in (("left", -0.2), ("right", 0.2))]
    scene = resolve(load_registry().importers.get("s2p").target)(s2p_folder(tmp_path / "out", images))
    second, notes = again("s2p", scene, tmp_path / "deeper/written")
    assert sorted(second.views) == ["left", "right"] and not any("views" in note for note in notes)


@pytest.mark.parametrize("tool", FOLDERS)
def test_what_cannot_be_written_is_one_sentence(tmp_path, tool):
    writer = resolve(load_registry().importers.get(tool).writer)
    with pytest.raises(InputError, match="has no DSM"):
        writer(Scene("bare"), tmp_path)
    nowhere = dsm_with(hills(the_grid()), crs=None)
    with pytest.raises(InputError, match="has no CRS"):
        writer(Scene("nowhere", nowhere.grid, ArraySource(nowhere)), tmp_path)


def test_micmac_takes_no_empty_surface(tmp_path):
    with pytest.raises(InputError, match="no height to write"):
        resolve(load_registry().importers.get("micmac").writer)(scene_with(np.full((20, 20), np.nan)), tmp_path)
