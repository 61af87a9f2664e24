import os
from pathlib import Path

import numpy as np
import pytest
from makers import cloud_of, grid_of, hills, write_tif

from refbench import InputError, Need
from refbench.formats.cloud import write_points
from refbench.scenes.from_files import scene_from_files
from refbench.scenes.scene_yaml import embedded_scene_path, load_scene

GRID = grid_of()


@pytest.fixture
def folder(tmp_path):
    write_tif(tmp_path / "dsm.tif", hills(GRID), GRID, nodata=-9999)
    for name in "xy":
        write_tif(tmp_path / f"{name}.tif", np.ones(GRID.shape, np.uint8), GRID)
    write_points(tmp_path / "points.laz", cloud_of(GRID))
    return tmp_path


def test_plain_files_make_a_scene(folder):
    f = folder
    scene = scene_from_files(
        f / "points.laz",
        f / "dsm.tif",
        [f / "x.tif", f / "y.tif"],
        f / "dsm.tif",
        {"building": f / "x.tif"},
        f / "y.tif",
    )
    assert scene.id == "dsm" and scene.grid == GRID and scene.pairs == (("a", "b"),) and scene.warnings == ()
    assert all(scene.has(n) for n in Need if n not in (Need.VIEWS, Need.DEPTHS))
    assert scene.reference.dsm is not None and list(scene.masks) == ["building"]
    assert scene_from_files(dsm=f / "dsm.tif", scene_id="mine").id == "mine"


def test_warnings_of_files_reach_the_scene(folder):
    heights = (hills(GRID) / 0.3048).astype(np.float32)
    heights[0, :3] = [np.inf, -np.inf, -3e38]
    write_tif(folder / "feet.tif", heights, GRID, nodata=-9999, unit="ft")
    xyz = cloud_of(GRID).xyz.copy()
    xyz[0] = np.nan
    np.savez(folder / "points.npz", xyz=xyz)
    scene = scene_from_files(folder / "points.npz", folder / "feet.tif")
    text = " ".join(scene.warnings)
    assert "in foot; they were converted" in text and "3 pixels are infinite or beyond 1e30" in text
    assert "1 of 2,000 points" in text and len(scene.warnings) == 3


def test_what_cannot_be_a_scene_is_refused(folder):
    f = folder
    write_tif(f / "void.tif", np.full(GRID.shape, -9999, np.float32), GRID, nodata=-9999)
    write_tif(f / "wild.tif", np.full(GRID.shape, np.inf, np.float32), GRID)
    for arguments, words in (
        ({}, "at least a DSM"),
        ({"points": f / "points.laz"}, "pixel size in metres as gsd"),
        ({"dsm": f / "void.tif"}, "void.tif holds no height at all"),
        ({"dsm": f / "wild.tif"}, "wild.tif holds no height at all"),
        ({"dsm": f / "dsm.tif", "reference": f / "void.tif"}, "void.tif holds no height at all"),
        ({"dsm": f / "dsm.tif", "orthos": [f / "x.tif"] * 27}, "At most 26"),
        (
            {"dsm": f / "dsm.tif", "ndvi": write_tif(f / "n.tif", np.ones((2, 40, 50), np.uint8), GRID)},
            "has 2 bands; NDVI",
        ),
    ):
        with pytest.raises(InputError, match=words):
            scene_from_files(**arguments)
    assert scene_from_files(f / "points.laz", gsd=0.5).grid == GRID


DATA = Path(os.environ.get("REFBENCH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


@pytest.mark.parametrize(
    ("name", "points", "ortho", "reference", "valid"),
    [
        ("usa_village_pair", "input_points", "ortho_gray", "reference_dsm", 0.937),
        ("toulouse_phr", "points", "ortho_pan", None, 0.81),
    ],
)
@pytest.mark.parametrize("suffix", [".laz", ".npz"])
def test_the_real_clouds_load(name, points, ortho, reference, valid, suffix):
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip("the real data is not here; REFBENCH_DATA names its folder")
    scene = scene_from_files(
        folder / f"{points}{suffix}", folder / "input_dsm.tif", [folder / f"{ortho}.tif"],
        folder / f"{reference}.tif" if reference else None,
    )  # fmt: skip
    assert scene.warnings == () and (scene.reference is None) == (reference is None)
    known = scene.dsm.read().valid
    if scene.reference is not None:
        known = known & scene.reference.dsm.read().valid
    assert known.mean() == pytest.approx(valid, abs=0.001)  # the share that the data's own README states
    cloud = scene.points.read(scene.grid.bounds)
    assert len(cloud) > 100_000 and cloud.crs == scene.grid.crs


def test_satellite_images_are_views(folder):
    embedded = embedded_scene_path()
    images = [embedded / "views" / f"sat_{name}.tif" for name in "ab"]
    scene = scene_from_files(dsm=embedded / "dsm.tif", views=images)
    assert list(scene.views) == ["sat_a", "sat_b"] and scene.has(Need.VIEWS)
    same = load_scene(embedded).views["sat_a"].camera
    point = np.array([*scene.grid.centres()[0][:1, 0], scene.grid.centres()[1][0, 0], 400.0])
    np.testing.assert_allclose(scene.views["sat_a"].camera.project(point), same.project(point))
    with pytest.raises(InputError, match="Two views are named sat_a"):
        scene_from_files(dsm=embedded / "dsm.tif", views=[images[0], images[0]])
    with pytest.raises(InputError, match="RPC"):
        scene_from_files(dsm=embedded / "dsm.tif", views=[folder / "x.tif"])
