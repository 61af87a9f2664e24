"""Patches: their frame, their windows, encoding several at once."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
from implicity_block import TINY  # noqa: E402

from refbench import InputError  # noqa: E402
from refbench_implicity.network.network import build_model  # noqa: E402
from refbench_implicity.patch_frame import FLIPS, Augmentation, PatchFrame, z_origin  # noqa: E402
from refbench_implicity.patches import encode_patches  # noqa: E402
from refbench_implicity.training.dataset import window_anchors  # noqa: E402


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("turns", range(4))
def test_points_and_images_turn_together(flip, turns):
    pixels = np.zeros((1, 8, 8), np.float32)
    pixels[0, 1, 6] = 1  # north-east: x = 6.5 / 8, y = 6.5 / 8
    augmentation = Augmentation(turns, flip)
    frame = PatchFrame(np.array([100.0, 200.0]), np.array([8.0, 8.0]), 5.0, 2.0, augmentation)
    world = np.array([[106.5, 206.5, 9.0]])
    x, y, z = frame.normalise(world)[0]
    row, col = (int(v) for v in np.argwhere(augmentation.image(pixels)[0])[0])
    assert (x, y, z) == pytest.approx(((col + 0.5) / 8, 1 - (row + 0.5) / 8, 2.0))
    back = frame.to_world @ np.array([x, y, z, 1.0])
    assert back[:3] == pytest.approx(world[0], abs=1e-5)


def test_the_origin_of_heights():
    heights = np.array([4.0, 1, 3, 2])
    assert z_origin(heights, "median") == 2  # the lower of the two in the middle
    assert z_origin(heights, "mean") == 2.5
    assert z_origin(heights, "20quantile") == pytest.approx(1.6)
    assert np.isnan(z_origin(np.empty(0), "median"))
    with pytest.raises(InputError, match="z_shift"):
        z_origin(heights, "mode")


def test_windows_end_at_the_edge():
    low, high, size = np.zeros(2), np.array([10.0, 4.0]), np.full(2, 4.0)
    anchors = window_anchors(low, high, size, np.full(2, 4.0))
    assert anchors.tolist() == [[0, 0], [4, 0], [6, 0]]
    with pytest.raises(InputError, match="smaller than the patch"):
        window_anchors(low, np.array([3.0, 9.0]), size, size)


def test_patches_of_unequal_size_are_encoded_as_if_alone():
    torch.manual_seed(0)
    model = build_model(TINY).eval()
    parts = [torch.rand(count, 3) * 0.98 + 0.01 for count in (40, 7, 300)]
    owner = torch.repeat_interleave(torch.arange(3), torch.tensor([len(part) for part in parts]))
    planes = encode_patches(model, torch.cat(parts), owner, 3, None)
    for index, part in enumerate(parts):
        torch.testing.assert_close(planes.xy[index], model.encode(part[None]).xy[0], rtol=1e-5, atol=1e-6)
