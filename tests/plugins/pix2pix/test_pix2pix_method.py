"""The DSM enhancer as a method: tiles, blending, NoData, inputs."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from makers import grid_of  # noqa: E402
from pix2pix_blocks import method_of, refined, scene_of, surface  # noqa: E402

from refbench import Context, Window  # noqa: E402
from refbench.contracts.errors import UnsupportedError  # noqa: E402
from refbench_pix2pix.config import ValueConfig  # noqa: E402
from refbench_pix2pix.tiling import plan_tiles, profile  # noqa: E402


@pytest.mark.parametrize("overlap", [0.0, 0.125, 0.25, 0.5])
def test_weights_of_overlapping_tiles_sum_to_one(overlap):
    shared = round(256 * overlap)
    weights = profile(256, shared)
    if shared:
        np.testing.assert_allclose(weights[-shared:] + weights[:shared], 1)
    plan = plan_tiles(grid_of(600, 560), 256, overlap)
    covered = np.zeros((600, 560), int)
    for index in range(len(plan)):
        part = plan.window(index).intersection(Window(0, 0, 560, 600))
        covered[part.slices] += 1
    assert covered.min() >= 1
    if not overlap:
        assert covered.max() == 1


def test_heights_come_back_where_there_were_heights():
    heights = surface()
    heights[100:130, 20:60] = np.nan
    out, _ = refined(method_of(), scene_of(heights))
    assert (np.isnan(out) == np.isnan(heights)).all()


def test_tiles_without_any_height_stay_empty():
    heights = surface(256, 512)
    heights[:, :256] = np.nan
    out, _ = refined(method_of(overlap=0.0), scene_of(heights))
    assert np.isnan(out[:, :256]).all() and np.isfinite(out[:, 256:]).all()


@pytest.mark.parametrize("shape", [(40, 60), (256, 256), (300, 257)])
def test_any_size_is_refined(shape):
    out, _ = refined(
        method_of(), scene_of(surface(300, 280)[: shape[0], : shape[1]] if shape[1] <= 280 else surface(*shape))
    )
    assert np.isfinite(out).all()


def test_the_tile_span_does_not_depend_on_the_height_of_the_place():
    values = ValueConfig(span="tile")
    low, _ = refined(method_of(values=values), scene_of(surface(base=60)))
    high, _ = refined(method_of(values=values), scene_of(surface(base=3060)))
    np.testing.assert_allclose(high - 3000, low, atol=5e-3)


def test_blending_leaves_no_seams():
    """The step over a tile border against the step inside: the official grid of separate tiles has 1.87."""
    heights = surface(512, 512, seed=3)
    ratios = {}
    for overlap in (0.0, 0.25):
        out, _ = refined(method_of(values=ValueConfig(span="tile"), overlap=overlap), scene_of(heights))
        steps = np.abs(np.diff(out, axis=1)).mean(axis=0)
        borders = [255] if not overlap else [191, 255]  # where a tile ends or begins
        # Against the neighbours of the same parity: a transposed convolution treats even and odd columns apart.
        around = [np.mean(np.concatenate([steps[b - 8 : b : 2], steps[b + 2 : b + 10 : 2]])) for b in borders]
        ratios[overlap] = max(steps[b] / inside for b, inside in zip(borders, around, strict=True))
    assert ratios[0.25] < 1.1 < ratios[0.0]


def test_batches_do_not_change_results():
    heights = surface(512, 512)
    one, _ = refined(method_of(batch_tiles=1), scene_of(heights))
    four, _ = refined(method_of(batch_tiles=4), scene_of(heights))
    np.testing.assert_allclose(one, four, atol=1e-4)


def test_a_scene_without_ndvi_needs_weights_for_the_dsm_alone():
    with pytest.raises(UnsupportedError, match="need an NDVI"):
        method_of().prepare(scene_of(surface(), ndvi=False), Context())
    _, notes = refined(method_of(1), scene_of(surface(), ndvi=False))
    assert notes["inputs"] == ["dsm"]
