import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from refbench.contracts.errors import GridMismatchError, InputError
from refbench.contracts.grid import Grid
from refbench.contracts.raster import DSM, MASK_UNKNOWN, Mask
from refbench.geometry.crs_map import transform_exact
from refbench.geometry.sample import bilinear, nearest, sample_bilinear, sample_nearest
from refbench.geometry.warp import kernels, warp, warp_dsm, warp_mask

UTM = CRS.from_epsg(32632)
GRID = Grid(6, 5, Affine(0.3, 0, 500000.1, 0, -0.3, 5200000.7), UTM)


@given(st.floats(0, 5), st.floats(0, 4))
def test_a_plane_is_reproduced(col, row):
    cols, rows = np.meshgrid(np.arange(6.0), np.arange(5.0))
    got = bilinear(np.stack([2 * cols - 3 * rows, cols]), col, row)
    np.testing.assert_allclose(got, [2 * col - 3 * row, col], atol=1e-5)


@given(st.floats(-3, 9), st.floats(-3, 8))
def test_bilinear_equals_the_formula_and_is_nan_outside_the_hull(col, row):
    array = np.random.default_rng(0).normal(size=(5, 6))
    got = bilinear(array, col, row)
    if not (-1e-6 <= col <= 5 + 1e-6 and -1e-6 <= row <= 4 + 1e-6):
        assert np.isnan(got)
    elif 0 <= col <= 5 and 0 <= row <= 4:
        weights = np.outer(np.maximum(0, 1 - abs(np.arange(5) - row)), np.maximum(0, 1 - abs(np.arange(6) - col)))
        assert got == pytest.approx((weights * array).sum(), abs=1e-5)


def test_any_contributor_without_data_makes_no_data():
    array = np.ones((3, 4))
    array[1, 1] = np.nan
    col, row = np.array([0.5, 1.0, 2.0, 2.5, 1.0, 0.0]), np.array([0.5, 0.5, 1.0, 1.5, 0.0, 0.3])
    # The third and the last two touch the hole with a weight of 0 only.
    assert np.isnan(bilinear(array, col, row)).tolist() == [True, True, False, False, False, False]


def test_own_centres_come_back_whole_in_utm():
    array = np.random.default_rng(0).normal(size=GRID.shape)
    array[2, 3] = np.nan
    np.testing.assert_array_equal(sample_bilinear(array, GRID, *GRID.centres()), array)
    np.testing.assert_array_equal(sample_nearest(array, GRID, *GRID.centres()), array)


def test_coordinates_that_are_not_numbers_are_outside():
    assert np.isnan(bilinear(np.ones((2, 2)), np.array([np.nan, np.inf]), np.array([0.0, 0.0]))).all()
    assert nearest(np.ones((2, 2), np.uint8), np.array([np.nan]), np.array([0.0]), outside=9).tolist() == [9]


def test_nearest_keeps_the_type_and_needs_a_value_outside():
    classes = np.arange(6, dtype=np.uint8).reshape(2, 3)
    got = nearest(classes, np.array([0.49, 0.5, -0.51]), np.array([0.0, 1.4, 0.0]), outside=255)
    assert got.dtype == np.uint8
    assert got.tolist() == [0, 4, 255]
    with pytest.raises(InputError, match="NaN"):
        nearest(classes, np.array([0.0]), np.array([0.0]))


def test_another_size_than_the_grid_is_refused():
    with pytest.raises(GridMismatchError):
        sample_bilinear(np.ones((3, 3)), GRID, *GRID.centres())
    with pytest.raises(InputError, match="shape"):
        bilinear(np.ones(3), np.zeros(1), np.zeros(1))


def test_warp_to_a_shifted_grid_interpolates_a_plane():
    x, y = GRID.centres()
    target = Grid(4, 4, Affine(0.25, 0, 500000.5, 0, -0.25, 5200000.3), UTM)
    to_x, to_y = target.centres()
    for kernel in ("bilinear", "gdal_bilinear"):
        got = warp((x - 5e5) - 2 * (y - 5.2e6), GRID, target, kernel)
        np.testing.assert_allclose(got, (to_x - 5e5) - 2 * (to_y - 5.2e6), atol=1e-6)


def test_warp_between_two_crs_follows_the_coordinates():
    source = Grid(60, 60, Affine(10, 0, 499700, 0, -10, 5200300), UTM)
    x, y = source.centres()
    west, north = transform_exact(UTM, CRS.from_epsg(3857), np.array(499750.0), np.array(5200250.0))
    target = Grid(60, 60, Affine(15, 0, float(west), 0, -15, float(north)), CRS.from_epsg(3857))
    to_x, to_y = transform_exact(target.crs, UTM, *target.centres())
    got = warp(np.stack([x - 5e5, y - 5.2e6]), source, target)
    inside = np.isfinite(got[0])
    hull = (abs(to_x - 5e5) <= 295) & (abs(to_y - 5.2e6) <= 295)
    assert np.array_equal(inside, hull)
    assert inside.any()
    np.testing.assert_allclose(got[:, inside], [(to_x - 5e5)[inside], (to_y - 5.2e6)[inside]], atol=1e-5)


def test_warp_is_strict_and_gdal_is_not():
    array = np.ones(GRID.shape, np.float32)
    array[2, 3] = np.nan
    target = Grid(12, 10, Affine(0.15, 0, 500000.1, 0, -0.15, 5200000.7), UTM)
    strict, loose = (np.isnan(warp(array, GRID, target, kernel)) for kernel in ("bilinear", "gdal_average"))
    assert strict[4:6, 6:8].all()
    assert strict[3:7, 5:9].all()
    assert not loose[3, 5]
    assert warp(array, GRID, target).dtype == np.float32


def test_masks_and_dsms_keep_their_kind():
    mask = Mask(np.eye(5, 6, dtype=np.uint8), GRID, "water")
    wide = Grid(8, 7, Affine(0.3, 0, 499999.8, 0, -0.3, 5200001.0), UTM)
    got = warp_mask(mask, wide)
    assert got.name == "water"
    assert np.array_equal(got.values[1:6, 1:7], mask.values)
    assert (got.values[0] == MASK_UNKNOWN).all()
    dsm = warp_dsm(DSM(np.ones(GRID.shape, np.float32), GRID), wide)
    assert dsm.valid.sum() == 30
    assert dsm.grid is wide


def test_bad_requests_are_refused():
    array = np.ones(GRID.shape)
    with pytest.raises(InputError, match="kernel"):
        warp(array, GRID, GRID, "spline")
    with pytest.raises(InputError, match="warp_mask"):
        warp(array.astype(np.uint8), GRID, GRID)
    with pytest.raises(GridMismatchError):
        warp(array[1:], GRID, GRID)
    with pytest.raises(InputError, match="no grid"):
        warp_mask(Mask(np.ones((2, 2), np.uint8)), GRID)
    assert {"bilinear", "nearest", "gdal_cubic", "gdal_average"} <= set(kernels)
