"""Views in tiles: the parts of images that show a tile, layers that are no heights, what comes after the tiles."""

import numpy as np
import pytest
from hill_scene import GRID, SIDE, affine_camera, hill_scene, pinhole_camera, rpc_camera
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import predicted_by

from refbench import Context, Need, Prediction, TileMethod, TilePlan, Window
from refbench.contracts.raster import Mask
from refbench.engine.tiles.stream import ArrayWriter, run_tiles
from refbench.formats.raster import ArraySource
from refbench.geometry.sample import bilinear
from refbench.geometry.tile_views import MARGIN_PX, part_that_shows, tile_view

CAMERAS = {"affine": affine_camera(0.2), "pinhole": pinhole_camera(-0.2), "rpc": rpc_camera(0.1)}
BOTH = (Need.DSM, Need.VIEWS)


class Looking(TileMethod):
    """Keeps the batches; measures the western half and is sure of the northern one."""

    def __init__(self, size=24):
        self.size, self.batches = size, []

    def plan(self, grid):
        return TilePlan.regular(grid, self.size, 4)

    def layers(self):
        return ("provenance",)

    def quality_layers(self):
        return ("sureness",)

    def refine_tiles(self, batch, context):
        self.batches.append(batch)
        cols = np.stack([w.col_off + np.arange(w.width) for w in batch.windows])[:, None]
        rows = np.stack([w.row_off + np.arange(w.height) for w in batch.windows])[:, :, None]
        measured = np.where(cols < SIDE // 2, 1, 3) * np.ones_like(rows)
        sure = (rows < SIDE // 2) * np.ones(cols.shape, np.float32)
        return {"dsm": batch.dsm, "provenance": measured.astype(np.uint8), "sureness": sure.astype(np.float32)}

    def finish(self, refined, context):
        return Prediction(notes={"highest": float(refined.read().heights.max())})


def brightness(view, xyz):
    """The first band where scene points fall."""
    col, row, _ = view.camera.project(xyz)
    return bilinear(np.asarray(view.image.pixels[0], float), col - view.window.col_off, row - view.window.row_off)


def test_a_tile_holds_the_parts_of_the_views_that_show_it():
    scene, method = hill_scene(CAMERAS), Looking()
    predicted_by(method, scene, needs=BOTH)
    seen = 0
    for batch in method.batches:
        for window, parts in zip(batch.windows, batch.views, strict=True):
            ground = GRID.window(window.intersection(GRID.full_window))
            xyz = np.stack([*ground.centres(), np.full(ground.shape, 300.0)], axis=-1)
            assert [part.name for part in parts] == sorted(CAMERAS)
            for part in parts:
                whole = tile_view(scene.views[part.name])
                np.testing.assert_array_equal(brightness(part, xyz), brightness(whole, xyz))
                seen += part.image.shape < whole.image.shape
    assert seen > 0  # something was cut off
    numbers = [number for batch in method.batches for number in batch.numbers]
    assert sorted(numbers) == list(range(method.batches[0].total))


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.integers(0, 50), st.integers(0, 50), st.integers(1, 14))
@settings(max_examples=40, deadline=None)
def test_what_lies_in_a_box_falls_into_its_part(lean, across, col, row, side):
    camera, ground = affine_camera(lean, across), GRID.window(Window(col, row, side, side))
    part = part_that_shows(camera, (96, 96), ground, (290.0, 310.0))
    x, y = ground.centres()
    for height in (290.0, 300.0, 310.0):
        at_col, at_row, _ = camera.project(np.stack([x, y, np.full(x.shape, height)], axis=-1))
        on_image = (at_col >= 0) & (at_row >= 0) & (at_col < 95) & (at_row < 95)
        if part is None:
            assert not on_image.any()
            continue
        inside = (at_col >= part.col_off) & (at_col < part.col_stop) & (at_row >= part.row_off)
        assert (inside & (at_row < part.row_stop))[on_image].all()


def test_a_view_that_shows_nothing_of_a_tile_is_not_in_it():
    far = affine_camera(0.0)
    far = type(far)(far.matrix, far.offset, far.origin + np.array([500.0, 0, 0]))
    method = Looking()
    predicted_by(method, hill_scene({"here": affine_camera(0.1), "far": far}), needs=BOTH)
    assert {part.name for batch in method.batches for parts in batch.views for part in parts} == {"here"}


def test_a_pinhole_in_the_tile_shows_its_whole_image():
    low = pinhole_camera(0.0, height=2.0)  # parts of the ground lie behind it
    assert part_that_shows(low, (96, 96), GRID, (300.0, 303.0)) == Window(0, 0, 96, 96)


def test_masked_pixels_are_not_valid():
    scene = hill_scene({"one": affine_camera(0.1), "two": affine_camera(0.2)})
    values = np.ones((96, 96), np.uint8)
    values[:40] = 0
    view = type(scene.views["one"])("one", scene.views["one"].image, affine_camera(0.1), mask=ArraySource(Mask(values)))
    part = tile_view(view, Window(3, 30, 50, 40))
    assert not part.image.valid[:10].any() and part.image.valid[10:].all() and MARGIN_PX > 0


@pytest.mark.parametrize("batch_tiles", [1, 5])
def test_quality_and_provenance_blend_without_heights(batch_tiles):
    scene, method = hill_scene(CAMERAS), Looking()
    found = predicted_by(method, scene, needs=BOTH, batch_tiles=batch_tiles)
    np.testing.assert_allclose(found.dsm.heights, scene.dsm.read().heights, atol=1e-4)
    assert (found.provenance[:, : SIDE // 2] == 1).all() and (found.provenance[:, SIDE // 2 :] == 3).all()
    np.testing.assert_array_equal(found.layers["sureness"], np.arange(SIDE)[:, None] * np.ones(SIDE) < SIDE // 2)
    assert found.notes["highest"] == pytest.approx(300)


def test_any_tile_that_measured_a_pixel_makes_it_measured():
    class Undecided(Looking):
        def refine_tiles(self, batch, context):
            answer = super().refine_tiles(batch, context)
            first = np.array([number == 0 for number in batch.numbers])[:, None, None]
            return {**answer, "provenance": np.where(first, 1, 3).astype(np.uint8) * np.ones_like(answer["provenance"])}

    method = Undecided()
    found = predicted_by(method, hill_scene(CAMERAS), needs=BOTH)
    plan = method.plan(GRID)
    first = np.outer(*plan.weights_of(0))
    covered = np.zeros((SIDE, SIDE), bool)
    window = plan.window(0).intersection(GRID.full_window)
    covered[window.slices] = first[4:, 4:][: window.height, : window.width] > 0
    np.testing.assert_array_equal(found.provenance == 1, covered)


def test_nodata_is_put_back_into_every_layer():
    start = np.full((SIDE, SIDE), 300.0, np.float32)
    start[5:9, 7:20] = np.nan
    scene, hole = hill_scene(CAMERAS, start=start), np.isnan(start)
    taken = {name: ArrayWriter(np.zeros((SIDE, SIDE), np.float32)) for name in ("dsm", "provenance", "sureness")}
    run_tiles(Looking(), scene, Context(), taken.pop("dsm"), needs=BOTH, layers=taken)
    np.testing.assert_array_equal(np.isnan(taken["sureness"].heights), hole)
    np.testing.assert_array_equal(taken["provenance"].heights == 0, hole)
