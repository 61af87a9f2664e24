"""COLMAP models in both forms, and the scenes that they make."""

import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from refbench import Need, Window
from refbench.contracts.errors import InputError
from refbench.scenes.importers.colmap import is_colmap_folder, open_colmap
from refbench.scenes.importers.colmap_model import ColmapCamera, read_model
from refbench.scenes.scene_yaml import load_scene, write_scene

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


def write_images(folder):
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, _, _ in poses():
        pixels = np.tile(np.arange(SIZE[1], dtype=np.uint8) * 4, (SIZE[0], 1))
        cv2.imwrite(str(folder / "images" / f"{name} view.png"), np.dstack([pixels] * 3))


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
    write_images(tmp_path)
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
    write_images(tmp_path)
    scene = open_colmap(tmp_path)
    assert "undistorted" in scene.warnings[0]
    image = scene.views["left view"].image.read()
    row = image.pixels[0, SIZE[0] // 2].astype(float) / 4
    x = (np.arange(SIZE[1]) - 29.5) / 50
    y = (SIZE[0] // 2 - 19.5) / 50
    expected = 50 * x * (1 - 0.2 * (x**2 + y**2)) + 29.5
    inside = (expected > 1) & (expected < SIZE[1] - 2)
    np.testing.assert_allclose(row[inside], expected[inside], atol=0.3)


def cut(path, fraction):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])


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
@pytest.mark.parametrize("fraction", [0.1, 0.7])
def test_truncated_files_are_named(tmp_path, name, fraction):
    write_binary(tmp_path)
    cut(tmp_path / f"{name}.bin", fraction)
    with pytest.raises(InputError, match=f"{name}.bin ends too early"):
        read_model(tmp_path)


def test_missing_images_are_named(tmp_path):
    write_text(tmp_path / "sparse")
    write_images(tmp_path)
    (tmp_path / "images" / "left view.png").unlink()
    with pytest.raises(InputError, match=r"left view.png is missing"):
        open_colmap(tmp_path)


def write_named(folder, names, camera=7, first=1):
    """A model of the left pose for each of ``names``, text."""
    write_text(folder)
    (_, q, t), *_ = poses()
    lines = [
        f"{n} {' '.join(map(repr, map(float, (*q, *t))))} {camera} {name}\n\n" for n, name in enumerate(names, first)
    ]
    (folder / "images.txt").write_text("".join(lines))


def image_files(folder, names):
    for number, name in enumerate(names):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((*SIZE, 3), 10 * number, np.uint8))


@pytest.mark.parametrize(
    ("names", "views"),
    [
        (
            ["cam0/0001.png", "cam0/0002.png", "cam1/0001.png", "cam1/0002.png"],
            ["cam0/0001.png", "cam0/0002.png", "cam1/0001.png", "cam1/0002.png"],
        ),
        (["a/left.png", "b/left.png", "b/right.png"], ["a/left.png", "b/left.png", "right"]),
        (["one.png", "one.jpg", "rig/two.png"], ["one.jpg", "one.png", "two"]),
        (["x.png.jpg", "x.png", "y/x.jpg"], ["x.png", "x.png.jpg", "y/x.jpg"]),  # a stem that is another's path
    ],
)
def test_no_view_is_lost_where_names_clash(tmp_path, names, views):
    write_named(tmp_path / "sparse", names)
    image_files(tmp_path, names)
    scene = open_colmap(tmp_path)
    assert sorted(scene.views) == views
    assert all(view.name == name for name, view in scene.views.items())
    for name, view in scene.views.items():
        wrong = [n for n in names if n != name and Path(n).stem != name]
        assert view.image.files[0] not in [tmp_path / "images" / n for n in wrong]
    assert "named by path" in scene.warnings[0]


def test_such_views_are_written_and_read_back(tmp_path):
    names = ["cam0/0001.png", "cam1/0001.png"]
    write_named(tmp_path / "sparse", names)
    image_files(tmp_path, names)
    scene = load_scene(write_scene(tmp_path / "copy", open_colmap(tmp_path)))
    assert sorted(scene.views) == names
    assert [int(scene.views[name].image.read().pixels[0, 0, 0]) for name in names] == [0, 10]


def test_views_that_would_share_a_file_are_not_written_over_each_other(tmp_path):
    write_named(tmp_path / "sparse", ["a/x.png", "b/x.png"])
    image_files(tmp_path, ["a/x.png", "b/x.png"])
    scene = open_colmap(tmp_path)
    views = {**scene.views, "a_x.png": scene.views["b/x.png"]}
    with pytest.raises(InputError, match=r"would be written as .*views/a_x\.png\.tif"):
        write_scene(tmp_path / "copy", replace(scene, views=views))


def test_two_images_of_one_name_are_refused(tmp_path):
    write_named(tmp_path, ["a.png", "b.png", "a.png"])
    with pytest.raises(InputError, match=r"images 1 and 3 are both called a\.png"):
        read_model(tmp_path)


@pytest.mark.parametrize("kind", ["camera", "image"])
@pytest.mark.parametrize("form", ["text", "binary"])
def test_what_is_listed_twice_is_refused(tmp_path, kind, form):
    """Which of two cameras of one number is meant cannot be told."""
    if form == "text":
        write_text(tmp_path)
        path = tmp_path / f"{kind}s.txt"
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        path.write_text("\n".join(lines + lines[-2 if kind == "image" else -1 :]) + "\n")
    else:
        write_binary(tmp_path)
        path = tmp_path / f"{kind}s.bin"
        content = path.read_bytes()
        path.write_bytes(struct.pack("<Q", 2 * struct.unpack("<Q", content[:8])[0]) + 2 * content[8:])
    with pytest.raises(InputError, match=f"lists {kind} [0-9] twice"):
        read_model(tmp_path)


def test_points_that_are_nowhere_are_named(tmp_path):
    write_text(tmp_path)
    path = tmp_path / "points3D.txt"
    path.write_text(path.read_text() + "90 1e400 0 0 1 2 3 0.5 1 0 2 0\n91 nan 0 0 1 2 3 0.5 1 0 2 0\n")
    with pytest.raises(InputError, match=r"points3D.txt: 2 of 32 points"):
        read_model(tmp_path)


def test_the_largest_of_several_models_is_taken_and_that_is_said(tmp_path):
    for number, count in ((0, 1), (2, 2), (10, 4)):
        write_named(tmp_path / "sparse" / str(number), [f"{i}.png" for i in range(count)])
    image_files(tmp_path, [f"{i}.png" for i in range(4)])
    scene = open_colmap(tmp_path)
    assert len(scene.views) == 4
    assert "sparse/10 (4 images). Left out: sparse/0 (1 images), sparse/2 (2 images)" in scene.warnings[0]
    write_binary(tmp_path / "sparse" / "11")  # two images, binary
    assert "sparse/11 (2 images)" in open_colmap(tmp_path).warnings[0]
    assert is_colmap_folder(tmp_path)


def test_one_model_needs_no_word(tmp_path):
    write_text(tmp_path / "sparse" / "3")
    write_images(tmp_path)
    assert open_colmap(tmp_path).warnings == ()


@pytest.mark.parametrize("write", [write_text, write_binary])
def test_an_image_of_a_missing_camera_is_named(tmp_path, write):
    write(tmp_path)
    if write is write_text:
        path = tmp_path / "cameras.txt"
        path.write_text(path.read_text().replace("\n7 ", "\n1 "))
    else:
        path = tmp_path / "cameras.bin"
        data = bytearray(path.read_bytes())
        data[8] = 1
        path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"image 1 \(left view.png\) names camera 7, but .*cameras\.\w+ holds 1;"):
        read_model(tmp_path)


@pytest.mark.parametrize("outside", ["../left view.png", "a/../../../left view.png", "/left view.png"])
def test_an_image_name_that_leads_out_of_the_folder_is_refused(tmp_path, outside):
    write_text(tmp_path / "scene" / "sparse")
    write_images(tmp_path / "scene")
    (tmp_path / "scene" / "left view.png").write_bytes((tmp_path / "scene" / "images" / "left view.png").read_bytes())
    path = tmp_path / "scene" / "sparse" / "images.txt"
    path.write_text(path.read_text().replace("left view.png", outside))
    with pytest.raises(InputError, match="leads out of"):
        open_colmap(tmp_path / "scene")


def test_a_pose_that_is_none_is_named(tmp_path):
    write_text(tmp_path / "sparse")
    write_images(tmp_path)
    path = tmp_path / "sparse" / "images.txt"
    lines = path.read_text().splitlines()
    lines[0] = "1 0 0 0 0 0 0 0 7 left view.png"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"image left view\.png is broken\. A rotation needs a quaternion"):
        open_colmap(tmp_path)


def write_dense(path, depth):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, cols = depth.shape
    path.write_bytes(f"{cols}&{rows}&1&".encode() + depth.astype("<f4").tobytes())


def test_dense_depth_maps_are_initial_depths(tmp_path):
    write_text(tmp_path / "sparse")
    write_images(tmp_path)
    depth = 3 + np.arange(SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE) / 1000
    depth[:5] = 0
    write_dense(tmp_path / "stereo" / "depth_maps" / "left view.png.geometric.bin", depth)
    scene = open_colmap(tmp_path)
    assert "1 of 2 views have a dense depth map" in scene.warnings[0] and scene.has(Need.DEPTHS)
    source = scene.views["left view"].depth
    assert source.shape == SIZE and source.grid is None and source.files[0].name.endswith("geometric.bin")
    image = source.read()
    assert image.valid[5:].all() and not image.valid[:5].any() and np.isnan(image.pixels[0, :5]).all()
    np.testing.assert_array_equal(image.pixels[0, 5:], depth[5:])
    part = source.read(Window(50, 30, 20, 20))
    assert part.valid[:10, :10].all() and not part.valid[10:].any() and not part.valid[:, 10:].any()
    np.testing.assert_array_equal(part.pixels[0, :10, :10], depth[30:, 50:])
    assert scene.views["right view"].depth is None


def test_dense_maps_of_another_size_are_left_out_and_broken_ones_named(tmp_path):
    write_text(tmp_path / "sparse")
    write_images(tmp_path)
    path = tmp_path / "stereo" / "depth_maps" / "left view.png.geometric.bin"
    write_dense(path, np.ones((20, 30)))
    scene = open_colmap(tmp_path)
    assert scene.views["left view"].depth is None and "differ in size from their image" in scene.warnings[0]
    path.write_bytes(b"60&40&3&" + bytes(4 * 60 * 40 * 3))
    with pytest.raises(InputError, match="3 channels"):
        open_colmap(tmp_path)
    path.write_bytes(b"60&40&1&" + bytes(10))
    with pytest.raises(InputError, match="10 bytes for 60 x 40 x 1"):
        open_colmap(tmp_path).views["left view"].depth.read()
    path.write_bytes(b"no map")
    with pytest.raises(InputError, match="no dense map"):
        open_colmap(tmp_path)
