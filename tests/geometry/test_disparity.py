"""Matchers on pairs of known disparity."""

import cv2
import numpy as np
import pytest

from refbench.geometry.disparity import _along, census_disparity, disparity
from refbench.geometry.match_options import MatchOptions


def pattern(rows=90, cols=160):
    noise = np.random.default_rng(0).random((rows, cols)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.2)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def moved(image, shift):
    """What the right camera sees: column c of ``image`` at column c - shift."""
    at = np.float32([[1, 0, -shift], [0, 1, 0]])
    return cv2.warpAffine(image, at, image.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


OPTIONS = {
    "sgbm": MatchOptions(),
    "five": MatchOptions(directions="five"),
    "three": MatchOptions(directions="three"),
    "bm": MatchOptions(9, matcher="bm"),
    "census": MatchOptions(5, 10, 40, matcher="census"),
    "census, angles": MatchOptions(7, 10, 40, matcher="census", subpixel="angle"),
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("shift", [-2, 0, 7])
def test_a_uniform_shift_is_found(name, shift):
    left = pattern()
    found = disparity(left, moved(left, shift), 16, OPTIONS[name])[8:-8, 24:-24]
    assert np.isfinite(found).mean() > 0.6
    assert np.nanmedian(found) == pytest.approx(shift, abs=0.1)


def test_census_does_not_care_for_gain_and_offset():
    left = pattern()
    right = moved(left, 3)
    darker = (20 + 0.6 * right).astype(np.uint8)
    same = [disparity(left, image, 16, OPTIONS["census"]) for image in (right, darker)]
    both = np.isfinite(same[0]) & np.isfinite(same[1])
    assert both.mean() > 0.7
    assert np.abs(same[0] - same[1])[both].mean() < 0.05


def test_paths_sum_as_the_recursion_says():
    cost = np.random.default_rng(1).integers(0, 24, (1, 5, 6)).astype(np.int16)
    found = _along(cost, (0, 1), 2, 7)[0]
    expected = [cost[0, 0].astype(int)]
    for col in range(1, 5):
        before = expected[-1]
        row = []
        for d in range(6):
            options = [before[d], before.min() + 7]
            options += [before[d + step] + 2 for step in (-1, 1) if 0 <= d + step < 6]
            row.append(cost[0, col, d] + min(options) - before.min())
        expected.append(np.array(row))
    np.testing.assert_array_equal(found, expected)


def test_whole_disparities_where_no_subpixel_is_asked():
    left = pattern()
    options = MatchOptions(5, 10, 40, matcher="census", subpixel="none")
    found = census_disparity(left, moved(left, 2.5), 16, options)
    known = found[np.isfinite(found)]
    np.testing.assert_array_equal(known, np.round(known))
