"""Heights and NDVI as network values: exact floats, 8-bit levels, a span per tile."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from pix2pix_blocks import surface  # noqa: E402

from refbench.contracts.errors import InputError  # noqa: E402
from refbench_pix2pix.config import InferenceConfig, ValueConfig  # noqa: E402
from refbench_pix2pix.values import (  # noqa: E402
    HeightScale,
    ndvi_levels,
    normalise_levels,
    tile_scale,
    to_metres,
    to_network,
)


def test_the_float_path_loses_nothing():
    heights = surface().astype(np.float64)
    for config in (ValueConfig(), ValueConfig(span="tile"), ValueConfig(offset=400, step=0.2)):
        scale = tile_scale(heights, config)
        back = to_metres(to_network(heights, scale, config), scale, config)
        np.testing.assert_allclose(back, heights, atol=1e-4)


def test_the_8bit_path_truncates_to_whole_levels():
    config = ValueConfig(path="8bit")
    scale = tile_scale(surface(), config)
    heights = np.array([[0.0, 0.99, 59.5, 255.9]])
    values = to_network(heights, scale, config)
    np.testing.assert_allclose(values, normalise_levels(np.array([[0, 0, 59, 255]]), 0.5))
    middles = normalise_levels(np.array([[0.5, 59.5, 254.5]]), 0.5)
    assert to_metres(middles, scale, config).tolist() == [[0, 59, 254]]


def test_switching_truncation_on_gives_the_8bit_path():
    heights = np.floor(surface()).astype(np.float64)
    scale = HeightScale(0.0, 1.0)
    exact, whole = (to_network(heights, scale, ValueConfig(path=path)) for path in ("float", "8bit"))
    np.testing.assert_array_equal(exact, whole)
    y = np.random.default_rng(0).uniform(-1, 1, (8, 8)).astype(np.float32)
    truncated = np.floor(to_metres(y, scale, ValueConfig()))
    np.testing.assert_array_equal(truncated, to_metres(y, scale, ValueConfig(path="8bit")))


def test_a_tiles_own_span_fills_the_interval():
    values = ValueConfig(span="tile", least_span=10)
    heights = surface(base=400).astype(np.float64)
    scaled = to_network(heights, tile_scale(heights, values), values)
    assert np.percentile(scaled, 99.5) - np.percentile(scaled, 0.5) == pytest.approx(1.6, abs=0.01)
    flat = np.full((4, 4), 400.0)
    assert tile_scale(flat, values) == HeightScale(395.0, 10 / 255)


@pytest.mark.parametrize(("low", "high"), [(-3.0, 50.0), (20.0, 256.0)])
def test_heights_without_a_level_are_refused(low, high):
    heights = np.full((8, 8), 30.0)
    heights[0, 0], heights[1, 1] = low, high
    with pytest.raises(InputError, match=r"0 to 255 m.*values\.path=float"):
        to_network(heights, HeightScale(0.0, 1.0), ValueConfig(path="8bit"))


@pytest.mark.parametrize("wrong", [-1.5, 3.0, 120.0])
def test_ndvi_outside_its_range_is_refused(wrong):
    ndvi = np.zeros((4, 4), np.float32)
    ndvi[2, 2] = wrong
    with pytest.raises(InputError, match=r"NDVI must lie in \[-1, 1\]"):
        ndvi_levels(ndvi)
    assert ndvi_levels(np.array([[-1, 0, 1, np.nan]])).tolist() == [[0, 127.5, 255, 0]]


@pytest.mark.parametrize(
    "values", [{"path": "8bit", "span": "tile"}, {"step": 0.0}, {"span": "tile", "least_span": -1.0}]
)
def test_values_that_cannot_be_are_refused(values):
    with pytest.raises(ValueError):
        ValueConfig(**values)


@pytest.mark.parametrize("size", [0, 128, 300])
def test_tiles_are_multiples_of_256(size):
    with pytest.raises(ValueError, match="multiple of 256"):
        InferenceConfig(tile_size=size)
