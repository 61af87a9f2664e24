"""The photo-consistency loss of DSM mode: its minimum, gradients, occlusion, devices."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dsm_runs import FEW, block  # noqa: E402
from hill_scene import BASE, CAMERAS, GSD, SIDE, hill, hill_scene, two  # noqa: E402

from refbench_diffrender.dsm_config import DsmConfig  # noqa: E402
from refbench_diffrender.dsm_mode.dsm_trust import cell_confidence  # noqa: E402

# --- the loss -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CAMERAS)
def test_the_reference_is_alike_and_gradients_lead_there(kind):
    scene = hill_scene(two(kind))
    run = block(scene)
    batch = [(0, [1]), (1, [0])]
    flat = float(run.losses(batch)["patch"].detach())
    reference = block(scene, heights=hill().heights)
    assert float(reference.losses(batch)["patch"].detach()) < 0.1 * flat
    run.losses(batch)["patch"].backward()
    assert float((run.surface.field.grad * torch.from_numpy(hill().heights - BASE)).sum()) < 0  # up the hill


@pytest.mark.parametrize("kind", CAMERAS)
def test_gradients_agree_with_differences(kind):
    rng = np.random.default_rng(1)
    start = BASE + 0.13 + 0.02 * rng.random((SIDE, SIDE))  # off the pixel centres, where a texture has no slope
    config = replace(FEW, dsm=DsmConfig(steps=1, reach=0.0, colour=0.3, prior=0.1))
    run = block(hill_scene(two(kind, 0.2)), config, heights=start)
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    way = sum(np.cos(x * rng.uniform(0.05, 0.2) + y * rng.uniform(0.05, 0.2) + rng.uniform(0, 6)) for _ in range(3))
    way = torch.from_numpy(way * np.hanning(SIDE)[:, None] * np.hanning(SIDE)).float()
    total = torch.stack(list(run.losses([(0, [1])]).values())).sum()
    total.backward()
    slope = float((run.surface.field.grad * way).sum())
    values = []
    for shift in (0.02, -0.02):
        with torch.no_grad():
            run.surface.field.copy_(shift * way)
            values.append(float(torch.stack(list(run.losses([(0, [1])]).values())).sum()))
    assert slope == pytest.approx((values[0] - values[1]) / 0.04, rel=0.05)


@pytest.mark.parametrize("kind", CAMERAS)
def test_a_wall_hides_what_lies_behind_it(kind):
    heights = np.full((SIDE, SIDE), BASE)
    heights[:, 30:34] += 10.0
    run = block(hill_scene(two(kind, 0.4)), heights=heights)
    _, seen = cell_confidence(run)
    middle = seen[SIDE // 2]
    shadow = int(10 * 0.4 / GSD)  # cells that one of both does not see, on either side
    assert (middle[34 + 2 : 34 + shadow - 2] == 1).all() and (middle[30 - shadow + 2 : 30 - 2] == 1).all()
    assert (middle[34 + shadow + 4 : SIDE - 6] == 2).all() and (middle[6 : 30 - shadow - 4] == 2).all()


@pytest.mark.parametrize("kind", CAMERAS)
def test_every_tensor_is_made_on_the_device_of_the_run(kind):
    run = block(hill_scene(two(kind)))
    with torch.device("meta"):  # what is made without a device lands there and cannot meet the others
        total = torch.stack(list(run.losses([(0, [1])]).values())).sum()
        total.backward()
        run.optimizer.step()
        cell_confidence(run)
    assert total.device.type == "cpu" and float(total.detach()) > 0
