"""Which sparse points a view sees, which are held out, and how they pull depths."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from block_scene import (  # noqa: E402
    COLS,
    PLACES,
    POINTS,
    ROWS,
    camera,
    depth_of,
    really_seen,
    scene,
    views_of,
)

from refbench import Context, Image, InputError  # noqa: E402
from refbench.contracts.points import PointCloud  # noqa: E402
from refbench.formats.cloud import HeldPoints  # noqa: E402
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig, LossConfig  # noqa: E402
from refbench_diffrender.method import Diffrender  # noqa: E402
from refbench_diffrender.views.views import scene_views  # noqa: E402
from refbench_diffrender.views.visible_points import before_surface, not_behind_others, points_in_view  # noqa: E402

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
    kept = before_surface(points, depth + np.random.default_rng(3).normal(0, 0.02, depth.shape))
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
