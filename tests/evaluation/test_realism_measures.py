"""The columns of the realism table on errors of known kind."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

FILE = Path(__file__).parents[2] / "benchmarks" / "realism" / "measures.py"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="the benchmarks are not beside the tests")
GSD = 0.5


@pytest.fixture(scope="module")
def measures():
    import sys

    spec = importlib.util.spec_from_file_location("realism_measures", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def town(side=240):
    """Flat ground at 100 m with a block 6 m high in the middle."""
    heights = np.full((side, side), 100.0, np.float32)
    heights[100:140, 100:140] += 6.0
    return heights


def noise(sigma_px, level, side=240):
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((side, side)), sigma_px)
    return (level * smooth / smooth.std()).astype(np.float32)


def test_noise_has_its_size_and_its_length(measures):
    wide = measures.realism(town() + noise(4.0, 0.3), town(), GSD)
    fine = measures.realism(town() + noise(0.01, 0.3), town(), GSD)
    assert wide.flat_nmad == pytest.approx(0.3, rel=0.15) and fine.flat_nmad == pytest.approx(0.3, rel=0.05)
    # Gaussian noise smoothed by s has the autocorrelation exp(-lag^2 / 4 s^2): 1/e at 2 s.
    assert wide.correlation_m == pytest.approx(2 * 4.0 * GSD, rel=0.15)
    assert fine.correlation_m < GSD
    assert wide.high_frequency < 0.1 < 0.8 < fine.high_frequency


def test_heights_in_general_and_holes(measures):
    lifted = town() + 3.0  # a shift in height is removed
    lifted[:24] += 5.0
    lifted[30:36] -= 5.0
    lifted[200:224] = np.nan
    found = measures.realism(lifted, town(), GSD)
    assert found.above == pytest.approx(24 / 216) and found.below == pytest.approx(6 / 216)
    assert found.holes == pytest.approx(0.1)


def test_half_a_step_is_a_gain_of_half(measures):
    squashed = 100 + (town() - 100) / 2
    assert measures.realism(squashed, town(), GSD).step_gain == pytest.approx(0.5)
    assert measures.realism(town(), town(), GSD).step_gain == pytest.approx(1.0)


def test_ground_beside_steps_and_on_slopes_is_not_flat(measures):
    flat = measures.flat_ground(town(), GSD)
    assert flat[20, 20] and not flat[100, 95] and not flat[98, 120]
    sloping = np.tile(np.arange(240, dtype=np.float32) * 0.2 * GSD, (240, 1))
    assert not measures.flat_ground(sloping, GSD)[10:-10, 10:-10].any()


def test_nothing_in_common_has_no_figures(measures):
    found = measures.realism(np.full((40, 40), np.nan, np.float32), town(40), GSD)
    assert np.isnan(found.flat_nmad) and found.holes == 1.0
