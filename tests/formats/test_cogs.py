import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from makers import UTM, dsm_of, grid_of, hills, listing, rpc_looking_down, write_tif
from rasterio.crs import CRS

from refbench import DSM, Grid, Image, InputError, Mask, Window
from refbench.contracts.errors import GridMismatchError
from refbench.formats.raster import DSMWriter, open_dsm, open_image, open_mask, write_dsm
from refbench.formats.raster_write import provenance_path, write_image, write_mask


def test_a_dsm_is_a_cog_with_all_that_a_reader_needs(tmp_path):
    grid = grid_of(1200, 700, vertical="EPSG:5773")
    dsm = dsm_of(grid, holes=True)
    write_dsm(tmp_path / "dsm.tif", dsm, tags={"METHOD": "median", "AREA_OR_POINT": "Point"})
    with rasterio.open(tmp_path / "dsm.tif") as file:
        structure = file.tags(ns="IMAGE_STRUCTURE")
        assert (structure["LAYOUT"], structure["COMPRESSION"], structure["PREDICTOR"]) == ("COG", "DEFLATE", "3")
        assert file.block_shapes == [(512, 512)] and file.overviews(1) == [2, 4]
        assert file.dtypes == ("float32",) and file.nodata == -9999
        assert file.units == ("metre",) and file.descriptions == ("height",)
        assert file.tags()["METHOD"] == "median" and file.tags()["AREA_OR_POINT"] == "Point"
        assert file.crs == CRS.from_user_input("EPSG:32632+5773")
        overview = file.read(1, out_shape=(600, 350))
        mean = dsm.heights[10:12, 20:22].mean()
        assert overview[5, 10] == pytest.approx(mean, abs=1e-3)
    again = open_dsm(tmp_path / "dsm.tif")
    assert again.grid == grid and again.grid.vertical == "EPSG:5773"
    assert np.array_equal(again.read().heights, dsm.heights, equal_nan=True)
    assert listing(tmp_path) == ["dsm.tif"]


@pytest.mark.parametrize("vertical", ["ellipsoid", "unknown"])
@pytest.mark.parametrize("nodata", [float("nan"), -32768.0])
def test_other_codes_and_datums_come_back(tmp_path, vertical, nodata):
    dsm = dsm_of(grid_of(vertical=vertical), holes=True)
    write_dsm(tmp_path / "dsm.tif", dsm, nodata=nodata)
    again = open_dsm(tmp_path / "dsm.tif")
    assert again.grid.vertical == vertical
    assert np.array_equal(again.read().heights, dsm.heights, equal_nan=True)


def test_streamed_windows_equal_the_whole_and_gaps_are_nodata(tmp_path):
    grid = grid_of(700, 600)
    heights = hills(grid)
    with DSMWriter(tmp_path / "dsm.tif", grid) as writer:
        for row in range(-50, 700, 250):
            for col in range(-30, 600, 200):
                window = Window(col, row, 200, 250)
                writer.write(window, padded_cut(heights, window))
        writer.write(Window(-500, -500, 10, 10), np.zeros((10, 10), np.float32))
    assert np.array_equal(open_dsm(tmp_path / "dsm.tif").read().heights, heights)
    with DSMWriter(tmp_path / "gap.tif", grid) as writer:
        writer.write(Window(0, 0, 10, 10), heights[:10, :10])
    assert open_dsm(tmp_path / "gap.tif").read().valid.sum() == 100


def padded_cut(heights, window):
    return np.pad(heights, 600, constant_values=np.nan)[
        window.row_off + 600 : window.row_stop + 600, window.col_off + 600 : window.col_stop + 600
    ]


def test_what_cannot_be_written_is_refused(tmp_path):
    grid = grid_of()
    with pytest.raises(InputError, match="equals the NoData code"):
        write_dsm(tmp_path / "a.tif", DSM(np.full(grid.shape, -9999, np.float32), grid))
    with pytest.raises(InputError, match="finite or NaN"), DSMWriter(tmp_path / "a.tif", grid) as writer:
        writer.write(Window(0, 0, 1, 1), np.full((1, 1), np.inf, np.float32))
    with pytest.raises(GridMismatchError), DSMWriter(tmp_path / "a.tif", grid) as writer:
        writer.write(Window(0, 0, 2, 1), np.zeros((1, 1), np.float32))
    with pytest.raises(InputError, match="no folder"):
        write_dsm(tmp_path / "none" / "a.tif", dsm_of(grid))
    with pytest.raises(InputError, match="cannot be held by float32"):
        DSMWriter(tmp_path / "a.tif", grid, nodata=float("-inf"))
    with pytest.raises(InputError, match="not in metres"):
        DSMWriter(tmp_path / "a.tif", grid_of(vertical="EPSG:8228"))
    with pytest.raises(GridMismatchError, match="Provenance"):
        write_dsm(tmp_path / "a.tif", dsm_of(grid), provenance=np.zeros((2, 2), np.uint8))
    assert listing(tmp_path) == []


def test_an_error_inside_the_block_leaves_the_old_file(tmp_path):
    grid = grid_of()
    write_dsm(tmp_path / "dsm.tif", dsm_of(grid))
    before = (tmp_path / "dsm.tif").read_bytes()
    with pytest.raises(RuntimeError), DSMWriter(tmp_path / "dsm.tif", grid) as writer:
        writer.write(Window(0, 0, 5, 5), np.zeros((5, 5), np.float32))
        raise RuntimeError("the method failed")
    assert (tmp_path / "dsm.tif").read_bytes() == before and listing(tmp_path) == ["dsm.tif"]


@pytest.mark.parametrize("limit", [20_000, 300_000, 1_500_000, 2_400_000])
def test_a_full_disk_is_said_and_the_old_file_survives(tmp_path, limit):
    """A limit on file sizes stands for the full disk: both fail a write in the middle, at any stage of the work."""
    grid = grid_of(700, 800)
    noise = np.random.default_rng(0).normal(100, 5, grid.shape).astype(np.float32)
    write_dsm(tmp_path / "dsm.tif", dsm_of(grid))
    before = (tmp_path / "dsm.tif").read_bytes()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            write_dsm(tmp_path / "dsm.tif", DSM(noise, grid))
        except InputError as error:
            os._exit(0 if "Cannot write" in str(error) and "untouched" in str(error) else 3)
        except BaseException:
            os._exit(4)
        os._exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tmp_path / "dsm.tif").read_bytes() == before and listing(tmp_path) == ["dsm.tif"]


def test_writing_a_large_dsm_does_not_hold_it(tmp_path):
    """256 MB of heights by windows: memory grows by GDAL's limited cache, not by the raster."""
    script = f"""
import resource, numpy as np
from affine import Affine
from rasterio.crs import CRS
from refbench import Grid, Window
from refbench.formats.raster import DSMWriter
grid = Grid(8192, 8192, Affine(0.5, 0, 500000, 0, -0.5, 5000000), CRS.from_epsg(32632))
tile = np.full((512, 512), 7, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with DSMWriter({str(tmp_path / "dsm.tif")!r}, grid) as writer:
    for row in range(0, 8192, 512):
        for col in range(0, 8192, 512):
            writer.write(Window(col, row, 512, 512), tile)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200


def test_provenance_lies_beside_the_dsm(tmp_path):
    grid = grid_of()
    provenance = np.random.default_rng(0).integers(0, 4, grid.shape).astype(np.uint8)
    write_dsm(tmp_path / "dsm.tif", dsm_of(grid), provenance=provenance)
    assert np.array_equal(open_image(provenance_path(tmp_path / "dsm.tif")).read().pixels[0], provenance)


def test_images_come_back_with_bands_mask_and_rpc(tmp_path):
    grid = grid_of()
    rng = np.random.default_rng(0)
    valid = rng.random(grid.shape) > 0.2
    for dtype in ("uint8", "uint16", "float32"):
        pixels = rng.integers(1, 200, (2, *grid.shape)).astype(dtype)
        write_image(tmp_path / "image.tif", Image(pixels, grid, ("red", "nir"), valid))
        image = open_image(tmp_path / "image.tif").read()
        assert image.band_names == ("red", "nir") and image.grid == grid
        assert np.array_equal(image.valid, valid)
        assert np.array_equal(image.pixels[:, valid], pixels[:, valid])
    rpc = rpc_looking_down(grid)
    write_image(tmp_path / "view.tif", Image(pixels), rpcs=rpc.to_tags())
    view = open_image(tmp_path / "view.tif")
    assert view.grid is None
    got = rpc.from_dict(view.rpcs, UTM)
    assert np.allclose(
        got.project(np.array([500_010.0, 4_999_990, 100])), rpc.project(np.array([500_010.0, 4_999_990, 100]))
    )


def test_masks_come_back_and_overviews_stay_classes(tmp_path):
    grid = grid_of(700, 800)
    values = np.random.default_rng(0).choice([0, 1, 255], grid.shape).astype(np.uint8)
    write_mask(tmp_path / "forest.tif", Mask(values, grid, "forest"))
    assert np.array_equal(open_mask(tmp_path / "forest.tif").read().values, values)
    with rasterio.open(tmp_path / "forest.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert set(np.unique(file.read(1, out_shape=(350, 400)))) <= {0, 1, 255}


def test_a_point_raster_keeps_its_place_through_a_copy(tmp_path):
    grid = Grid(50, 40, grid_of().transform, UTM)
    source = open_dsm(write_tif(tmp_path / "in.tif", hills(grid), grid, tags={"AREA_OR_POINT": "Point"}))
    write_dsm(tmp_path / "out.tif", source.read(), tags={"AREA_OR_POINT": "Point"})
    assert open_dsm(tmp_path / "out.tif").grid == source.grid == grid


def test_a_cog_that_does_not_read_back_replaces_nothing(tmp_path, monkeypatch):
    """Some failed writes are silent in GDAL: a shortened or altered file must not pass."""
    grid = grid_of(600, 600)
    write_dsm(tmp_path / "dsm.tif", dsm_of(grid))
    before = (tmp_path / "dsm.tif").read_bytes()
    copy = rasterio.shutil.copy

    def shortened(source, target, **options):
        copy(source, target, **options)
        os.truncate(target, target.stat().st_size * 2 // 3)

    def altered(source, target, **options):
        with rasterio.open(source) as file:
            profile, heights = file.profile, file.read() + 1
        with rasterio.open(target, "w", **profile) as file:
            file.write(heights)

    for broken in (shortened, altered):
        monkeypatch.setattr("rasterio.shutil.copy", broken)
        with pytest.raises(InputError, match="Cannot write"):
            write_dsm(tmp_path / "dsm.tif", dsm_of(grid))
        assert (tmp_path / "dsm.tif").read_bytes() == before and listing(tmp_path) == ["dsm.tif"]


def test_blocks_without_a_height_are_not_stored(tmp_path):
    heights = np.full((600, 1600), np.nan, np.float32)
    heights[10, 1100] = 3.0
    heights[590, 20] = 4.0
    write_dsm(tmp_path / "dsm.tif", DSM(heights, grid_of(600, 1600)))
    with rasterio.open(tmp_path / "dsm.tif") as file:
        stored = [
            (row, col)
            for row in range(2)
            for col in range(4)
            if file.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", 1)
        ]
        assert (file.read(1)[np.isnan(heights)] == -9999).all()
    # The upper window of rows was written in runs of blocks that hold a height.
    assert (0, 2) in stored and (1, 0) in stored and (0, 1) not in stored and (0, 3) not in stored
    assert np.array_equal(open_dsm(tmp_path / "dsm.tif").read().heights, heights, equal_nan=True)
