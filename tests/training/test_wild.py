"""Cached training samples: by seed, complete or absent, never of seeds that are kept for tests."""

import numpy as np
import pytest
from open3d_there import needs_open3d

from refbench.city import FIRST_TEST_SEED
from refbench.contracts.errors import InputError
from refbench.training import wild
from refbench.training.wild import WildSample, fill_cache, read_sample, sample_path, write_sample


def sample_of(side=16):
    rng = np.random.default_rng(0)
    heights = rng.normal(50, 4, (side, side)).astype(np.float32)
    initial = heights.copy()
    initial[2:4, 3:6] = np.nan
    images = rng.normal(0, 1, (2, side, side)).astype(np.float16)
    return WildSample(initial, heights, images, 0.5, heights > 52, heights < 46)


def test_samples_come_back_as_they_were(tmp_path):
    sample = sample_of()
    write_sample(tmp_path / "wild-00001-0.npz", sample)
    again = read_sample(tmp_path / "wild-00001-0.npz")
    for name in ("initial", "reference", "images", "building", "forest"):
        np.testing.assert_array_equal(getattr(again, name), getattr(sample, name))
    assert again.gsd == 0.5


def test_a_damaged_sample_is_named(tmp_path):
    (tmp_path / "wild-00001-0.npz").write_bytes(b"PK no zip")
    with pytest.raises(InputError, match=r"wild-00001-0\.npz is no training sample"):
        read_sample(tmp_path / "wild-00001-0.npz")


def test_seeds_of_tests_are_not_trained_on(tmp_path):
    with pytest.raises(InputError, match="kept for tests"):
        fill_cache(tmp_path, [5, FIRST_TEST_SEED])


@needs_open3d
def test_a_cache_is_filled_once_and_again_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(wild, "SIDE", 48)
    made = fill_cache(tmp_path / "one", [11])
    assert made == 2 + wild.DEGRADED and fill_cache(tmp_path / "one", [11]) == 0
    fill_cache(tmp_path / "two", [11])
    for variant in range(made):
        first, second = (read_sample(sample_path(tmp_path / name, 11, variant)) for name in ("one", "two"))
        np.testing.assert_array_equal(first.initial, second.initial)
        np.testing.assert_array_equal(first.images, second.images)
        assert first.initial.shape == (48, 48) and 0.25 <= first.gsd <= 1.0
        assert np.isfinite(first.reference).all()
