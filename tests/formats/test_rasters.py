import pickle

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import dsm_of, grid_of, hills, write_tif

from refbench import DSM, Image, InputError, Mask, Window
from refbench.contracts.errors import MissingFileError
from refbench.contracts.source import RasterSource
from refbench.formats.raster import ArraySource, open_dsm, open_image, open_mask

windows = st.builds(Window, st.integers(-12, 30), st.integers(-12, 25), st.integers(1, 30), st.integers(1, 30))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rasters")
    grid = grid_of(17, 23)
    rng = np.random.default_rng(1)
    heights = hills(grid)
    heights[2, 3] = -9999
    write_tif(folder / "dsm.tif", heights, grid, nodata=-9999)
    write_tif(folder / "image.tif", rng.integers(0, 255, (3, 17, 23), np.uint8), grid, nodata=7)
    write_tif(folder / "mask.tif", rng.integers(0, 3, (17, 23), np.uint8), grid)
    return folder


@settings(max_examples=80, deadline=None)
@given(window=windows)
def test_a_window_of_a_file_is_the_padded_cut_of_the_whole(files, window):
    for source in (open_dsm(files / "dsm.tif"), open_image(files / "image.tif"), open_mask(files / "mask.tif")):
        assert isinstance(source, RasterSource)
        whole, part = source.read(), source.read(window)
        held = ArraySource(whole).read(window)
        assert part.grid == whole.grid.window(window) == held.grid
        for col in range(window.width):
            for row in range(window.height):
                at = row + window.row_off, col + window.col_off
                inside = 0 <= at[0] < 17 and 0 <= at[1] < 23
                for one in (part, held):
                    check_pixel(one, (row, col), whole if inside else None, at)


def check_pixel(part, here, whole, there):
    if isinstance(part, DSM):
        expected = whole.heights[there] if whole else np.nan
        assert np.array_equal(part.heights[here], expected, equal_nan=True)
    elif isinstance(part, Mask):
        assert part.values[here] == (whole.values[there] if whole else 255)
    else:
        assert part.valid[here] == (whole.valid[there] if whole else False)
        if whole:
            assert (part.pixels[(slice(None), *here)] == whole.pixels[(slice(None), *there)]).all()


def test_a_window_that_misses_the_raster_is_all_nodata(files):
    window = Window(100, 100, 3, 2)
    assert not open_dsm(files / "dsm.tif").read(window).valid.any()
    assert not open_image(files / "image.tif").read(window).valid.any()
    assert (open_mask(files / "mask.tif").read(window).values == 255).all()


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("float32", -9999), ("float32", -3.4028234663852886e38), ("float64", -1e6), ("int16", -32768), ("int32", -9999),
     ("uint16", 0), ("uint8", 255)],
)  # fmt: skip
def test_the_nodata_code_is_compared_in_the_rasters_own_type(tmp_path, dtype, nodata):
    grid = grid_of(3, 4)
    values = np.full((3, 4), 17, dtype)
    values[1, 2] = nodata
    source = open_dsm(write_tif(tmp_path / "dsm.tif", values, grid, nodata=nodata))
    dsm = source.read()
    assert dsm.heights.dtype == np.float32
    assert np.argwhere(~dsm.valid).tolist() == [[1, 2]]
    assert (dsm.heights[dsm.valid] == 17).all()
    assert source.scan.valid == 11 and source.scan.undeclared == 0


def test_undeclared_infinities_and_giants_are_nodata_and_counted(tmp_path):
    values = hills(grid_of(700, 900))
    values[0, :4] = [np.inf, -np.inf, 3e38, -2e30]
    values[699, 899] = 1.1e30
    values[5, 5] = np.nan
    values[6, 6] = 9.9e29  # absurd, but below the limit
    for dtype in ("float32", "float64"):
        source = open_dsm(write_tif(tmp_path / f"{dtype}.tif", values.astype(dtype), grid_of(700, 900), nodata=-9999))
        assert source.scan.undeclared == 5
        assert source.scan.valid == 700 * 900 - 6
        assert np.count_nonzero(~source.read().valid) == 6


def test_scale_offset_and_mask_bands_are_applied(tmp_path):
    path = write_tif(tmp_path / "dsm.tif", np.array([[0, 100], [200, 300]], np.int16), grid_of(2, 2), nodata=0)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.01,), (10.0,)
    heights = open_dsm(path).read().heights
    assert np.isnan(heights[0, 0]) and heights[1].tolist() == pytest.approx([12.0, 13.0])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        masked = write_tif(tmp_path / "masked.tif", hills(grid_of(2, 2)), grid_of(2, 2))
        with rasterio.open(masked, "r+") as file:
            file.write_mask(np.array([[True, False], [True, True]]))
    assert open_dsm(masked).read().valid.tolist() == [[True, False], [True, True]]


def test_an_image_without_nodata_has_no_mask_and_alpha_is_one(tmp_path):
    grid = grid_of(4, 5)
    plain = open_image(write_tif(tmp_path / "plain.tif", np.ones((2, 4, 5), np.uint16), grid))
    assert plain.read().valid is None and plain.bands == 2
    rgba = np.full((4, 4, 5), 200, np.uint8)
    rgba[3, 0] = 0
    image = open_image(write_tif(tmp_path / "rgba.tif", rgba, grid, photometric="RGB", ALPHA="YES")).read()
    assert image.pixels.shape == (3, 4, 5)
    assert not image.valid[0].any() and image.valid[1:].all()
    floats = np.ones((4, 5), np.float32)
    floats[1, 1] = np.nan
    assert not open_image(write_tif(tmp_path / "f.tif", floats, grid)).read().valid[1, 1]


def test_an_image_without_geotransform_or_in_a_camera_has_no_grid(tmp_path):
    camera = open_image(write_tif(tmp_path / "camera.tif", np.ones((4, 5), np.uint8)))
    assert camera.grid is None and camera.shape == (4, 5)
    ortho = write_tif(tmp_path / "ortho.tif", np.ones((4, 5), np.uint8), grid_of(4, 5))
    assert open_image(ortho).grid == grid_of(4, 5)
    assert open_image(ortho, in_camera=True).grid is None


def test_sources_travel_between_processes(tmp_path):
    path = write_tif(tmp_path / "dsm.tif", hills(grid_of()), grid_of())
    source = open_dsm(path)
    copy = pickle.loads(pickle.dumps(source))
    assert np.array_equal(copy.read().heights, source.read().heights)
    assert copy.files == (path,)
    assert ArraySource(dsm_of(grid_of())).files == ()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: p / "none.tif", MissingFileError, "no file"),
        (lambda p: _text(p / "text.tif"), InputError, "cannot be read as a raster"),
        (lambda p: write_tif(p / "two.tif", np.ones((2, 3, 4), np.float32), grid_of(3, 4)), InputError, "has 2 bands"),
        (lambda p: write_tif(p / "crs.tif", hills(grid_of()), grid_of(), crs=None), InputError, "no CRS"),
        (lambda p: write_tif(p / "geo.tif", hills(grid_of()), grid_of(), crs="EPSG:4326"), InputError, "geographic"),
        (lambda p: write_tif(p / "ft.tif", hills(grid_of()), grid_of(), crs="EPSG:2225"), InputError, "US survey foot"),
        (lambda p: write_tif(p / "z.tif", np.ones((3, 4), np.complex64), grid_of(3, 4)), InputError, "real numbers"),
    ],
)
def test_what_is_no_dsm_is_refused_in_one_sentence(tmp_path, make, error, words):
    path = make(tmp_path)
    with pytest.raises(error, match=words) as caught:
        open_dsm(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def _text(path):
    path.write_text("no raster")
    return path


def test_a_declared_crs_helps_without_georeferencing_only_half(tmp_path):
    no_crs = write_tif(tmp_path / "a.tif", hills(grid_of()), grid_of(), crs=None)
    assert open_dsm(no_crs, crs="EPSG:32632").grid == grid_of()
    with pytest.raises(InputError, match="no geotransform"):
        open_dsm(write_tif(tmp_path / "b.tif", hills(grid_of())), crs="EPSG:32632")
    with pytest.raises(InputError, match="crs says EPSG:32633"):
        open_dsm(write_tif(tmp_path / "c.tif", hills(grid_of()), grid_of()), crs="EPSG:32633")
    with pytest.raises(InputError, match="has 2 bands; a mask"):
        open_mask(write_tif(tmp_path / "d.tif", np.ones((2, 3, 4), np.uint8), grid_of(3, 4)))


def test_a_cut_off_file_is_said_on_reading(tmp_path):
    path = write_tif(tmp_path / "dsm.tif", hills(grid_of(400, 400)), grid_of(400, 400))
    path.write_bytes(path.read_bytes()[:300_000])
    source = open_dsm(path)
    with pytest.raises(InputError, match="cut off"):
        source.read()


def test_an_image_in_memory_pads_without_a_mask_of_its_own():
    image = Image(np.ones((2, 3, 4), np.uint8))
    part = ArraySource(image).read(Window(-1, 0, 2, 3))
    assert part.valid.tolist() == [[False, True]] * 3 and part.pixels[:, :, 0].sum() == 0
