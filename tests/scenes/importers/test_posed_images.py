"""``transforms.json`` and ETH3D: posed images of other tools as scenes."""

import json

import numpy as np
import pytest
from pipeline_folders import eth3d_folder, transforms_folder

from refbench.contracts.errors import InputError
from refbench.scenes.importers.eth3d import is_eth3d_folder, open_eth3d
from refbench.scenes.importers.transforms_json import is_transforms_json_folder, open_transforms_json


@pytest.mark.parametrize("shared", [True, False])
def test_poses_of_opengl_see_points_where_they_are(tmp_path, shared):
    folder = transforms_folder(tmp_path / "nerf", shared=shared)
    assert is_transforms_json_folder(folder) and not is_transforms_json_folder(tmp_path)
    scene = open_transforms_json(folder)
    assert sorted(scene.views) == ["frame_00000", "frame_00001"] and scene.points.count() == 3
    left = scene.views["frame_00000"].camera
    # From (-1, 0.5, 10): the point (0, 0, 0) lies 1 to the right, 0.5 below and 10 in front of the camera.
    col, row, depth = left.project(np.zeros(3))
    assert (float(col), float(row), float(depth)) == pytest.approx((32 + 70 * 0.1, 23 + 72 * 0.05, 10))
    known = scene.views["frame_00000"].depth.read()
    assert not known.valid[0, 0] and np.isnan(known.pixels[0, 0, 0]) and known.pixels[0, 5, 5] == 10.0


def test_instant_ngp_names_images_without_ending_and_angles_instead_of_focal_lengths(tmp_path):
    folder = transforms_folder(tmp_path / "nerf", depth=False)
    content = json.loads((folder / "transforms.json").read_text())
    frames = [{**frame, "file_path": f"./{frame['file_path'][:-4]}"} for frame in content["frames"]]
    angle = 2 * np.arctan(32 / 70)
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": angle, "aabb_scale": 4, "frames": frames}))
    camera = open_transforms_json(folder).views["frame_00001"].camera
    np.testing.assert_allclose(camera.K, [[70, 0, 31.5], [0, 70, 23.5], [0, 0, 1]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(frames=c["frames"][:1]), "holds 1 frames"),
        (lambda c: c.update(frames=7), "no list of frames"),
        (lambda c: c.update(camera_model="OPENCV_FISHEYE"), "OPENCV_FISHEYE is not supported"),
        (lambda c: c.update(w=65), "frame 1: its camera is broken: it is for 65 x 48 px"),
        (lambda c: c.pop("fl_x"), "neither fl_x nor camera_angle_x"),
        (lambda c: c["frames"][1].pop("transform_matrix"), "frame 2: its camera is broken"),
        (lambda c: c["frames"][1].update(transform_matrix=np.ones((4, 4)).tolist()), "frame 2: Pinhole R"),
        (lambda c: c["frames"][1].update(file_path="images/gone.png"), r"gone\.png is missing"),
        (lambda c: c["frames"][1].pop("file_path"), "frame 2 names no image"),
        (lambda c: c["frames"][1].update(depth_file_path="no.png"), r"no\.png is missing"),
        (lambda c: c["frames"][1].update(file_path=c["frames"][0]["file_path"]), "a second time"),
    ],
)
def test_what_is_wrong_with_a_frame_is_one_sentence(tmp_path, change, words):
    folder = transforms_folder(tmp_path / "nerf")
    content = json.loads((folder / "transforms.json").read_text())
    change(content)
    (folder / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=words):
        open_transforms_json(folder)


def test_a_scene_of_eth3d_is_its_undistorted_images(tmp_path):
    folder = eth3d_folder(tmp_path / "courtyard")
    assert is_eth3d_folder(folder) and not is_eth3d_folder(tmp_path)
    scene = open_eth3d(folder)
    assert sorted(scene.views) == ["DSC_0000", "DSC_0001"] and scene.points.count() == 2
    col, row, depth = scene.views["DSC_0001"].camera.project(np.array([0.5, 0, 5.0]))
    assert (float(col), float(row), float(depth)) == (32, 24, 5)
    assert any("ground_truth_depth" in note for note in scene.warnings)
    (folder / "dslr_calibration_undistorted/points3D.txt").unlink()
    with pytest.raises(InputError, match=r"lacks points3D\.txt"):
        open_eth3d(folder)
    (folder / "dslr_calibration_undistorted").rename(folder / "dslr_calibration_jpg")
    assert is_eth3d_folder(folder)
    with pytest.raises(InputError, match="distorted images only"):
        open_eth3d(folder)
