"""ResDepth on one raster: refbench's modes beside the published network run tile by tile, whole processes.

Run as ``python benchmarks/speed/resdepth.py [--size 1024] [--repeats 3] [--modes exact bf16 fast]``. A synthetic
scene (initial DSM, reference, building mask, one stereo pair) and a full-size network of random weights are written as
official files and refined through the command line; CPU seconds are those of all processes together, imports, reading,
evaluation and writing included. "plain" is the network alone as published: every tile by itself, contiguous, nothing
folded. "official" are the figures of the official code for 1024 x 1024, measured on another day of this machine:
compare with plain, which took 17.4 CPU s of its 23 there.
"""

import argparse
import json
import os
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

OFFICIAL = {"cpu_s": 23.0, "peak_mib": 620, "network_cpu_s": 17.4, "size": 1024}
TILE, STRIDE, GSD, STD = 256, 128, 0.25, 3.0
MODES = {
    "exact": [],
    "bf16": ["--set", "inference.precision=bfloat16"],
    "fast": ["--set", "inference.precision=bfloat16", "--set", "inference.overlap=0.125"],
}


def write_scene(folder, rows, cols):
    """Write the scene and the run folder in the official formats."""
    import rasterio
    import torch
    from affine import Affine

    from refbench_resdepth.config import ModelConfig
    from refbench_resdepth.network.network import UNet
    from refbench_resdepth.official.model import official_settings

    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 4, (rows // 64 + 1, cols // 64 + 1)) > 2, np.ones((64, 64)))[:rows, :cols]
    reference = (400 + 15 * blocks + np.linspace(0, 5, cols)[None]).astype(np.float32)
    layers = {
        "truth": reference,
        "initial": (reference + rng.normal(0, 1, reference.shape)).astype(np.float32),
        "building": blocks.astype(np.uint8),
        "ortho_0": (300 + 200 * blocks + rng.normal(0, 20, reference.shape)).astype(np.uint16),
        "ortho_1": (320 + 180 * blocks + rng.normal(0, 20, reference.shape)).astype(np.uint16),
    }
    for name, values in layers.items():
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", width=cols, height=rows, count=1, dtype=values.dtype,
            crs="EPSG:32632", transform=Affine(GSD, 0, 465_000, 0, -GSD, 5_247_000), tiled=True,
        ) as file:  # fmt: skip
            file.write(values, 1)
    torch.manual_seed(0)
    net = UNet(ModelConfig())
    state = {"epoch": 0, "model_state_dict": net.state_dict(), "loss_train": 0.0, "loss_val": 0.0}
    torch.save(state, folder / "Model_best.pth")
    (folder / "model_config.json").write_text(json.dumps(official_settings(net.config)))
    scales = {"DSM": {"mean": None, "std": STD}, "Image": {"mean": 350.0, "std": 90.0}}
    for name, values in scales.items():
        (folder / f"{name}_normalization_parameters.p").write_bytes(pickle.dumps(values))
    (folder / "images.txt").write_text("ortho_0.tif\northo_1.tif\n")
    (folder / "pairs.txt").write_text("ortho_0.tif, ortho_1.tif\n")


def write_config(folder, *, scored):
    """Write the inference configuration."""
    dataset = {
        "name": "city",
        "raster_in": "initial.tif",
        "path_image_list": "images.txt",
        "path_pairlist": "pairs.txt",
    }
    if scored:
        dataset |= {"raster_gt": "truth.tif", "mask_building": "building.tif"}
    model = {
        "weights": "Model_best.pth",
        "architecture": "model_config.json",
        "normalization_geom": "DSM_normalization_parameters.p",
        "normalization_image": "Image_normalization_parameters.p",
    }
    content = {
        "datasets": [dataset],
        "model": model,
        "general": {"tile_size": TILE},
        "output": {"directory": "official"},
    }
    (folder / "config.json").write_text(json.dumps(content))


def timed(arguments, folder, threads):
    """Run a process; return CPU seconds of it and its children, wall seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - start, done.stdout


def plain(folder, tiles):
    """Print the CPU seconds of ``tiles`` forward passes of the published network."""
    import torch

    from refbench_resdepth.weights import filled_network, read_model

    stored = read_model(folder / "Model_best.pth")
    net = filled_network(stored)
    x = torch.randn(1, 3, TILE, TILE)
    with torch.inference_mode():
        net(x)
        start = time.process_time()
        for _ in range(tiles):
            net(x)
    print(time.process_time() - start)


def heights(path):
    """Heights of a raster, float64."""
    import rasterio

    with rasterio.open(path) as file:
        return file.read(1).astype(np.float64)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, nargs="+", default=[1024], help="rows [cols]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=list(MODES))
    parser.add_argument("--unscored", action="store_true", help="without reference, as for rasters larger than memory")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tiles", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain(options.plain, options.tiles)
        return
    rows, cols = (options.size * 2)[:2]
    tiles = int(np.prod([-(-(n - TILE) // STRIDE) + 1 for n in (rows, cols)]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scene(folder, rows, cols)
        write_config(folder, scored=not options.unscored)
        few = min(tiles, 49)
        runs = {mode: [] for mode in ("plain", *options.modes)}
        for number in range(options.repeats):
            _, _, text = timed([__file__, "--plain", str(folder), "--tiles", str(few)], folder, options.threads)
            runs["plain"].append((float(text) * tiles / few, 0.0, 0))
            for mode in options.modes:
                out = folder / f"{mode}-{number}"
                command = ["run", "--method", "resdepth", "--config", "config.json", "--out", str(out), "--no-report"]
                cpu, wall, _ = timed(["-m", "refbench.cli.main", *command, *MODES[mode]], folder, options.threads)
                result = json.loads((out / "result.json").read_text())
                runs[mode].append((cpu, wall, result["cost"]["peak_memory_bytes"] / 2**20))
        print(
            f"{rows} x {cols} px, {tiles} tiles of {TILE} px, medians of {options.repeats}, {options.threads} threads"
        )
        base = statistics.median(run[0] for run in runs["plain"])
        official = base * OFFICIAL["cpu_s"] / OFFICIAL["network_cpu_s"]
        print(f"plain     {base:7.1f} CPU s, network only; official whole process, scaled to it: {official:.1f} CPU s")
        for mode in options.modes:
            cpu, wall, peak = (statistics.median(run[i] for run in runs[mode]) for i in range(3))
            line = f"{mode:9} {cpu:7.1f} CPU s {wall:7.1f} s  {peak:6.0f} MiB  1/{official / cpu:.2f} of the official"
            if mode != "exact" and "exact" in options.modes:
                error = heights(folder / f"{mode}-0" / "dsm.tif") - heights(folder / "exact-0" / "dsm.tif")
                line += f"  RMSE to exact {100 * np.sqrt(np.nanmean(error**2)):.2f} cm"
            print(line)


if __name__ == "__main__":
    main()
