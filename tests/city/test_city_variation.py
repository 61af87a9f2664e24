"""Version 1 stays what it was; version 2 and degraded surfaces are as varied as real DSMs, and repeatable."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from open3d_there import needs_open3d
from rasterio.crs import CRS

from refbench import DSM, Grid
from refbench.city.build import make_world
from refbench.city.degrade import degraded
from refbench.city.finish import completed, finished
from refbench.city.mesh import Kind
from refbench.city.surface import surface_world
from refbench.city.variation import Dates, Making, drawn, fixed
from refbench.contracts.errors import InputError

VERSION_1 = {8: "612a881649cec49e", 23: "6e5d886b676ed1ff"}
SIZE = 64


def geometry_hash(seed):
    """Heights and triangles of a world to a millimetre: processors may differ in the last bits."""
    mesh = make_world(seed, 60.0).mesh
    digest = hashlib.sha256(np.round(mesh.vertices * 1000).astype(np.int64).tobytes())
    digest.update(mesh.triangles.tobytes())
    digest.update(mesh.kind.tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("seed", VERSION_1)
def test_version_1_is_what_it_was(seed):
    assert geometry_hash(seed) == VERSION_1[seed]
    variation = fixed(seed)
    assert (variation.optics, variation.lean, variation.dates) == (None, None, Dates())
    assert (variation.match.matcher, variation.match.window, variation.making) == ("sgbm", 5, Making())


def test_draws_cover_what_real_sensors_and_chains_have():
    draws = [drawn(seed) for seed in range(300)]
    snr = [draw.optics.snr for draw in draws]
    assert min(snr) < 12 < 60 < max(snr) <= 80
    assert min(draw.base[0] for draw in draws) < 0.15 and 0.5 < max(draw.base[0] for draw in draws) <= 0.6
    assert {draw.match.matcher for draw in draws} == {"sgbm", "bm", "census"}
    assert {draw.making.fill for draw in draws} == {"none", "small", "all"}
    assert drawn(7) == drawn(7) != drawn(8)


def test_walls_hedges_and_terraces_change_the_ground_only_where_they_are_asked_for():
    bare, full = make_world(3, 50.0), make_world(3, 50.0, furniture=1.0, terraces=True)
    assert len(full.mesh.triangles) > len(bare.mesh.triangles)
    steps = [np.abs(np.diff(world.terrain.heights, axis=1)).max() for world in (bare, full)]
    assert steps[1] > 2 * steps[0]


def made_surface(known=1.0):
    """A plane with a block and a rough patch, 1 m pixels."""
    rng = np.random.default_rng(0)
    heights = 100 + 0.02 * np.arange(90.0)[:, None] + np.zeros((90, 90))
    heights[20:45, 30:60] += 9
    heights[60:80, 10:30] += 6 + rng.normal(0, 1.5, (20, 20))
    heights[rng.random(heights.shape) > known] = np.nan
    return DSM(heights.astype(np.float32), Grid(90, 90, Affine(1, 0, 0, 0, -1, 0), CRS.from_epsg(25832)))


def test_a_surface_becomes_ground_roofs_and_crowns():
    world = surface_world(5, 40.0, made_surface(0.7))
    kinds = set(world.mesh.kind.tolist())
    assert Kind.GROUND in kinds and Kind.CROWN in kinds and kinds & {Kind.ROOF_FLAT, Kind.ROOF_TILE}
    inner = np.abs(world.mesh.vertices[:, :2]).max(axis=1) < 39
    heights = world.mesh.vertices[inner, 2]
    assert heights.min() > 99 and heights.max() < 118
    again = surface_world(5, 40.0, made_surface(0.7))
    np.testing.assert_array_equal(world.mesh.vertices, again.mesh.vertices)


def test_a_surface_of_holes_is_refused():
    with pytest.raises(InputError, match="% of the surface is known"):
        surface_world(5, 40.0, made_surface(0.2))


@needs_open3d
def test_version_2_is_repeatable_and_other_than_version_1():
    from refbench.city.make import make_city

    first, again = (make_city(8, SIZE, 0.5, aerial=0, version=2) for _ in range(2))
    np.testing.assert_array_equal(first.initial.heights, again.initial.heights)
    np.testing.assert_array_equal(first.orthos["a"].pixels, again.orthos["a"].pixels)
    assert first.notes["variation"]["snr"] >= 10
    old = make_city(8, SIZE, 0.5, aerial=0)
    assert "version" not in old.notes
    assert not np.array_equal(old.initial.heights, first.initial.heights)


@needs_open3d
def test_given_surfaces_go_through_the_same_simulation(tmp_path):
    from refbench.cli.city import command
    from refbench.formats.raster_write import write_dsm
    from refbench.scenes.scene_yaml import load_scene

    write_dsm(tmp_path / "lidar.tif", made_surface())
    args = ["--seed", "4", "--size", "64", "--no-aerial", "--out", str(tmp_path / "scene")]
    result = CliRunner().invoke(command, [*args, "--version", "2", "--surface", str(tmp_path / "lidar.tif")])
    assert result.exit_code == 0, result.output
    scene = load_scene(tmp_path / "scene")
    reference = scene.reference.dsm.read().heights
    assert np.isfinite(reference).all() and 98 < reference.min() < reference.max() < 120
    refused = CliRunner().invoke(command, [*args, "--overwrite", "--surface", str(tmp_path / "lidar.tif")])
    assert "needs version 2" in str(refused.exception)


HILLS = np.kron(np.random.default_rng(2).uniform(0, 12, (8, 8)), np.ones((12, 12))).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.25, 0.5, 1.0]))
def test_a_degraded_surface_is_repeatable_and_of_its_place(seed, gsd):
    made = [degraded(HILLS, gsd, np.random.default_rng(seed)) for _ in range(2)]
    np.testing.assert_array_equal(made[0], made[1])
    assert made[0].shape == HILLS.shape and made[0].dtype == np.float32
    assert np.isfinite(made[0]).mean() > 0.3
    assert np.nanmedian(np.abs(made[0] - HILLS)) < 6


def test_degraded_surfaces_err_to_both_sides():
    errors = [degraded(HILLS, 0.5, np.random.default_rng(seed)) - HILLS for seed in range(40)]
    below, above = (np.array([np.nanmean(sign * e > 2) for e in errors]) for sign in (-1, 1))
    assert (below > 2 * above).any() and (above > 2 * below).any()


def holed():
    heights = np.tile(np.float32([0, 0, 0, 0, 10, 10, 10, 10]), (8, 1))
    heights = np.repeat(heights, 2, axis=0)
    heights[6:9, 3:5] = np.nan
    return heights


@pytest.mark.parametrize("how", ["nearest", "low", "linear"])
def test_holes_are_filled_as_asked(how):
    heights = holed()
    whole = completed(heights, Making(fill="all", fill_by=how))
    known = np.isfinite(heights)
    np.testing.assert_array_equal(whole[known], heights[known])
    assert np.isfinite(whole).all() and whole.min() >= 0 and whole.max() <= 10
    if how == "low":
        assert whole[~known].max() < 5  # the background


def test_small_holes_close_and_large_ones_stay():
    heights = np.zeros((40, 40), np.float32)
    heights[2:4, 2:4] = np.nan
    heights[10:36, 10:36] = np.nan
    left = np.isnan(completed(heights, Making(fill="small")))
    assert not left[2:4, 2:4].any() and left[23, 23]
    assert np.isnan(completed(heights, Making()))[2, 2]


def test_what_stands_out_is_rejected_and_passes_are_fused():
    grid = Grid(9, 9, Affine(1, 0, 0, 0, -1, 9), CRS.from_epsg(25832))
    x, y = grid.centres()
    flat = np.column_stack([x.ravel(), y.ravel(), np.zeros(81)])
    spiked = flat.copy()
    spiked[40, 2] = 30.0
    assert np.isnan(finished([spiked], grid, Making(reject_m=2.0))[4, 4])
    fused = finished([flat, spiked, flat], grid, replace(Making(), passes=3))
    np.testing.assert_array_equal(fused, 0)
