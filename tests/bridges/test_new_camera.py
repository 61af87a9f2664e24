"""A camera model that refbench does not know goes all the way: files, orthos, depths, stereo, points, rendering."""

import numpy as np
import pytest
from makers import UTM, dsm_of, grid_of
from pushbroom import LineScanner

from refbench import Image, Need, Scene, View
from refbench.bridges.plan import apply_bridges, plan_bridges
from refbench.formats.raster import ArraySource
from refbench.geometry.depth import render_depth
from refbench.scenes.scene_yaml import load_scene, write_scene

GRID = grid_of(rows=240, cols=300)
SIZE = (300, 380)
SURFACE = dsm_of(GRID)
NOISE = np.random.default_rng(0).normal(0, 1, (270, 330))


def scanner(lean):
    """A scanner 600 m up; lean is how far south a metre of height looks."""
    b, depth = GRID.bounds, 500.0
    return LineScanner(
        (b.west + b.east) / 2, b.north - 100 * lean + 15, 600.0, depth * 2, (SIZE[1] - 1) / 2, 0.5, lean, 60.0, 160.0
    )


def speckle(xyz):
    """Ground texture of about 1.5 m, by the nearest cell."""
    col, row = (xyz[..., 0] - GRID.bounds.west) / 0.5, (GRID.bounds.north - xyz[..., 1]) / 0.5
    smooth = sum(np.roll(NOISE, shift, axis) for axis in (0, 1) for shift in (-1, 0, 1))
    inside = np.isfinite(col) & (col > 0) & (row > 0) & (col < 325) & (row < 265)
    at = (np.where(inside, v, 0).astype(int) for v in (row, col))
    return np.where(inside, smooth[tuple(at)], 0)


def view(name, camera):
    rows, cols = np.mgrid[: SIZE[0], : SIZE[1]]
    xyz = camera.unproject(cols, rows, render_depth(SURFACE, camera, SIZE))
    return View(name, ArraySource(Image(speckle(xyz).astype(np.float32)[None])), camera)


VIEWS = {name: view(name, scanner(lean)) for name, lean in (("fore", 0.3), ("aft", -0.3))}


def cross(scene, need, tmp_path):
    return apply_bridges(scene, plan_bridges(scene, [need]), tmp_path)


def test_its_orthos_show_the_ground(tmp_path):
    after = cross(Scene("scan", GRID, ArraySource(SURFACE), views=VIEWS), Need.ORTHO_PAIR, tmp_path)
    reference = speckle(np.stack([*GRID.centres(), SURFACE.heights], axis=-1))
    for name in VIEWS:
        ortho = after.orthos[name].read()
        assert ortho.valid.mean() > 0.95
        seen = ortho.valid
        assert np.corrcoef(ortho.pixels[0][seen], reference[seen])[0, 1] > 0.8


def test_its_depths_lead_back_to_the_surface(tmp_path):
    after = cross(Scene("scan", GRID, ArraySource(SURFACE), views=VIEWS), Need.DEPTHS, tmp_path)
    depths_only = Scene("scan", GRID, views=after.views)
    dsm = cross(depths_only, Need.DSM, tmp_path).dsm.read()
    error = dsm.heights - SURFACE.heights
    assert np.isfinite(error).mean() > 0.8 and np.nanmedian(np.abs(error)) < 0.1


def test_its_stereo_pair_becomes_a_dsm_by_its_own_range_of_heights(tmp_path):
    after = cross(Scene("scan", GRID, views=VIEWS), Need.DSM, tmp_path)
    error = after.dsm.read().heights - SURFACE.heights
    assert np.isfinite(error).mean() > 0.4 and np.nanmedian(np.abs(error)) < 0.5


def test_its_scene_is_written_and_read_back(tmp_path):
    scene = Scene("scan", GRID, ArraySource(SURFACE), views=VIEWS)
    again = load_scene(write_scene(tmp_path / "scan", scene))
    assert again.grid.crs == UTM
    assert {name: of.camera for name, of in again.views.items()} == {name: of.camera for name, of in VIEWS.items()}


def test_the_differentiable_renderer_takes_it():
    torch = pytest.importorskip("torch")
    ground_view = pytest.importorskip("refbench_diffrender.views.ground_view")
    from whole_view import ground_view as whole  # imports torch

    at = whole(VIEWS["fore"])
    assert not at.is_perspective
    xyz = np.stack([*GRID.centres(), SURFACE.heights], axis=-1).reshape(-1, 3)[::97]
    direction = at.direction(xyz)
    assert (direction[:, 2] < 0).all() and (direction[:, 1] < 0).all()  # it looks down and, by its lean, south
    small = at.reduced(at.reduction(2.0, xyz[0], 1.0))
    drawn = ground_view.RenderedView(small, xyz, "cpu")
    col, row, depth = small.project(xyz)
    found = drawn.project(torch.tensor(xyz)).numpy()
    np.testing.assert_allclose(found[:, :2] / found[:, 2:3], np.column_stack([col, row]), atol=1e-6)
    np.testing.assert_allclose(found[:, 3], depth, atol=1e-9)
