"""A gate keeps a refinement only where evidence that it never used agrees; closed forms, and runs on a known hill."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hill_scene import GRID, affine_camera, hill, hill_at, hill_scene, image_of, pinhole_camera  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from makers import predicted_by  # noqa: E402

from refbench import Context, Image, PointCloud  # noqa: E402
from refbench.contracts.scene import View  # noqa: E402
from refbench.formats.cloud import HeldPoints, open_points  # noqa: E402
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig, LossConfig  # noqa: E402
from refbench_diffrender.dsm_config import DsmConfig  # noqa: E402
from refbench_diffrender.method import Diffrender  # noqa: E402
from refbench_diffrender.outputs.gate import (  # noqa: E402
    LEAST_POINTS,
    Evidence,
    gate_notes,
    is_kept,
    point_evidence,
    view_evidence,
)
from refbench_diffrender.views.views import scene_views  # noqa: E402

FEW = DiffrenderConfig(
    mode="dsm", tensorboard=False, outputs=("confidence",), gate=True, dsm=DsmConfig(steps=25, rpc_bias=False)
)
TWO = {"a": affine_camera(-0.3), "b": affine_camera(0.3)}

errors = st.floats(0, 10)
evidence = st.lists(st.builds(Evidence, st.just("points_m"), errors, errors, st.just(99)), max_size=4)


@given(evidence)
def test_nothing_worse_is_kept_and_no_evidence_is_said(found):
    if found:
        assert is_kept(found) == (
            max(e.after - e.before for e in found) <= 0 and any(e.after < e.before for e in found)
        )
    else:
        assert is_kept(found) and "nothing" not in gate_notes(found) and "unknown" in gate_notes(found)


def test_points_tell_by_their_mean_but_for_outliers_of_both_surfaces():
    before, after = np.zeros(50), np.zeros(50)
    before[:10], after[:10] = 2.0, 0.5  # a roof; the rest is flat ground
    before[10:12], after[10:12] = 90.0, 91.0  # wires
    before[12:14], after[14:16] = np.nan, np.nan
    assert point_evidence(before, after) == [Evidence("points_m", pytest.approx(20 / 44), pytest.approx(5 / 44), 44)]
    after[20:24] = 30.0  # harm is no outlier
    (found,) = point_evidence(before, after)
    assert not found.agrees
    assert point_evidence(before[: LEAST_POINTS + 3], after[: LEAST_POINTS + 3]) == []


def test_views_tell_by_their_pixels():
    held = {
        "a": {"pixels": 300, "before": {"correlation": 0.5}, "after": {"correlation": 0.8}},
        "b": {"pixels": 100, "before": {"correlation": 0.9}, "after": {"correlation": 0.4}},
        "c": {"pixels": 0},
    }
    (found,) = view_evidence(held, "correlation", best=1.0)
    assert (found.before, found.after, found.number) == (pytest.approx(0.4), pytest.approx(0.3), 400)
    assert view_evidence({"a": held["a"]}, "correlation", best=1.0) == []


def points(offset=0.0):
    """Points of the hill, so many metres too high."""
    x, y = (axis[::3, ::3].ravel() for axis in GRID.centres())
    return HeldPoints(PointCloud(np.column_stack([x, y, hill_at(x, y) + offset]), GRID.crs))


def test_a_hill_is_kept_where_points_and_a_view_agree():
    cameras = {**TWO, "c": affine_camera(0.0, 0.25)}
    scene = replace(hill_scene(cameras), points=points())
    prediction = by_tiles(replace(FEW, held_out_views=("c",)), scene)
    gate = prediction.notes["blocks"]["dsm"]["gate"]
    assert gate["kept"] and gate["points_m"]["after"] < gate["points_m"]["before"]
    assert gate["views_correlation"]["after"] < gate["views_correlation"]["before"]
    assert np.abs(prediction.dsm.heights - scene.dsm.read().heights).max() > 0.5


def by_tiles(config, scene):
    return predicted_by(Diffrender(config).tile_method(scene), scene, Context(seed=3))


def lying_scene():
    """Two views whose right one was taken from elsewhere: images pull a true DSM away from it."""
    scene = hill_scene(TWO, start=hill().heights)
    wrong = Image(image_of(affine_camera(0.18)))
    return replace(scene, views={**scene.views, "b": View("b", ArraySource(wrong), TWO["b"])})


def test_the_input_stays_where_points_contradict():
    scene = replace(lying_scene(), points=points())
    prediction = by_tiles(FEW, scene)
    gate = prediction.notes["blocks"]["dsm"]["gate"]
    assert not gate["kept"] and gate["points_m"]["after"] > gate["points_m"]["before"]
    np.testing.assert_array_equal(prediction.dsm.heights, scene.dsm.read().heights)
    without = by_tiles(replace(FEW, gate=False), scene)
    assert np.abs(without.dsm.heights - hill().heights).max() > 0.3


def test_without_evidence_the_refinement_stays_and_the_notes_say_so():
    prediction = by_tiles(FEW, lying_scene())
    gate = prediction.notes["blocks"]["dsm"]["gate"]
    assert gate["kept"] and "held_out_views" in gate["unknown"]


# --- depth mode -------------------------------------------------------------------------------------------------------

PINHOLES = {"left": pinhole_camera(-0.1), "right": pinhole_camera(0.1)}
FAST = DiffrenderConfig(
    mode="depth", tensorboard=False, outputs=("mesh",), gate=True, init_steps=0, steps=12, stride=4, lr=1e-3,
    loss=LossConfig(photometric="charbonnier", patch=0.3, patch_kind="ncc", poisson=1),
)  # fmt: skip


def test_a_gate_holds_out_a_fifth_of_the_points_for_each_depth_map(tmp_path):
    scene = replace(hill_scene(PINHOLES), points=points(), grid=None)
    prediction = Diffrender(FAST).refine(scene, Context(seed=1, scratch=tmp_path))
    for name in PINHOLES:
        gate = prediction.notes["views"][name]["gate"]
        assert gate["points_m"]["number"] < 0.35 * len(points().read().xyz)
        assert gate["kept"] == (gate["points_m"]["after"] < gate["points_m"]["before"])


def test_a_depth_map_and_its_mesh_stay_where_points_contradict(tmp_path):
    scene = replace(hill_scene(PINHOLES, start=hill().heights), points=points(), grid=None)
    wrong = Image(image_of(pinhole_camera(0.05)))
    scene = replace(scene, views={**scene.views, "right": View("right", ArraySource(wrong), PINHOLES["right"])})
    config = replace(FAST, views=("left",), lr=3e-3, loss=replace(FAST.loss, point=0.0))
    found = Diffrender(config).refine(scene, Context(seed=1, scratch=tmp_path))
    gate = found.notes["views"]["left"]["gate"]
    assert not gate["kept"] and gate["points_m"]["after"] > gate["points_m"]["before"]
    (left,) = (view for view in scene_views(scene, config, Context(seed=1)) if view.name == "left")
    np.testing.assert_array_equal(found.depths["left"], np.where(left.beyond, np.nan, left.depth))
    vertices = open_points(found.files["mesh_left"]).read().xyz
    assert np.abs(hill_at(vertices[:, 0], vertices[:, 1]) - vertices[:, 2]).mean() < 0.05


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="compat keeps what it refines"):
        DiffrenderConfig(compat=True, gate=True)
    with pytest.raises(ValueError, match="denoise_m must be positive"):
        DiffrenderConfig(denoise_m=0)
