"""The range of heights that a pair is searched over comes from the images; no DEM is needed."""

import pytest

pytest.importorskip("numba")
from makers import UTM, looking_down
from stereo_images import GRID, SIZE, SURFACE, view

from refbench.bridges.pair_choice import RankedPair
from refbench.contracts.errors import UnsupportedError
from refbench.geometry.match_options import MatchOptions
from refbench.geometry.rpc_fit import fit_rpc
from refbench.stereo.height_range import coarse_heights
from refbench.stereo.pair_points import pair_points

WIDE = (-300.0, 500.0)


def made_for_wide_heights(name, lean, above):
    """A view whose RPC knows 800 m of height; two from unlike distances leave each other's epipolar rows over it."""
    camera = looking_down(GRID, lean, height=above, size=SIZE)
    return view(name, lean, rpc=fit_rpc(camera, GRID.bounds.padded(20.0), WIDE, UTM).rpc)


def test_a_pair_that_leaves_its_rows_over_all_heights_is_begun_coarser():
    near, far = made_for_wide_heights("near", -0.2, 100_000.0), made_for_wide_heights("far", 0.2, 400_000.0)
    pair = RankedPair(near, far, 22.0, 1.0, None)
    with pytest.raises(UnsupportedError, match="off the epipolar rows"):
        pair_points(pair, GRID.bounds, WIDE, gsd=0.5, options=MatchOptions())
    low, high = coarse_heights(pair, GRID.bounds, 0.5, MatchOptions()).over(GRID.bounds)
    assert low < SURFACE.heights.min() < SURFACE.heights.max() < high < low + 60
