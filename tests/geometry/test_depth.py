import numpy as np
import pytest
from affine import Affine

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Grid
from refbench.contracts.raster import DSM, Image
from refbench.geometry.affine_camera import AffineCamera
from refbench.geometry.cameras import Pinhole, rotation_of
from refbench.geometry.depth import render_depth
from refbench.geometry.fuse import agreeing_views, depth_to_points, fuse_depths
from refbench.geometry.ortho import orthorectify
from refbench.geometry.rasterise import rasterise

GRID = Grid(80, 80, Affine(0.5, 0, 500000, 0, -0.5, 5200040))
MIDDLE = np.array([500020.0, 5200020.0, 0.0])
SIZE = 64


def camera_at(offset, f=100.0):
    """A camera at ``offset`` from the middle of the ground, looking at it; 64 x 64 px, columns roughly east."""
    centre = MIDDLE + offset
    forward = -np.asarray(offset) / np.linalg.norm(offset)
    right = np.cross(forward, [0, 1.0, 0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    K = np.array([[f, 0, (SIZE - 1) / 2], [0, f, (SIZE - 1) / 2], [0, 0, 1]])
    return Pinhole(K, R, -R @ centre, SIZE, SIZE)


def plane(slope_x=0.0, slope_y=0.0, height=10.0):
    x, y = GRID.centres()
    return DSM((height + slope_x * (x - MIDDLE[0]) + slope_y * (y - MIDDLE[1])).astype(np.float32), GRID)


def depth_of_plane(camera, slope_x, slope_y, height):
    """Closed form: where the ray of each pixel meets n . (X - MIDDLE) = height."""
    col, row = np.meshgrid(np.arange(SIZE, dtype=float), np.arange(SIZE, dtype=float))
    ray = camera.unproject(col, row, 1.0) - camera.centre
    normal = np.array([-slope_x, -slope_y, 1.0])
    return (height - (camera.centre - MIDDLE) @ normal) / (ray @ normal)


def in_hull(points):
    low, high = MIDDLE[:2] - 19.75, MIDDLE[:2] + 19.75
    return ((points[..., :2] >= low) & (points[..., :2] <= high)).all(axis=-1)


@pytest.mark.parametrize("slopes", [(0.0, 0.0), (0.25, -0.5)])
@pytest.mark.parametrize("offset", [(0, 0, 70.0), (30, -20, 60.0), (-60, 10, 40.0)])
def test_a_plane_has_its_closed_form_depth(slopes, offset):
    camera = camera_at(np.array(offset))
    reference = depth_of_plane(camera, *slopes, 10.0)
    got = render_depth(plane(*slopes), camera, (SIZE, SIZE))
    col, row = np.meshgrid(np.arange(float(SIZE)), np.arange(float(SIZE)))
    seen = in_hull(camera.unproject(col, row, reference)) & (reference > 0)
    assert seen.sum() > 500
    assert np.array_equal(np.isfinite(got), seen)
    np.testing.assert_allclose(got[seen], reference[seen], rtol=1e-6)


def test_a_coarse_plane_in_a_fine_image_has_no_cracks():
    grid = Grid(5, 5, Affine(8, 0, 500000, 0, -8, 5200040))
    camera = camera_at(np.array([0, 0, 70.0]), f=250.0)
    got = render_depth(DSM(np.full((5, 5), 10, np.float32), grid), camera, (SIZE, SIZE))
    np.testing.assert_allclose(got, 60.0, rtol=1e-9)


def test_parallel_rays_see_depth_linearly():
    matrix = np.array([[1.0, 0, 0.5], [0, -1.0, 0.2]])
    camera = AffineCamera(matrix, np.array([30.0, 30.0]), MIDDLE)
    got = render_depth(plane(0.1, 0.2), camera, (60, 60))
    points = depth_to_points(got, camera)
    expected = 10 + 0.1 * (points[:, 0] - MIDDLE[0]) + 0.2 * (points[:, 1] - MIDDLE[1])
    np.testing.assert_allclose(points[:, 2], expected, atol=1e-5)
    assert len(points) > 1000


def block(height=15.0):
    """Ground at 0 with a block of 10 m x 10 m in the middle."""
    heights = np.zeros(GRID.shape, np.float32)
    heights[30:50, 30:50] = height
    return DSM(heights, GRID)


def test_the_nearest_surface_wins():
    camera = camera_at(np.array([60.0, 0, 60.0]))
    got = render_depth(block(), camera, (SIZE, SIZE))
    ground = render_depth(plane(height=0.0), camera, (SIZE, SIZE))
    both = np.isfinite(got) & np.isfinite(ground)
    assert (got[both] <= ground[both] + 1e-9).all()
    # The middle of the roof, by hand.
    col, row, depth = camera.project(MIDDLE + np.array([0.25, 0.25, 15.0]))
    near = got[int(np.rint(row)), int(np.rint(col))]
    assert near == pytest.approx(float(depth), abs=0.7)
    # Ground just behind the block is hidden: there the map shows the block, metres nearer.
    col, row, depth = camera.project(MIDDLE + np.array([-8.0, 0, 0]))
    assert got[int(np.rint(row)), int(np.rint(col))] < float(depth) - 3


def test_holes_and_what_lies_behind_stay_unknown():
    dsm = plane()
    heights = dsm.heights.copy()
    heights[30:50, 30:50] = np.nan
    camera = camera_at(np.array([0, 0, 70.0]))
    got = render_depth(DSM(heights, GRID), camera, (SIZE, SIZE))
    assert np.isnan(got[SIZE // 2, SIZE // 2])
    away = Pinhole(camera.K, np.diag([1.0, -1, -1]) @ camera.R, np.diag([1.0, -1, -1]) @ camera.t)
    assert np.isnan(render_depth(dsm, away, (SIZE, SIZE))).all()
    one = DSM(np.ones((1, 1), np.float32), Grid(1, 1, GRID.transform))
    assert np.isnan(render_depth(one, camera, (4, 5))).all()
    with pytest.raises(InputError, match="at least one pixel"):
        render_depth(dsm, camera, (0, 5))


def test_many_bands_and_chunks_agree_with_one():
    camera = camera_at(np.array([20.0, 0, 60.0]))
    grid = Grid(60, 200, Affine(0.5, 0, 500005, 0, -0.2, 5200040))
    x, _ = grid.centres()
    dsm = DSM((10 + 0.1 * (x - MIDDLE[0])).astype(np.float32), grid)
    got = render_depth(dsm, camera, (SIZE, SIZE))
    reference = depth_of_plane(camera, 0.1, 0.0, 10.0)
    seen = np.isfinite(got)
    assert seen.sum() > 500
    np.testing.assert_allclose(got[seen], reference[seen], rtol=1e-6)
    # No row is lost between bands: what is seen has no hole along columns.
    assert (np.diff(seen.astype(int), axis=0) == 1).sum(axis=0).max() <= 1


def test_depth_becomes_points_on_the_surface():
    camera = camera_at(np.array([30.0, -20, 60]))
    depth = render_depth(plane(0.25, -0.5), camera, (SIZE, SIZE))
    points = depth_to_points(depth, camera)
    assert len(points) == np.isfinite(depth).sum()
    expected = 10 + 0.25 * (points[:, 0] - MIDDLE[0]) - 0.5 * (points[:, 1] - MIDDLE[1])
    np.testing.assert_allclose(points[:, 2], expected, atol=1e-4)
    half = np.zeros(depth.shape, bool)
    half[:32] = True
    assert len(depth_to_points(depth, camera, half)) == np.isfinite(depth[:32]).sum()


def test_fused_depths_give_the_dsm_back():
    offsets = [(20, 0, 60.0), (-20, 0, 60.0), (0, 25, 60.0)]
    cameras = [camera_at(np.array(o), f=90.0) for o in offsets]
    reference = plane(0.1, 0.05)
    depths = [render_depth(reference, camera, (SIZE, SIZE)) for camera in cameras]
    coarse = Grid(12, 12, Affine(2, 0, 500008, 0, -2, 5200032))
    heights = rasterise(fuse_depths(depths, cameras, relative=1e-3), coarse, "mean")
    x, y = coarse.centres()
    assert np.isfinite(heights).all()
    np.testing.assert_allclose(heights, 10 + 0.1 * (x - MIDDLE[0]) + 0.05 * (y - MIDDLE[1]), atol=0.15)


def test_what_one_view_alone_claims_is_dropped():
    cameras = [camera_at(np.array(o)) for o in [(20, 0, 60.0), (-20, 0, 60.0), (0, 20, 60.0)]]
    depths = [render_depth(plane(), camera, (SIZE, SIZE)) for camera in cameras]
    depths[0] = depths[0].copy()
    depths[0][30:34, 30:34] -= 20
    counts = agreeing_views(depths, cameras)
    assert (counts[0][30:34, 30:34] == 1).all()
    assert (counts[0][36:40, 28:36] == 3).all()
    fused, everything = (fuse_depths(depths, cameras, min_views=n) for n in (2, 1))
    assert everything[:, 2].max() > 25
    assert fused[:, 2].max() < 10.5
    assert len(fused) < len(everything)
    assert fuse_depths([], []).shape == (0, 3)
    with pytest.raises(InputError, match="as many cameras"):
        agreeing_views(depths, cameras[:2])


def painted(camera, surface):
    """An image whose two bands are the x and y of the surface point that each pixel shows."""
    points = camera.unproject(*np.meshgrid(np.arange(float(SIZE)), np.arange(float(SIZE))), surface)
    return Image((points[..., :2] - MIDDLE[:2]).transpose(2, 0, 1), band_names=("x", "y"))


def test_an_orthophoto_shows_every_pixel_where_it_is():
    camera = camera_at(np.array([30.0, -20, 60]))
    dsm = plane(0.25, -0.5)
    image = painted(camera, depth_of_plane(camera, 0.25, -0.5, 10.0))
    ortho = orthorectify(image, camera, dsm)
    x, y = GRID.centres()
    assert ortho.grid is GRID
    assert ortho.band_names == ("x", "y")
    assert ortho.valid.sum() > 1000
    # Bilinear interpolation of a perspective image of a plane: its curvature over a pixel remains.
    np.testing.assert_allclose(ortho.pixels[0][ortho.valid], (x - MIDDLE[0])[ortho.valid], atol=0.02)
    np.testing.assert_allclose(ortho.pixels[1][ortho.valid], (y - MIDDLE[1])[ortho.valid], atol=0.02)
    visible = orthorectify(image, camera, dsm, occlusion=True)
    col, row, _ = camera.project(np.stack([x, y, dsm.heights.astype(float)], axis=-1))
    inside = (col >= 0) & (col <= SIZE - 1) & (row >= 0) & (row <= SIZE - 1)
    assert np.array_equal(ortho.valid, inside)
    assert np.array_equal(visible.valid, inside)


def test_hidden_ground_is_left_out_on_request():
    camera = camera_at(np.array([60.0, 0, 60.0]))
    image = Image(np.ones((1, SIZE, SIZE), np.uint16))
    everything = orthorectify(image, camera, block())
    visible = orthorectify(image, camera, block(), occlusion=True)
    # At 45 degrees a block of 15 m hides the 15 m behind it: columns 0 to 29 are 15 m.
    behind, front, roof = (slice(38, 42), slice(14, 28)), (slice(38, 42), slice(52, 70)), (slice(32, 48), slice(32, 48))
    assert everything.valid[behind].all()
    assert not visible.valid[behind].any()
    assert visible.valid[front].all()
    assert visible.valid[roof].all()


def test_invalid_pixels_and_unknown_heights_stay_out():
    camera = camera_at(np.array([0, 0, 70.0]))
    valid = np.ones((SIZE, SIZE), bool)
    valid[32:, :] = False
    dsm = plane()
    heights = dsm.heights.copy()
    heights[:, 40:] = np.nan
    ortho = orthorectify(Image(np.ones((1, SIZE, SIZE)), valid=valid), camera, DSM(heights, GRID))
    assert ortho.valid[30, 35]
    assert not ortho.valid[50, 35]
    assert not ortho.valid[30, 45]
    assert np.isnan(ortho.pixels[0][~ortho.valid]).all()


def test_a_camera_that_sees_nothing_gives_no_data():
    camera = Pinhole(np.diag([100.0, 100, 1]), rotation_of([1, 0, 0, 0]), np.array([0, 0, 0.0]))
    ortho = orthorectify(Image(np.ones((1, 8, 8))), camera, plane(height=-10.0), occlusion=True)
    assert not ortho.valid.any()
