import numpy as np
import pytest

from refbench.stereo.fusion import fuse_heights, without_speckles

NAN = np.float32(np.nan)


def cell(*heights):
    fused = fuse_heights(np.array(heights, np.float32)[:, None, None])
    return float(fused.heights[0, 0]), float(fused.deviation[0, 0]), int(fused.count[0, 0])


def test_wrong_heights_take_no_part():
    height, deviation, count = cell(10.0, 10.2, 10.1, 24.0, 10.3)
    assert height == pytest.approx(10.15) and count == 4
    assert deviation == pytest.approx(np.std([10, 10.2, 10.1, 10.3], ddof=1), rel=1e-4)


def test_the_lower_of_two_that_disagree_counts():
    height, deviation, count = cell(10.0, 25.0)
    assert (height, count) == (10.0, 1) and np.isnan(deviation)


def test_a_height_that_one_of_many_pairs_saw_is_unknown():
    assert cell(10.0, NAN)[0] == 10.0 and cell(10.0, NAN, NAN)[2] == 1
    height, _, count = cell(10.0, NAN, NAN, NAN)
    assert np.isnan(height) and count == 0
    assert np.isnan(cell(NAN, NAN)[0])


def test_order_does_not_matter():
    rng = np.random.default_rng(0)
    stack = rng.normal(0, 1, (5, 20, 30)).astype(np.float32)
    stack[rng.random(stack.shape) < 0.3] = NAN
    one, other = fuse_heights(stack), fuse_heights(stack[::-1])
    assert np.allclose(one.heights, other.heights, equal_nan=True) and np.array_equal(one.count, other.count)


def test_small_patches_go_and_large_ones_stay():
    heights = np.full((60, 60), 100.0, np.float32)
    heights[10:14, 10:14] = 130.0
    heights[30:45, 30:45] = 130.0
    found = without_speckles(heights, 0.5)
    assert np.isnan(found[10:14, 10:14]).all() and np.isnan(found).sum() == 16
    assert np.isnan(without_speckles(np.full((3, 3), NAN), 1.0)).all()
