"""ResDepth's pieces without torch: what the golden files do not hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refbench import InputError
from refbench.contracts.errors import MissingFileError
from refbench_resdepth.normalise import normalise_heights, normalise_images, patch_mean, patch_std, training_std
from refbench_resdepth.official.lists import read_image_list, read_pair_list
from refbench_resdepth.official.statistics import Residuals, pooled, scores, set_masks, sets, statistics_text
from refbench_resdepth.regions import STRATEGIES, Extent, allocate, blend_profile, tile_starts
from refbench_resdepth.training.augment import augment
from refbench_resdepth.training.loss_mask import own_part, reference_mask
from refbench_resdepth.training.sampling import Positions, draw

IMAGES = (Path("data/a/ortho_1.tif"), Path("data/a/ortho_10.tif"), Path("data/b/north,late.tif"), Path("c/x.tif"))


# --- regions and tiles --------------------------------------------------------------------------------------------


@given(st.integers(5, 400), st.integers(5, 400), st.sampled_from(STRATEGIES[:2]), st.integers(0, 4), st.booleans())
def test_stripes_cover_every_pixel_once(rows, cols, strategy, stripe, crossval):
    try:
        regions = allocate(rows, cols, strategy, stripe, crossval=crossval)
    except InputError:
        assert min(rows, cols) < 10
        return
    count = np.zeros((rows, cols), int)
    for extent in sum(regions.values(), ()):
        assert count[extent.pixels].shape == (extent.rows, extent.cols)
        count[extent.pixels] += 1
    assert (count == 1).all()
    assert bool(regions["test"]) is not crossval


def test_entire_is_the_whole_raster_for_everything():
    whole = (Extent(0, 6, 0, 2),)
    assert allocate(3, 7, "entire", 9) == {"train": whole, "val": whole, "test": whole}


@pytest.mark.parametrize(
    ("shape", "strategy", "stripe", "message"),
    [
        ((100, 100), "5-crossval_diagonal", 0, "5-crossval_vertical, 5-crossval_horizontal, entire"),
        ((100, 100), "5-crossval_vertical", 5, "0 to 4"),
        ((100, 100), "5-crossval_vertical", -1, "0 to 4"),
        ((100, 8), "5-crossval_vertical", 0, "8 pixels"),
        ((4, 100), "5-crossval_horizontal", 0, "4 pixels"),
    ],
)
def test_regions_that_are_refused(shape, strategy, stripe, message):
    with pytest.raises(InputError, match=message):
        allocate(*shape, strategy, stripe)


@given(st.integers(0, 50), st.integers(1, 200), st.integers(1, 40), st.data())
def test_weights_sum_to_one_and_own_pixels_are_covered_once(first, length, tile, data):
    stride = data.draw(st.integers((tile + 1) // 2, tile))
    covered, owned, total = np.zeros(300, int), np.zeros(300, int), np.zeros(300)
    tiles = tile_starts(first, first + length - 1, tile, stride)
    for start, own_first, own_last in tiles:
        covered[start : start + tile] += 1
        owned[start + own_first : start + own_last + 1] += 1
        total[start : start + tile] += blend_profile(tile, stride, own_first, own_last)
    inside = np.s_[first : first + length]
    np.testing.assert_allclose(total[inside], 1, rtol=0, atol=1e-12)
    assert (owned <= 1).all()
    if length > tile:
        assert covered[inside].min() >= 1
        assert not covered[:first].any()
        assert not covered[first + length :].any()


def test_a_region_smaller_than_the_tile_gets_one_tile_from_its_start():
    assert tile_starts(7, 16, 32, 16) == [(7, 0, 9)]
    assert (blend_profile(32, 16, 0, 9)[:10] == 1).all()


@pytest.mark.parametrize(("first", "last", "tile", "stride"), [(5, 4, 8, 4), (0, 9, 8, 0), (0, 9, 8, 9)])
def test_a_grid_that_cannot_be(first, last, tile, stride):
    with pytest.raises(InputError, match="cannot cover"):
        tile_starts(first, last, tile, stride)


# --- samples ------------------------------------------------------------------------------------------------------


def test_positions_are_those_of_a_list():
    regions = (Extent(3, 12, 20, 26), Extent(0, 2, 0, 99), Extent(30, 35, 1, 4))
    tile = 4
    listed = [
        (y, x)
        for region in regions
        for y in range(region.y_first, region.y_last - tile + 2)
        for x in range(region.x_first, region.x_last - tile + 2)
    ]
    positions = Positions(regions, tile)
    assert len(positions) == len(listed)
    assert list(map(tuple, positions.at(np.arange(len(listed))).tolist())) == listed
    assert positions.at(np.zeros(0, np.int64)).shape == (0, 2)
    for index in (-1, len(listed)):
        with pytest.raises(IndexError):
            positions.at(np.array([index]))


def test_positions_of_a_region_too_large_to_list():
    positions = Positions((Extent(0, 99_999, 0, 99_999),), 256)
    assert positions.at(np.array([len(positions) - 1])).tolist() == [[99_744, 99_744]]


@pytest.mark.parametrize("n", [1, 2, 1000, 70_000])
def test_draws_are_those_of_numpy_choice(n):
    expected = np.random.RandomState(5).choice(n, (n + 1) // 2, replace=False)
    np.testing.assert_array_equal(draw(n, (n + 1) // 2, 5), expected)


def test_a_generator_goes_on():
    ours, theirs = np.random.RandomState(1), np.random.RandomState(1)
    for _ in range(2):
        np.testing.assert_array_equal(draw(50, 7, ours), theirs.choice(50, 7, replace=False))


def test_too_many_samples():
    with pytest.raises(InputError, match=r"11 training patches .* only 10 positions"):
        draw(10, 11, 0)
    assert len(Positions((Extent(0, 9, 0, 9),), 11)) == 0


def test_augmentation_is_a_turn_and_then_flips():
    array = np.arange(6).reshape(1, 2, 3)
    assert augment(array, 1, False, False)[0].tolist() == [[2, 5], [1, 4], [0, 3]]
    assert augment(array, 1, True, False)[0].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert augment(array, 1, False, True)[0].tolist() == [[5, 2], [4, 1], [3, 0]]
    assert augment(array, 3, True, True).flags.c_contiguous


def test_unknown_heights_do_not_move_the_mean():
    patches = np.array([[[1, 3], [np.nan, 8]], [[np.nan, np.nan], [np.nan, np.nan]]], np.float32)
    assert patch_mean(patches).tolist() == [4, 0]
    np.testing.assert_allclose(patch_std(patches), [np.std([1, 3, 8], ddof=1), np.nan])
    assert np.isnan(normalise_heights(patches, patch_mean(patches), 2.0)[0]).tolist() == [[False, False], [True, False]]


def test_patches_have_their_own_mean():
    patches = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    found = normalise_heights(patches, patch_mean(patches), 0.5)
    assert found.dtype == np.float32
    assert found.tolist() == [[[-3, -1], [1, 3]]] * 2


def test_unknown_pixels_of_an_image_become_the_centre():
    images = np.array([[[[1, 3]], [[np.nan, 8]]]])
    assert normalise_images(images, None, 2.0).tolist() == [[[[-1.5, -0.5]], [[0, 2]]]]
    assert normalise_images(images, 1.0, 1.0).tolist() == [[[[0, 2]], [[0, 7]]]]


@pytest.mark.parametrize("stds", [[], [np.nan], [0.0, 0.0]])
def test_heights_without_a_scale(stds):
    with pytest.raises(InputError, match="no scale"):
        training_std(stds)


def test_the_scale_leaves_the_tails_out():
    assert training_std([*range(1, 100), np.nan, 1e6]) == pytest.approx(np.arange(6, 96).mean())


def test_masks_of_reference():
    assert reference_mask(np.array([[1.0, 0.0, np.nan, -5.0]]), -5.0).tolist() == [[True, False, False, False]]
    assert own_part(4, (1, 2), (2, 3)).nonzero()[0].tolist() == [1, 1, 2, 2]
    assert not own_part(4, (2, 1), (0, 3)).any()


# --- lists --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ortho_1.tif, ortho_10.tif\n", [(0, 1)]),
        ("  ortho_10 ,ortho_1,\r\n\r\n   \nx.tif,\tnorth,late.tif\n", [(1, 0), (3, 2)]),
        ("north,late\n", [(2,)]),
        ("\ufefflate.tif, ,\n", [(2,)]),
        ("data/a/ortho_10.tif, b/north\n", [(1, 2)]),
        ("x.tif,x.tif\n", [(3, 3)]),
    ],
)
def test_tolerant_pair_lists(tmp_path, text, expected):
    path = tmp_path / "pairs.txt"
    path.write_text(text, newline="")
    assert list(read_pair_list(path, IMAGES)) == expected


@pytest.mark.parametrize(
    ("text", "n_images", "message"),
    [
        ("ortho_1, x\n\northo_7, x\n", None, r"Line 3 .*pairs\.txt: 'ortho_7' fits none of the 4 images"),
        ("ortho, x\n", None, r"Line 1 .*'ortho' fits several images: data/a/ortho_1\.tif, data/a/ortho_10\.tif"),
        ("ortho_1, x\northo_10\n", None, "Line 2 .* has 1 of 2 images"),
        ("ortho_1, x\n", 3, "Line 1 .* has 2 of 3 images"),
        ("ortho_1, x\n\northo_1.tif,x\n", None, "Line 3 .* repeats line 1"),
        (" \n,\n", None, "names no image"),
    ],
)
def test_refused_pair_lists(tmp_path, text, n_images, message):
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pair_list(path, IMAGES, n_images)


def test_image_lists(tmp_path):
    path = tmp_path / "images.txt"
    path.write_text("\n  data/a.tif \n\n/abs/b c.tif\n")
    assert read_image_list(path) == (Path("data/a.tif"), Path("/abs/b c.tif"))
    path.write_text(" \n")
    with pytest.raises(InputError, match="names no image"):
        read_image_list(path)
    with pytest.raises(MissingFileError, match="cannot be read"):
        read_image_list(tmp_path / "none.txt")


# --- statistics ---------------------------------------------------------------------------------------------------


def test_scores_of_nothing_are_unknown():
    found = scores(np.empty(0))
    assert found.pop("count") == 0
    assert np.isnan(list(found.values())).all()


def test_only_pixels_known_in_all_count_and_a_reference_of_zero_does():
    reference = np.array([[0.0, 1.0, np.nan, 1.0]], np.float32)
    initial = np.array([[1.0, np.nan, 1.0, 1.0]], np.float32)
    refined = np.array([[2.0, 2.0, 2.0, np.nan]])
    found = sets(reference, initial, refined, {})["all"]
    assert (found.initial.tolist(), found.refined.tolist()) == ([1.0], [2.0])


def test_buildings_grow_across_the_border_of_a_region():
    building = np.zeros((1, 8), np.uint8)
    building[0, 3] = 1
    found = set_masks(np.ones((1, 8), bool), {"building": building}, (Extent(4, 7, 0, 0),))
    assert found["building"].nonzero()[1].tolist() == [4, 5]
    assert found["terrain"].nonzero()[1].tolist() == [6, 7]


def test_a_set_without_pixels_stays_in_the_file():
    runs = [
        {"all": Residuals(np.array([1.0]), np.array([e])), "building": Residuals(*np.empty((2, 0)))} for e in (2, 3)
    ]
    assert pooled(runs)["all"].tolist() == [2, 3]
    text = statistics_text("UNet", "w.pth", runs[0], 4e6)
    assert "Number of pixels:\t\t\t1\nArea [km^2]:\t\t\t\t4.00\n" in text
    assert text.count("STATISTICS, BUILDING PIXELS") == 2
    assert text.count("       nan m\n") == 14


def test_forest_without_water_has_its_own_title():
    ones, none = np.ones((2, 2), bool), np.zeros((2, 2), np.uint8)
    assert list(set_masks(ones, {"forest": none, "water": none})) == ["all"]
    heights = np.zeros((2, 2))
    found = sets(heights, heights, heights, {"building": none, "forest": none})
    assert "STATISTICS, TERRAIN PIXELS WITHOUT FOREST: REFINED DSM\n" + 54 * "-" in statistics_text("", "", found, 1)
