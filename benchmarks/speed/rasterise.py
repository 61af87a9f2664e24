"""Speed of gridding a point cloud: CPU and wall seconds per layer, in UTM coordinates.

Run as ``python benchmarks/speed/rasterise.py [--points N] [--size CELLS] [--layers max,mean,...]``.
"""

import argparse
import resource
import time

import numpy as np
from affine import Affine

from refbench.contracts.grid import Grid
from refbench.geometry.rasterise import layers, rasterise

TARGETS = {"max": 10.0, "mean": 10.0, "median": 3.0}


def cloud(count: int, extent: float, seed: int) -> np.ndarray:
    """Return ``count`` uniformly spread points [N, 3] in UTM coordinates, in no order."""
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(0, extent, (count, 3))
    xyz += [500000.0, 5200000.0 - extent, 100.0]
    return xyz


def main() -> None:
    """Print one line per layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--size", type=int, default=2000, help="rows and columns of the grid")
    parser.add_argument("--layers", default=",".join(layers))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    grid = Grid(options.size, options.size, Affine(0.5, 0, 500000.0, 0, -0.5, 5200000.0))
    xyz = cloud(options.points, options.size * 0.5, options.seed)
    print(f"{options.points:,} points, {options.size} x {options.size} cells of 0.5 m")
    print(f"{'layer':>9} {'wall s':>8} {'CPU s':>8} {'Mpt/s':>8} {'target':>8}")
    for layer in options.layers.split(","):
        wall, cpu = time.perf_counter(), time.process_time()
        rasterise(xyz, grid, layer)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        target = f"{TARGETS[layer]:8.0f}" if layer in TARGETS else ""
        print(f"{layer:>9} {wall:8.2f} {cpu:8.2f} {options.points / wall / 1e6:8.1f} {target}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
