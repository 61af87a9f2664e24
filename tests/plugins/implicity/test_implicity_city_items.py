"""Training items drawn from packed scenes, and how scenes are packed."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
from implicity_block import GSD, NORTH, SIDE, WEST, block, real_scene  # noqa: E402
from makers import grid_of  # noqa: E402

from refbench import Image, InputError  # noqa: E402
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench_implicity.training.city_items import CityItems, CityRules, PackedScene, pack_scene, packed_scene  # noqa: E402


def test_a_packed_scene_comes_back(tmp_path):
    scene = block()
    scene.write(tmp_path / "block-0.npz")
    again = PackedScene.read(tmp_path / "block-0.npz")
    for part in dataclasses.fields(PackedScene):
        np.testing.assert_array_equal(getattr(again, part.name), getattr(scene, part.name))
    (tmp_path / "bad.npz").write_bytes(b"x")
    with pytest.raises(InputError, match="no packed scene"):
        PackedScene.read(tmp_path / "bad.npz")


@pytest.mark.parametrize("number", range(6))
def test_labels_follow_the_vertical_test(number):
    scene = block()
    item = CityItems([scene], CityRules(patch_size=32.0, queries=3000), seed=2)[number]
    n = 64
    # Undo what the reading of columns does: pixel j's centre is asked for at j / (n - 1).
    xy = (item.query[:, :2].astype(np.float64) * (n - 1) + 0.5) / n
    world = item.transform @ np.stack([*xy.T, item.query[:, 2], np.ones(len(xy))])
    col, row = np.floor((world[0] - WEST) / GSD + 1e-4), np.floor((NORTH - world[1]) / GSD + 1e-4)
    reference = scene.dsm[row.astype(int), col.astype(int)]
    far = np.abs(world[2] - reference) > 1e-3
    centred = np.arange(len(xy)) % 2 == 0  # the others may lie on a pixel's edge
    clear = far & centred
    assert clear.sum() > 1400
    np.testing.assert_array_equal(item.labels[clear] == 1, world[2][clear] <= reference[clear])
    assert 0.2 < item.labels.mean() < 0.8
    assert item.image.shape == (2, n, n)


def test_city_items_are_a_function_of_seed_and_number():
    items = [CityItems([block(), block(1)], CityRules(patch_size=32.0, queries=100), seed=s) for s in (0, 0, 1)]
    np.testing.assert_array_equal(items[0][5].query, items[1][5].query)
    assert not np.array_equal(items[0][5].query, items[2][5].query)


def test_city_items_avoid_what_is_unknown():
    scene = block()
    heights = scene.dsm.copy()
    heights[:, :100] = np.nan
    item = CityItems([dataclasses.replace(scene, dsm=heights)], CityRules(patch_size=90.0, queries=500))[0]
    assert np.isfinite(item.query).all()
    empty = dataclasses.replace(scene, dsm=np.full_like(heights, np.nan))
    with pytest.raises(InputError, match="in a row"):
        CityItems([empty], CityRules(patch_size=32.0))[0]
    with pytest.raises(InputError, match="smaller than a patch"):
        CityItems([scene], CityRules(patch_size=200.0))
    with pytest.raises(InputError, match="orthos"):
        CityItems([dataclasses.replace(scene, orthos=scene.orthos[:1])], CityRules(patch_size=32.0))


def test_packing_scales_images_as_inference_does(tmp_path):
    scene, counts = real_scene()
    packed = PackedScene.read(pack_scene(scene, tmp_path / "real.npz"))
    band = counts.astype(np.float64).mean(axis=0)
    low, middle, high = np.percentile(band, (25, 50, 75))
    np.testing.assert_allclose(packed.orthos[0], (band - middle) / (high - low), rtol=1e-5, atol=1e-5)
    assert packed.gsd == GSD and packed.corner == (WEST, NORTH) and packed.initial is None


def test_scenes_that_cannot_train_are_refused():
    with pytest.raises(InputError, match="reference DSM"):
        packed_scene(real_scene(reference=None)[0])
    other = grid_of(SIDE, SIDE, GSD, WEST + 3, NORTH, None)
    shifted = {"a": ArraySource(Image(np.zeros((1, SIDE, SIDE), np.uint16), other))}
    with pytest.raises(InputError, match="Ortho a"):
        packed_scene(real_scene(orthos=shifted)[0])
