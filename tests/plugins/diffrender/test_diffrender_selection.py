"""Choice of views by overlap and angle, and what held-out views and points tell of a refinement."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from refbench.contracts.errors import InputError, UnsupportedError  # noqa: E402
from refbench.geometry.cameras import Pinhole  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig  # noqa: E402
from refbench_diffrender.outputs.gate import is_kept  # noqa: E402
from refbench_diffrender.outputs.held_out import carried, depth_evidence, held_out_notes, held_out_points  # noqa: E402
from refbench_diffrender.rasteriser.rasteriser import rasteriser  # noqa: E402
from refbench_diffrender.views.gl_cameras import FLIP  # noqa: E402
from refbench_diffrender.views.view_selection import chosen_neighbours, neighbours  # noqa: E402
from refbench_diffrender.views.views import SceneView, clip_planes, parted_views  # noqa: E402
from refbench_diffrender.views.visible_points import ViewPoints  # noqa: E402

ROWS, COLS, FOCAL, HEIGHT = 60, 80, 90.0, 60.0
DOWN = np.array([[1, 0, 0], [0, -1, 0], [0, 0, -1.0]])
TORCH = rasteriser("torch")


def tilted(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return DOWN @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def colours(x, y):
    return np.stack([0.5 + 0.3 * np.sin(x / 3 + k) * np.cos(y / 4) for k in range(3)], axis=-1).astype(np.float32)


def view(name, x, y=0.0, turn=0.0, height=0.0):
    """A view of a textured plane at z = 0 whose initial depth holds it at ``height``."""
    R = tilted(turn)
    K = np.array([[FOCAL, 0, COLS / 2 - 0.5], [0, FOCAL, ROWS / 2 - 0.5], [0, 0, 1]])
    camera = Pinhole(K, R, -R @ np.array([x, y, HEIGHT]), COLS, ROWS)
    row, col = np.mgrid[:ROWS, :COLS].astype(float)
    ray = camera.unproject(col, row, np.ones_like(col)) - camera.centre
    ground = camera.centre + ray * (-camera.centre[2] / ray[..., 2])[..., None]
    depth = ((height - camera.centre[2]) / ray[..., 2]).astype(np.float32)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = camera.R, camera.t
    image, known = colours(ground[..., 0], ground[..., 1]), np.ones((ROWS, COLS), bool)
    return SceneView(name, image, camera, FLIP @ pose, depth, known, (ROWS, COLS))


def test_overlap_is_the_share_of_the_surface_that_is_seen():
    # 80 px of 90 px focal length see 53.3 m from 60 m: a step of a quarter of that leaves three quarters.
    (found,) = neighbours(view("a", 0), [view("a", 0), view("b", 53.33 / 4)], 0.0, 15.0)
    assert found.overlap == pytest.approx(0.75, abs=0.03)
    assert found.angle == pytest.approx(np.degrees(np.arctan(53.33 / 4 / HEIGHT)), abs=1.0)


def test_a_good_angle_comes_before_the_nearest_place():
    own = view("own", 0)
    others = [view("same", 0), view("close", 1), view("good", HEIGHT * np.tan(np.radians(15)))]
    found = neighbours(own, [own, *others], 0.2, 15.0)
    assert [one.view.name for one in found] == ["good", "close"]  # nothing is learnt from the same place
    assert [one.view.name for one in neighbours(own, [own, *others], 0.2, 1.0)] == ["close", "good"]


def test_a_view_that_sees_little_comes_later_or_not_at_all():
    own = view("own", 0)
    full, half = view("full", 16, turn=-15), view("half", 16, turn=12)
    ranked = neighbours(own, [own, half, full], 0.0, 15.0)
    assert [one.view.name for one in ranked] == ["full", "half"]
    assert ranked[0].overlap > 0.85 > 0.6 > ranked[1].overlap
    assert [one.view.name for one in neighbours(own, [half, full], 0.7, 15.0)] == ["full"]


def test_equal_views_are_ordered_by_name_and_counted():
    own = view("own", 0)
    others = [view(name, x, y) for name, x, y in (("d", 8, 0), ("b", -8, 0), ("c", 8, 0))]
    names = [one.name for one in chosen_neighbours(own, [own, *others], 2, 0.2, 15.0)]
    assert names == ["b", "c"]
    assert len(chosen_neighbours(own, [own, *others], 0, 0.2, 15.0)) == 3


def test_missing_neighbours_are_said():
    own = view("own", 0)
    for others in ([], [view("same", 0)], [view("away", 500)]):
        with pytest.raises(UnsupportedError, match=r"own has no neighbours.*20%.*min_overlap"):
            chosen_neighbours(own, [own, *others], 3, 0.2, 15.0)


def test_a_image_carried_by_the_true_depth_is_the_other_image():
    source, target = view("a", 0), view("b", 6, 4)
    planes = clip_planes([source, target])
    image, seen = carried(source, source.depth, target, planes, TORCH)
    assert 0.7 < seen.mean() < 0.95
    assert np.abs(image - target.image)[seen].max() < 0.02
    wrong, also = carried(source, source.depth * 0.9, target, planes, TORCH)
    assert np.abs(wrong - target.image)[also].mean() > 5 * np.abs(image - target.image)[seen].mean()


def test_steps_and_unknown_depths_are_not_carried():
    source, target = view("a", 0), view("b", 6)
    depth = source.depth.copy()
    depth[:, 40:] = np.nan
    planes = clip_planes([source, target])
    _, seen = carried(source, depth, target, planes, TORCH)
    assert not seen[:, 35:].any() and seen[:, :25].mean() > 0.5
    step = source.depth.copy()
    step[:, 40:] *= 0.5
    _, across = carried(source, step, target, (5.0, 100.0), TORCH)
    assert across.any() and not across.all(axis=0)[:70].all()  # a gap is left where the step is
    _, nothing = carried(source, np.full_like(depth, np.nan), target, planes, TORCH)
    assert not nothing.any()


def test_a_better_depth_lowers_the_error_in_a_held_out_view():
    refined, held = view("a", 0, height=4.0), view("b", 6, 4)
    reference = view("a", 0).depth
    notes = held_out_notes([refined], [held], {"a": reference}, DiffrenderConfig(), TORCH)["held_out"]["b"]
    assert notes["neighbours"] == ["a"] and notes["pixels"] > 2000
    assert notes["after"]["psnr"] > notes["before"]["psnr"] + 10
    assert notes["after"]["mae"] < 0.2 * notes["before"]["mae"]
    same = held_out_notes([refined], [held], {"a": refined.depth}, DiffrenderConfig(), TORCH)["held_out"]["b"]
    assert same["before"] == same["after"]


def test_points_and_views_say_which_depth_is_kept():
    wrong, true, held = view("a", 0, height=4.0), view("a", 0), view("b", 6, 4)
    row, col = (axis.ravel().astype(float) for axis in np.mgrid[5:55:5, 5:75:5])
    points = ViewPoints(col, row, true.depth[row.astype(int), col.astype(int)].astype(float))
    mended = depth_evidence(replace(wrong, held_out=points), true.depth, [held], DiffrenderConfig(), TORCH)
    assert [one.source for one in mended] == ["points_m", "views_mae"] and is_kept(mended)
    spoilt = depth_evidence(replace(true, held_out=points), wrong.depth, [held], DiffrenderConfig(), TORCH)
    assert [one.agrees for one in spoilt] == [False, False] and not is_kept(spoilt)
    assert depth_evidence(true, wrong.depth, [], DiffrenderConfig(), TORCH) == []


def test_a_held_out_view_that_none_sees_has_no_error():
    notes = held_out_notes([view("a", 0)], [view("b", 500)], {"a": view("a", 0).depth}, DiffrenderConfig(), TORCH)
    assert notes == {"held_out": {"b": {"neighbours": [], "pixels": 0}}}


def test_points_held_out_are_compared_where_both_depths_are():
    one = view("a", 0, height=2.0)
    places = np.array([10.0, 20.0, 30.0, 200.0])
    depth = np.full(4, HEIGHT)
    one = replace(one, held_out=ViewPoints(places, np.full(4, 30.0), depth))
    found = held_out_points(one, np.full((ROWS, COLS), HEIGHT + 0.5, np.float32))
    assert found["points"] == 3
    assert found["before"] == pytest.approx({"median": 2.0, "mean": 2.0}, abs=1e-4)
    assert found["after"] == pytest.approx({"median": 0.5, "mean": 0.5}, abs=1e-4)
    assert held_out_points(view("a", 0), one.depth) == {"points": 0}
    assert held_out_points(one, np.full((ROWS, COLS), np.nan, np.float32)) == {"points": 0}


def test_views_are_parted_by_name():
    views = [view(name, x) for name, x in (("a", 0), ("b", 5), ("c", 10))]
    refined, compared, held = parted_views(views, DiffrenderConfig(views=("a",), held_out_views=("c",)))
    assert [[one.name for one in part] for part in (refined, compared, held)] == [["a"], ["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"views": ("x",)}, "views names x, but the scene has a, b, c"),
        ({"held_out_views": ("x",)}, "held_out_views names x"),
        ({"views": ("a",), "held_out_views": ("a",)}, "a cannot be refined and held out"),
        ({"held_out_views": ("a", "b")}, "leaves 1 of 3 views"),
    ],
)
def test_names_that_do_not_fit_are_said(keys, words):
    with pytest.raises(InputError, match=words):
        parted_views([view(name, x) for name, x in (("a", 0), ("b", 5), ("c", 10))], DiffrenderConfig(**keys))


@pytest.mark.parametrize(
    "keys", [{"min_overlap": 1.5}, {"best_angle_deg": 0.0}, {"hold_out_points": 1.0}, {"initial_unit": 0.0}]
)
def test_numbers_out_of_range_are_refused(keys):
    with pytest.raises(ValueError, match=next(iter(keys))):
        DiffrenderConfig(**keys)
