"""The step that CARS calls, without CARS: a DSM file in, a refined one out."""

import numpy as np
import pytest
import rasterio
from makers import hills, write_tif
from pipeline_folders import heights_with_hole, the_grid

from refbench import InputError
from refbench_cars.refine_dsm import refine_dsm, settings_of


def test_a_dsm_is_replaced_by_its_filled_self(tmp_path):
    path = write_tif(tmp_path / "dsm.tif", heights_with_hole(the_grid(), -32768), the_grid(), nodata=-32768)
    refine_dsm(path, path, tmp_path / "dump", settings_of({}))
    with rasterio.open(path) as file:
        heights = file.read(1)
        assert file.nodata == -32768 and file.transform == the_grid().transform
    # The hole has heights like those around it, all others are as they were.
    assert np.array_equal(heights[6:], hills(the_grid())[6:]) and 90 < heights[:6, :7].min() < heights.max() < 120
    with rasterio.open(tmp_path / "dump/filling.tif") as file:
        filling = file.read(1)
        assert file.descriptions == ("interpolation",)
    assert filling[:6, :7].all() and not filling[6:].any()
    with rasterio.open(tmp_path / "dump/dsm_not_filled.tif") as file:
        assert (file.read(1)[:6, :7] == -32768).all()


def test_settings_that_mean_nothing_are_refused(tmp_path):
    path = write_tif(tmp_path / "dsm.tif", hills(the_grid()), the_grid(), nodata=-32768)
    for content, words in (
        (7, "must be a mapping"),
        ({"methd": "fill"}, "unknown key 'methd'"),
        ({"method": 3}, "are names"),
        ({"set": [1]}, "is a mapping"),
    ):
        with pytest.raises(InputError, match=words):
            settings_of(content)
    before = path.read_bytes()
    with pytest.raises(InputError, match="no method 'medan'"):
        refine_dsm(path, path, tmp_path / "dump", settings_of({"method": "medan"}))
    assert path.read_bytes() == before
