"""Rasters on another grid or in another CRS, against closed forms."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import UTM, dsm_with, grid_of, write_tif
from rasterio.crs import CRS

from refbench import DSM, Grid, Image, InputError, Mask
from refbench.contracts.grid import Window
from refbench.formats.in_metres import in_metres, metric_target, warp_note
from refbench.formats.raster import ArraySource, open_dsm
from refbench.formats.utm import grid_centre, metric_grid, utm_zone
from refbench.formats.warped import KERNELS, Warped, round_trip_loss
from refbench.geometry.crs_map import transform_exact

WGS84 = CRS.from_epsg(4326)
FEET = {"EPSG:2236": 1200 / 3937, "EPSG:2222": 0.3048}  # Florida East in US survey feet, Arizona East in feet


def in_degrees(lon, lat, rows=120, cols=150, size=1e-5):
    return Grid(cols, rows, Affine(size, 0, lon, 0, -size, lat), WGS84)


def plane(grid, slope=(3e3, 5e3)):
    """A plane in the grid's own coordinates, metres; about 3 % steep in degrees."""
    x, y = grid.centres()
    return (100 + slope[0] * (x - x.min()) + slope[1] * (y - y.min())).astype(np.float32)


def at_centres(grid, source, slope=(3e3, 5e3)):
    """The same plane at the centres of another grid."""
    x, y = transform_exact(grid.crs, source.crs, *grid.centres())
    sx, sy = source.centres()
    x = sx.mean() + np.remainder(x - sx.mean() + 180, 360) - 180 if source.crs.is_geographic else x
    return 100 + slope[0] * (x - sx.min()) + slope[1] * (y - sy.min())


@pytest.mark.parametrize(
    ("lon", "lat", "zone"),
    [
        (8.9, 49.0, 32632), (-58.4, -34.6, 32721), (0.0, 0.001, 32631), (179.9995, 10.0, 32601),
        (179.9985, 10.0, 32660), (-179.9999, -10.0, 32701), (189.0, 49.0, 32602), (5.0, 61.0, 32631),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kernel", ["auto", "bilinear", "cubic"])
def test_a_plane_in_degrees_comes_to_its_utm_zone_to_the_millimetre(lon, lat, zone, kernel):
    """Both hemispheres, across the antimeridian and the equator, longitudes of 0 to 360; without Norway's exception."""
    grid = in_degrees(lon, lat)
    source = ArraySource(DSM(plane(grid), grid))
    target = metric_target("x", grid, None)
    assert target == CRS.from_epsg(zone)
    warped = Warped(source, metric_grid("x", grid, target), kernel)
    found = warped.read()
    assert np.nanmax(np.abs(found.heights - at_centres(found.grid, grid))) < 1e-3
    # All of the ground and no more: the area of the known cells is that of the source.
    assert found.valid.sum() * found.grid.gsd**2 == pytest.approx(grid.width * grid.height * cell_area(grid), rel=1e-2)


def cell_area(grid):
    lat = np.deg2rad(grid.transform.f)
    return (grid.transform.a * 111_320) ** 2 * np.cos(lat)


@pytest.mark.parametrize("epsg", FEET)
def test_both_feet_come_to_metres_exactly(tmp_path, epsg):
    """The target ``own`` is the same map in metres: all numbers times the foot, nothing resampled but onto its grid."""
    grid = grid_of(40, 50, 3.0, west=700_000.0, north=1_500_000.0, crs=CRS.from_user_input(epsg))
    heights = plane(grid, (0.02, 0.05))
    source = open_dsm(write_tif(tmp_path / "feet.tif", heights, grid, nodata=-9999), any_crs=True)
    foot = FEET[epsg]
    assert np.array_equal(source.read().heights, (heights.astype(np.float64) * foot).astype(np.float32))
    assert "take" in source.warnings[0] and "unit of" not in source.warnings[1]
    own = in_metres(source, "own", gsd=3 * foot)
    assert own.grid.gsd == pytest.approx(3 * foot, rel=1e-9)
    x, y = own.grid.centres()
    east, north = grid.centres()
    expected = foot * (100 + 0.02 * (x / foot - east.min()) + 0.05 * (y / foot - north.min()))
    assert np.nanmax(np.abs(own.read().heights - expected)) < 1e-4
    utm = in_metres(source)
    assert utm.grid.crs.to_epsg() // 100 == 326 and "US survey" not in utm.grid.crs.to_wkt()
    assert utm.grid.gsd == pytest.approx(3 * foot, rel=5e-4)  # 0.9996 at the central meridian
    back = Warped(utm, source.grid, anywhere=True).read()
    assert np.nanmax(np.abs(back.heights - source.read().heights)) < 1e-3 and back.valid.all()


def test_a_rotated_grid_comes_to_north_up_and_back():
    turned = Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.8)
    grid = Grid(90, 60, turned, UTM)
    target = metric_grid("x", grid, UTM)
    assert target.is_north_up and target.gsd == pytest.approx((0.5 * 0.8) ** 0.5, rel=1e-3)
    x, y = grid.centres()
    source = ArraySource(DSM((10 + 0.3 * (x - 500_000) - 0.2 * (y - 5_000_000)).astype(np.float32), grid))
    warped = Warped(source, target, "bilinear")
    x, y = target.centres()
    assert np.nanmax(np.abs(warped.read().heights - (10 + 0.3 * (x - 500_000) - 0.2 * (y - 5_000_000)))) < 1e-4
    loss = round_trip_loss(warped)
    assert loss.rms < 0.01 and loss.lost == 0


@pytest.mark.parametrize(("factor", "kernel"), [(2, "average"), (4, "average"), (1 / 2, "bilinear"), (1, "bilinear")])
def test_auto_averages_a_finer_source_and_interpolates_a_coarser_one(factor, kernel):
    coarse = grid_of(20, 30, 1.0)
    fine = grid_of(int(20 * factor), int(30 * factor), 1.0 / factor)
    rng = np.random.default_rng(3)
    heights = rng.normal(50, 5, fine.shape).astype(np.float32)
    warped = Warped(ArraySource(DSM(heights, fine)), coarse)
    assert warped.kernel_used == kernel
    if kernel == "average":
        k = int(factor)
        expected = heights.reshape(20, k, 30, k).mean(axis=(1, 3))
        assert np.allclose(warped.read().heights, expected, atol=1e-4)
    elif factor == 1:
        assert np.array_equal(warped.read().heights, heights)


def test_an_average_needs_half_of_its_cell_and_takes_nothing_of_a_hole():
    heights = np.full((4, 6), 7.0, np.float32)
    heights[0, :2] = np.nan  # half of the first cell
    heights[:2, 2:4] = np.nan
    heights[1, 2] = 100.0  # a quarter of the second
    found = Warped(ArraySource(dsm_with(heights, gsd=0.5)), grid_of(2, 3, 1.0)).read().heights
    assert found[0, 0] == 7 and np.isnan(found[0, 1]) and (found[1] == 7).all()


@pytest.mark.parametrize("kernel", ["auto", "nearest", "bilinear", "cubic"])
def test_holes_neither_grow_nor_bleed(kernel):
    """Moved by a fraction of a pixel, holes keep their number of cells and no value leaves the range of the known."""
    rng = np.random.default_rng(1)
    heights = np.where(rng.random((60, 60)) < 0.2, np.nan, 100.0).astype(np.float32)
    heights[20:30, 20:30] = np.nan
    grid = grid_of(60, 60)
    moved = grid_of(58, 58, west=500_000.5 + 0.1, north=5_000_000 - 0.5 + 0.15)
    found = Warped(ArraySource(DSM(heights, grid)), moved, kernel).read()
    assert np.allclose(found.heights[found.valid], 100, atol=1e-4)
    assert np.array_equal(found.valid, np.isfinite(heights)[1:59, 1:59])


@settings(max_examples=25, deadline=None)
@given(
    col=st.integers(-5, 40), row=st.integers(-5, 30), width=st.integers(1, 40), height=st.integers(1, 30),
    kernel=st.sampled_from(KERNELS), size=st.sampled_from([0.3, 0.5, 1.7]),
)  # fmt: skip
def test_a_window_is_a_part_of_the_whole(col, row, width, height, kernel, size):
    grid = in_degrees(8.9, 49.0, 60, 60, 5e-6)
    heights = np.random.default_rng(2).normal(0, 3, grid.shape).astype(np.float32)
    heights[10:14, 20:30] = np.nan
    warped = Warped(ArraySource(DSM(heights, grid)), metric_grid("x", grid, UTM, size), kernel)
    whole, window = warped.read().heights, Window(col, row, width, height)
    part = warped.read(window)
    inside = window.intersection(warped.target.full_window)
    assert part.grid == warped.target.window(window)
    known = np.zeros(part.heights.shape, bool)
    if inside is not None:
        place = inside.shifted(-col, -row).slices
        known[place] = True
        assert np.array_equal(part.heights[place], whole[inside.slices], equal_nan=True)
    assert np.isnan(part.heights[~known]).all()


def test_images_keep_type_and_bands_and_masks_their_classes():
    grid = grid_of(20, 20)
    pixels = np.arange(800, dtype=np.uint16).reshape(2, 20, 20)
    valid = np.ones((20, 20), bool)
    valid[:3] = False
    image = Warped(ArraySource(Image(pixels, grid, ("red", "nir"), valid)), grid_of(20, 20, west=500_000.5)).read()
    assert image.pixels.dtype == np.uint16 and image.band_names == ("red", "nir")
    assert np.array_equal(image.pixels[:, 3:, :19], pixels[:, 3:, 1:]) and not image.valid[:3].any()
    assert not image.valid[:, 19].any()
    classes = np.random.default_rng(0).choice([0, 1, 255], (20, 20)).astype(np.uint8)
    mask = Warped(ArraySource(Mask(classes, grid, "water")), grid_of(10, 10, 1.0), "nearest").read()
    assert mask.name == "water" and np.array_equal(mask.values, classes[1::2, 1::2])


def test_a_known_shift_is_a_shift():
    x, _ = grid_of(50, 50, 1.0).centres()
    source = ArraySource(DSM((2 * (x - 500_000)).astype(np.float32), grid_of(50, 50, 1.0)))
    moved = Warped(source, grid_of(40, 40, 1.0, west=500_003.25), "cubic").read()
    assert np.allclose(moved.heights, 2 * (moved.grid.centres()[0] - 500_000), atol=1e-4)


def test_the_loss_is_said_with_the_kernel():
    grid = in_degrees(8.9, 49.0)
    rough = np.random.default_rng(0).normal(0, 1, grid.shape).astype(np.float32)
    smooth = Warped(ArraySource(DSM(plane(grid), grid)), metric_grid("x", grid, UTM))
    noisy = Warped(ArraySource(DSM(rough, grid)), metric_grid("x", grid, UTM))
    assert round_trip_loss(smooth).rms < 1e-2 < 0.2 < round_trip_loss(noisy).rms < 1
    assert round_trip_loss(noisy).cells == 120 * 128  # windows do not overlap
    empty = Warped(ArraySource(DSM(np.full(grid.shape, np.nan, np.float32), grid)), metric_grid("x", grid, UTM))
    assert str(round_trip_loss(empty)) == "no height comes back"


def test_the_note_names_file_way_kernel_and_loss(tmp_path):
    grid = in_degrees(8.9, 49.0)
    warped = in_metres(open_dsm(write_tif(tmp_path / "d.tif", plane(grid), grid), any_crs=True), kernel="cubic")
    note = warp_note(warped)
    for words in ("d.tif", "from EPSG:4326 to EPSG:32632", "by cubic", "m RMS"):
        assert words in note
    assert warped.files == (tmp_path / "d.tif",)


@pytest.mark.parametrize(
    ("lon", "lat", "words"),
    [(10.0, 85.0, "UTM ends at.*EPSG:5041"), (10.0, -80.5, "EPSG:5042"), (0.0, 5_000_000.0, "no place on the Earth")],
)
def test_poles_and_nowhere_are_refused_in_a_sentence(lon, lat, words):
    with pytest.raises(InputError, match=words):
        utm_zone(lon, lat, "dsm.tif")


def test_the_arctic_has_ups_and_the_wide_another_crs():
    north = in_degrees(30.0, 87.0, size=1e-4)
    ups = metric_grid("x", north, CRS.from_epsg(5041))
    found = Warped(ArraySource(DSM(plane(north), north)), ups).read()
    assert np.nanmax(np.abs(found.heights - at_centres(ups, north))) < 1e-3
    wide = in_degrees(0.0, 50.0, 10, 400, 0.1)
    with pytest.raises(InputError, match=r"wide.tif reaches .*° from the middle of EPSG:326"):
        metric_grid("wide.tif", wide, utm_zone(*grid_centre(wide)))
