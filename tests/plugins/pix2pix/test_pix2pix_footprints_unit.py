"""The assessor of footprints: masks, tiles, values, networks and mistakes, without golden data."""

import warnings

import numpy as np
import pytest
from makers import dsm_with, grid_of, write_tif

from refbench import InputError, Mask
from refbench.contracts.errors import ConfigError, WeightsError
from refbench_pix2pix.footprints import footprint_assessor
from refbench_pix2pix.footprints.assessors import assessor_record
from refbench_pix2pix.footprints.footprint_assessor import FootprintOptions, assess_footprints, grey_levels, tiles
from refbench_pix2pix.footprints.mask_metrics import curves, fraction_scores, mean_scores, s_measure, sod_scores

torch = pytest.importorskip("torch")

from refbench_pix2pix.footprints.esfp_checkpoint import read_esfpnet  # noqa: E402
from refbench_pix2pix.footprints.esfpnet import SIZES, EsfpConfig, EsfpNet  # noqa: E402
from refbench_pix2pix.footprints.segment import segment_tile, to_input, to_mask  # noqa: E402

SMALL = EsfpConfig((8, 16, 24, 32), (1, 1, 1, 1), heads=(1, 2, 3, 4))
HEADS = list(SMALL.heads)


def surface(heights):
    return dsm_with(heights, gsd=1.0)


def town(shape=(300, 280)):
    """A mask of buildings, and a DSM with them."""
    mask = np.zeros(shape, np.uint8)
    mask[20:90, 30:120] = mask[150:290, 200:270] = 1
    return mask, surface(20 + 9.0 * mask)


def masks_of(mask):
    return {"building": Mask(mask, grid_of(*mask.shape, gsd=1.0), "building")}


def write_mask(path, values):
    return str(write_tif(path, values.astype(np.uint8), grid_of(*values.shape, gsd=1.0)))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    net = EsfpNet(SMALL).eval()
    path = tmp_path_factory.mktemp("esfp") / "net.pt"
    torch.save(net.state_dict(), path)
    return path, net


# --- scores -------------------------------------------------------------------------------------------------------


def test_pixels_that_do_not_count_change_nothing():
    rng = np.random.default_rng(1)
    reference, predicted = (rng.integers(0, 2, (40, 30), dtype=np.uint8) * 255 for _ in range(2))
    valid = np.ones(reference.shape, np.bool_)
    valid[:, 25:] = False
    part = (slice(None), slice(25))
    for score in (fraction_scores, sod_scores):
        expected = score(predicted[part], reference[part])
        assert score(predicted, reference, valid) == pytest.approx(expected, abs=1e-12)
    assert sod_scores(predicted, reference)["sod_sm"] != pytest.approx(expected["sod_sm"], abs=1e-3)


def test_curves_are_what_a_loop_over_the_thresholds_gives():
    rng = np.random.default_rng(2)
    reference = rng.integers(0, 2, (25, 31), dtype=np.uint8) * 255
    predicted = rng.integers(10, 200, reference.shape, dtype=np.uint8)
    levels = ((predicted - predicted.min()) / (predicted.max() - predicted.min()) * 255).astype(int)
    found, true = curves(predicted, reference), reference > 0
    for index, threshold in enumerate(range(255, -1, -1)):
        chosen = levels >= threshold
        both = (chosen & true).sum()
        assert found.iou[index] == pytest.approx(both / (chosen | true).sum())
        precision, recall = both / max(chosen.sum(), 1), both / true.sum()
        if both:
            assert found.f_beta[index] == pytest.approx(1.1 * precision * recall / (0.1 * precision + recall))
        a, b = chosen - chosen.mean(), true - true.mean()
        aligned = 2 * a * b / (a * a + b * b)
        assert found.e_measure[index] == pytest.approx(((aligned + 1) ** 2 / 4).sum() / (true.size - 1))


@pytest.mark.parametrize("place", [(5, 5), (15, 4), (3, 11), (15, 11)])
def test_one_pixel_and_the_last_row_have_an_s_measure(place):
    reference = np.zeros((16, 12), np.uint8)
    reference[place] = 255
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0.9 < s_measure(reference, reference) <= 1
        assert 0 <= s_measure(255 - reference, reference) < 0.5


def test_tiles_without_a_score_do_not_count_in_its_mean():
    nan = float("nan")
    assert mean_scores([{"a": 1.0, "b": nan}, {"a": 3.0, "b": 5.0}]) == {"a": 2.0, "b": 5.0}
    assert np.isnan(mean_scores([{"b": nan}])["b"]) and mean_scores([]) == {}


def test_no_pixel_makes_nan_without_warning():
    empty, valid = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.bool_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fraction_scores(empty, empty, valid) | sod_scores(empty, empty, valid)
    assert all(np.isnan(value) for value in found.values())


# --- from a mask --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("building", [1, 255])
def test_the_true_mask_scores_best(tmp_path, building):
    mask, dsm = town()
    found = assess_footprints(dsm, None, masks_of(mask), {"mask": write_mask(tmp_path / "m.tif", mask * building)})
    assert list(found) == [score.key for score in assessor_record().scores]
    assert found["tiles"] == 4 and found["mae"] == 0 and found["iou"] == 1 and found["sod_sm"] > 0.99
    shifted = np.roll(mask, 5, axis=1) * building
    worse = assess_footprints(dsm, None, masks_of(mask), {"mask": write_mask(tmp_path / "s.tif", shifted)})
    for score in assessor_record().scores[:-1]:
        assert (worse[score.key] < found[score.key]) is score.higher_is_better, score.key


def test_unknown_pixels_are_not_scored(tmp_path):
    mask, dsm = town()
    heights, reference, predicted = dsm.heights.copy(), mask.copy(), mask.copy()
    heights[:40], reference[160:200], predicted[210:250] = np.nan, 255, 7
    found = mask ^ 0
    found[:40] ^= 1
    found[160:200] ^= 1
    found[210:250] = predicted[210:250]
    scores = assess_footprints(
        surface(heights), None, masks_of(reference), {"mask": write_mask(tmp_path / "m.tif", found)}
    )
    assert scores["mae"] == 0 and scores["iou"] == 1
    nothing = assess_footprints(
        surface(np.full(mask.shape, np.nan)), None, masks_of(mask), {"mask": str(tmp_path / "m.tif")}
    )
    assert nothing["tiles"] == 0 and np.isnan(nothing["iou"]) and nothing.keys() == scores.keys()


def test_tiles_cover_every_pixel_once_or_whole_tiles_only():
    covered = np.zeros((600, 560), int)
    for part in tiles(covered.shape):
        covered[part] += 1
    assert (covered == 1).all()
    whole = list(tiles(covered.shape, "drop"))
    assert len(whole) == 4 and all(covered[part].shape == (256, 256) for part in whole)
    assert list(tiles((100, 300), "drop")) == []


# --- from a network -----------------------------------------------------------------------------------------------


def test_the_mask_of_a_network_covers_the_raster(weights, monkeypatch):
    path, net = weights
    mask, dsm = town()
    options = {"weights": str(path), "heads": HEADS}
    found = assess_footprints(dsm, None, masks_of(mask), options)
    assert found["tiles"] == 4 and 0 <= found["iou"] <= 1
    # The first tile's mask is the network's own; the others are continued by reflection.
    seen = []
    monkeypatch.setattr(footprint_assessor, "fraction_scores", lambda *arrays: seen.append(arrays) or {})
    assess_footprints(dsm, None, masks_of(mask), options)
    levels = dsm.heights.astype(np.uint8)
    np.testing.assert_array_equal(seen[0][0], segment_tile(net, levels[:256, :256]))
    corner = np.pad(levels[256:, 256:], ((0, 212), (0, 232)), mode="symmetric")
    np.testing.assert_array_equal(seen[3][0], segment_tile(net, corner)[:44, :24])


def test_levels_are_whole_metres_above_the_offset_and_gaps_are_filled():
    dsm = surface([[10.9, 11.0, np.nan, 40.99], [12.0, 12.5, 13.0, 14.0]])
    plain = FootprintOptions(weights="x", compat=True)
    assert grey_levels(dsm, plain).tolist() == [[10, 11, 0, 40], [12, 12, 13, 14]]
    moved = FootprintOptions(weights="x", offset=10.0, step=0.5)
    assert grey_levels(dsm, moved)[0].tolist() == [1, 2, grey_levels(dsm, moved)[0, 2], 61]
    assert grey_levels(dsm, moved)[0, 2] in (2, 6, 61)
    for heights in ([[-0.5, 3.0]], [[3.0, 256.0]]):
        with pytest.raises(InputError, match="--option offset="):
            grey_levels(surface(heights), plain)


def test_the_published_bug_is_mended_by_default():
    everywhere = np.full((4, 4), 2.0, np.float32)
    assert (to_mask(everywhere) == 255).all() and (to_mask(everywhere, compat=True) == 0).all()
    assert (to_mask(-everywhere) == 0).all()


def test_other_sizes_than_256_are_resampled():
    grey = np.arange(100 * 90, dtype=np.uint32).reshape(100, 90).astype(np.uint8)
    assert to_input(grey).shape == (1, 3, 256, 256)
    np.testing.assert_array_equal(to_input(grey), to_input(np.repeat(grey[..., None], 3, axis=2)))


# --- files --------------------------------------------------------------------------------------------------------


def test_sizes_are_told_from_the_tensors(tmp_path):
    net = EsfpNet(EsfpConfig(SIZES["b0"].widths, (1, 2, 1, 3)))
    torch.save({f"module.{name}": tensor.half() for name, tensor in net.state_dict().items()}, tmp_path / "net.pt")
    found = read_esfpnet(tmp_path / "net.pt")
    assert found.config == net.config and not found.training
    assert found.linear_pred.weight.dtype == torch.float32


def test_a_whole_pickled_network_is_read(tmp_path, weights):
    net = weights[1]
    torch.save(net, tmp_path / "whole.pt")
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(read_esfpnet(tmp_path / "whole.pt", SMALL.heads)(x), net(x))


def test_files_of_other_networks_are_refused(tmp_path, weights):
    path, net = weights
    with pytest.raises(WeightsError, match="no published size"):
        read_esfpnet(path)
    with pytest.raises(WeightsError, match="divide the widths"):
        read_esfpnet(path, (1, 2, 5, 8))
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "linear.pt")
    with pytest.raises(WeightsError, match="is not of ESFPNet"):
        read_esfpnet(tmp_path / "linear.pt")
    state = {name: tensor for name, tensor in net.state_dict().items() if name != "LP_23.proj.bias"}
    torch.save(state, tmp_path / "less.pt")
    with pytest.raises(WeightsError, match=r"it lacks LP_23\.proj\.bias"):
        read_esfpnet(tmp_path / "less.pt", SMALL.heads)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "either weights=FILE"),
        ({"mask": "m.tif", "weights": "w.pt"}, "either weights=FILE"),
        ({"weight": "w.pt"}, "did you mean weights"),
        ({"weights": "w.pt", "step": 0}, "step must be positive"),
        ({"weights": "w.pt", "border": "cut"}, "border"),
    ],
)
def test_wrong_options_are_told(options, text):
    mask, dsm = town()
    with pytest.raises(ConfigError, match=text) as caught:
        assess_footprints(dsm, None, masks_of(mask), options)
    assert str(caught.value).startswith("--option")


def test_a_missing_or_useless_true_mask_is_told():
    mask, dsm = town()
    with pytest.raises(InputError, match="--mask building=FILE"):
        assess_footprints(dsm, None, {}, {"mask": "m.tif"})
    with pytest.raises(InputError, match="there are: building"):
        assess_footprints(dsm, None, masks_of(mask), {"mask": "m.tif", "reference_mask": "roofs"})
    with pytest.raises(InputError, match="0 and 1"):
        assess_footprints(dsm, None, masks_of(np.full(mask.shape, 255, np.uint8)), {"mask": "m.tif"})
    with pytest.raises(InputError, match=r"absent\.tif"):
        assess_footprints(dsm, None, masks_of(mask), {"mask": "absent.tif"})


def test_the_record_names_every_option_and_its_function():
    record = assessor_record()
    assert set(record.options) == set(FootprintOptions.__dataclass_fields__)
    module, _, name = record.target.partition(":")
    assert getattr(footprint_assessor, name) is assess_footprints and module == footprint_assessor.__name__
