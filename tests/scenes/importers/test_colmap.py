"""COLMAP models in both forms, and the scenes that they make."""

import struct

import cv2
import numpy as np
import pytest

from refbench.contracts.errors import InputError
from refbench.scenes.importers.colmap import is_colmap_folder, open_colmap
from refbench.scenes.importers.colmap_model import ColmapCamera, read_model

SIZE = (40, 60)
K = (50.0, 30.0, 20.0)


def quaternion(angle):
    return np.array([np.cos(angle / 2), 0, np.sin(angle / 2), 0])


def poses():
    return [("left", quaternion(0.1), np.array([0.3, 0, 2.0])), ("right", quaternion(-0.1), np.array([-0.3, 0, 2.0]))]


def points():
    rng = np.random.default_rng(0)
    return np.column_stack([rng.uniform(-0.5, 0.5, (30, 2)), rng.uniform(3, 4, 30)])


def rotated(q, xyz):
    angle = 2 * np.arctan2(q[2], q[0])
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return xyz @ R.T


def observed(q, t):
    """Corner-origin image coordinates, as COLMAP writes them."""
    local = rotated(q, points()) + t
    return K[0] * local[:, :2] / local[:, 2:] + np.array(K[1:])


def write_text(folder, model="SIMPLE_PINHOLE", extra=""):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cameras.txt").write_text(f"# list\n7 {model} {SIZE[1]} {SIZE[0]} {K[0]} {K[1]} {K[2]}{extra}\n")
    lines = []
    for number, (name, q, t) in enumerate(poses(), 1):
        lines.append(f"{number} {' '.join(map(repr, map(float, (*q, *t))))} 7 {name} view.png")
        lines.append(" ".join(f"{float(x)!r} {float(y)!r} {i}" for i, (x, y) in enumerate(observed(q, t))))
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    rows = [f"{i} {' '.join(map(repr, map(float, p)))} 10 20 30 0.5 1 {i} 2 {i}" for i, p in enumerate(points())]
    (folder / "points3D.txt").write_text("\n".join(rows) + "\n")


def write_binary(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cameras.bin").write_bytes(struct.pack("<QiiQQ3d", 1, 7, 0, SIZE[1], SIZE[0], *K))
    data = struct.pack("<Q", 2)
    for number, (name, q, t) in enumerate(poses(), 1):
        data += struct.pack("<i7di", number, *q, *t, 7) + f"{name} view.png".encode() + b"\0"
        seen = observed(q, t)
        data += struct.pack("<Q", len(seen))
        data += b"".join(struct.pack("<ddq", x, y, i) for i, (x, y) in enumerate(seen))
    (folder / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(points()))
    for number, point in enumerate(points()):
        data += struct.pack("<Q3d3BdQ", number, *point, 10, 20, 30, 0.5, 2) + struct.pack("<4i", 1, number, 2, number)
    (folder / "points3D.bin").write_bytes(data)


def write_pictures(folder):
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, _, _ in poses():
        picture = np.tile(np.arange(SIZE[1], dtype=np.uint8) * 4, (SIZE[0], 1))
        cv2.imwrite(str(folder / "images" / f"{name} view.png"), np.dstack([picture] * 3))


@pytest.mark.parametrize("write", [write_text, write_binary])
def test_points_land_on_their_observations(tmp_path, write):
    write(tmp_path)
    model = read_model(tmp_path)
    assert len(model.images) == 2
    for image in model.images.values():
        seen, xyz = model.seen_by(image)
        col, row, depth = model.pinhole(image).project(xyz)
        np.testing.assert_allclose(np.column_stack([col, row]), seen, atol=1e-9)
        assert (depth > 0).all() and len(seen) == 30
    assert model.rgb.tolist()[0] == [10, 20, 30]


@pytest.mark.parametrize("write", [write_text, write_binary])
def test_a_folder_becomes_a_scene(tmp_path, write):
    write(tmp_path / "sparse" / "0")
    write_pictures(tmp_path)
    assert is_colmap_folder(tmp_path)
    scene = open_colmap(tmp_path)
    assert sorted(scene.views) == ["left view", "right view"]
    assert scene.points.count() == 30 and scene.grid is None
    np.testing.assert_allclose(scene.views["left view"].camera.K, [[50, 0, 29.5], [0, 50, 19.5], [0, 0, 1]])
    np.testing.assert_array_equal(scene.views["left view"].tie_points, scene.points.read().xyz)


def test_the_corner_origin_moves_by_half_a_pixel():
    for model, params in (("PINHOLE", (500.0, 500.0, 640.5, 360.5)), ("SIMPLE_PINHOLE", (500.0, 640.5, 360.5))):
        camera = ColmapCamera(model, 1280, 720, params).pinhole([1, 0, 0, 0], [0, 0, 0])
        assert np.ravel(camera.project(np.array([0, 0, 1.0])))[:2].tolist() == [640.0, 360.0]
        assert camera.size == (720, 1280)


def test_lenses_are_straightened(tmp_path):
    write_text(tmp_path / "sparse", "SIMPLE_RADIAL", " -0.2")
    write_pictures(tmp_path)
    scene = open_colmap(tmp_path)
    assert "undistorted" in scene.warnings[0]
    image = scene.views["left view"].image.read()
    row = image.pixels[0, SIZE[0] // 2].astype(float) / 4
    x = (np.arange(SIZE[1]) - 29.5) / 50
    y = (SIZE[0] // 2 - 19.5) / 50
    expected = 50 * x * (1 - 0.2 * (x**2 + y**2)) + 29.5
    inside = (expected > 1) & (expected < SIZE[1] - 2)
    np.testing.assert_allclose(row[inside], expected[inside], atol=0.3)


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda f: (f / "cameras.txt").write_text("7 PINHOLE 60\n"), "cameras.txt, line 1"),
        (lambda f: (f / "cameras.txt").write_text("7 FISHEYE 60 40 1 2 3\n"), "FISHEYE is not supported"),
        (lambda f: (f / "cameras.txt").write_text("7 PINHOLE 60 40 1 2 3\n"), "has 4 parameters, got 3"),
        (lambda f: (f / "images.txt").write_text("1 0 0 0\n\n"), "images.txt, line 1"),
        (lambda f: (f / "points3D.txt").write_text("1 a b c\n"), "points3D.txt, line 1"),
        (lambda f: (f / "points3D.txt").unlink(), "lacks points3D.txt"),
    ],
)
def test_broken_texts_are_named(tmp_path, broken, words):
    write_text(tmp_path)
    broken(tmp_path)
    with pytest.raises(InputError, match=words):
        read_model(tmp_path)


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
@pytest.mark.parametrize("share", [0.1, 0.7])
def test_truncated_files_are_named(tmp_path, name, share):
    write_binary(tmp_path)
    cut(tmp_path / f"{name}.bin", share)
    with pytest.raises(InputError, match=f"{name}.bin ends too early"):
        read_model(tmp_path)


def test_missing_pictures_are_named(tmp_path):
    write_text(tmp_path / "sparse")
    write_pictures(tmp_path)
    (tmp_path / "images" / "left view.png").unlink()
    with pytest.raises(InputError, match=r"left view.png is missing"):
        open_colmap(tmp_path)
