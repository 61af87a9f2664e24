"""What is measured belongs to the ground, not to how its raster is written: symmetries, turns, oblong pixels."""

import math
import re

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from scipy import ndimage

from refbench.contracts.grid import Grid
from refbench.contracts.raster import DSM, Mask
from refbench.evaluation.comparison import compare
from refbench.evaluation.coregistration import coregister
from refbench.evaluation.evaluate import evaluate, evaluate_pair
from refbench.evaluation.misalignment import estimated_shift
from refbench.evaluation.orientation import Orientation
from refbench.evaluation.shape import Surface
from refbench.evaluation.shift import shifted
from refbench.geometry.neighbourhood import gaussian
from refbench.scenes.scene_yaml import embedded_scene_path, load_scene

UTM = CRS.from_epsg(32632)
EAST, NORTH = 500_000.0, 5_500_000.0
ROWS, COLS = 150, 190
TURNS = [Orientation(bool(i & 1), bool(i & 2), bool(i & 4)) for i in range(8)]


def hills(x, y):
    """Heights of the closed-form surface at metres east and north of the scene's corner."""
    return 100 + 8 * np.sin(x / 9) * np.cos(y / 11) + 4 * np.sin(x / 23 + 1) + 0.02 * x + 3 * np.cos(y / 17)


def sampled(grid, east=0.0, north=0.0, up=0.0):
    """The surface moved by a shift, on a grid."""
    x, y = grid.centres()
    return DSM((hills(x - EAST - east, y - NORTH - north) + up).astype(np.float32), grid)


def grid_of(rows=ROWS, cols=COLS, px=1.0, py=1.0, turned_deg=0.0):
    """A grid whose columns run ``turned_deg`` counter-clockwise from east."""
    transform = Affine.translation(EAST, NORTH) @ Affine.rotation(turned_deg) @ Affine.scale(px, -py)
    return Grid(cols, rows, transform, UTM)


def rewritten(thing, turn):
    """The same DSM or mask, its raster written otherwise."""
    if isinstance(thing, DSM):
        return DSM(turn.apply(thing.heights), turn.grid(thing.grid))
    return Mask(turn.apply(thing.values), turn.grid(thing.grid), thing.name)


def moved_by(warning):
    return [float(number) for number in re.findall(r"([+-][\d.]+) m[,)]", warning)]


def check(found, wanted, where=""):
    """Compare all that two evaluations say, text but for the numbers of its shift included."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), where
        for key, value in wanted.items():
            check(found[key], value, f"{where}/{key}")
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted), where
        for number, value in enumerate(wanted):
            check(found[number], value, f"{where}[{number}]")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-7, abs=1e-9), where
    else:
        assert found == wanted, where


def scene(seed, px=1.0, py=1.0, turned_deg=0.0):
    """Initial and refined DSM, reference and masks of a small town with holes and a shift."""
    rng = np.random.default_rng(seed)
    grid = grid_of(px=px, py=py, turned_deg=turned_deg)
    building = np.zeros(grid.shape, np.uint8)
    for row, col in zip(rng.integers(5, ROWS - 25, 12), rng.integers(5, COLS - 25, 12), strict=True):
        building[row : row + rng.integers(8, 20), col : col + rng.integers(8, 20)] = 1
    reference = sampled(grid).heights + 6 * building
    initial = sampled(grid, 0.6, -0.4).heights + 6 * building + rng.normal(0, 0.2, grid.shape)
    refined = reference + ndimage.gaussian_filter(rng.normal(0, 2, grid.shape), 2)
    for heights in (reference, initial, refined):
        heights[rng.random(grid.shape) < 0.01] = np.nan
    water = (ndimage.gaussian_filter(rng.normal(size=grid.shape), 6) > 0.02).astype(np.uint8)
    masks = {"building": Mask(building, grid, "building"), "water": Mask(water, grid, "water")}
    return [DSM(heights.astype(np.float32), grid) for heights in (initial, refined, reference)], masks


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 1000),
    turn=st.sampled_from(TURNS),
    shape=st.sampled_from([(1.0, 1.0, 0.0), (0.5, 0.5, 30.0), (0.5, 1.0, 0.0), (1.0, 0.4, -70.0)]),
)
def test_every_number_warning_and_stratum_is_the_same_however_the_raster_is_written(seed, turn, shape):
    dsms, masks = scene(seed, *shape)
    turned = {name: rewritten(mask, turn) for name, mask in masks.items()}
    wanted = evaluate_pair(*dsms, masks, seed=3)
    check(evaluate_pair(*(rewritten(dsm, turn) for dsm in dsms), turned, seed=3), wanted)


@settings(max_examples=6, deadline=None)
@given(turn=st.sampled_from(TURNS), shape=st.sampled_from([(1.0, 1.0, 30.0), (0.5, 1.0, 0.0)]))
def test_methods_compare_alike_however_the_rasters_are_written(turn, shape):
    (initial, refined, reference), masks = scene(1, *shape)
    found = []
    for turned in (Orientation(), turn):
        pair = [rewritten(dsm, turned) for dsm in (initial, refined, reference)]
        held = {name: rewritten(mask, turned) for name, mask in masks.items()}
        methods = {"a": [lambda dsm=pair[1]: dsm], "b": [lambda dsm=pair[0]: dsm]}
        values = compare(pair[2], methods, initial=pair[0], masks=held, block_px=32, repeats=50).values
        found.append({key: values[key] for key in ("methods", "differences", "ranks", "blocks", "n_common")})
    check(found[1], found[0])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), angle=st.sampled_from([30.0, 90.0, 180.0, 270.0, 137.0]))
def test_a_scene_that_is_turned_keeps_its_numbers_and_turns_its_shift(seed, angle):
    dsms, masks = scene(seed)
    grid = grid_of(turned_deg=angle)
    plain = evaluate_pair(*dsms, masks)
    on_turned = {name: Mask(mask.values, grid, name) for name, mask in masks.items()}
    found = evaluate_pair(*(DSM(dsm.heights, grid) for dsm in dsms), on_turned)
    (before,), (after,) = (of["input"]["notes"].pop("warnings") for of in (plain, found))
    check(found, plain)
    east, north = moved_by(before)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    assert moved_by(after) == pytest.approx([cos * east - sin * north, sin * east + cos * north], abs=0.03)


@pytest.mark.parametrize("turn", TURNS)
def test_a_shift_is_east_and_north_on_every_grid(turn):
    """The example of a south-up grid, and its seven sisters."""
    grid = turn.grid(Grid(200, 200, Affine(1, 0, EAST, 0, -1, NORTH + 200), UTM))
    initial, reference = sampled(grid, 1.6, -1.2, 2.0), sampled(grid)
    shift = coregister(initial, reference)
    assert (shift.east_m, shift.north_m, shift.up_m) == pytest.approx((-1.6, 1.2, -2.0), abs=0.01)
    assert evaluate(shifted(initial, shift), reference, bootstrap=False)["all"]["mae"] < 0.02
    (warning, *_) = evaluate(initial, reference, bootstrap=False)["notes"]["warnings"]
    assert moved_by(warning) == pytest.approx([1.6, -1.2], abs=0.05)


@settings(max_examples=15, deadline=None)
@given(
    east=st.floats(-2, 2),
    north=st.floats(-2, 2),
    angle=st.floats(-180, 180),
    px=st.floats(0.5, 1.5),
    py=st.floats(0.5, 1.5),
)
def test_a_shift_is_found_on_rotated_grids_of_oblong_pixels(east, north, angle, px, py):
    grid = grid_of(px=px, py=py, turned_deg=angle)
    shift = coregister(sampled(grid, east, north, 2.0), sampled(grid))
    assert (shift.east_m, shift.north_m, shift.up_m) == pytest.approx((-east, -north, -2.0), abs=0.02)


@settings(max_examples=20, deadline=None)
@given(
    direction=st.floats(0, 360), angle=st.floats(-180, 180), px=st.floats(0.3, 2), py=st.floats(0.3, 2),
    turn=st.sampled_from(TURNS),
)  # fmt: skip
def test_a_plane_has_its_slope_in_every_direction_on_every_grid(direction, angle, px, py, turn):
    grid = turn.grid(grid_of(30, 40, px, py, angle))
    x, y = grid.centres()
    east, north = 0.5 * math.sin(math.radians(direction)), 0.5 * math.cos(math.radians(direction))
    plane = (east * (x - EAST) + north * (y - NORTH)).astype(np.float32)
    dx, dy = Surface(plane, grid.transform).gradient
    assert np.nanmax(np.abs(dx - east)) < 1e-4 and np.nanmax(np.abs(dy - north)) < 1e-4
    found = evaluate(DSM(plane, grid), DSM(np.zeros_like(plane), grid), bootstrap=False)["shape"]
    assert found["slope_mae_deg"] == pytest.approx(26.565, abs=0.01)
    assert found["normal_angle_median_deg"] == pytest.approx(26.565, abs=0.01)


def test_a_buffer_is_as_wide_in_metres_along_rows_as_along_columns():
    grid = grid_of(64, 128, px=0.25, py=1.0)  # mean pixel 0.5 m: a buffer of 2 pixels is 1 m
    values = np.zeros(grid.shape, np.uint8)
    values[30:34, 60:76] = 1
    flat = DSM(np.zeros(grid.shape, np.float32), grid)
    found = evaluate(flat, flat, {"building": Mask(values, grid, "building")}, bootstrap=False)
    rows, cols = np.mgrid[:64, :128]
    down = np.maximum(np.maximum(30 - rows, rows - 33), 0) * 1.0
    right = np.maximum(np.maximum(60 - cols, cols - 75), 0) * 0.25
    assert found["building"]["n"] == np.count_nonzero(down + right <= 1.0)


def test_blocks_are_square_on_the_ground():
    grid = grid_of(200, 200, px=0.25, py=1.0)
    flat = DSM(np.random.default_rng(0).normal(size=grid.shape).astype(np.float32), grid)
    found = compare(flat, {"a": [lambda: flat]}).values
    assert tuple(found["block_shape"]) == (32, 128) and found["blocks"] == 7 * 2


@pytest.mark.parametrize(("cols", "rows"), [(1, 0), (-2, 3)])
def test_a_real_town_that_is_moved_by_whole_pixels_is_seen_to_be(cols, rows):
    """Edges hold most of what tells a shift: they must not be clipped away as outliers."""
    town = load_scene(embedded_scene_path()).reference.dsm.read()
    found = estimated_shift(
        np.roll(town.heights, (rows, cols), (0, 1)), Surface(town.heights, town.grid.transform), town.valid
    )
    assert found == pytest.approx((cols * town.grid.gsd, -rows * town.grid.gsd), abs=0.1 * town.grid.gsd)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 100), noise=st.floats(0, 1))
def test_a_noisy_town_that_is_moved_by_parts_of_pixels_is_seen_to_be(seed, noise):
    town = load_scene(embedded_scene_path()).reference.dsm.read()
    heights = ndimage.shift(np.nan_to_num(town.heights, nan=100).astype(np.float64), (0.82, 0.37), mode="nearest")
    heights += np.random.default_rng(seed).normal(0, noise, heights.shape)
    found = estimated_shift(heights.astype(np.float32), Surface(town.heights, town.grid.transform), town.valid)
    assert np.array(found) / town.grid.gsd == pytest.approx((0.37, -0.82), abs=0.1)


def test_points_count_by_their_distance_in_metres_on_every_grid():
    rng = np.random.default_rng(0)
    xyz = np.column_stack([EAST + rng.uniform(-5, 45, 600), NORTH + rng.uniform(-45, 45, 600), rng.normal(size=600)])
    grid = grid_of(20, 60, px=0.5, py=1.5, turned_deg=30)
    found = gaussian(xyz, xyz[:, 2], grid, radius=2, sigma=1.0)
    x, y = grid.centres()
    squared = (x[..., None] - xyz[:, 0]) ** 2 + (y[..., None] - xyz[:, 1]) ** 2
    inside = squared < (2.5 * grid.gsd) ** 2
    assert np.array_equal(found.number, inside.sum(-1))
    weights = np.where(inside, np.exp(-squared / 2), 0)
    total = weights.sum(-1)
    wanted = np.divide(weights @ xyz[:, 2], total, out=np.full(total.shape, np.nan), where=total > 0)
    np.testing.assert_allclose(found.mean, wanted, rtol=1e-9, atol=1e-9)
