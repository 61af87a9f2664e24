import json
import re

import numpy as np
import pytest
import yaml
from makers import UTM, cloud_of, dsm_of, grid_of, hills, looking_down, rpc_looking_down, write_tif

from refbench import Image, InputError, Mask, Need, Scene, View, load_scene
from refbench.contracts.errors import ConfigError, GridMismatchError, MissingFileError
from refbench.contracts.scene import Reference
from refbench.formats.camera_files import write_camera
from refbench.formats.cloud import HeldPoints, write_points
from refbench.formats.raster import ArraySource, write_dsm
from refbench.formats.raster_write import write_image, write_mask
from refbench.geometry.rpc import RPC
from refbench.scenes.scan import scanned
from refbench.scenes.scene_yaml import embedded_scene_path, write_scene

GRID = grid_of(vertical="EPSG:5773")


def full_scene():
    rng = np.random.default_rng(0)
    size = (60, 80)

    def image(bands=1, grid=GRID):
        shape = grid.shape if grid is not None else size
        return ArraySource(Image(rng.integers(1, 255, (bands, *shape)).astype(np.uint8), grid))

    depth = Image(rng.uniform(400, 500, (1, *size)).astype(np.float32), None, (), rng.random(size) > 0.1)
    views = {
        "sat_a": View("sat_a", image(grid=None), rpc_looking_down(GRID, 0.1)),
        "sat_b": View("sat_b", image(grid=None), rpc_looking_down(GRID, -0.1)),
        "uav_1": View("uav_1", image(3, None), looking_down(GRID), ArraySource(depth)),
    }
    mask = Mask(rng.choice([0, 1, 255], GRID.shape).astype(np.uint8), GRID, "building")
    reference = Reference(ArraySource(dsm_of(GRID)), ArraySource(mask), {"uav_1": ArraySource(depth)})
    return Scene(
        "full", GRID, ArraySource(dsm_of(GRID, holes=True)), HeldPoints(cloud_of(GRID)), {"a": image(), "b": image()},
        (("a", "b"),), image(), views, {"building": ArraySource(mask)}, reference, (*GRID.origin, 0.0), "EPSG:5773",
    )  # fmt: skip


def test_a_scene_comes_back_whole_from_its_folder(tmp_path):
    scene = full_scene()
    path = write_scene(tmp_path / "scene", scene)
    for place in (path, path.parent):
        again = load_scene(place)
        assert (again.id, again.grid, again.vertical, again.origin) == ("full", GRID, "EPSG:5773", scene.origin)
        assert again.grid.crs == UTM and again.pairs == scene.pairs and again.warnings == ()
        assert all(again.has(need) for need in Need)
    assert np.array_equal(again.dsm.read().heights, scene.dsm.read().heights, equal_nan=True)
    assert np.allclose(again.points.read().xyz, scene.points.read().xyz, atol=1e-6)
    for name in "ab":
        assert np.array_equal(again.orthos[name].read().pixels, scene.orthos[name].read().pixels)
    assert np.array_equal(again.ndvi.read().pixels, scene.ndvi.read().pixels)
    assert np.array_equal(again.masks["building"].read().values, scene.masks["building"].read().values)
    assert np.array_equal(again.reference.dsm.read().heights, scene.reference.dsm.read().heights)
    assert np.array_equal(again.reference.mask.read().values, scene.reference.mask.read().values)
    for depth, before in (
        (again.views["uav_1"].depth.read(), scene.views["uav_1"].depth.read()),
        (again.reference.depths["uav_1"].read(), scene.reference.depths["uav_1"].read()),
    ):
        assert np.array_equal(depth.valid, before.valid) and depth.grid is None
        assert np.array_equal(depth.pixels[0][before.valid], before.pixels[0][before.valid])
    xyz = np.array([500_010.0, 4_999_992.0, 103.0])
    for name, view in scene.views.items():
        assert np.array_equal(again.views[name].image.read().pixels, view.image.read().pixels)
        assert np.allclose(again.views[name].camera.project(xyz), view.camera.project(xyz), atol=1e-6)
    assert isinstance(again.views["sat_a"].camera, RPC)


@pytest.fixture
def folder(tmp_path):
    """A small scene as plain files; tests change ``scene.yaml`` or a file of it."""
    write_dsm(tmp_path / "dsm.tif", dsm_of(GRID))
    write_dsm(tmp_path / "reference.tif", dsm_of(GRID))
    write_points(tmp_path / "points.npz", cloud_of(GRID, crs=None))
    pixels = np.ones((1, *GRID.shape), np.uint8)
    for name in "ab":
        write_image(tmp_path / f"{name}.tif", Image(pixels, GRID))
    write_mask(tmp_path / "water.tif", Mask(pixels[0], GRID))
    return tmp_path


CONTENT = {
    "refbench_scene": 1, "id": "small", "dsm": "dsm.tif", "points": "points.npz",
    "orthos": {"a": "a.tif", "b": "b.tif"}, "pairs": [["a", "b"]], "masks": {"water": "water.tif"},
    "reference": {"dsm": "reference.tif"},
}  # fmt: skip


def load(folder, **changes):
    content = {key: value for key, value in {**CONTENT, **changes}.items() if value is not ...}
    (folder / "scene.yaml").write_text(yaml.safe_dump(content))
    return load_scene(folder)


def test_a_cloud_without_crs_takes_that_of_the_scene(folder):
    scene = load(folder)
    assert scene.points.read().crs == UTM
    assert scene.folder == folder and scene.reference is not None and scene.without_reference().reference is None


def test_nothing_but_headers_is_read(folder):
    """Files whose pixels are gone still load; reading them says so."""
    for name in ("dsm.tif", "reference.tif"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) - 3000])
    scene = load(folder)
    with pytest.raises(InputError, match="cut off"):
        scene.dsm.read()
    with pytest.raises(InputError, match="cut off"):
        scanned(scene)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"ortho": {}}, ConfigError, "unknown key ortho; did you mean orthos"),
        ({"reference": {"dms": "x"}}, ConfigError, "unknown key reference.dms; did you mean reference.dsm"),
        ({"views": {"v": {"imge": "x"}}}, ConfigError, "unknown key views.v.imge; did you mean views.v.image"),
        ({"views": {"v": {"camera": "x"}}}, ConfigError, "views.v.image: field required"),
        ({"refbench_scene": 2}, ConfigError, "reads version 1"),
        ({"refbench_scene": ...}, ConfigError, "lacks the key refbench_scene"),
        ({"dsm": 3}, ConfigError, "dsm: input should be a valid string, got 3"),
        ({"orthos": ["a.tif"]}, ConfigError, "orthos: input should be an object"),
        ({"orthos": {"a": 1}}, ConfigError, "orthos.a: input should be a valid string, got 1"),
        ({"pairs": ["ab"]}, ConfigError, "pairs.0: input should be a valid array, got 'ab'"),
        ({"pairs": [["a", "c"]]}, ConfigError, "names the ortho 'c', but there are a, b"),
        ({"gsd": "fine"}, ConfigError, "gsd: input should be a valid number, got 'fine'"),
        ({"views": {"v": {"image": "a.tif", "depth_range": [5, 2]}}}, ConfigError, "depth_range must hold 0 < nearest"),
        ({"views": {"v": {"image": "a.tif", "depth_range": [5]}}}, ConfigError, r"views\.v\.depth_range"),
        ({"dsm": "none.tif"}, MissingFileError, "none.tif"),
        ({"crs": "EPSG:32633"}, InputError, "crs says EPSG:32633"),
        ({"crs": "UTM 32"}, InputError, "is not a CRS"),
        ({"vertical": "ellipsoid"}, InputError, "vertical says ellipsoid"),
        ({"height_unit": "foot"}, InputError, "band's unit tag says metre but height_unit says foot"),
        ({"height_unit": "yard"}, InputError, "'yard' is unknown"),
        ({"views": {"v": {"image": "a.tif"}}}, InputError, "carries no RPC"),
        ({"reference": {"depths": {"v": "a.tif"}}}, ConfigError, "names the view 'v'"),
    ],
)
def test_a_wrong_scene_file_is_refused_in_one_sentence(folder, changes, error, words):
    with pytest.raises(error, match=words) as caught:
        load(folder, **changes)
    assert "\n" not in str(caught.value)


def test_a_folder_without_scene_file_is_said(tmp_path):
    with pytest.raises(MissingFileError, match=r"holds no scene\.yaml"):
        load_scene(tmp_path)
    with pytest.raises(MissingFileError, match="no file"):
        load_scene(tmp_path / "scene.yaml")
    assert embedded_scene_path().name == "embedded"


SHIFTED = grid_of(west=500_000.2, vertical="EPSG:5773")
LARGER = grid_of(rows=44)


@pytest.mark.parametrize(
    ("name", "grid", "words"),
    [
        ("b.tif", grid_of(west=600_000), r"does not overlap"),
        ("b.tif", grid_of(crs="EPSG:32633"), r"does not overlap .* \(EPSG:32633 against EPSG:32632"),
        ("reference.tif", grid_of(crs="EPSG:32633"), r"does not overlap .* \(EPSG:32633 against EPSG:32632"),
        ("water.tif", None, r"water.tif has no geotransform"),
        ("a.tif", None, r"a.tif has no geotransform, so it is no ortho"),
    ],
)
def test_what_lies_elsewhere_or_nowhere_is_refused(folder, name, grid, words):
    heights = hills(grid or GRID)
    write_tif(folder / name, heights if name == "reference.tif" else heights.astype(np.uint8), grid)
    with pytest.raises(InputError, match=words) as caught:
        load(folder)
    assert isinstance(caught.value, GridMismatchError) or grid is None


@pytest.mark.parametrize(
    ("name", "grid", "words"),
    [
        (
            "reference.tif",
            SHIFTED,
            r"reference.tif: resampled onto .*dsm.tif \(corners up to 0.4 px.* by bilinear",
        ),
        ("reference.tif", LARGER, r"size 50 x 40 against 50 x 44 px.* by bilinear"),
        ("water.tif", SHIFTED, r"water.tif: resampled onto .*dsm.tif \(corners up to 0.4 px.* by nearest"),
        ("b.tif", LARGER, r"b.tif: resampled onto the grid of .*a.tif \(size .* by bilinear"),
        ("b.tif", SHIFTED, r"shifted by 0.4 px.* by bilinear"),
    ],
)
def test_grids_that_do_not_align_are_resampled_and_said(folder, name, grid, words):
    heights = hills(grid)
    write_tif(folder / name, heights if name == "reference.tif" else heights.astype(np.uint8), grid)
    scene = load(folder)
    assert any(re.search(words, note) for note in scene.warnings), scene.warnings
    moved = {"reference.tif": scene.reference.dsm, "water.tif": scene.masks.get("water"), "b.tif": scene.orthos["b"]}
    assert moved[name].grid == moved[name].read().grid == GRID


def test_an_ortho_may_be_finer_or_a_whole_pixel_crop(folder):
    fine = grid_of(rows=80, cols=100, gsd=0.25)
    crop = grid_of(rows=20, cols=30, west=500_002.0, north=4_999_997.0)
    for grid in (fine, crop):
        for name in "ab":
            write_tif(folder / f"{name}.tif", np.ones(grid.shape, np.uint8), grid)
        scene = load(folder)
        assert scene.orthos["a"].grid == grid and scene.grid == GRID


def test_without_a_dsm_the_grid_is_the_references_then_the_orthos_then_over_the_points(folder):
    assert load(folder, dsm=...).grid == GRID
    assert load(folder, dsm=..., reference=...).grid == grid_of()
    bare = {"dsm": ..., "reference": ..., "orthos": ..., "pairs": ..., "masks": ...}
    scene = load(folder, **bare, gsd=2.0, crs="EPSG:32632")
    assert scene.grid.gsd == 2.0 and scene.grid.crs == UTM and scene.grid.bounds.west == 500_000
    assert load(folder, **bare, crs="EPSG:32632").grid is None
    with pytest.raises(InputError, match=r"points.npz has no CRS"):
        load(folder, **bare, gsd=2.0)
    with pytest.raises(InputError, match="positive number"):
        load(folder, **bare, gsd=-1, crs="EPSG:32632")


def test_views_must_fit_their_camera_depth_and_mask(folder):
    write_scene(folder / "full", full_scene())
    base = {"image": "full/views/uav_1.tif", "camera": "full/views/uav_1.yaml"}
    assert load(folder, views={"v": base}).views["v"].image.shape == (60, 80)
    write_tif(folder / "small.tif", np.ones((30, 40), np.uint8))
    for wrong, words in (
        ({"image": "small.tif"}, "camera is for 80 x 60 px, but .* 40 x 30"),
        ({"depth": "small.tif"}, "small.tif has 40 x 30 px, its image 80 x 60"),
        ({"mask": "small.tif"}, "small.tif has 40 x 30 px"),
    ):
        with pytest.raises(GridMismatchError, match=words):
            load(folder, views={"v": {**base, **wrong}})


def test_views_with_rpcs_alone_bring_a_crs_and_pinholes_none(folder):
    write_scene(folder / "full", full_scene())
    bare = dict.fromkeys(("dsm", "points", "orthos", "pairs", "masks", "reference"), ...)
    sat = load(folder, **bare, views={"s": {"image": "full/views/sat_a.tif"}})
    assert sat.views["s"].camera.crs == UTM and "EPSG:32632" in sat.warnings[0] and sat.grid is None
    uav = {"v": {"image": "full/views/uav_1.tif", "camera": "full/views/uav_1.yaml"}}
    local = load(folder, **{**bare, "points": "points.npz"}, views=uav)
    assert local.grid is None and local.points.read().crs is None and local.origin[:2] == (500_000, 4_999_980)


@pytest.mark.parametrize("suffix", [".json", "_RPC.TXT", ".yaml"])
def test_an_rpc_in_a_file_of_its_own_is_named_or_found_and_brings_a_crs(folder, suffix):
    rpc = rpc_looking_down(GRID)
    write_tif(folder / "bare.tif", np.ones((60, 80), np.uint8)).rename(folder / "sat.png")
    if suffix == ".json":
        (folder / "sat.json").write_text(json.dumps({"width": 80, "height": 60, "rpc": rpc.to_dict()}))
    else:
        write_camera(folder / f"sat{suffix}", rpc)
    bare = dict.fromkeys(("dsm", "points", "orthos", "pairs", "masks", "reference"), ...)
    point = np.array([*GRID.origin, 100.0])
    views = [{"image": "sat.png", "camera": f"sat{suffix}"}] + ([{"image": "sat.png"}] if suffix != ".yaml" else [])
    for view in views:
        scene = load(folder, **bare, views={"s": view})
        assert "EPSG:32632" in scene.warnings[0] and scene.views["s"].camera.crs == UTM
        np.testing.assert_array_equal(scene.views["s"].camera.project(point), rpc.project(point))


def test_an_rpc_for_another_crop_is_refused(folder):
    write_tif(folder / "sat.tif", np.ones((60, 80), np.uint8))
    (folder / "sat.json").write_text(json.dumps({"width": 80, "height": 61, "rpc": rpc_looking_down(GRID).to_dict()}))
    with pytest.raises(GridMismatchError, match="camera is for 80 x 61 px"):
        load(folder, views={"s": {"image": "sat.tif"}})


def test_different_datums_are_a_warning(folder):
    write_dsm(folder / "reference.tif", dsm_of(grid_of(vertical="ellipsoid")))
    scene = load(folder)
    assert scene.vertical == "EPSG:5773" and "vertical datum ellipsoid" in scene.warnings[0]
