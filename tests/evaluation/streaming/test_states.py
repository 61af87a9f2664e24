"""States that merge: whatever the parts and their order, the whole comes out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from refbench.evaluation.block_draws import BlockDraws, block_ids
from refbench.evaluation.orientation import Orientation
from refbench.evaluation.residuals import Residuals
from refbench.evaluation.streaming import rounded
from refbench.evaluation.streaming.blocks import BlockLayout, StreamedDraws
from refbench.evaluation.streaming.residual_sums import Moments, ResidualSums
from refbench.evaluation.streaming.rounded import STEP_M, RoundedCounts, steps_of
from refbench.evaluation.streaming.survey import _cells
from refbench.evaluation.streaming.tiles import TILE_ROWS, strip_rows

heights = st.floats(-20, 20, width=32) | st.floats(-5000, 5000, width=32) | st.sampled_from([0.0, 5.0, -5.0, 0.5, 4e5])
residuals = arrays.arrays(np.float64, st.integers(1, 80), elements=heights)


def summed(e):
    sums = ResidualSums()
    sums.add(e, steps_of(e))
    return sums


@given(residuals, st.data())
def test_parts_in_any_order_merge_to_the_whole(e, data):
    cut = data.draw(st.integers(1, len(e)))
    parts = [part for part in (e[:cut], e[cut:]) if part.size]
    merged = ResidualSums.merged(summed(part) for part in data.draw(st.permutations(parts)))
    whole = summed(e)
    assert np.array_equal(merged.counts.near, whole.counts.near)
    assert np.array_equal(merged.counts.far, whole.counts.far)
    assert np.array_equal(merged.counts.far_counts, whole.counts.far_counts)
    assert (merged.within == whole.within).all() and (merged.kept_at_limit == whole.kept_at_limit).all()
    assert merged.moments.n == len(e) and merged.kept.n == whole.kept.n
    assert merged.moments.mean == pytest.approx(e.mean(), rel=1e-9, abs=1e-9)
    assert merged.moments.deviations == pytest.approx(np.sum((e - e.mean()) ** 2), rel=1e-9, abs=1e-9)


@given(residuals, st.floats(0, 100), st.floats(-50, 50))
def test_percentiles_are_those_of_the_residuals_to_half_a_step(e, percent, centre):
    streamed, exact = summed(e).state(), Residuals(np.sort(e), e.size)
    close = {"abs": STEP_M / 2 + 1e-9, "rel": 1e-12}
    assert streamed.percentile(percent) == pytest.approx(exact.percentile(percent), **close)
    assert streamed.size(percent, centre) == pytest.approx(exact.size(percent, centre), **close)
    assert streamed.deviation == pytest.approx(exact.deviation, rel=1e-9, abs=1e-7)
    assert streamed.mean_size == pytest.approx(exact.mean_size, rel=1e-9)
    for limit in (0.5, 1.0, 2.0, 3.0, 5.0):
        assert streamed.number_within(limit) == exact.number_within(limit)
    kept, expected = streamed.truncated(5.0), exact.truncated(5.0)
    assert kept.n == expected.n
    if kept.n:
        assert kept.percentile(percent) == pytest.approx(expected.percentile(percent), **close)
        assert kept.root_mean_square == pytest.approx(expected.root_mean_square, rel=1e-9)


def test_constant_residuals_have_exact_percentiles():
    state = summed(np.full(7, 0.3)).state()
    assert state.percentile(50) == state.percentile(90) == state.size(90) == 0.3
    assert state.spread(0.3) == 0 and state.spread(state.percentile(50)) == 0


@settings(max_examples=30)
@given(arrays.arrays(np.float64, st.integers(30, 90), elements=st.floats(-900, 900)), st.data())
def test_wider_steps_do_not_depend_on_the_order(e, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounded, "FAR_STEPS", 8)
        found = []
        for order in (range(len(e)), data.draw(st.permutations(range(len(e))))):
            counts = RoundedCounts()
            for part in np.array_split(e[list(order)], 5):
                other = RoundedCounts()
                other.add(steps_of(part))
                counts.merge(other)
            found.append(counts)
    assert np.array_equal(found[0].far, found[1].far) and found[0].doublings == found[1].doublings
    assert np.array_equal(found[0].far_counts, found[1].far_counts) and found[0].far.size <= 8
    assert found[0].distribution().n == len(e)


def test_moments_far_from_zero_keep_their_digits():
    values = 1e6 + np.random.default_rng(0).normal(0, 0.01, 10_000)
    moments = Moments()
    for part in np.array_split(values, 7):
        moments.add(part, np.abs(part))
    assert np.sqrt(moments.deviations / moments.n) == pytest.approx(values.std(), rel=1e-9)


turns = st.builds(Orientation, st.booleans(), st.booleans(), st.booleans())


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 70), st.integers(2, 70), st.sampled_from([(8, 8), (6, 11)]), turns, st.integers(0, 99))
def test_blocks_and_draws_are_those_of_arrays(rows, cols, sides, turn, seed):
    domain = np.random.default_rng(seed).random((rows, cols)) < 0.05
    shape = turn.swapped((rows, cols))
    ids = np.ascontiguousarray(turn.undo(block_ids(shape, turn.swapped(sides))))
    exact = BlockDraws.over(domain, ids, block_px=8, repeats=30, seed=seed)
    layout = BlockLayout.of((rows, cols), sides, turn)
    counts = np.zeros(layout.shape)
    np.add.at(counts, (layout.rows[:, None], layout.cols[None, :]), domain.astype(float))
    streamed = StreamedDraws.over(layout, counts, seed, 8, 30)
    assert (streamed is None) == (exact is None)
    if streamed is not None and exact is not None:
        assert streamed.blocks == exact.blocks and (streamed.weights == exact.weights).all()
        assert np.array_equal(streamed.sums(counts), exact.sums())


@given(st.integers(1, 300), st.integers(1, 70))
def test_no_block_of_either_end_crosses_a_cell(size, side):
    cells = _cells(size, side)
    for blocks in (np.arange(size) // side, np.arange(size)[::-1] // side):
        for cell in range(cells[-1] + 1):
            assert len(set(blocks[cells == cell])) == 1


@given(st.integers(1, 10**6), st.integers(5, 40), st.integers(1, 1 << 34))
def test_strips_are_whole_tiles(width, size, budget):
    rows = strip_rows(width, size, budget)
    assert rows % TILE_ROWS == 0 and TILE_ROWS <= rows <= 512
