"""Output of the Ames Stereo Pipeline as scenes."""

import numpy as np
import pytest
from makers import hills, write_tif
from pipeline_folders import asp_folder, centres, the_grid

from refbench.contracts.errors import InputError
from refbench.scenes.importers.asp import is_asp_folder, open_asp


def test_dem_ortho_errors_and_the_geocentric_cloud(tmp_path):
    folder = asp_folder(tmp_path / "out")
    assert is_asp_folder(folder) and not is_asp_folder(tmp_path)
    scene = open_asp(folder)
    # The transform of a raster of points is by its centres; the grid is that of the corners all the same.
    assert scene.grid.transform == the_grid().transform
    heights = scene.dsm.read().heights
    assert scene.vertical == "ellipsoid" and np.isnan(heights[:6, :7]).all()
    assert np.array_equal(heights[6:], hills(the_grid())[6:])
    assert sorted(scene.layers) == ["intersection_error", "sigma"] and list(scene.orthos) == ["drg"]
    points = scene.points.read()
    x, y, z = (a.ravel() for a in centres(the_grid()))
    hole = np.zeros(the_grid().shape, bool)
    hole[:6, :7] = True
    wanted = np.stack([x, y, z], axis=1)[~hole.ravel()]
    # Single precision about a centre some 30 m away holds a few micrometres.
    assert points.crs == scene.grid.crs and np.abs(points.xyz - wanted).max() < 1e-4
    assert any("run-L.tif is not used" in note for note in scene.warnings)


def test_several_or_no_dems_and_broken_clouds_are_refused(tmp_path):
    folder = asp_folder(tmp_path / "out")
    cloud = folder / "run-PC.tif"
    bands = np.zeros((4, 5, 5), np.float32)
    for tags, values, words in (
        ({"POINT_OFFSET": "1 2"}, bands, "must hold three numbers"),
        ({"POINT_OFFSET": "a b c"}, bands, "must hold three numbers"),
        ({}, bands[:2], "has 2 bands"),
    ):
        write_tif(cloud, values, tags=tags)
        with pytest.raises(InputError, match=words):
            open_asp(folder)
    write_tif(cloud, bands)
    scene = open_asp(folder)
    with pytest.raises(InputError, match="holds 0 finite points"):
        scene.points.read()
    cloud.unlink()
    write_tif(folder / "fine-DEM.tif", hills(the_grid()), the_grid(), nodata=-1e6)
    with pytest.raises(InputError, match=r"holds 2 DEMs \(fine-DEM\.tif, run-DEM\.tif\)"):
        open_asp(folder)
    for name in ("fine-DEM.tif", "run-DEM.tif"):
        (folder / name).unlink()
    write_tif(cloud, bands)
    with pytest.raises(InputError, match="point2dem"):
        open_asp(folder)


def test_a_dem_in_degrees_its_errors_and_its_cloud_come_to_the_utm_zone(tmp_path):
    scene = open_asp(asp_folder(tmp_path / "out", degrees=True))
    assert scene.grid.crs.to_epsg() == 32632
    for layer in scene.layers.values():
        assert layer.grid == scene.grid and layer.read().valid.any()
    points, bounds = scene.points.read(), scene.grid.bounds
    inside = (points.xyz[:, 0] > bounds.west) & (points.xyz[:, 0] < bounds.east)
    inside &= (points.xyz[:, 1] > bounds.south) & (points.xyz[:, 1] < bounds.north)
    assert inside.mean() > 0.99
    # The cloud and the resampled DEM are one surface but for where it has steps.
    col, row = (np.floor(v).astype(int) for v in scene.grid.pixel_of(points.xyz[inside, 0], points.xyz[inside, 1]))
    difference = points.xyz[inside, 2] - scene.dsm.read().heights[row, col]
    assert np.nanmedian(np.abs(difference)) < 0.1
    assert "EPSG:32632" in " ".join(scene.warnings)
