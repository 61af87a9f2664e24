"""What a view's depth starts from: its own map, the DSM, sparse points, files; alignment, filters."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from roof_scene import COLS, POINTS, ROOF, ROWS, depth_of, rng, scene, views_of  # noqa: E402

from refbench import Image, InputError  # noqa: E402
from refbench.contracts.errors import ConfigError, MissingFileError, UnsupportedError  # noqa: E402
from refbench.formats.raster_write import write_image  # noqa: E402
from refbench.geometry.cameras import Pinhole  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig  # noqa: E402
from refbench_diffrender.views.alignment import aligned  # noqa: E402
from refbench_diffrender.views.depth_file import read_depth  # noqa: E402
from refbench_diffrender.views.initial_depth import denoised  # noqa: E402
from refbench_diffrender.views.views import scene_views  # noqa: E402

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
    truth = np.where(np.arange(40) < 20, 30.0, 34.0) * np.ones((50, 1))
    noisy = truth + 0.05 * np.random.default_rng(1).standard_normal(truth.shape)
    found = denoised(noisy, 2, 0.2)
    assert np.abs(found - truth).mean() < 0.4 * np.abs(noisy - truth).mean()
    assert np.abs(found - truth).max() < 0.2  # a plain average of the same taps would be off by 2 m at the step
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
