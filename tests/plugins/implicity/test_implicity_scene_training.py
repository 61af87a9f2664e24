"""Training from scenes, packed or opened."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
from implicity_block import GSD, TINY, block, real_scene  # noqa: E402

from refbench.training.schedules import CosineFraction  # noqa: E402
from refbench_implicity.config import (  # noqa: E402
    ImpliCityConfig,
)
from refbench_implicity.network.network import build_model  # noqa: E402
from refbench_implicity.training.scenes import small_model  # noqa: E402


def test_the_rate_rises_and_falls():
    fraction = CosineFraction(200)
    values = [fraction(step) for step in range(201)]
    assert values[0] == pytest.approx(0.1) and max(values) == pytest.approx(1) and values[-1] == pytest.approx(0.01)
    assert np.argmax(values) in (9, 10)


@pytest.mark.parametrize("variant", ["0", "mono", "stereo"])
def test_built_in_networks_stay_small(variant):
    parameters = sum(p.numel() for p in build_model(small_model(variant)).parameters())
    assert 2 * parameters < 8e6  # bytes in half precision


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('rasterio', 'affine', 'pydantic', 'open3d', 'click', 'laspy', 'cv2'):
            raise ModuleNotFoundError(name, name=name.split('.')[0])
sys.meta_path.insert(0, Blocker())
from refbench_implicity.training.scenes import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_packed_training_needs_few_packages_and_resumes(tmp_path):
    (tmp_path / "packed").mkdir()
    for seed in range(2):
        block(seed).write(tmp_path / "packed" / f"block-{seed}.npz")

    def run(*arguments):
        options = ("--variant", "0", "--batch-size", "2", "--queries", "500", "--patch-size", "32")
        command = [sys.executable, "-c", BLOCKED, "packed", "--out", "out", "--validation-scenes", "1", *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "--finish" in run("--steps", "2", "--validate-every", "2")
    run("--steps", "3", "--validate-every", "2", "--resume")
    lines = (tmp_path / "out" / "validation.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "2", "3"]
    assert {"iou", "mae", "input_mae"} <= set(lines[0].split(","))
    facts = json.loads((tmp_path / "out" / "training.json").read_text())
    assert facts["steps"] == 3 and facts["validation_scenes"] == ["block-1"]
    from refbench_implicity.method import ImpliCity
    from refbench_implicity.training.scenes import main

    main([str(tmp_path / "out"), "--out", str(tmp_path / "weights"), "--finish"])
    method = ImpliCity(weights=tmp_path / "weights")
    assert method.model == small_model("0") and method.normalisation.image_rule == "robust"
    assert method.constants == {"patch_size": 32.0, "pixel_size": GSD, "threshold": 0.5}


def test_fitting_from_scenes_starts_from_the_seed_and_learns_the_robust_rule():
    from refbench import Context
    from refbench_implicity.method import ImpliCity

    scene, _ = real_scene()
    found = []
    for seed in (0, 0, 1):
        method = ImpliCity(ImpliCityConfig(model=TINY, patch_size=32.0))
        trained = method.fit([scene], Context(seed=seed), steps=1)
        assert trained.provenance["steps"] == 1 and not method.is_trained  # the method stays as it is
        assert trained.meta["normalisation"]["image_rule"] == "robust" and trained.meta["pixel_size"] == GSD
        assert method.normalisation.image_rule == "fixed"
        found.append(trained.tensors["decoder.fc_p.weight"])
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
