"""A training on two devices, from the command line: here two processes on the CPU."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import from_origin

pytest.importorskip("lightning_fabric")

from refbench import DSM, Grid, Scene
from refbench.contracts.scene import Reference
from refbench.formats.raster import ArraySource
from refbench.scenes.write import write_scene

SIDE = 256


def write(folder, seed):
    rng = np.random.default_rng(seed)
    grid = Grid(SIDE, SIDE, from_origin(0, 0, 0.5, 0.5), CRS.from_epsg(32632))
    clean = np.kron(rng.uniform(0, 15, (8, 8)), np.ones((32, 32))).astype(np.float32)
    noisy = clean + rng.normal(0, 1, clean.shape).astype(np.float32)
    reference = Reference(ArraySource(DSM(clean, grid)))
    write_scene(folder, Scene(f"s{seed}", grid=grid, dsm=ArraySource(DSM(noisy, grid)), reference=reference))


@pytest.mark.slow
def test_two_devices_share_every_step_and_one_writes(tmp_path):
    for seed in (1, 2):
        write(tmp_path / f"s{seed}", seed)
    keys = {"training.devices": 2, "training.samples_per_epoch": 8, "training.batch_size": 1, "generator.ngf": 4}
    keys["generator.input_nc"] = 1
    options = [word for key, value in keys.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    command = [sys.executable, "-m", "refbench.cli.main", "train", "s1", "s2", "--method", "pix2pix", *options]
    done = subprocess.run(
        [*command, "--steps", "4", "--out", "out"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("weights:") == 1
    assert (tmp_path / "out" / "weights" / "model.safetensors").is_file()
    assert (tmp_path / "out" / "run" / "training.csv").read_text().splitlines()[-1].startswith("4,")
