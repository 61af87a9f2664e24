"""Semi-global matching against its definition, written out slowly, and on pairs of known disparity."""

import numpy as np
import pytest

pytest.importorskip("numba")
from scipy import ndimage

from refbench.geometry.census import census_codes
from refbench.geometry.disparity import LOWEST, disparity
from refbench.geometry.match_options import MatchOptions
from refbench.geometry.sgm_kernels import add_paths, hamming_costs, path_penalties, winners

FORTH = ((0, 1), (1, 1), (1, 0), (1, -1))
P1 = 5


def path_costs(cost, grey, step, penalties):
    """L(d) = C(d) + min(L'(d), L'(d +- 1) + P1, min L' + P2) - min L', pixel by pixel along one direction."""
    rows, cols, _ = cost.shape
    out = np.zeros(cost.shape)
    for row in range(rows)[:: -1 if step[0] < 0 else 1]:
        for col in range(cols)[:: -1 if step[1] < 0 else 1]:
            at = row - step[0], col - step[1]
            if not (0 <= at[0] < rows and 0 <= at[1] < cols):
                out[row, col] = cost[row, col]
                continue
            before = out[at]
            jump = before.min() + penalties[abs(int(grey[row, col]) - int(grey[at]))]
            beside = np.minimum(np.r_[np.inf, before[:-1]], np.r_[before[1:], np.inf]) + P1
            out[row, col] = cost[row, col] + np.minimum(np.minimum(before, beside), jump) - before.min()
    return out


@pytest.mark.parametrize("backward", [False, True])
def test_costs_are_summed_along_four_paths_each_way(backward):
    rng = np.random.default_rng(0)
    cost = rng.integers(0, 25, (7, 9, 12)).astype(np.uint8)
    grey = rng.integers(0, 255, (7, 9)).astype(np.uint8)
    penalties = path_penalties(P1, 30, 40.0)
    total = np.zeros(cost.shape, np.uint16)
    add_paths(cost, grey, float(P1), penalties, total, backward)
    steps = [(-a, -b) for a, b in FORTH] if backward else FORTH
    assert np.array_equal(total, sum(path_costs(cost, grey, step, penalties) for step in steps))


def test_costs_are_the_bits_that_differ():
    rng = np.random.default_rng(1)
    left, right = (census_codes(rng.integers(0, 255, (6, 20)).astype(np.uint8), 7) for _ in range(2))
    cost = np.zeros((6, 20, 8), np.uint8)
    hamming_costs(left, right, -2, cost)
    assert cost[3, 10, 5] == bin(int(left[3, 10] ^ right[3, 10 - 3])).count("1")
    assert cost[3, 2, 7] == 64 and cost[3, 19, 0] == 64 and cost.max() == 64


def test_penalties_fall_where_the_image_steps():
    penalties = path_penalties(8, 100, 40.0)
    assert penalties[0] == 100 and penalties[40] == 50 and (np.diff(penalties) <= 0).all() and penalties.min() == 14
    assert path_penalties(8, 9, 1.0).min() == 9


def test_the_winner_is_found_to_a_part_of_a_pixel():
    total = np.array([[[9, 5, 1, 3, 9], [1, 2, 3, 4, 5], [4, 2, 2, 4, 6]]], np.uint16)
    found = np.empty((1, 3), np.float32)
    winners(total, found)
    assert found[0] == pytest.approx([2.25, 0.0, 1.5])


@pytest.fixture(scope="module")
def step():
    """A pair with a step of disparity from 5.25 to 12.5 px at column 110."""
    base = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (80, 240)), 1)
    right = np.clip((base - base.min()) / np.ptp(base) * 255, 0, 255)
    shift = np.where(np.arange(240) < 110, 5.25, 12.5)
    rows, cols = np.indices(right.shape)
    left = ndimage.map_coordinates(right, [rows, cols - shift], order=1, mode="nearest")
    return left.astype(np.uint8), right.astype(np.uint8), shift


def test_a_step_of_disparity_is_found(step):
    left, right, shift = step
    found = disparity(left, right, 32, MatchOptions(matcher="sgm", window=5, p1=8, p2=100, edge_fall=40.0))
    inner = found[5:-5, 20:-10]
    assert np.isfinite(inner).mean() > 0.9
    error = np.abs(inner - shift[20:-10])
    assert np.nanmedian(error) < 0.2 and np.nanmean(error > 1) < 0.02


def test_gain_and_offset_do_not_matter(step):
    left, right, _ = step
    options = MatchOptions(matcher="sgm")
    dimmed = (right // 2 + 60).astype(np.uint8)
    same = disparity(left, right, 32, options)
    other = disparity(left, dimmed, 32, options)
    both = np.isfinite(same) & np.isfinite(other)
    assert both.mean() > 0.75 and np.median(np.abs(same - other)[both]) < 0.1


def test_what_one_image_does_not_show_is_left_open(step):
    left, right, _ = step
    strange = left.copy()
    strange[:, 150:190] = np.random.default_rng(5).integers(0, 255, (80, 40))
    found = disparity(strange, right, 32, MatchOptions(matcher="sgm"))
    assert np.isnan(found[5:-5, 155:185]).mean() > 0.5
    assert np.nanmin(found) >= LOWEST
