"""Grids over clouds, and several files as one cloud."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from refbench import InputError, PointCloud
from refbench.contracts.errors import GridMismatchError, UnsupportedError
from refbench.contracts.grid import Bounds
from refbench.contracts.source import PointSource
from refbench.formats.cloud import HeldPoints, open_points, write_points
from refbench.formats.cloud_grid import grid_over, spacing
from refbench.formats.cloud_joined import JoinedPoints, open_clouds
from refbench.formats.limits import LIMIT_VARIABLE

UTM = CRS.from_epsg(32632)


def spanning(width, height):
    return HeldPoints(PointCloud(np.array([[0.0, 0.0, 1.0], [width, height, 2.0]]), UTM))


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-3, 1e30), st.floats(1e-3, 1e30), st.floats(1e-12, 1e6) | st.sampled_from([5e-324, 1e-300, 1e300]))
def test_a_grid_is_as_large_as_the_points_or_refused_before_it_is_made(width, height, gsd):
    points = spanning(width, height)
    try:
        grid = grid_over(points, gsd)
    except InputError as error:
        assert "--max-pixels" in str(error) and (width / gsd + 1) * (height / gsd + 1) > 1e6
    else:
        bounds = points.bounds()
        assert grid.width * grid.height <= 1 << 31
        assert grid.bounds.west <= 0 and grid.bounds.east >= bounds.east - 1e-6 * gsd


@pytest.mark.parametrize("gsd", [0.0, -1.0, np.nan, np.inf, None])
def test_a_pixel_size_that_is_none_is_refused(gsd):
    with pytest.raises(InputError, match="gsd must be a positive number"):
        grid_over(spanning(10, 10), gsd)


@pytest.mark.parametrize(
    ("width", "height", "count", "gsd"), [(100, 50, 20_000, 0.5), (100, 50, 19_999, 1.0), (80, 80, 100_000, 0.5),
    (80, 80, 102_400, 0.25), (3, 1, 3_000_000, 0.001), (9000, 9000, 100, 1000.0)]
)  # fmt: skip
def test_a_pixel_size_follows_from_the_density(width, height, count, gsd):
    xyz = np.zeros((count, 3))
    xyz[1] = width, height, 0
    points = HeldPoints(PointCloud(xyz, UTM))
    assert spacing(points) == pytest.approx(gsd, rel=1e-12)
    grid = grid_over(points, spacing(points))
    # A point a pixel on average, and no pixel more than 2.5 times as long as that asks.
    assert width * height / gsd**2 <= count * (1 + 1e-5) <= 6.25 * width * height / gsd**2 * (1 + 1e-5)
    assert grid.gsd == gsd


def test_points_without_an_area_need_a_stated_pixel():
    with pytest.raises(UnsupportedError, match=r"spans no area.*--gsd"):
        spanning_line = HeldPoints(PointCloud(np.array([[0.0, 0, 1], [5, 0, 2]]), UTM))
        spacing(spanning_line)


def test_the_limit_is_what_the_user_allows(monkeypatch):
    points = spanning(99.5, 49.5)
    monkeypatch.setenv(LIMIT_VARIABLE, "4999")
    with pytest.raises(InputError, match=r"more than the limit of 4,999: its points span 99.5 x 49.5 m"):
        grid_over(points, 1.0)
    monkeypatch.setenv(LIMIT_VARIABLE, "5100")
    assert grid_over(points, 1.0).shape == (50, 100)


def part(seed, count=500, **more):
    rng = np.random.default_rng(seed)
    return PointCloud(np.round(rng.uniform(0, 60, (count, 3)) + np.array([500_000 + 30 * seed, 5e6, 0]), 3), **more)


def files(folder, *clouds, suffix=".npz"):
    paths = [folder / f"{k}{suffix}" for k in range(len(clouds))]
    for path, cloud in zip(paths, clouds, strict=True):
        write_points(path, cloud)
    return paths


def test_several_files_are_one_cloud_in_their_order(tmp_path):
    clouds = [part(k, crs=UTM if k else None, classes=np.full(500, 2 + k, np.uint8)) for k in range(3)]
    source = open_clouds(files(tmp_path, *clouds))
    assert isinstance(source, JoinedPoints) and isinstance(source, PointSource)
    whole = np.concatenate([cloud.xyz for cloud in clouds])
    assert source.crs == UTM and source.count() == 1500 and len(source.files) == 3
    assert np.allclose(source.read().xyz, whole, atol=1e-9)
    assert source.read().classes.tolist() == [2] * 500 + [3] * 500 + [4] * 500
    box = Bounds(500_020, 5_000_010, 500_070, 5_000_040)
    inside = (whole[:, 0] >= 500_020) & (whole[:, 0] < 500_070) & (whole[:, 1] >= 5_000_010) & (whole[:, 1] < 5_000_040)
    assert np.allclose(source.read(box).xyz, whole[inside], atol=1e-9)
    assert len(source.read(Bounds(0, 0, 1, 1))) == 0
    bounds = source.bounds()
    assert [bounds.west, bounds.south] == pytest.approx(whole.min(axis=0)[:2])
    assert [bounds.east, bounds.north] == pytest.approx(whole.max(axis=0)[:2])
    assert len(source.read(bounds)) == 1500


def test_colours_of_bytes_and_of_words_meet_in_words(tmp_path):
    colour = np.random.default_rng(0).integers(1, 255, (500, 3)).astype(np.uint8)
    (one,) = files(tmp_path, part(0, colour=colour))
    (two,) = files(tmp_path, part(1, colour=colour), suffix=".laz")
    found = open_clouds([one, two]).read().colour
    assert np.array_equal(found, np.concatenate([colour, colour]).astype(int) * 257)


def test_what_contradicts_is_refused(tmp_path):
    a, b, c, d = files(
        tmp_path, part(0, crs=UTM), part(1, crs=CRS.from_epsg(32633)), part(2, vertical="EPSG:5773"),
        part(3, vertical="EPSG:5703"),
    )  # fmt: skip
    together = open_clouds([a, b])  # the second comes to the zone of the first
    assert together.crs == UTM and "EPSG:32633 to EPSG:32632" in together.warnings[0]
    with pytest.raises(GridMismatchError, match=r"1\.npz is in EPSG:32633, but .*0\.npz is in EPSG:32632"):
        JoinedPoints([open_points(a), open_points(b)])
    with pytest.raises(InputError, match=r"3\.npz has the vertical datum EPSG:5703"):
        open_clouds([a, c, d])
    with pytest.raises(InputError, match="given twice"):
        open_clouds([a, tmp_path / ".." / tmp_path.name / "0.npz"])


def test_a_name_that_is_too_long_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be opened: File name too long"):
        open_clouds([tmp_path / f"{'a' * 400}.las"])
