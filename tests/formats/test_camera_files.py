import numpy as np
import pytest
from scene_makers import UTM, grid_of, looking_down, rpc_looking_down, write_tif

from refbench import InputError
from refbench.contracts.errors import ConfigError, MissingFileError
from refbench.formats.camera_files import read_camera, rpc_of_image, write_camera
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
