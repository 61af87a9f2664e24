"""Coregistration on surfaces whose shift has a closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.transform import from_origin

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Grid
from refbench.contracts.raster import DSM, Mask
from refbench.evaluation.coregistration import coregister
from refbench.evaluation.shift import Shift, shifted

SIDE, GSD = 96, 0.5


def grid(crs="EPSG:32632", east=0.0, north=0.0):
    return Grid(SIDE, SIDE, from_origin(1000 + east, 2000 + north, GSD, GSD), CRS.from_string(crs))


def surface(x, y):
    return 8 * np.sin(x / 5) * np.cos(y / 7) + 0.05 * x + 3 * np.sin((x + y) / 11)


def dsm(east=0.0, north=0.0, up=0.0, at=None):
    """The surface moved by a shift, sampled on a grid."""
    at = at or grid()
    x, y = at.centres()
    return DSM((surface(x - 1000 - east, y - 2000 - north) + up).astype(np.float32), at)


@settings(max_examples=20, deadline=None)
@given(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.floats(-20, 20))
def test_what_was_moved_is_moved_back(east, north, up):
    found = coregister(dsm(east, north, up), dsm())
    assert (found.east_m, found.north_m, found.up_m) == pytest.approx((-east, -north, -up), abs=0.005)
    assert found.nmad_after < 0.02


def test_the_grids_need_not_agree():
    found = coregister(dsm(0.4, -0.3, 1.0, at=grid(east=0.2, north=-0.1)), dsm())
    assert (found.east_m, found.north_m, found.up_m) == pytest.approx((-0.4, 0.3, -1.0), abs=0.005)


def test_applying_the_shift_moves_grid_and_heights():
    before = dsm(0.4, -0.3, 1.0)
    moved = shifted(before, Shift(-0.4, 0.3, -1.0, 1, 1, 0.0, 0.0))
    x, y = moved.grid.centres()
    np.testing.assert_allclose(moved.heights, surface(x - 1000, y - 2000), atol=1e-4)


def test_unstable_ground_takes_no_part():
    moved = dsm(0.5, 0.0, 0.0)
    heights = moved.heights.copy()
    heights[:, SIDE // 2 :] = dsm(-1.0, 0.0, 9.0).heights[:, SIDE // 2 :]
    water = np.zeros((SIDE, SIDE), np.uint8)
    water[:, SIDE // 2 - 3 :] = 1
    found = coregister(DSM(heights, moved.grid), dsm(), {"water": Mask(water, moved.grid, "water")})
    assert (found.east_m, found.up_m) == pytest.approx((-0.5, 0.0), abs=0.01)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (dsm(), DSM(np.full((SIDE, SIDE), 3, np.float32), grid()), "too little relief"),
        (dsm(), dsm(at=grid(east=1e4)), "share 0 stable pixels"),
        (dsm(at=grid("EPSG:32631")), dsm(), "one CRS"),
        (DSM(np.full((SIDE, SIDE), np.nan, np.float32), grid()), dsm(), "0 known heights"),
    ],
)
def test_what_cannot_be_coregistered_is_said(first, second, words):
    with pytest.raises(InputError, match=words):
        coregister(first, second)
