import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import NORTH, UTM, WEST, grid_of, scene_with
from scipy import ndimage

from refbench import Context, Grid, Image, Need, PointCloud, Scene, TileMethod, TilePlan, Window
from refbench.contracts.errors import CancelledError, MethodError
from refbench.engine.job.parts import Part
from refbench.engine.tiles.stream import ArrayWriter, run_tiles
from refbench.engine.tiles.tile_cut import TileCutter
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import ArraySource


class Local(TileMethod):
    """A mean over 5 x 5 pixels that leaves NaN out: local, so a halo of 2 px makes tiles exact."""

    def __init__(self, tile=None):
        self.tile = tile

    def plan(self, grid):
        return TilePlan.whole(grid) if self.tile is None else TilePlan.regular(grid, *self.tile)

    def refine_tiles(self, batch, context):
        return np.stack([self.filtered(tile) for tile in batch.dsm])

    @staticmethod
    def filtered(tile):
        known = np.isfinite(tile)
        box = {"size": 5, "mode": "constant", "cval": 0.0}
        total = ndimage.uniform_filter(np.where(known, tile, 0).astype(np.float64), **box)
        weight = ndimage.uniform_filter(known.astype(np.float64), **box)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(weight > 1e-9, total / weight, np.nan).astype(np.float32)


def refined(method, scene, **options):
    out = ArrayWriter(np.full(scene.grid.shape, 1e9, np.float32))
    run_tiles(method, scene, Context(), out, needs=(Need.DSM,), **options)
    return out.heights


@settings(max_examples=30, deadline=None)
@given(
    st.integers(5, 90),
    st.integers(5, 90),
    st.sampled_from([(16, 3), (24, 2), (40, 9)]),
    st.integers(1, 5),
    st.integers(0, 2**31),
)
def test_tiled_equals_whole_whatever_the_batch(height, width, tile, batch_tiles, seed):
    rng = np.random.default_rng(seed)
    heights = 20 + 3 * rng.standard_normal((height, width))
    heights[rng.random(heights.shape) < 0.1] = np.nan
    scene = scene_with(heights)
    whole = refined(Local(), scene, fills=True)
    tiled = refined(Local(tile), scene, fills=True, batch_tiles=batch_tiles)
    assert np.array_equal(np.isfinite(whole), np.isfinite(tiled))
    assert np.nanmax(np.abs(whole - tiled), initial=0) <= 1e-5
    assert np.array_equal(tiled, refined(Local(tile), scene, fills=True, batch_tiles=1), equal_nan=True)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(9, 90),
    st.integers(5, 60),
    st.sampled_from([None, (16, 3), (24, 2), (40, 9)]),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 2**31),
)
def test_regions_hold_the_very_numbers_of_the_whole(height, width, tile, batch_tiles, regions, seed):
    rng = np.random.default_rng(seed)
    heights = 20 + 3 * rng.standard_normal((height, width))
    heights[rng.random(heights.shape) < 0.1] = np.nan
    scene = scene_with(heights)
    whole = refined(Local(tile), scene)
    joined = np.full(scene.grid.shape, 1e9, np.float32)
    for index in range(regions):
        rows = Part(index, regions).rows(height)
        part = refined(Local(tile), scene, batch_tiles=batch_tiles, rows=rows)
        # Nothing else is written.
        assert (np.delete(part, range(*rows), axis=0) == 1e9).all()
        joined[slice(*rows)] = part[slice(*rows)]
    assert np.array_equal(whole, joined, equal_nan=True)


def test_nodata_comes_back_unless_the_method_fills():
    heights = np.full((20, 30), 7.0)
    heights[4, 5] = np.nan
    scene = scene_with(heights)
    assert np.isnan(refined(Local((16, 3)), scene)[4, 5])
    assert refined(Local((16, 3)), scene, fills=True)[4, 5] == pytest.approx(7)


class Constant(TileMethod):
    """Each tile gives its own number; the plan is listed tile by tile."""

    def __init__(self, plan, values):
        self.listed, self.values, self.seen = plan, values, []

    def plan(self, grid):
        return self.listed

    def refine_tiles(self, batch, context):
        tiles = []
        for window in batch.windows:
            index = next(i for i in range(len(self.listed)) if self.listed.window(i) == window)
            self.seen.append(index)
            tiles.append(np.full((window.height, window.width), self.values[index], np.float32))
        return np.stack(tiles)


def test_blending_is_the_weighted_mean_of_listed_irregular_tiles():
    ramp = np.array([0.0, 0.5, 1.0, 0.5, 0.0])  # reaches exactly zero, as ResDepth's
    plan = TilePlan(5, 5, np.array([2, 0, 2]), np.array([3, 0, 0]), ramp, np.ones(5))
    scene = Scene("test", grid_of(7, 8))
    method = Constant(plan, [10.0, 20.0, np.nan])
    out = ArrayWriter(np.zeros((7, 8), np.float32))
    run_tiles(method, scene, Context(), out, needs=(), fills=True)
    assert method.seen == [1, 2, 0]  # north to south, then west to east
    assert np.isnan(out.heights[0]).all()  # weight zero only
    assert out.heights[1, :5].tolist() == [20] * 5 and np.isnan(out.heights[1, 5:]).all()
    # Row 3 of tile 1 has weight 0.5, row 1 of tile 0 too; the NaN tile leaves no trace.
    assert out.heights[3].tolist() == [20, 20, 20, 15, 15, 10, 10, 10]
    assert np.isnan(out.heights[6]).all()


def test_a_wrong_shape_and_a_cancelled_run_are_errors():
    class Wrong(Local):
        def refine_tiles(self, batch, context):
            return batch.dsm[:, 1:]

    scene = scene_with(np.zeros((9, 9)))
    with pytest.raises(MethodError, match="shape"):
        refined(Wrong(), scene)
    with pytest.raises(CancelledError):
        run_tiles(
            Local(), scene, Context(is_cancelled=lambda: True), ArrayWriter(np.zeros((9, 9), np.float32)), needs=()
        )


def test_only_unfinished_rows_are_held():
    class Peeking:
        def __init__(self):
            self.rows = []

        def write(self, window, heights):
            self.rows.append((window.row_off, window.height))

    scene = scene_with(np.zeros((400, 40)))
    writer = Peeking()
    run_tiles(Local((32, 4)), scene, Context(), writer, needs=(Need.DSM,), batch_tiles=1)
    assert sum(height for _, height in writer.rows) == 400
    assert [row for row, _ in writer.rows] == sorted(row for row, _ in writer.rows)
    assert max(height for _, height in writer.rows) <= 32


def test_a_tile_sees_points_and_images_relative_to_its_corner():
    grid = grid_of(8, 8)
    xyz = np.array([[500_001.25, 4_999_999.5, 412.0], [500_003.75, 4_999_996.25, 418.0], [500_009.0, 5_000_000.0, 1.0]])
    fine = Grid(16, 16, Affine(0.25, 0, WEST, 0, -0.25, NORTH), UTM)
    x, y = fine.centres()
    pixels = np.stack([x - 500_000, y - 4_999_996]).astype(np.float32)
    scene = Scene(
        "test",
        grid,
        points=HeldPoints(PointCloud(xyz, UTM)),
        orthos={"a": ArraySource(Image(pixels, fine))},
    )
    needs = frozenset({Need.POINTS, Need.ORTHO})
    batch = TileCutter(scene, TilePlan.whole(grid), needs, ("a",)).cut(np.array([0]))
    assert batch.anchors.tolist() == [[500_000, 4_999_996]]
    assert batch.height_offset.tolist() == [415]
    assert np.allclose(batch.points[0], [[1.25, 3.5, -3], [3.75, 0.25, 3]])
    assert batch.dsm is None and batch.ndvi is None
    east, north = grid.centres()
    expected = ((east - 500_000) + (north - 4_999_996)) / 2  # several bands become one by their mean
    assert np.allclose(batch.orthos[0, 0], expected, atol=1e-4)


class Layered(TileMethod):
    """Gives the height, the height plus one, and a confidence."""

    def layers(self):
        return ("raised", "confidence")

    def refine_tiles(self, batch, context):
        return {"dsm": batch.dsm, "raised": batch.dsm + 1, "confidence": np.full_like(batch.dsm, 0.25)}


def test_layers_are_blended_like_the_dsm():
    heights = np.random.default_rng(0).normal(400, 9, (40, 50)).astype(np.float32)
    writers = {name: ArrayWriter(np.zeros_like(heights)) for name in ("dsm", "raised", "confidence")}
    taken = dict(writers)
    run_tiles(Layered(), scene_with(heights), Context(), taken.pop("dsm"), needs=(Need.DSM,), layers=taken)
    np.testing.assert_allclose(writers["dsm"].heights, heights, atol=1e-4)
    np.testing.assert_allclose(writers["raised"].heights, heights + 1, atol=1e-4)
    np.testing.assert_allclose(writers["confidence"].heights, 0.25, atol=1e-6)


def test_a_layer_that_was_announced_must_come():
    out = ArrayWriter(np.zeros((8, 8), np.float32))
    with pytest.raises(MethodError, match="layer missing"):
        run_tiles(Layered(), scene_with(np.ones((8, 8))), Context(), out, needs=(Need.DSM,), layers={"missing": out})


def test_only_the_areas_of_a_scene_are_refined():
    heights = np.random.default_rng(0).normal(400, 9, (60, 70)).astype(np.float32)
    areas = (Window(3, 5, 20, 30), Window(40, 10, 25, 45))
    out = refined(Local((24, 3)), scene_with(heights, areas=areas))
    whole = refined(Local(), scene_with(heights))
    inside = np.zeros(heights.shape, bool)
    for area in areas:
        inside[area.slices] = True
    assert np.isnan(out[~inside]).all()
    np.testing.assert_allclose(out[inside], whole[inside], atol=1e-4)


def test_tiles_without_a_height_are_left_out_where_nodata_comes_back():
    class Counting(Local):
        def __init__(self, tile):
            super().__init__(tile)
            self.seen = 0

        def refine_tiles(self, batch, context):
            self.seen += len(batch.windows)
            return super().refine_tiles(batch, context)

    heights = np.full((64, 64), np.nan)
    heights[40:44, 50:60] = 9.0
    scene = scene_with(heights)
    some, every = Counting((16, 2)), Counting((16, 2))
    sparse = refined(some, scene)
    filled = refined(every, scene, fills=True)
    assert 0 < some.seen < 8 < every.seen
    assert np.array_equal(sparse, np.where(np.isfinite(heights), filled, np.nan), equal_nan=True)
    assert np.isnan(refined(Counting((16, 2)), scene_with(np.full((20, 20), np.nan)))).all()
