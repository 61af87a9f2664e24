import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from refbench.geometry.lower_fill import lower_filled

NAN = np.float32(np.nan)


def test_what_a_wall_hides_is_ground():
    heights = np.full((30, 40), 10.0, np.float32)
    heights[:, 20:] = 25.0
    heights[:, 16:20] = NAN  # beside the wall, and one cell of the roof
    heights[:, 20] = NAN
    assert (lower_filled(heights)[:, 16:21] == 10).all()


def test_a_hole_in_a_slanted_roof_stays_on_it():
    rows, cols = np.mgrid[:31, :31]
    roof = (0.5 * cols + rows).astype(np.float32)
    holed = roof.copy()
    holed[14:17, 14:17] = NAN
    assert np.abs(lower_filled(holed) - roof).max() < 3.5  # the fall across the hole along a diagonal is 6


def test_corners_take_the_nearest_height():
    heights = np.full((9, 9), 5.0, np.float32)
    heights[:3, :3] = NAN
    assert (lower_filled(heights) == 5).all()


def test_what_is_known_stays_and_nothing_stays_nothing():
    heights = np.random.default_rng(0).normal(0, 1, (8, 8)).astype(np.float32)
    assert lower_filled(heights) is heights
    assert np.isnan(lower_filled(np.full((4, 4), NAN))).all()


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 12), st.floats(0.05, 0.95))
def test_heights_are_among_those_around(seed, rows, cols, fraction):
    rng = np.random.default_rng(seed)
    heights = rng.normal(0, 10, (rows, cols)).astype(np.float32)
    holes = rng.random((rows, cols)) < fraction
    holed = np.where(holes, NAN, heights)
    found = lower_filled(holed)
    if holes.all():
        assert np.isnan(found).all()
    else:
        assert np.array_equal(found[~holes], heights[~holes])
        assert (
            np.isfinite(found).all() and heights[~holes].min() <= found.min() and found.max() <= heights[~holes].max()
        )
