"""Projects of OpenDroneMap and data sets of OpenSfM as scenes."""

import json

import numpy as np
import pytest
from makers import hills
from pipeline_folders import odm_folder, opensfm_folder, the_grid
from rasterio.crs import CRS
from scipy.spatial.transform import Rotation

from refbench.contracts.errors import InputError, MissingFileError
from refbench.formats.undistorted import UndistortedImage
from refbench.geometry.cameras import Pinhole
from refbench.geometry.local_frame import LocalFrame, to_map
from refbench.scenes.importers.odm import is_odm_folder, open_odm
from refbench.scenes.importers.opensfm import is_opensfm_folder, open_opensfm


def test_a_project_becomes_dsm_orthophoto_points_and_views_on_the_dsm(tmp_path):
    folder = odm_folder(tmp_path / "project")
    assert is_odm_folder(folder) and not is_odm_folder(folder / "opensfm")
    scene = open_odm(folder)
    heights = scene.dsm.read().heights
    assert np.isnan(heights[:6, :7]).all() and np.array_equal(heights[6:], hills(the_grid())[6:])
    ortho = scene.orthos["orthophoto"].read()
    assert ortho.pixels.shape[0] == 3 and ortho.grid.gsd == 0.25
    assert len(scene.points.read()) == the_grid().width * the_grid().height
    assert sorted(scene.views) == ["DJI_0000", "DJI_0001", "DJI_0002"]
    # The middle of the grid, at the altitude of the reference, lies below all three cameras.
    bounds = scene.grid.bounds
    middle = np.array([(bounds.west + bounds.east) / 2, (bounds.south + bounds.north) / 2, 100.0])
    for view in scene.views.values():
        col, row, depth = view.camera.project(middle)
        assert 0 < col < 63 and 0 < row < 47 and depth == pytest.approx(60.0, abs=0.01)
        assert isinstance(view.image, UndistortedImage)
    assert any("2 reconstructions" in note for note in scene.warnings)
    assert any("dtm.tif is not used" in note for note in scene.warnings)


def test_a_camera_sees_the_same_in_the_map_as_in_its_local_frame():
    place, utm = (48.1, 11.5, 500.0), CRS.from_epsg(32632)
    R = Rotation.from_rotvec([np.pi, 0.05, 0.1]).as_matrix()
    K = np.array([[3000, 0, 2000], [0, 3010, 1500], [0, 0, 1.0]])
    camera = Pinhole(K, R, -R @ np.array([20.0, -30, 120]), 4000, 3000)
    rng = np.random.default_rng(0)
    local = np.column_stack([rng.uniform(-100, 100, (200, 2)), rng.uniform(-10, 10, 200)])
    here = camera.project(local)
    there = LocalFrame.at(*place, utm).camera(camera).project(to_map(local, *place, utm))
    # The Earth falls away by 0.8 mm over 100 m, which the affine map does not hold.
    assert np.abs(here[0] - there[0]).max() < 0.05 and np.abs(here[1] - there[1]).max() < 0.05
    assert np.abs(there[2] / here[2] - 1).max() < 1e-4


def test_a_data_set_of_opensfm_has_views_and_points_in_a_frame_of_its_own(tmp_path):
    folder = opensfm_folder(tmp_path / "data")
    assert is_opensfm_folder(folder)
    scene = open_opensfm(folder)
    points = scene.points.read()
    assert len(scene.views) == 3 and len(points) == 25 and scene.grid is None and points.crs is None
    assert points.colour[0].tolist() == [9, 99, 200]


def test_reconstructions_that_lack_something_are_one_sentence(tmp_path):
    folder = opensfm_folder(tmp_path / "data")
    file = folder / "reconstruction.json"
    whole = json.loads(file.read_text())
    (folder / "images/DJI_0001.png").rename(folder / "away.png")
    with pytest.raises(MissingFileError, match=r"DJI_0001\.png is missing"):
        open_opensfm(folder)
    fish = json.loads(json.dumps(whole))
    fish[1]["cameras"]["v2 test 64 48"]["projection_type"] = "fisheye"
    blind = json.loads(json.dumps(whole))
    blind[1]["cameras"] = {}
    bare = json.loads(json.dumps(whole))
    del bare[1]["shots"]["DJI_0000.png"]["rotation"]
    for content, words in (
        ("[", "not valid JSON"),
        ('{"a": 1}', "no reconstruction of OpenSfM"),
        ("[]", "no reconstruction of OpenSfM"),
        (json.dumps(fish), "0 shots of flat lenses"),
        (json.dumps(blind), "which is not there"),
        (json.dumps(bare), "KeyError 'rotation'"),
    ):
        file.write_text(content)
        with pytest.raises(InputError, match=words):
            open_opensfm(folder)


def test_a_project_without_dsm_or_with_gone_images(tmp_path):
    folder = odm_folder(tmp_path / "project")
    (folder / "images/DJI_0001.png").unlink()
    scene = open_odm(folder)
    assert not scene.views and any("1 of 3 images" in note for note in scene.warnings)
    (folder / "odm_dem/dsm.tif").unlink()
    assert is_odm_folder(folder)
    with pytest.raises(InputError, match="run OpenDroneMap with --dsm"):
        open_odm(folder)
