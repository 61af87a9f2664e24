"""The pix2pix enhancer on 1024 x 1024 px (16 tiles): refbench's modes beside the published network tile by tile.

Run as ``python benchmarks/speed/pix2pix.py [--repeats 3]``. A synthetic scene and a full-size generator with random
weights go through the command line, one thread; CPU seconds are those of all processes together. "plain" is the
network alone as published, one tile at a time. "official" are the figures of the official service without HTTP, one
thread, on another day of this machine: 4.87 CPU s, of which 2.1 the network, 2.2 imports. The last line times a
training step of the full-size pair (batch 1; official 1.05 CPU s).
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

OFFICIAL = {"cpu_s": 4.87, "network_cpu_s": 2.09, "step_cpu_s": 1.05}
SIZE, TILE, TILES, GSD = 1024, 256, 16, 0.5
MODES = {
    "8bit": ["--config", "8bit"],
    "float, separate tiles": ["--set", "inference.overlap=0.0"],
    "float, blended": [],
    "float, blended, bf16": ["--config", "bf16"],
}


def write_inputs(folder):
    """Write DSM, NDVI and an official generator file."""
    import rasterio
    import torch
    from affine import Affine

    from refbench_pix2pix.config import GeneratorConfig
    from refbench_pix2pix.network.network import Generator

    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 4, (16, 16)) > 2, np.ones((64, 64)))
    layers = {"dsm": 40 + 12 * blocks + rng.normal(0, 1, blocks.shape), "ndvi": rng.uniform(-1, 1, blocks.shape)}
    for name, values in layers.items():
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", width=SIZE, height=SIZE, count=1, dtype="float32",
            crs="EPSG:31370", transform=Affine(GSD, 0, 149_000, 0, -GSD, 171_000), tiled=True,
        ) as file:  # fmt: skip
            file.write(values.astype(np.float32), 1)
    torch.manual_seed(0)
    torch.save(Generator(GeneratorConfig()).state_dict(), folder / "latest_net_G.pth")


def timed(arguments, folder):
    """Run a process; return CPU seconds of it and its children and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def plain():
    """Print the CPU seconds of 16 forward passes of the published network, and of a training step."""
    import torch

    from refbench_pix2pix.config import DiscriminatorConfig, GeneratorConfig, TrainingConfig
    from refbench_pix2pix.network.discriminators import build_discriminator
    from refbench_pix2pix.network.network import Generator
    from refbench_pix2pix.training.task import Pair, Pix2PixTask

    net, x = Generator(GeneratorConfig()).eval(), torch.randn(1, 2, TILE, TILE)
    with torch.inference_mode():
        net(x)
        start = time.process_time()
        for _ in range(TILES):
            net(x)
    print(time.process_time() - start)
    pair = Pair(net, build_discriminator(DiscriminatorConfig(), 3)).train()
    task = Pix2PixTask(pair, [], TrainingConfig(), per_epoch=100)
    batch, seconds = {"x": x, "y": torch.randn(1, 1, TILE, TILE)}, []
    for _ in range(5):
        start = time.process_time()
        for ask, optimizer in ((task.adversary_loss, task.adversary_optimizer), (task.loss, task.optimizer)):
            ask(batch)[0].backward()
            optimizer.step()
            optimizer.zero_grad()
        seconds.append(time.process_time() - start)
    print(statistics.median(seconds[1:]))


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder)
        runs = {mode: [] for mode in MODES}
        network, steps = [], []
        for number in range(options.repeats):
            tiles, step = map(float, timed([__file__, "--plain"], folder)[1].split())
            network.append(tiles)
            steps.append(step)
            for index, (mode, more) in enumerate(MODES.items()):
                command = [
                    "run",
                    "--method",
                    "pix2pix",
                    "--weights",
                    "latest_net_G.pth",
                    "--dsm",
                    "dsm.tif",
                    "--no-report",
                ]
                command += ["--ndvi", "ndvi.tif", "--out", f"{index}-{number}", *more]
                runs[mode].append(timed(["-m", "refbench.cli.main", *command], folder)[0])
    base = statistics.median(network)
    official = base * OFFICIAL["cpu_s"] / OFFICIAL["network_cpu_s"]
    print(f"{SIZE} x {SIZE} px, medians of {options.repeats}, one thread")
    print(f"plain network            {base:5.2f} CPU s; official whole process, scaled to it: {official:.2f} CPU s")
    for mode, seconds in runs.items():
        median = statistics.median(seconds)
        print(f"{mode:24} {median:5.2f} CPU s, 1/{official / median:.2f} of the official whole process")
    step, fraction = statistics.median(steps), OFFICIAL["step_cpu_s"] * base / OFFICIAL["network_cpu_s"]
    print(f"training step            {step:5.2f} CPU s; official, scaled: {fraction:.2f}")


if __name__ == "__main__":
    main()
