"""Relative depth maps are aligned to points or the DSM, and cleaned of noise."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from block_scene import (  # noqa: E402
    POINTS,
    ROOF,
    depth_of,
    views_of,
    written,
)

from refbench import InputError  # noqa: E402
from refbench.contracts.errors import ConfigError, UnsupportedError  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig  # noqa: E402
from refbench_diffrender.views.alignment import aligned  # noqa: E402
from refbench_diffrender.views.initial_depth import denoised  # noqa: E402

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
