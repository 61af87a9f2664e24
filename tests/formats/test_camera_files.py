import json
from dataclasses import replace

import numpy as np
import pytest
from makers import UTM, grid_of, looking_down, rpc_looking_down, write_tif
from pushbroom import LineScanner

from refbench import InputError
from refbench.contracts.errors import ConfigError, MissingFileError
from refbench.formats.camera_files import (
    camera_format,
    image_tags,
    read_camera,
    register_camera_format,
    rpc_of_image,
    write_camera,
)
from refbench.formats.raster import open_image
from refbench.geometry.affine_camera import AffineCamera
from refbench.geometry.rpc import RPC

GRID = grid_of()
POINTS = np.array([[500_005.0, 4_999_990.0, 101.0], [500_012.0, 4_999_985.0, 104.0]])


def affine():
    return AffineCamera.from_camera(looking_down(GRID, 0.2), POINTS[0], frame="EPSG:32632")


@pytest.mark.parametrize(
    ("camera", "name"),
    [(looking_down(GRID, 0.1), "uav.yaml"), (affine(), "affine.yaml"), (rpc_looking_down(GRID), "sat_RPC.TXT")],
)
def test_cameras_come_back_to_the_last_digit(tmp_path, camera, name):
    write_camera(tmp_path / name, camera)
    again = read_camera(tmp_path / name, UTM)
    assert type(again) is type(camera)
    for one, other in zip(again.project(POINTS), camera.project(POINTS), strict=True):
        assert np.array_equal(one, other)


def test_a_hand_written_pinhole_needs_only_k_r_and_t(tmp_path):
    path = tmp_path / "camera.yaml"
    path.write_text(
        "K: [[100, 0, 9.5], [0, 100, 7.5], [0, 0, 1]]\nR: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]\nt: [0, 0, 5]\n"
    )
    col, row, depth = read_camera(path).project(np.array([0.1, -0.2, 5.0]))
    assert (float(col), float(row), float(depth)) == pytest.approx((10.5, 5.5, 10.0))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("camera: fisheye", ConfigError, "pinhole or affine"),
        ("K: 3\nr: 1", ConfigError, "unknown key 'r'; did you mean 'R'"),
        ("K: [[1]]\nR: [[1]]\nt: [1]", InputError, "Pinhole K"),
        ("K: [[100, 0, 9.5], [0, 100, 7.5], [0, 0, 1]]", InputError, "R, t"),
        ("camera: affine\nmatrix: [[1, 0, 0], [0, 1, 0]]", ConfigError, "offset, origin"),
        ("camera: affine\nmatrix: x\noffset: [0, 0]\norigin: [0, 0, 0]", ConfigError, "must be numbers"),
        ("- 1", ConfigError, "must be a mapping"),
        ("a: [", ConfigError, "not valid YAML"),
        ("!!python/object/apply:os.getcwd []", ConfigError, "not valid YAML"),
    ],
)
def test_a_bad_camera_file_is_refused_by_name(tmp_path, text, error, words):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(error, match=words) as caught:
        read_camera(path)
    assert str(path) in str(caught.value)


def test_files_that_are_not_there_or_no_rpc_are_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"camera\.yaml"):
        read_camera(tmp_path / "camera.yaml")
    with pytest.raises(InputError, match=r"x_RPC\.TXT"):
        read_camera(tmp_path / "x_RPC.TXT")
    (tmp_path / "y_RPC.TXT").write_text("LINE_OFF: 3\n")
    with pytest.raises(InputError, match=r"y_RPC.TXT.*SAMP_OFF"):
        read_camera(tmp_path / "y_RPC.TXT")
    with pytest.raises(InputError, match="no file format"):
        write_camera(tmp_path / "z.yaml", object())


RPCM = {"line": "row", "samp": "col", "long": "lon", "height": "alt"}


def as_rpcm(rpc, **more):
    """The JSON that rpcm's users keep beside an image."""
    offsets = {
        f"{RPCM.get(axis, axis)}_{'offset' if kind == 'off' else kind}": getattr(rpc, f"{axis}_{kind}")
        for axis in ("line", "samp", "lat", "long", "height")
        for kind in ("off", "scale")
    }
    cubics = {
        f"{RPCM[axis]}_{part}": getattr(rpc, f"{axis}_{part}_coeff").tolist()
        for axis in ("line", "samp")
        for part in ("num", "den")
    }
    return json.dumps({"img": "view.tif", "rpc": {**offsets, **cubics}, **more})


def as_rpb(rpc):
    """A vendor's .RPB."""
    lines = ['satId = "WV02";', 'SpecId = "RPC00B";', "BEGIN_GROUP = IMAGE", "\terrBias = 0.5;"]
    for axis in ("line", "samp", "lat", "long", "height"):
        lines.append(f"\t{axis}Offset = {getattr(rpc, f'{axis}_off')!r};")
        lines.append(f"\t{axis}Scale = {getattr(rpc, f'{axis}_scale')!r};")
    for axis in ("line", "samp"):
        for part in ("num", "den"):
            values = getattr(rpc, f"{axis}_{part}_coeff").tolist()
            rows = ",\n".join(f"\t\t\t{value!r}" for value in values)
            lines.append(f"\t{axis}{part.title()}Coef = (\n{rows});")
    return "\n".join([*lines, "END_GROUP = IMAGE", "END;"])


def as_flat_json(rpc):
    """GDAL's keys, as some tools dump them."""
    return json.dumps(
        {key: (value.split() if "COEFF" in key else float(value)) for key, value in rpc.to_tags().items()}
    )


FOREIGN = {"view.json": as_rpcm, "view.RPB": as_rpb, "view.rpb": as_rpb, "flat/view.JSON": as_flat_json}


@pytest.mark.parametrize(("name", "written"), FOREIGN.items(), ids=FOREIGN)
def test_rpcs_of_vendors_and_tools_are_camera_files_and_lie_beside_images(tmp_path, name, written):
    rpc = rpc_looking_down(GRID)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(written(rpc))
    png = path.with_name("view.png")
    write_tif(path.with_name("view.tif"), np.ones((60, 80), np.uint8)).rename(png)
    for found in (read_camera(path, UTM), rpc_of_image(open_image(png), UTM)):
        for one, other in zip(found.project(POINTS), rpc.project(POINTS), strict=True):
            assert np.array_equal(one, other)


def test_the_size_in_a_json_is_the_size_of_the_image(tmp_path):
    (tmp_path / "view.json").write_text(as_rpcm(rpc_looking_down(GRID), height=60, width=80))
    camera = read_camera(tmp_path / "view.json")
    assert camera.size == (60, 80) and camera.shifted(3, 4).size is None and camera.scaled(0.5, 0.5).size == (30, 40)


def test_a_json_about_something_else_is_left_alone_and_a_broken_rpc_is_named(tmp_path):
    png = tmp_path / "view.png"
    write_tif(tmp_path / "view.tif", np.ones((60, 80), np.uint8)).rename(png)
    for text in ('{"type": "Feature"}', "[1, 2]", "{", '"rpc"'):
        (tmp_path / "view.json").write_text(text)
        assert rpc_of_image(open_image(png)) is None
    for text, words in (
        ('{"rpc": {"row_offset": 1}}', "lacks SAMP_OFF"),
        ('{"rpc": 3}', "must hold the coefficients"),
        (as_rpcm(rpc_looking_down(GRID)).replace('"row_num": [', '"row_num": [1, '), "LINE_NUM_COEFF needs 20"),
        (
            as_rpcm(rpc_looking_down(GRID)).replace('"alt_offset": ', '"alt_offset": "high", "x": '),
            "HEIGHT_OFF must be a",
        ),
    ):
        (tmp_path / "view.json").write_text(text)
        with pytest.raises(InputError, match=words) as caught:
            rpc_of_image(open_image(png))
        assert str(tmp_path / "view.json") in str(caught.value)
    (tmp_path / "view.json").write_text("{")
    with pytest.raises(InputError, match=r"view\.json is not valid JSON"):
        read_camera(tmp_path / "view.json")


def test_an_rpc_may_stand_in_yaml_and_a_pinhole_in_json(tmp_path):
    rpc, pinhole = rpc_looking_down(GRID), looking_down(GRID, 0.1)
    write_camera(tmp_path / "sat.yaml", rpc)
    again = read_camera(tmp_path / "sat.yaml", UTM)
    assert all(np.array_equal(*pair) for pair in zip(again.project(POINTS), rpc.project(POINTS), strict=True))
    (tmp_path / "uav.json").write_text(json.dumps({"camera": "pinhole", **pinhole.to_dict()}))
    assert np.array_equal(read_camera(tmp_path / "uav.json").project(POINTS)[0], pinhole.project(POINTS)[0])


def test_a_model_registers_once_and_its_name_is_its_own(tmp_path):
    camera = LineScanner(500_010.0, 5_000_000.0, 900.0, 1800.0, 39.5, 0.5, 0.3)
    write_camera(tmp_path / "scan.yaml", camera)
    assert read_camera(tmp_path / "scan.yaml") == camera
    assert image_tags(camera) is None
    known = camera_format(camera)
    register_camera_format(known)
    with pytest.raises(ConfigError, match="line_scanner is taken by LineScanner"):
        register_camera_format(replace(known, model=AffineCamera))


def test_an_rpc_is_found_in_the_tags_or_beside_the_image(tmp_path):
    rpc = rpc_looking_down(GRID)
    pixels = np.ones((60, 80), np.uint8)
    bare = open_image(write_tif(tmp_path / "bare.tif", pixels))
    assert rpc_of_image(bare) is None
    png = tmp_path / "view.png"
    write_tif(tmp_path / "view.tif", pixels).rename(png)
    write_camera(tmp_path / "view_RPC.TXT", rpc)
    beside = rpc_of_image(open_image(png), UTM)
    assert isinstance(beside, RPC)
    for one, other in zip(beside.project(POINTS), rpc.project(POINTS), strict=True):
        assert np.allclose(one, other, atol=1e-9)
