"""Rasters that are cut off or damaged where GDAL would read zeros: bare pixels and grids of numbers."""

import numpy as np
import pytest
import rasterio
from makers import grid_of, hills

from refbench.contracts.errors import InputError
from refbench.formats import raster_wholeness
from refbench.formats.raster import open_dsm

HEAD = "ncols 40\nnrows 50\nxllcorner 500000\nyllcorner 5500000\ncellsize 1\nNODATA_value -9999\n"


def write_bare(path, driver):
    grid = grid_of(50, 40, gsd=1.0)
    with rasterio.open(
        path, "w", driver=driver, height=50, width=40, count=1, dtype="float32", crs=grid.crs, transform=grid.transform
    ) as file:
        file.write(hills(grid), 1)
    return path


@pytest.mark.parametrize("driver", ["ENVI", "EHdr"])
@pytest.mark.parametrize("lost", [1, 4000])
def test_bare_pixels_that_are_cut_off_are_refused(tmp_path, driver, lost):
    path = write_bare(tmp_path / "dsm.bil", driver)
    assert np.array_equal(open_dsm(path).read().heights, hills(grid_of(50, 40, gsd=1.0)))
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(InputError, match="cut off, its header says 8,000 bytes"):
        open_dsm(path)


def rows(values):
    return "".join(" ".join(f"{value:.2f}" for value in row) + "\n" for row in values)


@pytest.mark.parametrize("block", [16 << 20, 37])
def test_a_grid_of_numbers_is_whole_or_refused(tmp_path, monkeypatch, block):
    monkeypatch.setattr(raster_wholeness, "TEXT_BYTES", block)
    text = HEAD + rows(hills(grid_of(50, 40, gsd=1.0)))
    wrong = {
        text[:7000]: "cut off, its header says 2,000 numbers",
        text.rpartition(" ")[0]: "and it has 1,999",
        text.replace("100.", "1OO.", 1): "hold '1OO",
        f"{HEAD}--{text.removeprefix(HEAD)}": "hold '--",
    }
    for number, (content, words) in enumerate(wrong.items()):
        path = tmp_path / f"{number}.asc"
        path.write_text(content)
        with pytest.raises(InputError, match=words):
            open_dsm(path, crs="EPSG:32632").read()
    for number, content in enumerate((text, text.upper(), text.replace("\n", "\r\n"), text.strip())):
        path = tmp_path / f"good{number}.asc"
        path.write_text(content)
        assert open_dsm(path, crs="EPSG:32632").read().valid.all()
