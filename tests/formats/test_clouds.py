import os
import pickle
import sys

import laspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import UTM, cloud_of, grid_of, listing
from rasterio.crs import CRS

from refbench import InputError, PointCloud
from refbench.contracts.errors import MissingExtraError, MissingFileError
from refbench.contracts.grid import Bounds
from refbench.contracts.source import PointSource
from refbench.formats.cloud import HeldPoints, open_points, read_points, write_points

GRID = grid_of()


@pytest.mark.parametrize("suffix", [".laz", ".las", ".npz", ".ply"])
def test_every_format_brings_the_cloud_back(tmp_path, suffix):
    if suffix == ".ply":
        pytest.importorskip("open3d")
    cloud = cloud_of(GRID)
    write_points(tmp_path / f"points{suffix}", cloud)
    assert listing(tmp_path) == [f"points{suffix}"]
    source = open_points(tmp_path / f"points{suffix}", crs=UTM)
    assert isinstance(source, PointSource) and source.count() == 2000
    again = source.read()
    assert again.crs == UTM and np.abs(again.xyz - cloud.xyz).max() < 1e-6
    spread = 257 if suffix in (".laz", ".las") else 1  # LAS colours have 16 bits
    assert np.array_equal(again.colour, cloud.colour.astype(int) * spread)
    assert np.array_equal(again.intensity, cloud.intensity)
    assert np.array_equal(again.classes, cloud.classes)


@pytest.mark.parametrize("suffix", [".laz", ".npz"])
def test_crs_and_datum_travel_in_the_file_and_bytes_are_repeatable(tmp_path, suffix):
    cloud = cloud_of(GRID)
    cloud = PointCloud(cloud.xyz, UTM, "EPSG:5773")
    for name in "ab":
        write_points(tmp_path / f"{name}{suffix}", cloud)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    again = read_points(tmp_path / f"a{suffix}")
    assert (again.crs, again.vertical) == (UTM, "EPSG:5773")
    assert again.colour is None and again.intensity is None and again.classes is None
    with pytest.raises(InputError, match="crs says EPSG:32633"):
        open_points(tmp_path / f"a{suffix}", crs="EPSG:32633")


def test_the_crs_is_found_in_geotiff_keys(tmp_path):
    header = laspy.LasHeader(point_format=1, version="1.2")
    header.scales = [0.001] * 3
    las = laspy.LasData(header)
    las.x, las.y, las.z = [1.0, 2], [3.0, 4], [10.0, 20]
    keys = laspy.vlrs.known.GeoKeyDirectoryVlr()
    keys.parse_record_data(np.array([1, 1, 0, 2, 3072, 0, 1, 32632, 4099, 0, 1, 9002], np.uint16).tobytes())
    las.header.vlrs.append(keys)
    las.write(tmp_path / "feet.las")
    source = open_points(tmp_path / "feet.las")
    assert source.crs == UTM
    assert source.read().xyz[:, 2].tolist() == pytest.approx([3.048, 6.096])
    assert "converted to metres" in source.warnings[0]
    with pytest.raises(InputError, match="says foot but height_unit says metre"):
        open_points(tmp_path / "feet.las", height_unit="metre")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same cloud held and sorted on disk, with small chunks, and the reference."""
    path = tmp_path_factory.mktemp("clouds") / "points.npz"
    cloud = cloud_of(GRID, count=40_000)
    write_points(path, cloud)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("refbench.formats.cloud_reader.CHUNK_POINTS", 7_001)
        patch.setattr("refbench.formats.cloud_index.POINTS_PER_TILE", 500)
        disk = open_points(path, budget_bytes=1)
        disk.read(disk.bounds())
        held = open_points(path)
        held.read(held.bounds())
    return read_points(path), held, disk


@settings(max_examples=60, deadline=None)
@given(st.floats(-30, 30), st.floats(-30, 30), st.floats(0.01, 40), st.floats(0.01, 40))
def test_a_rectangle_holds_the_same_points_in_file_order_whatever_the_store(both, x, y, width, height):
    cloud, held, disk = both
    bounds = Bounds(500_000 + x, 4_999_985 + y, 500_000 + x + width, 4_999_985 + y + height)
    px, py = cloud.xyz[:, 0], cloud.xyz[:, 1]
    expected = cloud.where((px >= bounds.west) & (px < bounds.east) & (py >= bounds.south) & (py < bounds.north))
    for source in (held, disk, HeldPoints(cloud)):
        got = source.read(bounds)
        assert np.array_equal(got.xyz, expected.xyz)
        assert np.array_equal(got.colour, expected.colour) or not len(expected)
        assert np.array_equal(got.classes, expected.classes) or not len(expected)


def test_bounds_hold_every_point_although_their_far_sides_are_open(both, tmp_path):
    cloud, held, disk = both
    for source in (held, disk, HeldPoints(cloud)):
        assert source.count() == len(source.read(source.bounds())) == 40_000
    write_points(tmp_path / "points.laz", cloud)
    las = open_points(tmp_path / "points.laz")
    assert len(las.read(las.bounds())) == 40_000


def test_sorting_on_disk_leaves_no_folder_and_sources_can_be_pickled(tmp_path):
    cloud = cloud_of(GRID)
    write_points(tmp_path / "points.laz", cloud)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    source = open_points(tmp_path / "points.laz", budget_bytes=1, scratch=scratch)
    part = source.read(Bounds(500_005, 4_999_985, 500_015, 4_999_995))
    assert len(list(scratch.iterdir())) == 1
    assert np.array_equal(pickle.loads(pickle.dumps(source)).read().xyz, source.read().xyz) and len(part)
    del source
    assert list(scratch.iterdir()) == []


def test_points_that_are_not_finite_are_dropped_and_counted(tmp_path):
    xyz = cloud_of(GRID).xyz.copy()
    xyz[3], xyz[7, 2], xyz[9, 0] = np.nan, np.inf, 2e30
    for name in ("xyz", "pts", "points"):
        np.savez(tmp_path / f"{name}.npz", **{name: xyz}, intensity=np.arange(2000))
        source = open_points(tmp_path / f"{name}.npz")
        cloud = source.read()
        assert len(cloud) == source.count() == 1997
        assert cloud.intensity[:4].tolist() == [0, 1, 2, 4]
        assert len(source.warnings) == 1 and "3 of 2,000 points" in source.warnings[0]


def test_quantised_npz_and_fortran_order_are_read(tmp_path):
    steps = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.int32)
    np.savez(tmp_path / "q.npz", xyz=steps, scale=0.01, offset=[5e5, 5e6, 100.0], rgb=np.ones((3, 3), np.uint8))
    assert read_points(tmp_path / "q.npz").xyz[1].tolist() == pytest.approx([500000.04, 5000000.05, 100.06])
    np.savez(tmp_path / "f.npz", xyz=np.asfortranarray(steps.astype(np.float64)))
    assert np.array_equal(read_points(tmp_path / "f.npz").xyz, steps)


def _npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def _las(path, count):
    las = laspy.LasData(laspy.LasHeader(point_format=0, version="1.2"))
    las.x = las.y = las.z = np.arange(count)
    las.write(path)
    return path


def _bytes(path, content):
    path.write_bytes(content)
    return path


PLY_OF_ONE = b"""ply
format ascii 1.0
element vertex 1
property float x
property float y
property float z
end_header
1 2 3
"""

BAD = [
    (lambda p: p / "none.laz", "no file"),
    (lambda p: (p / "folder.las").mkdir() or p / "folder.las", "is a folder without a point cloud"),
    (lambda p: os.mkfifo(p / "pipe.las") or p / "pipe.las", "no regular file"),
    (lambda p: _bytes(p / "a.xyz", b"1 2 3"), "no point cloud that refbench reads"),
    (lambda p: _bytes(p / "a.laz", b"nonsense"), "cannot be read as a point cloud"),
    (lambda p: _bytes(p / "a.npz", b"nonsense"), "cannot be read as a point cloud"),
    (lambda p: _bytes(p / "a.ply", b"nonsense"), "cannot be read as a point cloud"),
    (lambda p: _las(p / "empty.las", 0), "holds 0 points; a cloud needs at least 2"),
    (lambda p: _las(p / "one.las", 1), "holds 1 point; a cloud needs at least 2"),
    (lambda p: _npz(p / "empty.npz", xyz=np.empty((0, 3))), "holds 0 points"),
    (lambda p: _npz(p / "one.npz", pts=np.zeros((1, 3))), "holds 1 point;"),
    (lambda p: _npz(p / "nan.npz", pts=np.array([[0, 0, 1.0], [np.nan] * 3])), "holds 1 finite point;"),
    (lambda p: _npz(p / "keys.npz", cloud=np.zeros((5, 3))), "no array xyz, pts or points, but cloud"),
    (lambda p: _npz(p / "shape.npz", xyz=np.zeros((5, 2))), r"must be \[N, 3\]"),
    (lambda p: _npz(p / "int.npz", xyz=np.zeros((5, 3), int)), "scale and offset"),
    (lambda p: _npz(p / "rows.npz", xyz=np.zeros((5, 3)), rgb=np.zeros((4, 3))), "rgb has shape"),
    (lambda p: _npz(p / "geo.npz", xyz=np.full((5, 3), 88.0), crs="EPSG:4326"), "EPSG:4326.*84° N"),
    (lambda p: _bytes(p / "n.ply", PLY_OF_ONE), "holds 1 point;"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_cloud_is_refused_in_one_sentence(tmp_path, make, words):
    path = make(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        open_points(path).read()
    assert path.name in str(caught.value) and "\n" not in str(caught.value)
    assert isinstance(caught.value, MissingFileError) == (not path.exists())


@pytest.mark.parametrize("suffix", [".laz", ".las", ".npz"])
def test_a_cut_off_cloud_is_said(tmp_path, suffix):
    path = tmp_path / f"points{suffix}"
    write_points(path, cloud_of(GRID, count=20_000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match="cannot be read as a point cloud"):
        open_points(path).read()


def test_a_pickle_inside_an_npz_is_not_run(tmp_path):
    np.savez(tmp_path / "a.npz", xyz=np.zeros((3, 3)), rgb=np.array([print, print, print], object))
    np.savez(tmp_path / "b.npz", xyz=np.array([[print] * 3] * 3, object))
    for name in "ab":
        with pytest.raises(InputError):
            read_points(tmp_path / f"{name}.npz")


def test_writing_refuses_in_one_sentence_and_leaves_the_old_file(tmp_path):
    cloud = cloud_of(GRID)
    for name, what, words in (
        ("a.txt", cloud, "written as"),
        ("a.laz", PointCloud(np.empty((0, 3))), "without points"),
        ("none/a.laz", cloud, "Cannot write"),
        ("a.npz", PointCloud(np.array([[0, 0, 0], [5e6, 0, 0.0]])), "wider than"),
    ):
        with pytest.raises(InputError, match=words):
            write_points(tmp_path / name, what)
    assert listing(tmp_path) == []


def test_writing_ply_without_open3d_names_the_extra_and_reading_does_without(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(MissingExtraError, match=r"refbench\[city\]"):
        write_points(tmp_path / "b.ply", cloud_of(GRID))
    assert len(read_points(_bytes(tmp_path / "a.ply", PLY_OF_ONE.replace(b"vertex 1", b"vertex 2") + b"4 5 6\n"))) == 2


def test_a_held_cloud_may_be_empty_but_has_no_bounds():
    empty = HeldPoints(PointCloud(np.empty((0, 3)), CRS.from_epsg(32632)))
    assert len(empty.read(Bounds(0, 0, 1, 1))) == empty.count() == 0
    with pytest.raises(InputError, match="no bounds"):
        empty.bounds()
