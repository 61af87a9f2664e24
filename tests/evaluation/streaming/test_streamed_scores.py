"""Scores by tiles against scores in memory: the same keys, counts and moments, percentiles to a millimetre."""

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import UTM
from scipy import ndimage

from refbench import DSM, Grid, Mask
from refbench.evaluation import surfaces
from refbench.evaluation.evaluate import evaluate, evaluate_pair
from refbench.evaluation.streaming import tiles
from refbench.formats.raster import open_dsm, open_mask
from refbench.formats.raster_write import write_dsm, write_mask

PERCENTILES_M = 7.3e-4
"""What the NMAD may be off by; other percentiles less."""
AXES = {
    "north up": (0.5, 0, 0, -0.5),
    "south up": (0.5, 0, 0, 0.5),
    "transposed": (0, 0.5, -0.5, 0),
    "mirrored": (-0.5, 0, 0, -0.5),
    "oblong": (0.25, 0, 0, -0.5),
}
MOMENTS = {"mae", "rmse", "bias", "std", "le90_normal", "min", "max", "harm_rate", "slope_mae_deg", "slope_rmse_deg"}
MOMENTS |= {"normal_angle_mean_deg", "edge_gradient_ratio", "completeness_valid", "completeness_common"}
MOMENTS |= {"step_edge_precision", "step_edge_recall", "step_edge_f1", "level"}
MOMENTS |= {f"{kind}_{limit}m" for kind in ("within", "complete") for limit in ("0.5", "1", "2", "3", "5")}


def town(rows, cols, seed, axes="north up", offset=0.0):
    """A hilly town: initial, refined, reference and masks, with holes and a blunder."""
    rng = np.random.default_rng(seed)
    a, b, d, e = AXES[axes]
    grid = Grid(cols, rows, Affine(a, b, 5e5, d, e, 5e6), UTM)
    down, right = np.mgrid[:rows, :cols]
    building = ndimage.uniform_filter(rng.normal(size=(rows, cols)), 9) > 0.06
    reference = 300 + 0.1 * down + 6 * np.sin(right / 15) + 7 * building + rng.normal(0, 0.03, (rows, cols))
    first = reference + offset + rng.laplace(0, 0.8, reference.shape) + 2 * (rng.random(reference.shape) < 0.02)
    second = reference + 0.6 * (first - reference) + rng.normal(0, 0.1, reference.shape)
    first[rng.integers(rows), rng.integers(cols)] += 430.0
    for heights in (first, second, reference):
        heights[rng.random(reference.shape) < 0.03] = np.nan
        row, col = rng.integers(rows), rng.integers(cols)
        heights[row : row + 9, col : col + 30] = np.nan
    masks = {"building": building.astype(np.uint8), "water": (right > 0.8 * cols).astype(np.uint8)}
    masks["forest"] = (down < 0.2 * rows).astype(np.uint8)
    masks["building"][: rows // 9, : cols // 9] = 255
    dsms = [DSM(heights.astype(np.float32), grid) for heights in (first, second, reference)]
    return dsms, {name: Mask(values, grid, name) for name, values in masks.items()}


def by_tiles(run, tile=(64, 96), strip_bytes=1, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surfaces, "EXACT_PIXELS", 0)
        patch.setattr(tiles, "TILE_ROWS", tile[0])
        patch.setattr(tiles, "TILE_COLS", tile[1])
        patch.setattr(tiles, "STRIP_BYTES", strip_bytes)
        return run(**options)


def numbers(found, path=()):
    """Every number and missing value by its path."""
    if isinstance(found, dict):
        for key, value in found.items():
            if key not in ("notes", "coregistration"):
                yield from numbers(value, (*path, key))
    elif isinstance(found, list):
        for index, value in enumerate(found):
            yield from numbers(value, (*path, index))
    else:
        yield path, found


def width_of(found, path):
    of = found
    for key in path[:-1]:
        of = of[key]
    return of["high"] - of["low"]


def assert_alike(streamed, exact):
    first, second = dict(numbers(streamed)), dict(numbers(exact))
    assert first.keys() == second.keys()
    for path, value in second.items():
        found, key = first[path], path[-1]
        if value is None or found is None or isinstance(value, int):
            assert found == value, path
        elif "intervals" in path and key in ("low", "high") and path[-2] in ("median", "medae", "nmad"):
            # Both medians of a draw are told by bins; see DrawnMedians and ResidualSample.
            assert found == pytest.approx(value, abs=0.05 * width_of(exact, path) + 0.005), path
        elif key in MOMENTS or "roof_plane_rms_per_label_m" in path or "intervals" in path or "mae_difference" in path:
            assert found == pytest.approx(value, rel=1e-9, abs=1e-9), path
        elif str(key).endswith("_deg"):
            assert found == pytest.approx(value, abs=1e-3), path
        elif path[0] != "gain":
            assert found == pytest.approx(value, abs=PERCENTILES_M), path


@settings(max_examples=12, deadline=None)
@given(
    st.integers(70, 200),
    st.integers(70, 200),
    st.integers(0, 10**6),
    st.sampled_from(sorted(AXES)),
    st.sampled_from([0.0, 47.0, -0.31]),
    st.sampled_from([(64, 64), (17, 40), (256, 1024)]),
)
def test_a_pair_by_tiles_has_the_scores_of_a_pair_in_memory(rows, cols, seed, axes, offset, tile):
    dsms, masks = town(rows, cols, seed, axes, offset)
    assert_alike(by_tiles(lambda: evaluate_pair(*dsms, masks), tile), evaluate_pair(*dsms, masks))


@settings(max_examples=6, deadline=None)
@given(st.integers(3, 90), st.integers(3, 150), st.integers(0, 10**6))
def test_one_dsm_by_tiles_has_the_scores_of_one_in_memory(rows, cols, seed):
    (first, _, reference), masks = town(rows, cols, seed)
    gt = Mask((np.random.default_rng(seed).random((rows, cols)) < 0.7).astype(np.uint8), reference.grid, "gt")
    exact = evaluate(first, reference, masks, gt_mask=gt)
    assert_alike(by_tiles(lambda: evaluate(first, reference, masks, gt_mask=gt), (16, 32)), exact)
    exact = evaluate(first, reference, layers=("slope",), bootstrap=False)
    assert_alike(by_tiles(lambda: evaluate(first, reference, layers=("slope",), bootstrap=False)), exact)


@settings(max_examples=5, deadline=None)
@given(st.integers(100, 260), st.integers(70, 150), st.integers(0, 10**6))
def test_the_height_of_strips_changes_no_digit(rows, cols, seed):
    dsms, masks = town(rows, cols, seed)
    low, high = (by_tiles(lambda: evaluate_pair(*dsms, masks), (32, 48), size) for size in (1, 1 << 30))
    assert low == high
    assert all(value is None or isinstance(value, (str, list)) or math.isfinite(value) for _, value in numbers(low))


def test_nothing_in_common_gives_nulls_as_in_memory():
    (first, _, reference), masks = town(80, 90, 1)
    empty = DSM(np.full_like(first.heights, np.nan), first.grid)
    for pair in ((empty, first, reference), (first, empty, reference), (empty, empty, reference)):
        streamed, exact = by_tiles(lambda pair=pair: evaluate_pair(*pair, masks)), evaluate_pair(*pair, masks)
        assert_alike(streamed, exact)
        assert streamed["refined"]["notes"]["empty"] == exact["refined"]["notes"]["empty"]


def test_files_on_another_grid_are_read_by_window(tmp_path):
    (first, second, reference), masks = town(150, 170, 5)
    t = reference.grid.transform
    moved = Grid(170, 150, Affine(t.a, 0, t.c + 0.17, 0, t.e, t.f - 0.36), UTM)
    half = Grid(85, 75, Affine(2 * t.a, 0, t.c, 0, 2 * t.e, t.f), UTM)
    first = DSM(first.heights, moved)
    forest = Mask(masks["forest"].values[::2, ::2].copy(), half, "forest")
    for name, dsm in {"first": first, "second": second, "reference": reference}.items():
        write_dsm(tmp_path / f"{name}.tif", dsm)
    for name, mask in (masks | {"forest": forest}).items():
        write_mask(tmp_path / f"{name}.tif", mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surfaces, "HELD_BYTES", 0)
        files = [open_dsm(tmp_path / f"{name}.tif") for name in ("first", "second", "reference")]
        open_masks = {name: open_mask(tmp_path / f"{name}.tif", name=name) for name in masks}
        streamed = by_tiles(lambda: evaluate_pair(*files, open_masks), (32, 64))
    assert_alike(streamed, evaluate_pair(first, second, reference, masks | {"forest": forest}))


def test_a_large_raster_is_streamed_and_says_so():
    (first, _, reference), _ = town(40, 50, 3)
    assert "percentiles" not in evaluate(first, reference)["notes"]
    streamed = by_tiles(lambda: evaluate(first, reference))
    assert streamed["notes"]["percentiles"] == "of residuals rounded to 0.49 mm"
    assert not surfaces.is_large(first) and surfaces.EXACT_PIXELS == 1 << 20
