"""What a view's depth starts from: its own map, the DSM, sparse points, files."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from block_scene import (  # noqa: E402
    COLS,
    POINTS,
    ROWS,
    depth_of,
    scene,
    views_of,
    written,
)

from refbench import Image, InputError  # noqa: E402
from refbench.contracts.errors import ConfigError, MissingFileError, UnsupportedError  # noqa: E402
from refbench.formats.raster_write import write_image  # noqa: E402
from refbench.geometry.cameras import Pinhole  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig  # noqa: E402
from refbench_diffrender.views.depth_file import read_depth  # noqa: E402
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
    far = np.column_stack([np.random.default_rng(3).uniform(500, 600, (50, 2)), np.zeros(50)])
    with pytest.raises(UnsupportedError, match="v0 sees 0 sparse points; 20 are needed"):
        views_of(points=far)
    with pytest.raises(UnsupportedError, match="hold_out_points could keep"):
        views_of(dsm=True, config=DiffrenderConfig(hold_out_points=0.1))


# --- files ------------------------------------------------------------------------------------------------------------


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
