"""The city's solids, rays and light against closed forms: a box on level ground."""

import numpy as np
import pytest
from open3d_there import needs_open3d

pytest.importorskip("scipy")

from refbench.city.cameras import aerial_stations, satellite_stations
from refbench.city.mesh import Kind, MeshBuilder
from refbench.city.plan import COVER_STEP, Cover, CoverMap, make_street_frame, make_town_plan
from refbench.city.sensor import sample_rays
from refbench.city.shapes import Place, RoofedBox, add_box, add_roofed_box
from refbench.city.terrain import make_terrain, spectral_noise
from refbench.contracts.method import derived_rng

LENGTH, WIDTH, BASE, EAVE = 16.0, 10.0, 100.0, 106.0
ANGLE = 0.4


def heights_of(roof, rise, x, y, **settings):
    """Cast vertical rays at points (x, y) of the box's own frame onto one building on a ground plane at BASE."""
    from refbench.city.render import Tracer

    builder, place = MeshBuilder(), Place(3.0, -2.0, ANGLE)
    ground, wall, top = (builder.surface(kind, (0.5,) * 4) for kind in (Kind.GROUND, Kind.WALL, Kind.ROOF_TILE))
    builder.add_polygon(np.array([[-99, -99, BASE], [99, -99, BASE], [99, 99, BASE], [-99, 99, BASE]]), ground)
    add_roofed_box(builder, RoofedBox(place, LENGTH, WIDTH, BASE, EAVE, rise, roof, **settings), wall, top)
    start = np.column_stack([place.world(np.column_stack([x, y])), np.full(len(x), 150.0)])
    traced = Tracer(builder.build()).cast(start, np.broadcast_to([0.0, 0.0, -1.0], start.shape))
    return 150.0 - traced.distance


def samples(count=400):
    rng = np.random.default_rng(5)
    return rng.uniform(-14, 14, count), rng.uniform(-11, 11, count)


def expected(roof, rise, x, y):
    """Closed form of the highest surface, without overhang."""
    a, b = LENGTH / 2, WIDTH / 2
    inside = (np.abs(x) < a) & (np.abs(y) < b)
    across = 1 - np.abs(y) / b
    along = (a - np.abs(x)) / b if roof == "hip" else (a - np.abs(x)) / a
    fraction = {
        "flat": np.zeros_like(x),
        "gable": across,
        "hip": np.minimum(across, along),
        "pyramid": np.minimum(across, along),
        "shed": (y + b) / WIDTH,
    }[roof]
    return np.where(inside, EAVE + rise * fraction, BASE)


@needs_open3d
@pytest.mark.parametrize("roof", ["flat", "gable", "hip", "pyramid", "shed"])
def test_roofs_have_their_closed_form_heights(roof):
    x, y = samples()
    rise = 0.0 if roof == "flat" else 4.0
    np.testing.assert_allclose(heights_of(roof, rise, x, y), expected(roof, rise, x, y), atol=1e-4)


@needs_open3d
def test_an_overhang_continues_the_slope_past_the_wall():
    rise, overhang = 4.0, 0.5
    y = np.array([WIDTH / 2 + 0.4, WIDTH / 2 + 0.6])
    got = heights_of("gable", rise, np.zeros(2), y, overhang=overhang)
    np.testing.assert_allclose(got, [EAVE - rise / (WIDTH / 2) * 0.4, BASE], atol=1e-4)


@needs_open3d
def test_a_parapet_rings_a_flat_roof():
    got = heights_of("flat", 0.0, np.array([0.0, LENGTH / 2 - 0.1]), np.zeros(2), parapet=0.8)
    np.testing.assert_allclose(got, [EAVE, EAVE + 0.8], atol=1e-4)


@needs_open3d
def test_a_box_throws_the_shadow_that_its_height_and_the_sun_give():
    from refbench.city.render import Sun, Tracer

    builder = MeshBuilder()
    surface = builder.surface(Kind.WALL, (0.5,) * 4)
    add_box(builder, Place(0.0, 0.0), (10.0, 10.0), (0.0, 8.0), surface)
    sun = Sun(azimuth=180.0, elevation=30.0)
    reach = 5.0 + 8.0 / np.tan(np.radians(30.0))
    points = np.array([[0.0, reach - 0.05, 0.0], [0.0, reach + 0.05, 0.0], [0.0, -5.1, 0.0]])
    assert Tracer(builder.build()).shadowed(points, sun.direction).tolist() == [True, False, False]


@needs_open3d
@pytest.mark.parametrize("which", ["satellite", "aerial"])
def test_rays_of_a_camera_end_where_it_projects_to(which):
    """Depth along the rays of an image and the camera's own projection agree on a tilted plane."""
    from refbench.city.render import Tracer

    origin, rng = np.array([500_000.0, 5_300_000.0, 0.0]), derived_rng(3, "test")
    target = origin + np.array([0.0, 0.0, 50.0])
    if which == "satellite":
        station = satellite_stations(rng, target, 60.0, 1.0)[0]
    else:
        station = aerial_stations(rng, target, 60.0, 2, (48, 64))[0]
    builder = MeshBuilder()
    surface = builder.surface(Kind.GROUND, (0.5,) * 4)
    builder.add_polygon(np.array([[-900, -900, 5], [900, -900, 5], [900, 900, 95], [-900, 900, 95]], float), surface)
    start, direction = sample_rays(station, origin, 1, 200.0)
    traced = Tracer(builder.build()).cast(start, direction)
    col, row, depth = station.camera.project(start + traced.distance[:, None] * direction + origin)
    rows, cols = station.shape
    np.testing.assert_allclose(col.reshape(rows, cols), np.arange(cols)[None] + np.zeros((rows, 1)), atol=1e-3)
    np.testing.assert_allclose(row.reshape(rows, cols), np.arange(rows)[:, None] + np.zeros((1, cols)), atol=1e-3)
    if which == "aerial":
        np.testing.assert_allclose(traced.distance, depth, rtol=1e-5)


def test_satellites_differ_by_the_base_to_height_ratio():
    a, b = satellite_stations(derived_rng(1, "test"), np.zeros(3), 100.0, 0.5)
    ratio = np.linalg.norm(a.eye[:2] - b.eye[:2]) / a.eye[2]
    assert 0.32 <= ratio <= 0.38


def test_blocks_and_streets_tile_the_plan():
    plan = make_town_plan(np.random.default_rng(0), 150.0, 60.0, with_canal=True)
    area = sum(rect.size[0] * rect.size[1] for rect in (*plan.blocks, *plan.streets, plan.canal))
    assert area == pytest.approx(300.0**2)
    assert max(max(block.size) for block in plan.blocks if min(block.size) >= 24.0) < 1.35 * 60.0


def test_the_cover_map_is_painted_where_it_is_read():
    cover = CoverMap(50.0, make_street_frame(np.random.default_rng(2)))
    corners = np.array([[-5.0, -3.0], [5.0, -3.0], [5.0, 3.0], [-5.0, 3.0]])
    cover.paint(corners, Cover.WATER)
    inner, outer = cover.frame.world(0.9 * corners), cover.frame.world(1.15 * corners)
    assert (cover.cover_at(inner) == Cover.WATER).all()
    assert (cover.cover_at(outer) == Cover.MEADOW).all()
    x, y = cover.frame.world(corners).T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    outline = np.hypot(np.diff(x, append=x[0]), np.diff(y, append=y[0])).sum()
    painted = (cover.values == Cover.WATER).sum() * COVER_STEP**2
    assert painted == pytest.approx(area + outline * COVER_STEP / 2, rel=0.05), "pixels on the outline belong to it"


def test_water_is_level_and_lies_below_its_banks():
    water = np.zeros((81, 81), bool)
    water[30:45, 20:70] = True
    terrain = make_terrain(np.random.default_rng(1), 20.0, water, 1.5, 100.0)
    level = terrain.heights[37, 40]
    assert np.ptp(terrain.heights[33:42, 23:67]) == 0
    assert terrain.heights.min() == level


def test_spectral_noise_is_periodic_and_of_unit_deviation():
    noise = spectral_noise(np.random.default_rng(0), 64, 1.5)
    assert noise.std() == pytest.approx(1.0)
    seam = np.abs(noise[:, 0] - noise[:, -1]).mean()
    assert seam == pytest.approx(np.abs(np.diff(noise, axis=1)).mean(), rel=0.35)
