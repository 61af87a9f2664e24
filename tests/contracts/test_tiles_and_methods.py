import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import grid_of

from refbench import Context, Need, Scene, TilePlan
from refbench.contracts.errors import CancelledError, InputError, UnsupportedError
from refbench.contracts.method import derived_rng


@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from([(16, 0), (32, 4), (64, 15)]))
def test_a_regular_plan_covers_every_pixel_and_blends_evenly_inside(width, height, tile):
    plan = TilePlan.regular(grid_of(height, width), *tile)
    weight = np.zeros((height + 4 * tile[0], width + 4 * tile[0]))
    for index in range(len(plan)):
        window = plan.window(index).shifted(2 * tile[0], 2 * tile[0])
        weight[window.slices] += np.outer(plan.row_weights, plan.col_weights)
    inside = weight[2 * tile[0] : 2 * tile[0] + height, 2 * tile[0] : 2 * tile[0] + width]
    assert (inside > 0).all()
    if height > 4 * tile[1] and width > 4 * tile[1]:
        # Only the ramps at the raster's own border have no partner.
        core = inside[tile[1] : height - tile[1], tile[1] : width - tile[1]]
        assert np.allclose(core, 1)


def test_a_plan_refuses_wrong_weights_and_halos():
    zero = np.zeros(1, np.int64)
    for rows, weights in ((zero, np.zeros(4)), (zero[:0], np.ones(4)), (zero, np.ones(5)), (zero, -np.ones(4))):
        with pytest.raises(InputError):
            TilePlan(4, 4, rows, rows, weights, np.ones(4))
    with pytest.raises(InputError, match="halo"):
        TilePlan.regular(grid_of(10, 10), 16, 4)


def test_the_whole_plan_is_one_tile():
    plan = TilePlan.whole(grid_of(5, 7))
    assert len(plan) == 1 and plan.window(0).width == 7 and plan.window(0).height == 5


def test_generators_depend_on_seed_and_scope_only():
    draw = derived_rng(3, "crop", 1).random(4)
    assert np.array_equal(draw, Context(seed=3).rng("crop", 1).random(4))
    assert not np.array_equal(draw, Context(seed=4).rng("crop", 1).random(4))
    assert not np.array_equal(draw, Context(seed=3).rng("crop", 2).random(4))


def test_a_cancelled_context_stops():
    Context().check_cancelled()
    with pytest.raises(CancelledError):
        Context(is_cancelled=lambda: True).check_cancelled()


def test_a_scene_says_what_it_lacks():
    with pytest.raises(UnsupportedError, match="ortho pair"):
        Scene("empty").require(Need.ORTHO_PAIR)
    assert not any(Scene("empty").has(need) for need in Need)


def test_joined_plans_shift_tiles_and_keep_each_ones_weights():
    ramp = TilePlan(4, 4, np.array([0, 2]), np.array([0, 0]), np.arange(1.0, 5), np.ones(4))
    table = TilePlan(
        4, 4, np.array([1]), np.array([3]), np.eye(4) + 1, np.full((1, 4), 2.0),
        row_profiles=np.array([2]), col_profiles=np.array([0]),
    )  # fmt: skip
    plan = TilePlan.joined([(ramp, 10, 20), (table, 100, 200)])
    assert plan.rows.tolist() == [10, 12, 101]
    assert plan.cols.tolist() == [20, 20, 203]
    np.testing.assert_array_equal(plan.weights_of(1)[0], np.arange(1.0, 5))
    np.testing.assert_array_equal(plan.weights_of(2)[0], (np.eye(4) + 1)[2])
    np.testing.assert_array_equal(plan.weights_of(2)[1], np.full(4, 2.0))


def test_profiles_must_name_a_line():
    with pytest.raises(InputError, match="row profiles"):
        TilePlan(2, 2, np.zeros(1, int), np.zeros(1, int), np.ones((1, 2)), np.ones(2), row_profiles=np.array([1]))
