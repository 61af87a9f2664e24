"""Output folders of s2p and s2p-hd as scenes."""

import numpy as np
import pytest
from makers import hills
from pipeline_folders import centres, rpc_image, s2p_cloud, s2p_folder, the_grid

from refbench.contracts.errors import InputError
from refbench.scenes.importers.s2p import is_s2p_folder, open_s2p


def test_the_clouds_of_all_tiles_are_one_and_confidence_is_a_layer(tmp_path):
    images = [rpc_image(tmp_path / f"{name}.tif", the_grid(), lean) for name, lean in (("left", -0.2), ("right", 0.2))]
    folder = s2p_folder(tmp_path / "out", images)
    assert is_s2p_folder(folder) and not is_s2p_folder(folder / "tiles")
    scene = open_s2p(folder)
    heights = scene.dsm.read().heights
    assert scene.vertical == "ellipsoid" and np.isnan(heights[:6, :7]).all()
    assert np.array_equal(heights[6:], hills(the_grid())[6:])
    x, y, z = centres(the_grid())
    wanted = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    points = scene.points.read()
    assert points.crs == scene.grid.crs and len(scene.points.files) == 4 and points.colour is not None
    order = [np.lexsort((xyz[:, 0], xyz[:, 1])) for xyz in (points.xyz, wanted)]
    assert np.array_equal(points.xyz[order[0]], wanted[order[1]])
    confidence = scene.layers["confidence"].read()
    assert not confidence.valid[:6, :7].any() and confidence.pixels[0, 20, -1] == 1
    assert sorted(scene.views) == ["left", "right"] and all(view.camera.lonlat for view in scene.views.values())
    assert any("1 of 5 tiles" in note for note in scene.warnings)


def test_images_that_are_gone_are_said_and_left_out(tmp_path):
    scene = open_s2p(s2p_folder(tmp_path / "out", ["gone.tif", "also_gone.tif"]))
    assert not scene.views and any("2 of 2 images" in note for note in scene.warnings)


def test_an_unfinished_run_a_cut_cloud_and_a_broken_configuration_are_refused(tmp_path):
    folder = s2p_folder(tmp_path / "out")
    cloud = sorted(folder.glob("tiles/**/cloud.ply"))[0]
    whole = cloud.read_bytes()
    cloud.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut off"):
        open_s2p(folder)
    cloud.write_bytes(s2p_cloud(np.full((5, 3), np.nan), 32632))
    with pytest.raises(InputError, match="0 finite points"):
        open_s2p(folder).points.read()
    cloud.write_bytes(whole)
    for text, words in (("{", "not valid JSON"), ('{"images": [7]}', "image 1 names no file")):
        (folder / "config.json").write_text(text)
        with pytest.raises(InputError, match=words):
            open_s2p(folder)
    (folder / "dsm.tif").unlink()
    with pytest.raises(InputError, match=r"holds no dsm\.tif"):
        open_s2p(folder)
