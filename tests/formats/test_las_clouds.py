"""LAS and LAZ: headers that lie, flags, noise, units, damage."""

import struct
import warnings
from pathlib import Path

import laspy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform

from refbench import InputError
from refbench.formats.cloud import open_points

COUNT = 400
FOOT, SURVEY_FOOT = 0.3048, 1200 / 3937
FIELD = Path(__file__).parents[3] / "shared" / "field"


def points(count=COUNT, seed=1):
    """float64 [N, 3] in whole millimetres on 40 x 30 m of UTM."""
    rng = np.random.default_rng(seed)
    low, high = np.array([500_000, 5_500_000, 95.0]), np.array([500_040, 5_500_030, 110.0])
    return np.round(rng.uniform(low, high, (count, 3)), 3)


def las_file(path, xyz=None, *, kind=6, keys=(), wkt=None, offsets=(500_000, 5_500_000, 0), **dimensions):
    """Write points with laspy alone; ``keys`` are GeoTIFF keys as (id, value)."""
    xyz = points() if xyz is None else xyz
    header = laspy.LasHeader(point_format=kind, version="1.4" if kind >= 6 else "1.3" if kind >= 4 else "1.2")
    header.scales, header.offsets = [0.001] * 3, offsets
    if keys:
        record = laspy.vlrs.known.GeoKeyDirectoryVlr()
        table = [1, 1, 0, len(keys), *(word for key, value in keys for word in (key, 0, 1, value))]
        record.parse_record_data(np.array(table, np.uint16).tobytes())
        header.vlrs.append(record)
    if wkt is not None:
        header.vlrs.append(laspy.vlrs.known.WktCoordinateSystemVlr(wkt))
    las = laspy.LasData(header)
    las.x, las.y, las.z = xyz.T
    for name, values in dimensions.items():
        setattr(las, name, values)
    las.write(path)
    return path


def patched(path, at, form, *values):
    """Overwrite bytes of a file."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, at, *values)
    path.write_bytes(content)
    return path


# maxx, minx, maxy, miny of the public header
LIES = {
    "zeros": (0, 0, 0, 0),
    "mins 0": (500_040, 0, 5_500_030, 0),
    "continent": (2e6, -3e6, 9e6, 1e6),
    "elsewhere": (700_040, 700_000, 4_500_030, 4_500_000),
    "too small": (500_020, 500_010, 5_500_020, 5_500_010),
    "unscaled": (40_000, 0, 30_000, 0),
    "reversed": (500_000, 500_040, 5_500_000, 5_500_030),
    "nan": (np.nan, np.nan, np.nan, np.nan),
    "infinite": (np.inf, -np.inf, np.inf, -np.inf),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_bounds_are_those_of_the_points_whatever_the_header_says(tmp_path, suffix, lie):
    path = patched(las_file(tmp_path / f"a{suffix}"), 179, "<4d", *LIES[lie])
    for budget in (1 << 30, 1):
        source = open_points(path, budget_bytes=budget)
        bounds = source.bounds()
        xyz = points()
        assert [bounds.west, bounds.south] == pytest.approx(xyz[:, :2].min(axis=0), abs=1e-6)
        assert [bounds.east, bounds.north] == pytest.approx(xyz[:, :2].max(axis=0), abs=1e-6)
        assert len(source.read(bounds)) == COUNT
        said = [note for note in source.warnings if "header states other bounds" in note]
        assert len(said) == (lie not in ("reversed", "nan", "infinite"))


def test_an_honest_header_is_not_remarked(tmp_path):
    source = open_points(las_file(tmp_path / "a.laz"))
    source.check()
    assert source.warnings == ()


@pytest.mark.parametrize("kind", range(11))
@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_withheld_points_are_dropped_and_other_flags_kept_in_every_point_format(tmp_path, suffix, kind):
    if suffix == ".laz" and kind in (4, 5, 9, 10):
        pytest.skip("LAZ has no waveforms in the decoder")
    rng = np.random.default_rng(kind)
    flags = {"withheld": rng.random(COUNT) < 0.1, "synthetic": rng.random(COUNT) < 0.5}
    flags["key_point"] = rng.random(COUNT) < 0.5
    if kind >= 6:
        flags["overlap"] = rng.random(COUNT) < 0.5
    classes = rng.choice([0, 1, 2, 6, 9, 12], COUNT)  # 12: overlap in the old formats
    xyz = points()
    xyz[flags["withheld"], 2] += 500
    path = las_file(tmp_path / f"a{suffix}", xyz, kind=kind, classification=classes, **flags)
    for budget in (1 << 30, 1):
        source = open_points(path, budget_bytes=budget)
        cloud = source.read()
        assert np.allclose(cloud.xyz, xyz[~flags["withheld"]], atol=1e-6)
        assert np.array_equal(cloud.classes, classes[~flags["withheld"]])
        assert f"{flags['withheld'].sum():,} of {COUNT:,} points are flagged as withheld" in " ".join(source.warnings)
        assert source.count() == len(cloud)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from([0, 1, 3, 6, 7, 8]), seed=st.integers(0, 99), keep=st.booleans())
def test_noise_classes_go_unless_they_are_asked_for(tmp_path, kind, seed, keep):
    rng = np.random.default_rng(seed)
    highest = 31 if kind < 6 else 255
    classes = rng.integers(0, highest + 1, COUNT)
    classes[:40] = rng.choice([7, 18], 40)
    path = las_file(tmp_path / "noise.las", kind=kind, classification=classes)
    source = open_points(path, keep_noise=keep)
    cloud = source.read()
    stays = np.ones(COUNT, bool) if keep else ~np.isin(classes, [7, 18])
    assert np.array_equal(cloud.classes, classes[stays])
    text = " ".join(source.warnings)
    assert ("classified as noise" in text) != keep
    if not keep:
        assert f"{(~stays).sum():,} of {COUNT:,}" in text and "--keep-noise" in text


def test_a_cloud_of_nothing_but_noise_names_the_switch(tmp_path):
    path = las_file(tmp_path / "a.las", classification=np.full(COUNT, 7))
    with pytest.raises(InputError, match=r"0 points beside those withheld or classified as noise.*--keep-noise"):
        open_points(path).read()
    assert len(open_points(path, keep_noise=True).read()) == COUNT


@pytest.mark.parametrize(("axis", "metres"), [(0, 2e6), (1, -2.1e6), (2, 1.9e6), (0, -4e4)])
def test_few_corrupt_coordinates_are_dropped_and_counted(tmp_path, axis, metres):
    xyz = points()
    xyz[[5, 77], axis] += metres
    for budget in (1 << 30, 1):
        source = open_points(las_file(tmp_path / "a.las", xyz), budget_bytes=budget)
        assert np.allclose(source.read().xyz, np.delete(xyz, [5, 77], axis=0), atol=1e-6)
        bounds = source.bounds()
        assert bounds.east - bounds.west < 41 and bounds.north - bounds.south < 31
        assert source.count() == COUNT - 2
        assert "2 of 400 points lie far from all others (such as" in " ".join(source.warnings)
        assert not any("header" in note for note in source.warnings)


def test_a_second_cluster_is_no_corruption(tmp_path):
    xyz = points()
    xyz[:20, 0] += 50_000
    source = open_points(las_file(tmp_path / "a.las", xyz))
    assert len(source.read()) == COUNT and source.warnings == ()


UNIT_KEYS = [
    ([(1024, 1), (3072, 32767), (3076, 9002)], FOOT, FOOT, "EPSG:32632"),
    ([(1024, 1), (3076, 9003)], SURVEY_FOOT, SURVEY_FOOT, "EPSG:32632"),
    ([(1024, 1), (3072, 32632), (3076, 9002), (4099, 9001)], FOOT, 1.0, None),
    ([(1024, 1), (3072, 32632), (3076, 9003), (4099, 9002)], SURVEY_FOOT, FOOT, None),
    ([(1024, 1), (3072, 32632), (4099, 9003)], 1.0, SURVEY_FOOT, None),
    ([(1024, 1), (3072, 32632), (3076, 9001), (4099, 9001)], 1.0, 1.0, None),
    ([(1024, 1), (2048, 4326), (3072, 32632)], 1.0, 1.0, None),
]


@pytest.mark.parametrize(("keys", "flat", "up", "crs"), UNIT_KEYS)
def test_unit_keys_of_the_header_are_converted_and_said(tmp_path, keys, flat, up, crs):
    metres = points()
    given = metres / [flat, flat, up]
    path = las_file(tmp_path / "a.las", given, kind=1, keys=keys, offsets=np.floor(given.min(axis=0)))
    source = open_points(path, crs=crs)
    assert np.abs(source.read().xyz - metres).max() < 0.001
    assert source.crs == CRS.from_epsg(32632)
    text = " ".join(source.warnings)
    assert ("coordinates are in" in text) == (flat != 1) and ("heights are in" in text) == (up not in (1, flat))
    assert "its header states" not in text


@pytest.mark.parametrize(
    ("unit", "metres"), [("US survey foot", 0.3048006), ("foot", 0.3048), ("metre", 1), ("yard", 0.9144)]
)
def test_the_unit_of_a_local_crs_is_converted_and_said_or_refused(tmp_path, unit, metres):
    wkt = f'LOCAL_CS["site",UNIT["{unit}",{metres}],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    path = las_file(tmp_path / "a.las", points() / metres, wkt=wkt, offsets=(0, 5_000_000, 0) if metres > 0.5 else
                    (1_000_000, 17_000_000, 0))  # fmt: skip
    if unit == "yard":
        with pytest.raises(InputError, match="counts in yard"):
            open_points(path)
        return
    source = open_points(path)
    exact = SURVEY_FOOT if "US" in unit else metres
    assert np.abs(source.read().xyz - points() * exact / metres).max() < 0.001
    assert ("coordinates are in" in " ".join(source.warnings)) == (metres != 1)
    assert source.crs is not None and "1200" not in source.crs.to_wkt() and "0.3048" not in source.crs.to_wkt()


def test_an_ellipsoid_as_vertical_key_means_ellipsoidal_heights(tmp_path):
    path = las_file(tmp_path / "a.las", kind=1, keys=[(1024, 1), (3072, 32632), (4096, 5030), (4099, 9001)])
    assert open_points(path).vertical == "ellipsoid"


def test_a_unit_key_that_holds_no_unit_is_said(tmp_path):
    source = open_points(las_file(tmp_path / "a.las", kind=1, keys=[(1024, 1), (3076, 32632)]))
    assert source.crs is None and "key 3076" in source.warnings[0] and "32632" in source.warnings[0]


@pytest.mark.parametrize(
    ("keys", "wkt", "words"),
    [
        ([(1024, 3), (2048, 4978)], None, "geocentric"),
        ((), 4978, "none of its points is a place on the Earth.*geocentric"),
        ([(1024, 1), (3072, 60000)], None, r"a\.las.*EPSG:60000"),
    ],
)
def test_what_is_no_place_is_refused(tmp_path, keys, wkt, words):
    text = None if wkt is None else CRS.from_epsg(wkt).to_wkt()
    path = las_file(tmp_path / "a.las", in_degrees(), kind=6 if wkt else 1, keys=keys, wkt=text, offsets=(0, 0, 0))
    with pytest.raises(InputError, match=words) as caught:
        open_points(path)
    assert "\n" not in str(caught.value)


def in_degrees():
    return points() * [0, 0, 1] + np.linspace(0, 0.01, COUNT)[:, None] + [8, 49, 0]


@pytest.mark.parametrize(("keys", "wkt"), [([(1024, 2), (2048, 4326)], None), ((), 4979), ((), 4258)])
def test_degrees_come_to_the_utm_zone_of_their_middle(tmp_path, keys, wkt):
    text = None if wkt is None else CRS.from_epsg(wkt).to_wkt()
    path = las_file(tmp_path / "a.las", in_degrees(), kind=6 if wkt else 1, keys=keys, wkt=text, offsets=(0, 0, 0))
    source = open_points(path)
    assert source.crs == CRS.from_epsg(32632) and source.vertical == ("ellipsoid" if wkt == 4979 else "unknown")
    east, north = transform(CRS.from_epsg(4326), source.crs, *np.round(in_degrees(), 3).T[:2])
    assert np.allclose(source.read().xyz[:, :2], np.stack([east, north], axis=1), atol=1e-3)


DAMAGE = {
    "version": (24, "<BB", 1, 7),
    "header size": (94, "<H", 60_000),
    "points at": (96, "<I", 1 << 31),
    "records": (100, "<I", 0xFFFFFFFE),
    "some records": (100, "<I", 5),
    "format": (104, "<B", 63),
    "point bytes": (105, "<H", 3),
    "wide points": (105, "<H", 65_535),
    "legacy count": (247, "<Q", 1 << 50),
    "scale 0": (131, "<d", 0.0),
    "scale nan": (139, "<d", np.nan),
    "offset infinite": (155, "<d", np.inf),
    "extended at": (235, "<QI", 1 << 60, 3),
    "many extended": (235, "<QI", 375, 0xFFFFFFFF),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_a_header_that_cannot_be_true_is_refused_at_once(tmp_path, suffix, name):
    at, form, *values = DAMAGE[name]
    path = patched(las_file(tmp_path / f"a{suffix}"), at, form, *values)
    with pytest.raises(InputError, match="cannot be read as a point cloud") as caught:
        open_points(path).read()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1 << 32), suffix=st.sampled_from([".las", ".laz"]), edits=st.integers(1, 4), cut=st.booleans()
)
def test_any_damage_ends_in_a_cloud_or_one_sentence(tmp_path, seed, suffix, edits, cut):
    rng = np.random.default_rng(seed)
    whole = tmp_path / f"whole{suffix}"
    if not whole.exists():
        las_file(whole, keys=[(1024, 1), (3072, 32632)])
    content = bytearray(whole.read_bytes())
    for _ in range(edits):
        at = int(rng.integers(24, 500 if rng.random() < 0.7 else len(content)))
        content[at % len(content)] = int(rng.integers(0, 256))
    if cut:
        content = content[: int(rng.integers(0, len(content)))]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            cloud = open_points(path).read()
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert 2 <= len(cloud) <= COUNT


def test_404_bytes_of_junk_are_no_cloud(tmp_path):
    path = tmp_path / "junk.las"
    for seed in range(20):
        junk = np.random.default_rng(seed).integers(0, 256, 404, dtype=np.uint8).tobytes()
        path.write_bytes(b"LASF" + junk[4:24] + b"\x01\x02" + junk[26:])
        with pytest.raises(InputError, match="cannot be read as a point cloud"):
            open_points(path)


@pytest.mark.skipif(not FIELD.is_dir(), reason=f"needs {FIELD}")
def test_files_that_made_trouble_in_the_field():
    for name, words in (
        ("garbage_nVariableLength.las", "variable length records do not fit"),
        ("simple-laszip-compressor-version-1.2r0.laz", "compressed without chunks"),
    ):
        with pytest.raises(InputError, match=words):
            open_points(FIELD / name)
    source = open_points(FIELD / "simple1_3.las", crs="EPSG:32632")
    assert len(source.read()) == 999 and source.vertical == "ellipsoid"
    assert "header states other bounds" in " ".join(source.warnings)
