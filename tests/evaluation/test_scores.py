import json
import re

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from makers import dsm_with, grid_of
from rasterio.crs import CRS
from run_refbench import answer

from refbench import InputError, Mask
from refbench.evaluation.block_draws import BlockDraws
from refbench.evaluation.depth_maps import depth_scores
from refbench.evaluation.evaluate import evaluate, evaluate_pair
from refbench.evaluation.footprint import footprint_scores, horizontal_errors, volume_scores
from refbench.evaluation.ground import shape_scores
from refbench.evaluation.image_scores import image_scores
from refbench.evaluation.residuals import distance_percentile, percentile
from refbench.evaluation.shape import ShapePair, Surface
from refbench.evaluation.slope import horn_gradient, slope_rad
from refbench.evaluation.statistics import relative_gain, statistics
from refbench.evaluation.strata import dilated, eroded, land_strata, slope_strata
from refbench.evaluation.uncertainty import intervals, paired_difference
from refbench.formats.raster_write import write_dsm, write_mask

UTM = CRS.from_epsg(32632)
HALF_METRE = Affine(0.5, 0, 0, 0, -0.5, 0)
residuals = arrays.arrays(np.float64, st.integers(1, 60), elements=st.floats(-100, 100, width=32))


@given(residuals, st.floats(0, 100), st.floats(-50, 50))
def test_order_statistics_are_numpys(e, percent, centre):
    ordered = np.sort(e)
    assert percentile(ordered, percent) == pytest.approx(np.percentile(e, percent), abs=1e-9)
    expected = np.percentile(np.abs(e - centre), percent)
    assert distance_percentile(ordered, centre, percent) == pytest.approx(expected, abs=1e-9)


@given(residuals, st.floats(-50, 50))
def test_spread_does_not_feel_a_shift(e, shift):
    first, second = statistics(e), statistics(e + shift)
    for key in ("std", "nmad", "iqr", "range90", "p90_about_mean"):
        assert second[key] == pytest.approx(first[key], abs=1e-6)
    assert second["bias"] == pytest.approx(first["bias"] + shift, abs=1e-6)


def test_known_numbers():
    found = statistics(np.array([-1.0, -1.0, -1.0]), 4)
    assert (found["mae"], found["rmse"], found["std"], found["nmad"]) == (1, 1, 0, 0)
    assert found["nmad_about_medae"] == pytest.approx(2 * 1.4826)  # the published mistake, kept under its own name
    assert found["completeness_valid"] == 0.75 and found["within_1m"] == 0 and found["complete_2m"] == 0.75
    found = statistics(np.array([-6.0, 5.0, 1.0]))
    assert found["truncated_5m"]["n"] == 2 and found["truncated_5m"]["mae"] == 3  # equality is kept


def test_nothing_gives_nulls():
    found = statistics(np.empty(0), 5)
    assert found["n"] == 0 and found["completeness_valid"] == 0 and found["mae"] is None
    assert statistics(np.empty(0))["completeness_valid"] is None
    assert relative_gain(found, found)["mae"] is None


def test_unknown_mask_pixels_are_neither_building_nor_terrain():
    values = np.zeros((9, 9), np.uint8)
    values[4, 4], values[0, 0], values[4, 5] = 1, 255, 255
    strata = land_strata({"building": Mask(values), "water": Mask((values == 7).astype(np.uint8))})
    assert strata["building"].sum() == 13 and strata["building"][4, 5]  # reached by the dilation: known now
    assert not strata["building"][0, 0] and not strata["terrain"][0, 0]
    assert strata["building_border"].sum() == 13 and strata["building_undilated"].sum() == 1
    assert np.array_equal(strata["terrain_nowater"], strata["terrain"]) and not strata["water"].any()


@settings(deadline=None)
@given(arrays.arrays(np.bool_, (11, 13)), st.integers(0, 3))
def test_morphology_is_that_of_the_cross(mask, times):
    from scipy import ndimage

    cross = ndimage.generate_binary_structure(2, 1)
    if times:
        assert np.array_equal(dilated(mask, times), ndimage.binary_dilation(mask, cross, times))
        assert np.array_equal(eroded(mask, times), ndimage.binary_erosion(mask, cross, times))
    else:
        assert np.array_equal(dilated(mask, 0), mask)


def test_a_plane_has_its_slope_and_a_hole_spreads_to_its_neighbours():
    rows, cols = np.mgrid[:8, :9]
    plane = (3 * 0.5 * cols - 4 * 0.5 * rows).astype(np.float32)
    dx, dy = horn_gradient(plane, HALF_METRE)
    assert np.allclose(dx[1:-1, 1:-1], 3) and np.allclose(dy[1:-1, 1:-1], 4)
    assert np.isnan(dx[0]).all() and np.isnan(dy[:, -1]).all()
    assert np.degrees(slope_rad(dx, dy))[4, 4] == pytest.approx(np.degrees(np.arctan(5)))
    classes = slope_strata(slope_rad(dx, dy), (0, 90))
    assert classes["slope_90_inf_pct"].sum() == 6 * 7 and not classes["slope_0_90_pct"].any()
    plane[4, 4] = np.nan
    assert np.isnan(horn_gradient(plane, HALF_METRE)[0][3:6, 3:6]).all()
    with pytest.raises(InputError):
        slope_strata(dx, (0,), "gradian")


def test_shape_scores_of_a_perfect_surface():
    heights = np.zeros((30, 30), np.float32)
    heights[8:20, 8:22] = 6
    surface, everywhere = Surface(heights, HALF_METRE), np.ones((30, 30), bool)
    building = heights > 0
    border = dilated(building, 2) & ~eroded(building, 2)
    land = {"building_undilated": building, "building_border": border}
    found = shape_scores(ShapePair(surface, surface, everywhere, land))
    assert found["slope_mae_deg"] == 0 and found["edge_gradient_ratio"] == 1 and found["n"] == 28 * 28
    assert found["step_edge_f1"] == 1
    assert found["roof_plane_labels"] == [1] and found["roof_plane_rms_median_m"] == pytest.approx(0, abs=1e-9)
    assert "edge_gradient_ratio" not in shape_scores(ShapePair(surface, surface, everywhere))
    nothing = shape_scores(ShapePair(surface, surface, ~everywhere, land))
    assert nothing["n"] == 0 and nothing["slope_mae_deg"] is None and nothing["edge_gradient_ratio"] is None


def test_footprints_volumes_and_outlines():
    reference, found = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    reference[4:10, 4:10], found[4:10, 6:12] = True, True
    scores = footprint_scores(found, reference)
    assert (scores["TP"], scores["FP"], scores["FN"]) == (24, 12, 12) and scores["jaccardIndex"] == 0.5
    height = np.full((20, 20), 3.0)
    volume = volume_scores(height, height, found, reference, np.zeros_like(reference), 0.25)
    assert volume["3D"]["TP"] == 24 * 3 * 0.25 and volume["volume"]["test_volume"] == 36 * 3 * 0.25
    distance = horizontal_errors(found, reference, np.zeros_like(reference), (0.5, 0.5))
    assert distance.max() == 1.0 and distance.min() == 0.0
    assert horizontal_errors(np.zeros_like(reference), reference, np.zeros_like(reference), (1.0, 1.0)).size == 0


def test_images_and_depths():
    rng = np.random.default_rng(0)
    reference = rng.random((24, 24)).astype(np.float32)
    same = image_scores(reference, reference)
    assert same["psnr_db"] is None and same["ssim"] == pytest.approx(1) and same["n_valid_windows"] == 14 * 14
    assert image_scores(np.full_like(reference, np.nan), reference)["ssim"] is None
    depth = (5 + reference).astype(np.float32)
    assert depth_scores(2 * depth, depth)["abs_rel"] == pytest.approx(1)
    assert depth_scores(2 * depth, depth, "median")["rmse"] == pytest.approx(0, abs=1e-6)
    assert depth_scores(2 * depth + 3, depth, "least_squares")["delta_1"] == 1
    assert depth_scores(np.full_like(depth, np.nan), depth)["rmse"] is None
    with pytest.raises(InputError):
        depth_scores(depth, depth, "guess")


def test_intervals_hold_the_reference_and_depend_on_the_seed_only():
    rng = np.random.default_rng(3)
    blocks = np.kron(rng.normal(0, 1, (10, 10)), np.ones((16, 16)))  # errors that are one per block
    everywhere = np.ones(blocks.shape, bool)
    draws = [BlockDraws.over(everywhere, block_px=16, seed=1) for _ in range(2)]
    first = intervals(blocks, draws[0])
    assert first == intervals(blocks, draws[1])
    assert first["mae"].blocks == 100 and first["mae"].low < np.abs(blocks).mean() < first["mae"].high
    assert first["mae"].high - first["mae"].low > 0.15  # 100 independent values, not 25,600
    assert first["median"].low <= np.median(blocks) <= first["median"].high
    assert set(intervals(blocks, BlockDraws.over(everywhere, block_px=500)).values()) == {None}
    better = paired_difference(blocks, 0.5 * blocks, BlockDraws.over(everywhere, block_px=16))
    assert better.high < 0
    assert paired_difference(blocks, blocks, BlockDraws.over(everywhere, block_px=500)) is None


def test_common_and_own_domain():
    reference = np.zeros((80, 90), np.float32)
    initial, refined = reference + 1, reference + 0.25
    initial[:40] = np.nan
    refined[:, :45] = np.nan
    found = evaluate_pair(dsm_with(initial), dsm_with(refined), dsm_with(reference))
    assert found["input"]["all"]["n"] == found["refined"]["all"]["n"] == 40 * 45
    assert found["own_domain"]["input"]["all"]["n"] == 40 * 90 and found["refined"]["all"]["completeness_valid"] == 0.5
    assert found["gain"]["mae"] == pytest.approx(0.75)
    alone = evaluate_pair(None, dsm_with(refined), dsm_with(reference), bootstrap=False)
    assert alone["input"] is None and alone["refined"]["all"]["mae"] == 0.25
    json.dumps(found, allow_nan=False)


def test_other_grids_are_resampled_and_degrees_refused():
    reference = dsm_with(np.full((40, 40), 7.0))
    coarse = dsm_with(np.full((30, 30), 8.0), gsd=1.0)
    found = evaluate(coarse, reference, bootstrap=False)
    assert found["all"]["mae"] == 1 and 0.9 < found["all"]["completeness_valid"] < 1
    void = evaluate(dsm_with(np.full((40, 40), np.nan)), reference)
    assert void["all"]["mae"] is None and "null" in void["notes"]["empty"]
    with pytest.raises(InputError, match="EPSG:4326"):
        evaluate(reference, dsm_with(np.zeros((4, 4)), crs=CRS.from_epsg(4326)))
    with pytest.raises(InputError, match="georeference"):
        evaluate(reference, reference, {"water": Mask(np.zeros((3, 3), np.uint8), name="water")})
    limited = evaluate(reference, reference, gt_mask=Mask(np.tri(40, dtype=np.uint8)), bootstrap=False)
    assert limited["all"]["n_ref_valid"] == 820


def test_a_shifted_surface_and_another_datum_are_noticed():
    x, y = grid_of(120, 140).centres()

    def hills(east, north):
        u, v = (x - 500_000 - east) / 9, (y - 5_000_000 - north) / 7
        return (5 * np.sin(u) + 4 * np.cos(v)).astype(np.float32)

    noise = np.random.default_rng(0).normal(0, 0.1, x.shape).astype(np.float32)
    shifted = evaluate(dsm_with(hills(0.3, -0.2) + noise), dsm_with(hills(0, 0)), bootstrap=False)
    (warning,) = shifted["notes"]["warnings"]
    found = [float(number) for number in re.findall(r"([+-][\d.]+) px", warning)]
    assert found == pytest.approx([0.6, -0.4], abs=0.03)  # 0.3 and -0.2 m in pixels of 0.5 m
    assert evaluate(dsm_with(hills(0, 0) + noise), dsm_with(hills(0, 0)), bootstrap=False)["notes"]["warnings"] == []
    offset = evaluate(dsm_with(hills(0, 0) + 48), dsm_with(hills(0, 0)), bootstrap=False)["notes"]["warnings"]
    assert len(offset) == 1 and "+48.0 m" in offset[0]


def test_the_verb_prints_a_table_and_json(tmp_path):
    rng = np.random.default_rng(0)
    reference = rng.random((70, 80)).astype(np.float32)
    write_dsm(tmp_path / "truth.tif", dsm_with(reference))
    write_dsm(tmp_path / "found.tif", dsm_with(reference + 0.5))
    write_mask(tmp_path / "water.tif", Mask((reference > 0.5).astype(np.uint8), grid_of(70, 80)))
    verb = ("evaluate", "found.tif", "truth.tif", "--mask", "water=water.tif")
    shown = answer(tmp_path, *verb, COLUMNS=150)
    assert shown.returncode == 0 and "MAE ↓" in shown.stdout and "water" in shown.stdout and "0.500" in shown.stdout
    found = json.loads(answer(tmp_path, *verb, "--json").stdout)
    assert found["water"]["mae"] == pytest.approx(0.5, abs=1e-6) and found["intervals"]["level"] == 0.95
    missing = answer(tmp_path, "evaluate", "nowhere.tif", "truth.tif")
    assert missing.returncode == 2 and missing.stderr.startswith("Error: ") and "nowhere.tif" in missing.stderr
