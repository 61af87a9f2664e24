from dataclasses import replace

import numpy as np
import pytest
from makers import UTM, cloud_of, dsm_of, grid_of, looking_down, rpc_looking_down

from refbench import DSM, Image, InputError, Need, PointCloud, Scene, View
from refbench.bridges.plan import all_bridges, apply_bridges, plan_bridges
from refbench.bridges.points import grid_points
from refbench.contracts.errors import UnsupportedError
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import ArraySource
from refbench.geometry.depth import render_depth
from refbench.geometry.ortho import orthorectify
from refbench.geometry.rasterise import rasterise
from refbench.scenes.scene_yaml import embedded_scene_path, load_scene

GRID = grid_of(rows=80, cols=100)
SIZE = (120, 160)
SURFACE = dsm_of(GRID)


def rendered_image(camera, texture):
    """The image that a camera sees of the surface: bilinear texture at the rendered points."""
    depth = render_depth(SURFACE, camera, SIZE)
    rows, cols = np.mgrid[: SIZE[0], : SIZE[1]]
    xyz = camera.unproject(cols, rows, depth)
    pixels = texture(*np.moveaxis(np.nan_to_num(xyz), -1, 0)[:2])
    return depth, Image(pixels.astype(np.float32)[None], None, (), np.isfinite(depth))


def texture(x, y):
    return 100 + 50 * np.sin((x - 500_000) / 2) * np.cos((y - 5_000_000) / 3)


def view(name, camera, with_depth=False):
    depth, image = rendered_image(camera, texture)
    source = ArraySource(Image(depth.astype(np.float32)[None], None, (), np.isfinite(depth))) if with_depth else None
    return View(name, ArraySource(image), camera, source)


def scene_of(**parts):
    return Scene("test", **parts)


def cross(scene, needs, tmp_path, gsd=None):
    chain = plan_bridges(scene, needs, gsd)
    for bridge in chain:
        estimate = bridge.estimate(scene)
        assert bridge.describe() and estimate.bytes >= 0 and estimate.seconds >= 0
    after = apply_bridges(scene, chain, tmp_path)
    assert all(after.has(need) for need in needs)
    said = zip(after.bridges, chain, strict=True)
    assert all(sentence.startswith(bridge.describe()) for sentence, bridge in said)
    return [bridge.name for bridge in chain], after


def test_nothing_is_bridged_where_nothing_lacks():
    scene = scene_of(grid=GRID, dsm=ArraySource(SURFACE), points=HeldPoints(cloud_of(GRID)))
    assert plan_bridges(scene, [Need.DSM, Need.POINTS, Need.GRID]) == ()
    assert plan_bridges(scene_of(), []) == ()


@pytest.mark.parametrize("strip", [1, 700, 10_000_000])
def test_points_become_a_dsm_the_same_whatever_the_strips(tmp_path, monkeypatch, strip):
    monkeypatch.setattr("refbench.bridges.points.STRIP_PIXELS", strip)
    cloud = cloud_of(GRID, 5000)
    on_edges = np.round(cloud.xyz * 2) / 2  # many points exactly on the edges of cells
    cloud = PointCloud(np.concatenate([cloud.xyz, on_edges]), UTM)
    names, after = cross(scene_of(grid=GRID, points=HeldPoints(cloud)), [Need.DSM], tmp_path)
    assert names == ["points-to-dsm"]
    expected = rasterise(cloud.xyz, GRID, "mean")
    assert np.allclose(after.dsm.read().heights, expected, atol=1e-5, equal_nan=True)
    assert np.isnan(after.dsm.read().heights).any()
    highest = grid_points(HeldPoints(cloud), GRID, "max")
    assert np.array_equal(highest, rasterise(cloud.xyz, GRID, "max").astype(np.float32), equal_nan=True)


def test_a_scene_without_grid_gets_one_of_the_stated_pixel(tmp_path):
    scene = scene_of(points=HeldPoints(cloud_of(GRID)))
    names, after = cross(scene, [Need.DSM, Need.GRID], tmp_path, gsd=1.0)
    assert names == ["points-to-dsm"] and after.grid.gsd == 1.0 and after.grid.crs == UTM
    assert after.origin == (*after.grid.origin, 0.0)
    with pytest.raises(InputError, match="positive number"):
        apply_bridges(scene, plan_bridges(scene, [Need.DSM], gsd=-1.0), tmp_path)


def test_a_dsm_becomes_points_that_are_called_resampled(tmp_path):
    holes = dsm_of(GRID, holes=True)
    names, after = cross(scene_of(grid=GRID, dsm=ArraySource(holes)), [Need.POINTS], tmp_path)
    assert names == ["dsm-to-points"] and "resampled" in after.bridges[0]
    cloud = after.points.read()
    assert len(cloud) == holes.valid.sum() and cloud.crs == UTM
    assert np.array_equal(rasterise(cloud.xyz, GRID, "mean").astype(np.float32), holes.heights, equal_nan=True)


@pytest.mark.parametrize("make", [rpc_looking_down, looking_down])
def test_images_become_orthos_over_the_filled_dsm(tmp_path, make):
    views = {n: view(n, make(GRID, lean, size=SIZE)) for n, lean in (("l", 0.15), ("r", -0.15))}
    heights = SURFACE.heights.copy()
    heights[40:44, 20:24] = np.nan
    scene = scene_of(grid=GRID, dsm=ArraySource(DSM(heights, GRID)), views=views)
    names, after = cross(scene, [Need.ORTHO_PAIR], tmp_path)
    assert names == ["images-to-orthos"] and after.pairs == (("l", "r"),)
    reference = texture(*GRID.centres())
    for name in "lr":
        ortho = after.orthos[name].read()
        assert ortho.grid == GRID and ortho.valid[40:44, 20:24].all()
        direct = orthorectify(views[name].image.read(), views[name].camera, SURFACE)
        both = ortho.valid & direct.valid
        assert np.median(np.abs(ortho.pixels[0][both] - reference[both])) < 3
    one = replace(scene, views={"l": views["l"]})
    assert cross(one, [Need.ORTHO], tmp_path)[1].pairs == ()
    with pytest.raises(UnsupportedError, match="no ortho pair"):
        plan_bridges(one, [Need.ORTHO_PAIR])


def test_a_dsm_becomes_depths_of_views_without_one(tmp_path):
    camera = looking_down(GRID, 0.1, size=SIZE)
    measured = view("measured", camera, with_depth=True)
    bare = scene_of(grid=GRID, dsm=ArraySource(SURFACE), views={"bare": view("bare", camera)})
    names, after = cross(bare, [Need.DEPTHS], tmp_path)
    assert names == ["dsm-to-depths"]
    depth = after.views["bare"].depth.read()
    expected = measured.depth.read()
    assert np.array_equal(depth.valid, expected.valid)
    assert np.array_equal(depth.pixels[0][depth.valid], expected.pixels[0][depth.valid])


def test_depths_become_points_and_on_to_a_dsm(tmp_path):
    views = {f"v{i}": view(f"v{i}", looking_down(GRID, lean, size=SIZE), True) for i, lean in enumerate((-0.1, 0.1))}
    names, after = cross(scene_of(grid=GRID, views=views), [Need.DSM], tmp_path)
    assert names == ["depths-to-points", "points-to-dsm"]
    error = after.dsm.read().heights - SURFACE.heights
    assert np.isfinite(error).mean() > 0.8 and np.nanmedian(np.abs(error)) < 0.1


def test_measured_points_are_preferred_and_rendered_depths_are_not_points(tmp_path):
    camera = looking_down(GRID, 0.1, size=SIZE)
    dsm = ArraySource(SURFACE)
    measured = scene_of(grid=GRID, dsm=dsm, views={"v": view("v", camera, True)})
    assert [b.name for b in plan_bridges(measured, [Need.POINTS])] == ["depths-to-points"]
    bare = scene_of(grid=GRID, dsm=dsm, views={"v": view("v", camera)})
    assert [b.name for b in plan_bridges(bare, [Need.POINTS, Need.DEPTHS])] == ["dsm-to-depths", "dsm-to-points"]


def test_a_stereo_pair_becomes_points_and_a_dsm(tmp_path):
    grid = grid_of(rows=240, cols=300)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (260, 320)).cumsum(axis=1).cumsum(axis=0)
    noise = (noise - np.roll(noise, 3, 0)) - np.roll(noise - np.roll(noise, 3, 0), 3, 1)

    def speckle(x, y):
        col, row = ((x - 500_000) / 0.5).clip(0, 318), ((5_000_000 - y) / 0.5).clip(0, 258)
        return np.where(np.isfinite(col), noise[np.nan_to_num(row).astype(int), np.nan_to_num(col).astype(int)], 0)

    surface, size = dsm_of(grid), (300, 380)
    views = {}
    for name, lean in (("l", 0.2), ("r", -0.2)):
        camera = rpc_looking_down(grid, lean, size)
        depth = render_depth(surface, camera, size)
        rows, cols = np.mgrid[: size[0], : size[1]]
        xyz = camera.unproject(cols, rows, depth)
        views[name] = View(name, ArraySource(Image(speckle(xyz[..., 0], xyz[..., 1]).astype(np.float32)[None])), camera)
    names, after = cross(scene_of(grid=grid, views=views), [Need.DSM], tmp_path)
    assert names == ["stereo-to-points", "points-to-dsm"]
    error = after.dsm.read().heights - surface.heights
    assert np.isfinite(error).mean() > 0.4 and np.nanmedian(np.abs(error)) < 0.5


@pytest.mark.parametrize(
    ("scene", "needs", "words"),
    [
        (scene_of(grid=GRID), [Need.DSM], r"no dsm: the bridge points-to-dsm needs points"),
        (scene_of(grid=GRID, dsm=ArraySource(SURFACE)), [Need.NDVI], r"no ndvi: the bridge ortho-to-ndvi needs ortho"),
        (scene_of(grid=GRID, dsm=ArraySource(SURFACE)), [Need.ORTHO], r"needs an image with a camera"),
        (scene_of(grid=GRID, dsm=ArraySource(SURFACE)), [Need.VIEWS, Need.POINTS], r"no views: no bridge"),
        (
            scene_of(views={n: view(n, looking_down(GRID, 0.1, size=SIZE)) for n in "ab"}),
            [Need.POINTS],
            r"two images with RPCs",
        ),
    ],
)
def test_no_chain_is_unsupported_with_the_reason(scene, needs, words):
    with pytest.raises(UnsupportedError, match=words) as caught:
        plan_bridges(scene, needs)
    assert "\n" not in str(caught.value) and "None" not in str(caught.value)


def test_bridges_that_find_nothing_say_so(tmp_path):
    far = PointCloud(np.array([[0.0, 0, 0], [1, 1, 1]]), UTM)
    void = ArraySource(DSM(np.full(GRID.shape, np.nan, np.float32), GRID))
    away = view("away", looking_down(grid_of(rows=80, cols=100, west=700_000), size=SIZE))
    for scene, need, words in (
        (scene_of(grid=GRID, points=HeldPoints(far)), Need.DSM, "no point of the cloud lies"),
        (scene_of(grid=GRID, dsm=void), Need.POINTS, "holds no height"),
        (scene_of(grid=GRID, dsm=void, views={"v": away}), Need.DEPTHS, "holds no height"),
        (scene_of(grid=GRID, dsm=ArraySource(SURFACE), views={"v": away}), Need.ORTHO, "does not show the DSM"),
    ):
        with pytest.raises(UnsupportedError, match=words):
            apply_bridges(scene, plan_bridges(scene, [need]), tmp_path)


def test_names_are_unique():
    names = [bridge.name for bridge in all_bridges()]
    assert len(set(names)) == len(names) == 7


def test_one_view_is_said_to_be_too_few():
    scene = load_scene(embedded_scene_path())
    lonely = replace(scene, views={"sat_a": scene.views["sat_a"]})
    with pytest.raises(UnsupportedError, match="one view, sat_a, and two or more are needed"):
        plan_bridges(lonely, {Need.VIEWS})
