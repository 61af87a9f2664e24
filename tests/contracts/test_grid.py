import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Bounds, Grid, Window

sizes = st.integers(1, 300)
offsets = st.integers(-50, 50)
windows = st.builds(Window, offsets, offsets, sizes, sizes)
grids = st.builds(
    lambda w, h, gsd, x, y: Grid(w, h, Affine(gsd, 0, x, 0, -gsd, y), CRS.from_epsg(32632)),
    sizes,
    sizes,
    st.sampled_from([0.25, 0.5, 1.0, 2.5]),
    st.floats(1e5, 9e5),
    st.floats(1e6, 9e6),
)


@given(windows, windows)
def test_an_intersection_lies_in_both_windows(a, b):
    common = a.intersection(b)
    rows = set(range(a.row_off, a.row_stop)) & set(range(b.row_off, b.row_stop))
    cols = set(range(a.col_off, a.col_stop)) & set(range(b.col_off, b.col_stop))
    if common is None:
        assert not rows or not cols
    else:
        assert set(range(common.row_off, common.row_stop)) == rows
        assert set(range(common.col_off, common.col_stop)) == cols


@given(grids)
def test_the_centres_fall_into_their_own_pixels(grid):
    cols, rows = grid.pixel_of(*grid.centres())
    assert np.array_equal(np.floor(cols), np.broadcast_to(np.arange(grid.width), grid.shape))
    assert np.array_equal(np.floor(rows), np.broadcast_to(np.arange(grid.height)[:, None], grid.shape))


@given(grids, windows)
def test_a_window_keeps_its_place_in_the_world(grid, window):
    part = grid.window(window)
    assert part.transform @ (0, 0) == pytest.approx(grid.transform @ (window.col_off, window.row_off), abs=1e-6)
    assert part.shape == (window.height, window.width)


@given(grids, st.floats(-5e-4, 5e-4))
def test_equality_forgives_less_than_a_thousandth_of_a_pixel(grid, shift):
    moved = Grid(grid.width, grid.height, grid.transform @ Affine.translation(shift, 0), grid.crs)
    assert moved == grid
    assert Grid(grid.width, grid.height, grid.transform @ Affine.translation(0.01, 0), grid.crs) != grid


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0.5, 300), st.floats(0.5, 300), st.sampled_from([0.5, 2]))
def test_snap_covers_the_bounds_with_multiples_of_the_gsd(west, south, width, height, gsd):
    grid = Grid.snap(Bounds(west, south, west + width, south + height), gsd)
    got = grid.bounds
    assert got.west <= west and got.north >= south + height
    assert got.east >= west + width - 1e-5 and got.south <= south + 1e-5
    assert math.isclose(got.west / gsd, round(got.west / gsd), abs_tol=1e-6)


def test_differences_name_only_what_differs():
    a = Grid(4, 5, Affine(1, 0, 0, 0, -1, 0), CRS.from_epsg(32632))
    b = Grid(4, 5, Affine(1, 0, 0.25, 0, -1, 0), CRS.from_epsg(32633))
    assert list(a.differences(a)) == []
    assert list(a.differences(b)) == ["corners up to 0.25 px apart", "CRS EPSG:32632 against EPSG:32633"]
    assert a != "a grid"


@pytest.mark.parametrize("transform", [Affine(0, 0, 0, 0, 0, 0), Affine(math.nan, 0, 0, 0, 1, 0)])
def test_a_transform_that_cannot_be_inverted_is_refused(transform):
    with pytest.raises(InputError, match="cannot be inverted"):
        Grid(3, 3, transform)


def test_empty_windows_and_grids_are_refused():
    with pytest.raises(InputError):
        Window(0, 0, 0, 3)
    with pytest.raises(InputError):
        Grid(0, 3, Affine.identity())
