"""The refinement on CUDA: what can be told without a device, and, marked ``gpu``, the same numbers as on the CPU."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bump_scene import bump_scene  # noqa: E402

from refbench import Context  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig, LossConfig  # noqa: E402
from refbench_diffrender.depth_mode.refinement_state import restore, state_of  # noqa: E402
from refbench_diffrender.method import Diffrender  # noqa: E402
from refbench_diffrender.rasteriser.rasteriser import nvdiffrast_problem, rasteriser  # noqa: E402
from refbench_diffrender.views.views import clip_planes, scene_views  # noqa: E402

LOSSES = LossConfig(
    init_colour=300, colour=100, init_patch=1, patch=1, photometric="charbonnier", poisson=1.0, median=0.1, smooth=0.1,
)  # fmt: skip
CONFIG = DiffrenderConfig(
    steps=3, init_steps=2, batch=2, stride=3, neighbours=2, cut_deg=88.0, tonemapper=True, backend="torch",
    tensorboard=False, outputs=(), views=("v0", "v1"), loss=LOSSES,
)  # fmt: skip


def refinement(config, device="cpu"):
    views = scene_views(bump_scene(), config)
    draw = rasteriser(config.backend, device)
    return Diffrender(config)._refinement(views[1], views, clip_planes(views), draw, device)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{}, {"init_train_mode": "scale"}, {"loss": LossConfig(init_colour=1), "srgb": True}]
)
def test_a_step_makes_no_tensor_on_a_default_device(change):
    """Under another default device, a tensor that is made without naming one does not go with the others."""
    config = replace(CONFIG, **change, tonemapper="srgb" not in change)
    views = scene_views(bump_scene(), config)
    with torch.device("meta"):
        run = Diffrender(config)._refinement(views[1], views, clip_planes(views), rasteriser("torch"), "cpu")
        run.partners = frozenset(run.others)
        for stage in (1, 2):
            run.begin(stage)
            terms = run.losses(stage, run.others)
            assert {"colour", "poisson", "consistency"} <= set(terms)
            torch.stack(list(terms.values())).sum().backward()
            run.optimizer.zero_grad(set_to_none=True)
        assert run.depth().device.type == "cpu"
    restore(run, state_of(run))


# --- with a device ----------------------------------------------------------------------------------------------------

BACKENDS = ["torch", "nvdiffrast"]


@pytest.fixture
def cuda():
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return "cuda"


def on(device, config, **context):
    return Diffrender(config).refine(bump_scene(), Context(seed=3, device=device, **context))


@pytest.mark.gpu
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_numbers_are_those_of_the_cpu(cuda, backend, joint):
    if backend == "nvdiffrast" and (problem := nvdiffrast_problem()):
        pytest.skip(problem)
    config = replace(CONFIG, joint=joint)
    expected, found = on("cpu", config), on(cuda, replace(config, backend=backend))
    assert found.notes["backend"] == backend
    for name in config.views:
        np.testing.assert_allclose(found.depths[name], expected.depths[name], rtol=2e-3)
        assert np.nanmedian(np.abs(found.depths[name] / expected.depths[name] - 1)) < 1e-5
        for stage in ("stage_1", "stage_2"):
            one, other = (run.notes["views"][name][stage] for run in (found, expected))
            assert one["first"] == pytest.approx(other["first"], rel=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("joint", [False, True])
def test_a_state_comes_back_to_the_device(cuda, joint, tmp_path):
    config = replace(CONFIG, joint=joint)
    whole = on(cuda, config, checkpoints=tmp_path)
    again = on(cuda, config, checkpoints=tmp_path)
    for name in config.views:
        assert again.notes["views"][name]["checkpoint"].startswith("Resumed")
        np.testing.assert_allclose(again.depths[name], whole.depths[name], rtol=1e-6)


@pytest.mark.gpu
def test_every_tensor_of_a_run_lies_on_the_device(cuda):
    run = refinement(CONFIG, cuda)
    list(run.run(1, [[1, 2]]))
    list(run.run(2, [[1, 2]]))
    tensors = [value for value in vars(run).values() if isinstance(value, torch.Tensor)]
    assert {one.device.type for one in [*tensors, run.mesh.position, run.mesh.inverse]} == {"cuda"}
