"""What a view's depth starts from: its own map, the DSM, sparse points, files, an estimator; alignment; visibility."""

import importlib.util
from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from makers import centred_grid, pinhole_above  # noqa: E402

from refbench import DSM, Context, Image, InputError, Scene, View  # noqa: E402
from refbench.contracts.errors import ConfigError, MissingExtraError, MissingFileError, UnsupportedError  # noqa: E402
from refbench.contracts.points import PointCloud  # noqa: E402
from refbench.formats.cloud import HeldPoints  # noqa: E402
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench.formats.raster_write import write_image  # noqa: E402
from refbench.geometry.cameras import Pinhole  # noqa: E402
from refbench.geometry.depth import render_depth  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig, LossConfig  # noqa: E402
from refbench_diffrender.method import Diffrender  # noqa: E402
from refbench_diffrender.views import monocular  # noqa: E402
from refbench_diffrender.views.alignment import aligned  # noqa: E402
from refbench_diffrender.views.depth_file import read_depth  # noqa: E402
from refbench_diffrender.views.initial_depth import denoised  # noqa: E402
from refbench_diffrender.views.views import scene_views  # noqa: E402
from refbench_diffrender.views.visible_points import before_surface, not_behind_others, points_in_view  # noqa: E402

ROWS, COLS, FOCAL, HEIGHT, SIDE = 60, 80, 90.0, 60.0, 80
BLOCK, ROOF = 8.0, 15.0
"""Half the side of a building in the middle, and its height."""
GRID = centred_grid(SIDE)
rng = np.random.default_rng(3)


def height(x, y):
    return np.where((np.abs(x) < BLOCK) & (np.abs(y) < BLOCK), ROOF, 0.02 * x + 0.01 * y)


def surface():
    return DSM(height(*GRID.centres()).astype(np.float32), GRID)


def camera(x, y):
    return pinhole_above(x, y, HEIGHT, focal=FOCAL, size=(ROWS, COLS))


def cloud(number=3000):
    xy = rng.uniform(-35, 35, (number, 2))
    xy = xy[(np.abs(np.abs(xy) - BLOCK) > 1).all(axis=1)]
    return np.column_stack([xy, height(*xy.T)])


POINTS = cloud()
PLACES = ((-14, 0), (0, 0), (14, 0))


def depth_of(number):
    return render_depth(surface(), camera(*PLACES[number]), (ROWS, COLS))


def scene(*, dsm=False, points=None, depth=False, ties=False):
    views = {}
    for number, place in enumerate(PLACES):
        name, pinhole = f"v{number}", camera(*place)
        image = np.random.default_rng(number).integers(0, 255, (3, ROWS, COLS), dtype=np.uint8)
        own = ArraySource(Image(depth_of(number)[None] + 1)) if depth else None
        tie = really_seen(points, number) if ties else None
        view = View(name, ArraySource(Image(image)), pinhole, own, tie_points=tie)
        views[name] = view
    held = None if points is None else HeldPoints(PointCloud(points))
    return Scene("block", grid=GRID, dsm=ArraySource(surface()) if dsm else None, views=views, points=held)


def really_seen(points, number):
    """Those of some points that nothing hides: their depth is that of the true surface."""
    col, row, depth = camera(*PLACES[number]).project(points)
    inside = (col > 0) & (row > 0) & (col < COLS - 1) & (row < ROWS - 1)
    at = depth_of(number)[np.where(inside, row, 0).round().astype(int), np.where(inside, col, 0).round().astype(int)]
    return points[inside & (np.abs(at - depth) < 1.0)]


def views_of(*, config=None, seed=0, **parts):
    return scene_views(scene(**parts), config or DiffrenderConfig(), Context(seed=seed))


# --- where it comes from ----------------------------------------------------------------------------------------------


def test_auto_takes_the_own_map_then_the_dsm_then_points():
    own = views_of(depth=True, dsm=True, points=POINTS)[0]
    np.testing.assert_allclose(own.depth[own.known], (depth_of(0) + 1)[own.known], rtol=1e-6)
    rendered = views_of(dsm=True, points=POINTS)[0]
    np.testing.assert_allclose(rendered.depth[rendered.known], depth_of(0)[rendered.known], rtol=1e-6)
    between = views_of(points=POINTS)[1]
    assert np.nanmedian(np.abs(between.depth - depth_of(1))[between.known]) < 0.05


def test_a_source_can_be_named():
    one = views_of(depth=True, dsm=True, points=POINTS, config=DiffrenderConfig(initial="dsm"))[0]
    np.testing.assert_allclose(one.depth[one.known], depth_of(0)[one.known], rtol=1e-6)
    one = views_of(depth=True, dsm=True, points=POINTS, config=DiffrenderConfig(initial="points"))[1]
    assert not np.allclose(one.depth, depth_of(1), atol=0.01) and np.median(np.abs(one.depth - depth_of(1))) < 0.05


@pytest.mark.parametrize(
    ("initial", "words"),
    [
        ("view", "v0 does not have a depth map of its own"),
        ("dsm", "v0 does not have an initial DSM"),
        ("points", "v0 does not have sparse points"),
        ("auto", "v0 does not have anything to start from"),
    ],
)
def test_what_is_not_there_is_said(initial, words):
    with pytest.raises(UnsupportedError, match=words):
        views_of(config=DiffrenderConfig(initial=initial))


def test_too_few_points_in_a_view_are_said():
    far = np.column_stack([rng.uniform(500, 600, (50, 2)), np.zeros(50)])
    with pytest.raises(UnsupportedError, match="v0 sees 0 sparse points; 20 are needed"):
        views_of(points=far)
    with pytest.raises(UnsupportedError, match="hold_out_points could keep"):
        views_of(dsm=True, config=DiffrenderConfig(hold_out_points=0.1))


# --- files ------------------------------------------------------------------------------------------------------------


def written(folder, name, depth, kind):
    path = folder / f"{name}{kind}"
    if kind == ".tif":
        write_image(path, Image(depth.astype(np.float32)[None]))
    elif kind == ".npy":
        np.save(path, depth)
    elif kind == ".pfm":
        cv2.imwrite(str(path), np.nan_to_num(depth).astype(np.float32))
    else:
        cv2.imwrite(str(path), np.rint(np.nan_to_num(depth) * 1000).astype(np.uint16))


@pytest.mark.parametrize("kind", [".tif", ".npy", ".pfm", ".png"])
def test_files_of_every_kind_are_read(tmp_path, kind):
    for number in range(3):
        written(tmp_path, f"v{number}", depth_of(number), kind)
    config = DiffrenderConfig(initial="file", initial_depths=str(tmp_path))
    one = views_of(config=config)[2]
    known = one.known & np.isfinite(depth_of(2))
    assert known.mean() > 0.9
    np.testing.assert_allclose(one.depth[known], depth_of(2)[known], atol=6e-4)


def test_another_size_takes_the_nearest_pixel(tmp_path):
    written(tmp_path, "a", np.repeat(np.repeat(np.arange(1.0, 13).reshape(3, 4), 2, 0), 2, 1), ".npy")
    np.testing.assert_array_equal(read_depth(tmp_path, "a", (3, 4), 1.0), np.arange(1.0, 13).reshape(3, 4))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda p: None, "no depth map"),
        (lambda p: np.save(p / "a.npy", np.full((6, 8), np.nan)), "no finite depth"),
        (lambda p: cv2.imwrite(str(p / "a.png"), np.zeros((6, 8), np.uint16)), "no finite depth"),
        (lambda p: cv2.imwrite(str(p / "a.png"), np.ones((6, 8), np.uint8)), "8 bits"),
        (lambda p: write_image(p / "a.tif", Image(np.ones((1, 6, 8), np.uint8))), "8 bits"),
        (lambda p: np.save(p / "a.npy", np.ones((6, 16))), "aspect ratio"),
        (lambda p: np.save(p / "a.npy", np.ones((6, 8, 3))), r"shape \(6, 8, 3\)"),
        (lambda p: (p / "a.npy").write_bytes(b"no array"), "cannot be read as a NumPy array"),
        (lambda p: (p / "a.png").write_bytes(b"no image"), "cannot be read as an image"),
    ],
)
def test_unusable_files_are_said(tmp_path, write, words):
    write(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        read_depth(tmp_path, "a", (6, 8), 0.001)
    assert str(caught.value).count(".") <= 6 and "\n" not in str(caught.value)


def test_a_file_needs_its_folder(tmp_path):
    with pytest.raises(ConfigError, match="initial_depths"):
        views_of(config=DiffrenderConfig(initial="file"))
    with pytest.raises(MissingFileError, match="v0"):
        views_of(config=DiffrenderConfig(initial="file", initial_depths=str(tmp_path)))


# --- alignment --------------------------------------------------------------------------------------------------------


def relative_files(folder, kind):
    for number in range(3):
        depth = depth_of(number)
        written(folder, f"v{number}", 3 / depth - 0.02 if kind == "disparity" else (depth - 40) / 7, ".npy")
    return DiffrenderConfig(initial="file", initial_depths=str(folder), relative=True, relative_kind=kind)


@pytest.mark.parametrize("kind", ["depth", "disparity"])
@pytest.mark.parametrize("parts", [{"dsm": True}, {"points": POINTS, "ties": True}, {"points": POINTS}])
def test_relative_maps_are_aligned_to_points_or_the_dsm(tmp_path, kind, parts):
    parts = {**parts, **({"points": POINTS} if parts.get("ties") else {})}
    one = views_of(config=relative_files(tmp_path, kind), **parts)[0]
    assert np.median(np.abs(one.depth - depth_of(0))[one.known]) < 0.05


@pytest.mark.parametrize("how", ["least_squares", "median", "max"])
def test_other_alignments_can_be_asked_for(tmp_path, how):
    config = replace(relative_files(tmp_path, "disparity"), align=how)
    one = views_of(config=config, dsm=True)[1]
    assert np.median(np.abs(one.depth - depth_of(1))[one.known]) < 0.05


def test_metric_maps_stay_unless_asked():
    kept = views_of(depth=True, dsm=True)[0]
    moved = views_of(depth=True, dsm=True, config=DiffrenderConfig(initial="view", align="ransac"))[0]
    both = kept.known & moved.known
    assert np.median((kept.depth - depth_of(0))[both]) == pytest.approx(1, abs=1e-4)
    assert np.median(np.abs(moved.depth - depth_of(0))[both]) < 1e-3


@pytest.mark.parametrize("kind", ["depth", "disparity"])
@pytest.mark.parametrize("how", ["median", "max", "least_squares", "ransac"])
def test_every_alignment_finds_an_exact_relation(how, kind):
    depths = np.linspace(20, 60, 200)
    wanted = depths if kind == "depth" else 1 / depths
    found = aligned((wanted - 0.004) / 0.3, depths, how, kind, np.random.default_rng(0))
    np.testing.assert_allclose(found.depth((wanted - 0.004) / 0.3), depths, rtol=1e-8)


def test_ransac_ignores_points_of_other_surfaces():
    depths = np.linspace(20, 60, 200)
    relative = (1 / depths - 0.004) / 0.3
    wrong = np.where(np.arange(200) % 4 == 0, depths * 1.5, depths)
    generator = np.random.default_rng(0)
    robust, square = (aligned(relative, wrong, how, "disparity", generator) for how in ("ransac", "least_squares"))
    np.testing.assert_allclose(robust.depth(relative), depths, rtol=1e-6)
    assert np.abs(square.depth(relative) - depths).mean() > 1


def test_an_alignment_that_is_not_possible_is_said(tmp_path):
    config = relative_files(tmp_path, "depth")
    with pytest.raises(UnsupportedError, match="sparse points or an initial DSM"):
        views_of(config=config)
    with pytest.raises(InputError, match=r"View v0: .*aligned to 4 points: 10 are needed"):
        views_of(config=config, points=np.array([[0, 0, ROOF], [2, 2, ROOF], [-2, 4, ROOF], [3, -2, ROOF]]))
    with pytest.raises(InputError, match="v0 sees no sparse point or DSM"):
        views_of(config=config, points=np.array([[900.0, 0, 0]]))
    with pytest.raises(InputError, match="depths instead of disparities"):
        views_of(config=replace(config, relative_kind="disparity", align="least_squares"), dsm=True)
    with pytest.raises(ConfigError, match="align: none"):
        views_of(config=replace(config, align="none"), dsm=True)


def test_the_filter_takes_noise_off_and_leaves_steps():
    reference = np.where(np.arange(40) < 20, 30.0, 34.0) * np.ones((50, 1))
    noisy = reference + 0.05 * np.random.default_rng(1).standard_normal(reference.shape)
    found = denoised(noisy, 2, 0.2)
    assert np.abs(found - reference).mean() < 0.4 * np.abs(noisy - reference).mean()
    assert np.abs(found - reference).max() < 0.2  # a plain average of the same taps would be off by 2 m at the step
    np.testing.assert_array_equal(denoised(noisy, 0, 0.2), noisy)


def test_the_filter_is_asked_for_by_the_configuration():
    plain, smooth = (views_of(dsm=True, config=DiffrenderConfig(denoise=passes, denoise_m=1.0))[1] for passes in (0, 2))
    assert plain.depth.shape == smooth.depth.shape and not np.array_equal(plain.depth, smooth.depth)
    np.testing.assert_array_equal(plain.known, smooth.known)
    assert np.abs(plain.depth - smooth.depth).max() < 1.0


def test_far_things_do_not_lie_beyond_what_is_known(tmp_path):
    config = relative_files(tmp_path, "disparity")
    sky = 3 / depth_of(0) - 0.02
    sky[:5] = -10
    written(tmp_path, "v0", sky, ".npy")
    one = views_of(config=config, dsm=True)[0]
    assert one.depth.max() <= 1.3 * np.nanmax(depth_of(0)) + 1e-3
    assert views_of(config=replace(config, far=70.0), dsm=True)[0].depth.max() == pytest.approx(70)


# --- an estimator -----------------------------------------------------------------------------------------------------


def test_a_missing_package_is_said(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(monocular.importlib.util, "find_spec", lambda n: None if n == "transformers" else real(n))
    with pytest.raises(MissingExtraError, match=r"transformers.*pip install 'refbench\[monocular\]'"):
        views_of(dsm=True, config=DiffrenderConfig(initial="monocular"))


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    """A tiny depth estimator with random weights, in a folder."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("PIL")
    torch.manual_seed(0)
    config = transformers.DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, is_hybrid=False,
        use_bias_in_fusion_residual=True,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tiny")
    transformers.DPTForDepthEstimation(config).save_pretrained(folder)
    transformers.DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


def test_an_estimator_gives_a_map_of_the_image_size(estimator):
    image = np.random.default_rng(0).random((ROWS, COLS, 3), np.float32)
    found = monocular.estimated_depth(image, estimator)
    assert found.shape == (ROWS, COLS) and found.dtype == np.float32 and found.std() > 0
    np.testing.assert_array_equal(found, monocular.estimated_depth(image, estimator))
    assert not np.array_equal(found, monocular.estimated_depth(image[::-1].copy(), estimator))


def test_an_estimate_is_aligned_to_the_scene(estimator, monkeypatch):
    monkeypatch.setattr(monocular, "estimated_depth", lambda image, name: (3 / depth_of(0) - 0.02).astype(np.float32))
    config = DiffrenderConfig(initial="monocular", estimator=estimator)
    one = views_of(config=config, dsm=True)[0]
    assert np.median(np.abs(one.depth - depth_of(0))[one.known]) < 0.05


def test_an_unknown_estimator_is_said(tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("PIL")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be loaded as a depth estimator") as caught:
        monocular.estimated_depth(np.zeros((8, 8, 3), np.float32), str(tmp_path))
    assert "\n" not in str(caught.value)


# --- which points are seen --------------------------------------------------------------------------------------------


def hidden_and_seen(number):
    """Points under and beside the building's roof, as a view has them, and which of them it really sees."""
    x, y = np.meshgrid(np.linspace(-20, 20, 60), np.linspace(-10, 10, 30))
    ground = np.column_stack([x.ravel(), y.ravel(), 0.02 * x.ravel() + 0.01 * y.ravel()])
    return points_in_view(np.vstack([ground, POINTS]), camera(*PLACES[number]), (ROWS, COLS))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_surface_hides_what_lies_behind_it(number):
    points, depth = hidden_and_seen(number), depth_of(number)
    hidden = points.depth > points.under(depth) + 2
    assert hidden.sum() > 100
    kept = before_surface(points, depth + rng.normal(0, 0.02, depth.shape))
    assert not kept[hidden].any()
    assert kept[points.depth < points.under(depth) + 0.03].mean() > 0.95


def test_without_a_surface_other_points_hide():
    for number in (0, 2):
        points, depth = points_in_view(POINTS, camera(*PLACES[number]), (ROWS, COLS)), depth_of(number)
        hidden = points.depth > points.under(depth) + 2
        kept = not_behind_others(points, camera(*PLACES[number]))
        assert hidden.sum() > 10
        assert kept[hidden].mean() < 0.2 and kept[~hidden].mean() > 0.9


def test_tracks_are_believed():
    some = POINTS[::7]
    one = views_of(points=some, ties=True, dsm=True)[0]
    assert len(one.points) == len(really_seen(some, 0))
    low = scene(points=some, dsm=True)
    view = replace(low.views["v0"], tie_points=np.array([[400.0, 0, 0]] * 30))
    with pytest.raises(InputError, match=r"Only 0 of the 30 .*focal length, size or pose"):
        scene_views(replace(low, views={**low.views, "v0": view}, points=HeldPoints(PointCloud(view.tie_points))))


def test_points_held_out_are_used_by_nothing():
    config = DiffrenderConfig(hold_out_points=0.3, initial="points")
    for ties in (False, True):
        first, again, other = (
            views_of(points=POINTS, ties=ties, config=config, seed=seed)[1] for seed in (1, 1, 2)
        )  # fmt: skip
        used, kept = ({*zip(p.col, p.row, strict=True)} for p in (first.points, first.held_out))
        assert not used & kept and len(kept) == pytest.approx(0.3 * (len(kept) + len(used)), rel=0.15)
        np.testing.assert_array_equal(first.held_out.depth, again.held_out.depth)
        assert len(other.held_out) != len(first.held_out) or (other.held_out.depth != first.held_out.depth).any()
    without = views_of(points=POINTS, config=replace(config, hold_out_points=0.0))[1]
    assert not np.array_equal(without.depth, first.depth)


def test_points_pull_a_wrong_depth_to_them():
    flat = replace(scene(points=POINTS, ties=True), grid=None)
    views = {
        name: replace(view, depth=ArraySource(Image(np.full((1, ROWS, COLS), 58.0))))
        for name, view in flat.views.items()
    }
    loss = LossConfig(colour=0, poisson=1.0, point=50, edge_map=0, uv_edginess=0)
    config = DiffrenderConfig(
        steps=60, init_steps=0, stride=4, lr=1e-3, views=("v1",), hold_out_points=0.2, backend="torch", loss=loss
    )
    notes = Diffrender(config).refine(replace(flat, views=views), Context()).notes["held_out_points"]["v1"]
    assert notes["points"] > 50 and notes["after"]["median"] < 0.7 * notes["before"]["median"]


# --- images and cameras that do not fit -----------------------------------------------------------------------------


def test_intrinsics_of_another_size_are_said():
    given = scene(dsm=True)
    for change, words in (
        (lambda c: Pinhole(c.K, c.R, c.t, 2 * COLS, 2 * ROWS), "80 x 60 px, its camera 160 x 120"),
        (lambda c: Pinhole(c.K * [[4, 1, 4], [1, 4, 4], [1, 1, 1]], c.R, c.t), "principal point"),
    ):
        view = given.views["v1"]
        wrong = replace(given, views={**given.views, "v1": replace(view, camera=change(view.camera))})
        with pytest.raises(InputError, match=words):
            scene_views(wrong)
