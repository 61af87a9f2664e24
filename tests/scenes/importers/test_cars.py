"""Output folders of CARS 1.x as scenes."""

import numpy as np
import pytest
from makers import hills, write_tif
from pipeline_folders import cars_folder, centres, the_grid

from refbench.contracts.errors import GridMismatchError, InputError
from refbench.scenes.importers.cars import is_cars_folder, open_cars


@pytest.mark.parametrize("index", ["yaml", "json"])
def test_a_folder_becomes_dsm_ortho_points_masks_and_layers(tmp_path, index):
    folder = cars_folder(tmp_path / "out", index=index)
    assert is_cars_folder(folder) and is_cars_folder(folder / "dsm") and not is_cars_folder(tmp_path)
    scene = open_cars(folder)
    grid = the_grid()
    heights = scene.dsm.read().heights
    assert scene.id == "out" and scene.grid == grid
    assert np.isnan(heights[:6, :7]).all() and np.array_equal(heights[6:], hills(grid)[6:])
    image = scene.orthos["image"].read()
    assert image.pixels.shape == (3, *grid.shape) and not image.valid[:6, :7].any() and image.valid[6:].all()
    assert sorted(scene.layers) == ["ambiguity", "performance_map"]
    ambiguity = scene.layers["ambiguity"].read()
    assert not ambiguity.valid[:6, :7].any() and ambiguity.pixels[0, -1, -1] == 1
    filled, measured = (scene.masks[name].read() for name in ("filled", "measured"))
    rows = np.zeros(grid.shape, bool)
    rows[10:14] = rows[20:22] = True
    assert np.array_equal(filled.is_class, rows)
    rows[:6, :7] = True
    assert np.array_equal(measured.is_class, ~rows)
    assert "class_2" in scene.masks and scene.masks["class_2"].read().is_class[:, 40:].all()
    notes = " ".join(scene.warnings)
    assert "contributing_pair.tif is not used" in notes and "monocular" in notes


@pytest.mark.parametrize("kind", ["laz", "tif"])
def test_clouds_of_all_pairs_are_one_in_the_crs_of_the_dsm(tmp_path, kind):
    scene = open_cars(cars_folder(tmp_path / "out", clouds=kind))
    points = scene.points.read()
    x, y, z = centres(the_grid())
    wanted = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    if kind == "tif":  # the first pixel of each pair holds nothing
        wanted = np.delete(wanted, [0, 40 * x.shape[1]], axis=0)
    assert points.crs == scene.grid.crs and len(points) == len(wanted)
    assert np.abs(points.xyz - wanted).max() < (0.0051 if kind == "laz" else 1e-3)
    assert len(scene.points.files) == (2 if kind == "laz" else 6)


def test_the_images_of_the_run_are_views_where_they_are_still_there(tmp_path):
    folder = cars_folder(tmp_path / "out", clouds=None)
    sensor = "{image: {bands: {b0: {path: %s, band: 0}}}, geomodel: {path: %s, model_type: RPC}}"
    gone = sensor % ("gone.tif", "gone.geom")
    (folder / "global_used_conf.yaml").write_text(f"input: {{sensors: {{one: {gone}}}}}\n")
    scene = open_cars(folder)
    assert not scene.views and any("1 of 1 images" in note and "gone.tif" in note for note in scene.warnings)


def test_two_performance_maps_in_one_file_are_two_layers(tmp_path):
    folder = cars_folder(tmp_path / "out", clouds=None)
    both = np.stack([np.full(the_grid().shape, 1.5, np.float32), np.full(the_grid().shape, 2.5, np.float32)])
    write_tif(folder / "dsm/performance_map.tif", both, the_grid(), nodata=255, names=("risk", "intervals"))
    layers = open_cars(folder).layers
    assert sorted(layers) == ["ambiguity", "performance_map_intervals", "performance_map_risk"]
    assert (layers["performance_map_intervals"].read().pixels == 2.5).all()


def test_incomplete_and_broken_folders_are_one_sentence(tmp_path):
    folder = cars_folder(tmp_path / "out", clouds="tif")
    (folder / "dsm/ambiguity.tif").unlink()
    assert any("lists ambiguity.tif, which is not there" in note for note in open_cars(folder).warnings)
    (folder / "point_cloud/one_two/Z.tif").unlink()
    with pytest.raises(InputError, match=r"lacks Z\.tif"):
        open_cars(folder)
    (folder / "point_cloud/index.yaml").write_text("[1, 2]")
    with pytest.raises(InputError, match=r"index\.yaml must be a mapping"):
        open_cars(folder)
    (folder / "point_cloud/index.yaml").unlink()
    for file in (folder / "point_cloud/one_two").iterdir():
        file.unlink()
    write_tif(folder / "dsm/filling.tif", np.ones((5, 5), np.uint8), the_grid(), nodata=255)
    # Another grid is resampled and said; no grid at all is refused.
    assert any("filling.tif: resampled onto" in note for note in open_cars(folder).warnings)
    write_tif(folder / "dsm/filling.tif", np.ones((5, 5), np.uint8))
    with pytest.raises(GridMismatchError, match=r"filling\.tif has no geotransform"):
        open_cars(folder)
    (folder / "point_cloud/index.yaml").touch()
    (folder / "dsm/dsm.tif").unlink()
    assert is_cars_folder(folder)
    with pytest.raises(InputError, match=r"holds no dsm/dsm\.tif"):
        open_cars(folder)
