"""A stage-2 step of the depth refinement, CPU seconds and peak memory, each size in a process of its own.

Run as ``python benchmarks/speed/diffrender.py [--repeats 3] [--threads 1] [--backend numba]``. Synthetic scene,
6 views, batch 4, vertices every 4 pixels, without tonemapper and features. "official" are the figures of the official
program with a reference renderer on the CPU (2.02 CPU s; 6.32 CPU s and 6.4 GiB), measured on another day.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

OFFICIAL = {"480x640": (2.02, 2.5), "720x1280": (6.32, 6.4)}
WARM, STEPS = 3, 8


def work(size, threads, backend):
    """Print CPU seconds of a step and the peak in GiB."""
    import numpy as np
    import torch

    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.depth_mode.refinement import ViewRefinement
    from refbench_diffrender.rasteriser.rasteriser import rasteriser
    from refbench_diffrender.views.depth_image import from_absolute
    from refbench_diffrender.views.gl_cameras import Intrinsics
    from refbench_diffrender.views.view_image import SparsePoints, ViewImage

    torch.set_num_threads(threads)
    rows, cols = (int(side) for side in size.split("x"))
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:rows, :cols]
    depth = (3 + 0.4 * np.sin(x / 60) + 0.3 * np.cos(y / 45) + 0.5 * (x > cols / 2)).astype(np.float32)
    camera = Intrinsics(cols, cols, cols / 2, rows / 2, cols, rows)
    projection = torch.from_numpy(camera.projection(0.1, 20.0))
    views = []
    for number in range(6):
        matrix = np.eye(4)
        matrix[0, 3] = 0.1 * (number - 2)
        image = torch.from_numpy(rng.random((rows, cols, 3), np.float32))
        views.append(ViewImage(str(number), image, torch.from_numpy(matrix), projection))
    initial = from_absolute(torch.from_numpy(depth), compat=True)
    places = torch.from_numpy(rng.uniform(-0.9, 0.9, (3000, 2)).astype(np.float32))
    points = SparsePoints(places, torch.full((3000,), 3.0))
    config = DiffrenderConfig(stride=4, batch=4, init_steps=0, compat=True)
    draw = rasteriser(backend)
    run = ViewRefinement(views[2], views, camera, initial, initial.relative, points, (0.1, 20.0), config, draw)
    batches = [[int(view) for view in rng.integers(0, 6, 4)] for _ in range(WARM + STEPS)]
    steps = run.run(2, batches)
    for _ in range(WARM):
        next(steps)
    start = time.process_time()
    for _ in range(STEPS):
        next(steps)
    print((time.process_time() - start) / STEPS, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.threads, options.backend)
        return
    print(f"a stage-2 step, backend {options.backend}, medians of {options.repeats}, {options.threads} thread(s)")
    for size, (cpu, gib) in OFFICIAL.items():
        runs = []
        for _ in range(options.repeats):
            command = [sys.executable, __file__, "--threads", str(options.threads), "--backend", options.backend]
            done = subprocess.run([*command, "--work", size], capture_output=True, text=True, check=True)
            runs.append([float(word) for word in done.stdout.split()])
        found = [statistics.median(values) for values in zip(*runs, strict=True)]
        print(f"{size:9} official {cpu:5.2f} CPU s {gib:4.1f} GiB; here {found[0]:5.3f} CPU s {found[1]:4.2f} GiB   "
              f"1/{cpu / found[0]:.1f}, 1/{gib / found[1]:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
