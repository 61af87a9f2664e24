"""PLY: any layout a program may write, truncation, comments on CRS and unit, headers that lie."""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from refbench import InputError
from refbench.formats.cloud import open_points

TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
ORDERS = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}
WHOLE = [name for name, code in TYPES.items() if code[0] != "f"]


def row(values, properties, order):
    """One row of a file: ``properties`` are (type, name) or (length type, type, name); lists are lists."""
    if order is None:
        words = []
        for value, item in zip(values, properties, strict=True):
            words += [len(value), *value] if len(item) == 3 else [value]
        return " ".join(map(str, words)).encode() + b"\n"
    out = b""
    for value, item in zip(values, properties, strict=True):
        if len(item) == 3:
            out += np.array(len(value), order + TYPES[item[0]]).tobytes()
        out += np.array(value, order + TYPES[item[-2]]).tobytes()
    return out


def ply(path, elements, form="ascii", comments=(), end="\n"):
    """Write elements (name, properties, rows)."""
    lines = ["ply", f"format {form} 1.0", *(f"comment {text}" for text in comments)]
    for name, properties, rows in elements:
        lines.append(f"element {name} {len(rows)}")
        lines += [f"property {'list ' * (len(item) == 3)}{' '.join(item)}" for item in properties]
    body = b"".join(row(values, properties, ORDERS[form]) for _, properties, rows in elements for values in rows)
    path.write_bytes(end.join([*lines, "end_header", ""]).encode() + body)
    return path


@st.composite
def layouts(draw):
    """A vertex element in any order and type, perhaps with lists, and elements around it."""
    real = draw(st.sampled_from(["double", "float64", "float", "float32", "int", "int16"]))
    extras = [(draw(st.sampled_from(list(TYPES))), name) for name in ("nx", "quality") if draw(st.booleans())]
    if draw(st.booleans()):
        extras += [("uchar", "red"), ("uchar", "blue"), ("uchar", "green")]
    if draw(st.booleans()):
        extras.append((draw(st.sampled_from(WHOLE)), draw(st.sampled_from(["classes", "scalar_Classification"]))))
    if draw(st.booleans()):
        extras.append((draw(st.sampled_from(["uchar", "int"])), draw(st.sampled_from(list(TYPES))), "track"))
    properties = draw(st.permutations([(real, "x"), (real, "y"), (real, "z"), *extras]))
    around = [
        ("face", [("uchar", "int", "vertex_indices")]),
        ("camera", [("float", "fx"), ("double", "fy")]),
        ("odd", [("ushort", "double", "a"), ("short", "n"), ("int", "uchar", "b")]),
    ]
    others = draw(st.lists(st.sampled_from(around), max_size=3, unique_by=lambda item: item[0]))
    place = draw(st.integers(0, len(others)))
    return properties, others[:place], others[place:]


def values_of(properties, count, rng):
    rows = []
    for _ in range(count):
        values = []
        for item in properties:
            size = int(rng.integers(0, 5)) if len(item) == 3 else None
            found = rng.integers(1, 100, size)
            values.append(found.tolist())
        rows.append(values)
    return rows


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layout=layouts(),
    form=st.sampled_from(list(ORDERS)),
    end=st.sampled_from(["\n", "\r\n"]),
    seed=st.integers(0, 999),
    step=st.sampled_from([1, 7, 1000]),
)
def test_any_layout_brings_the_points(tmp_path, layout, form, end, seed, step):
    properties, before, after = layout
    rng = np.random.default_rng(seed)
    vertices = values_of(properties, 30, rng)
    elements = [
        *((name, items, values_of(items, int(rng.integers(0, 40)), rng)) for name, items in before),
        ("vertex", properties, vertices),
        *((name, items, values_of(items, int(rng.integers(0, 40)), rng)) for name, items in after),
    ]
    path = ply(tmp_path / "a.ply", elements, form, ["made by a test"], end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("refbench.formats.cloud_reader.CHUNK_POINTS", step)
        cloud = open_points(path, keep_noise=True).read()
    names = [item[-1] for item in properties]

    def column(name):
        return [values[names.index(name)] for values in vertices]

    assert np.array_equal(cloud.xyz, np.array([column(axis) for axis in "xyz"], float).T)
    if "red" in names:
        assert np.array_equal(cloud.colour, np.array([column(name) for name in ("red", "green", "blue")]).T)
    for name in ("classes", "scalar_Classification"):
        if name in names:
            assert cloud.classes.tolist() == column(name)
    if form != "ascii":  # a file of text may end with its last row cut within a number
        content = path.read_bytes()
        start = content.index(b"end_header") + 12
        last = elements[-1][2]
        if last:
            path.write_bytes(content[: int(rng.integers(start, len(content)))])
            with pytest.raises(InputError, match="cannot be read as a point cloud"):
                open_points(path).read()


XYZ = [("double", "x"), ("double", "y"), ("double", "z")]
ROWS = [[500_000.25 + k, 5_500_000.5 + 2 * k, 100 + k / 4] for k in range(50)]


@pytest.mark.parametrize("form", ORDERS)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.5, 0.9])
def test_a_file_cut_in_the_middle_is_refused(tmp_path, form, kept):
    path = ply(tmp_path / "a.ply", [("vertex", XYZ, ROWS)], form)
    content = path.read_bytes()
    start = content.index(b"end_header\n") + 11
    path.write_bytes(content[: start + int(kept * (len(content) - start))])
    with pytest.raises(InputError, match=r"cut off|values instead of"):
        open_points(path).read()


@pytest.mark.parametrize(
    ("comment", "code"),
    [
        ("projection: UTM 32N", 32632),
        ("projection: UTM 7S", 32707),
        ("projection: utm zone 60n", 32660),
        ("projection: CRS epsg:32632", 32632),
        ("projection: CRS EPSG:2056", 2056),
        ("projection: EPSG:25833", 25833),
        ("crs EPSG:32632", 32632),
        ("CRS: EPSG:32632", 32632),
        ("epsg: 31370", 31370),
        ("crs: " + CRS.from_epsg(32755).to_wkt(), 32755),
        ("the projection of the past was UTM 3N", None),
        ("x" * 3000, None),
        ("crs " + "y" * 30_000, None),
    ],
)
def test_the_crs_is_read_from_comments(tmp_path, comment, code):
    path = ply(tmp_path / "a.ply", [("vertex", XYZ, ROWS)], "binary_little_endian", ["first", comment])
    source = open_points(path)
    assert source.crs == (None if code is None else CRS.from_epsg(code))
    assert source.read().xyz.tolist() == ROWS


@pytest.mark.parametrize(
    ("comments", "scale"),
    [
        (["unit: foot"], [0.3048] * 3),
        (["units: us-ft", "projection: UTM 32N"], [1200 / 3937] * 3),
        (["unit metre"], [1, 1, 1]),
        (["units are a matter of taste"], [1, 1, 1]),
        (["height_unit: ft"], [1, 1, 0.3048]),
        (["vertical unit = us survey foot"], [1, 1, 1200 / 3937]),
        (["unit: foot", "height unit: m"], [0.3048, 0.3048, 1]),
    ],
)
def test_the_unit_is_read_from_comments_and_said(tmp_path, comments, scale):
    source = open_points(ply(tmp_path / "a.ply", [("vertex", XYZ, ROWS)], comments=comments))
    assert np.allclose(source.read().xyz, np.array(ROWS) * scale, rtol=1e-12)
    assert ("converted to metres" in " ".join(source.warnings)) == (scale != [1, 1, 1])


def header(*lines, body=b"1 2 3\n4 5 6\n"):
    return "\n".join(["ply", *lines, "end_header", ""]).encode() + body


AXES = ("property float x", "property float y", "property float z")
BAD = {
    "a trillion, text": (header("format ascii 1.0", "element vertex 1000000000000", *AXES), "do not fit"),
    "a trillion": (header("format binary_little_endian 1.0", "element vertex 1000000000000", *AXES), "do not fit"),
    "beyond 64 bits": (header("format ascii 1.0", f"element vertex {10**19}", *AXES), "declares"),
    "many digits": (header("format ascii 1.0", f"element vertex {'9' * 5000}", *AXES), "name and a count"),
    "negative": (header("format ascii 1.0", "element vertex -5", *AXES), "name and a count"),
    "faces": (header("format binary_big_endian 1.0", "element vertex 1", *AXES, "element face 1000000000000",
                     "property list uchar int i", body=bytes(12)), "do not fit"),
    "a long list": (header("format binary_little_endian 1.0", "element face 1", "property list uint double i",
                           "element vertex 2", *AXES, body=struct.pack("<I", 2**32 - 1) + bytes(24)), "cut off"),
    "a negative list": (header("format binary_little_endian 1.0", "element face 1", "property list int double i",
                               "element vertex 2", *AXES, body=struct.pack("<i", -9) + bytes(24)), "list of -9"),
    "no axes": (header("format ascii 1.0", "element vertex 2", "property float x", "property float y"), "lack x, y"),
    "twice x": (header("format ascii 1.0", "element vertex 2", *AXES, "property float x"), "two properties"),
    "two clouds": (header("format ascii 1.0", "element vertex 2", *AXES, "element vertex 2", *AXES), "two elements"),
    "no vertex": (header("format ascii 1.0", "element face 2", *AXES), "names no vertices"),
    "no format": (header("element vertex 2", *AXES), "names no format"),
    "another format": (header("format binary_middle_endian 1.0", "element vertex 2", *AXES), "none of"),
    "type": (header("format ascii 1.0", "element vertex 2", "property real x"), "unknown form"),
    "a real length": (header("format ascii 1.0", "element vertex 2", *AXES, "property list float int a"), "counts in"),
    "orphan": (header("format ascii 1.0", "property float x", "element vertex 2", *AXES), "before any element"),
    "prose": (header("format ascii 1.0", "hello", "element vertex 2", *AXES), "none of PLY's"),
    "words": (header("format ascii 1.0", "element vertex 2", *AXES, body=b"1 2 3\n4 five 6\n"), "could not convert"),
    "short row": (header("format ascii 1.0", "element vertex 2", *AXES, body=b"1 2 3\n4 5    \n"), "2 values instead"),
    "endless": (b"ply\nformat ascii 1.0\ncomment " + b"z" * (2 << 20), "no end"),
    "contradiction": (header("format ascii 1.0", "comment projection: UTM 32N", "comment projection: UTM 33N",
                             "element vertex 2", *AXES), "comments name"),
    "unit": (header("format ascii 1.0", "comment unit: cubit", "element vertex 2", *AXES), "cubit"),
    "zone": (header("format ascii 1.0", "comment projection: UTM 61N", "element vertex 2", *AXES), "not a CRS"),
    "geocentric": (header("format ascii 1.0", "comment crs EPSG:4978", "element vertex 2", *AXES), "geocentric"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_header_that_cannot_be_is_refused_in_one_sentence(tmp_path, name):
    content, words = BAD[name]
    path = tmp_path / "a.ply"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        open_points(path).read()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 600


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32), form=st.sampled_from(list(ORDERS)))
def test_any_damage_ends_in_a_cloud_or_one_sentence(tmp_path, seed, form):
    rng = np.random.default_rng(seed)
    faces = [("uchar", "int", "vertex_indices")]
    elements = [("vertex", XYZ, ROWS), ("face", faces, values_of(faces, 20, rng))]
    path = ply(tmp_path / "a.ply", elements[:: int(rng.choice([-1, 1]))], form)
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 5))):
        content[int(rng.integers(4, len(content)))] = int(rng.integers(0, 256))
    path.write_bytes(content)
    try:
        assert len(open_points(path).read()) <= 1000
    except InputError as error:
        assert "\n" not in str(error)


def test_faces_of_one_size_and_of_many_are_passed_over_alike(tmp_path):
    faces = [("uchar", "int", "vertex_indices")]
    for sizes in ([3] * 5000, [3, 4] * 2500, [3] * 3000 + [7] + [3] * 1999):
        rows = [[list(range(size))] for size in sizes]
        path = ply(tmp_path / "a.ply", [("face", faces, rows), ("vertex", XYZ, ROWS)], "binary_big_endian")
        assert open_points(path).read().xyz.tolist() == ROWS
