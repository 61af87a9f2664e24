"""Heights of several methods become one: closed forms, and what must hold for any heights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refbench_fusion.config import FusionConfig
from refbench_fusion.joint import joined

F4 = np.float32


def row(*values):
    return np.array([values], F4)


def test_agreeing_members_are_weighted_by_their_variances():
    joint = joined([row(10.0), row(10.6)], [row(0.2), row(0.1)], 1.0)
    # Weights 25 and 100: (25 * 10 + 100 * 10.6) / 125.
    assert joint.heights[0, 0] == pytest.approx(10.48, abs=1e-5)
    # The mixture's variance: 0.2 (0.04 + 0.48^2) + 0.8 (0.01 + 0.12^2).
    assert joint.sigma[0, 0] == pytest.approx(np.sqrt(0.2 * (0.04 + 0.2304) + 0.8 * (0.01 + 0.0144)), rel=1e-5)
    assert joint.count[0, 0] == 2 and joint.anchor[0, 0] == 1


def test_a_member_beyond_the_limit_changes_nothing():
    joint = joined([row(10.0, 10.0), row(11.01, 10.99)], [row(0.2, 0.2), row(0.001, 0.2)], 1.0)
    assert joint.heights[0, 0] == 10 and joint.count.tolist() == [[1, 2]] and joint.sigma[0, 0] == pytest.approx(0.2)
    assert joint.heights[0, 1] == pytest.approx(10.495, abs=1e-5)


def test_where_the_first_knows_no_height_the_next_is_the_anchor():
    nan = np.nan
    joint = joined([row(nan, nan), row(5.0, nan), row(9.0, nan)], [row(1, 1)] * 3, 1.0)
    assert joint.heights[0, 0] == 5 and joint.anchor.tolist() == [[2, 0]] and joint.count.tolist() == [[1, 0]]
    assert np.isnan(joint.heights[0, 1]) and np.isnan(joint.sigma[0, 1])


HEIGHTS = st.floats(-400, 8800, width=32) | st.just(np.nan)


@settings(max_examples=60, deadline=None)
@given(
    heights=arrays(F4, (3, 2, 4), elements=HEIGHTS),
    sigmas=arrays(F4, (3, 2, 4), elements=st.floats(0, 5, width=32)),
    agree=st.floats(0.01, 20),
)
def test_the_joint_height_lies_between_its_members_and_within_the_limit_of_the_anchor(heights, sigmas, agree):
    joint = joined(list(heights), list(sigmas), agree)
    known = np.isfinite(heights).any(axis=0)
    assert (np.isfinite(joint.heights) == known).all() and (np.isfinite(joint.sigma) == known).all()
    for place in zip(*np.nonzero(known), strict=True):
        stack = heights[(slice(None), *place)].astype(np.float64)
        anchor = stack[joint.anchor[place] - 1]
        assert anchor == next(value for value in stack if np.isfinite(value))
        assert joint.count[place] == (np.abs(stack - anchor) <= agree).sum()
        # float32 holds heights of kilometres to half a millimetre.
        low, high = np.nanmin(stack) - 1e-3, np.nanmax(stack) + 1e-3
        assert low <= joint.heights[place] <= high and abs(joint.heights[place] - anchor) <= agree + 1e-3


@pytest.mark.parametrize(
    "wrong",
    [
        {"members": ()},
        {"members": ("median", "median")},
        {"members": ("fusion",)},
        {"agree_m": 0.0},
        {"sigmas_m": {"tv-l1": 0.2}},
        {"members": ("median",), "options": {"median": {}, "inputt": {}}},
        {"unknown_sigma_m": float("nan")},
    ],
)
def test_a_fusion_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=r"member|at least"):
        FusionConfig(**wrong)
