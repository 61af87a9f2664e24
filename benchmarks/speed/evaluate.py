"""CPU seconds of the evaluation on 4 Mpx: core statistics in memory, every layer but the bootstrap, the whole verb.

Run: python benchmarks/speed/evaluate.py. numpy's own mean, median and percentiles on the same array are the yardstick.
"""

from __future__ import annotations

import resource
import statistics as medians
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from refbench import DSM, Grid, Mask
from refbench.evaluation.evaluate import evaluate
from refbench.evaluation.statistics import statistics
from refbench.formats.raster_write import write_dsm, write_mask

SIDE = 2048
REPEATS = 3


def surfaces() -> tuple[DSM, DSM, dict[str, Mask]]:
    """Return an evaluated and a reference DSM with blocks for buildings, and three masks."""
    rng = np.random.default_rng(0)
    grid = Grid(SIDE, SIDE, Affine(0.5, 0, 5e5, 0, -0.5, 5.2e6), CRS.from_epsg(32632))
    building = np.kron(rng.random((SIDE // 32, SIDE // 32)) < 0.3, np.ones((32, 32))).astype(np.uint8)
    reference = (100 + 8 * building + rng.normal(0, 0.05, (SIDE, SIDE))).astype(np.float32)
    found = (reference + rng.laplace(0, 0.7, reference.shape)).astype(np.float32)
    found[rng.random(reference.shape) < 0.03] = np.nan
    masks = {"building": building, "water": np.roll(building, 700, 0), "forest": np.roll(building, 900, 1)}
    return DSM(found, grid), DSM(reference, grid), {name: Mask(values, grid, name) for name, values in masks.items()}


def cpu(run: object) -> float:
    """Return the median CPU seconds of a call."""
    spent = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        spent.append(time.process_time() - start)
    return medians.median(spent)


def process_cpu(command: list[str]) -> float:
    """Return the median CPU seconds of a process."""
    spent = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return medians.median(spent)


def main() -> None:
    """Print the table."""
    found, reference, masks = surfaces()
    e = (found.heights.astype(np.float64) - reference.heights)[found.valid]

    def plain() -> None:
        a = np.abs(e)
        e.mean(), a.mean(), e.std(), np.median(e), np.percentile(a, (68.27, 90, 95))
        np.median(np.abs(e - np.median(e)))

    print(f"numpy, a few statistics          {cpu(plain):6.2f} CPU s")
    print(f"core statistics                  {cpu(lambda: statistics(e)):6.2f} CPU s")
    layers = cpu(lambda: evaluate(found, reference, masks, bootstrap=False))
    print(f"every layer but the bootstrap    {layers:6.2f} CPU s")
    print(f"bootstrap besides                {cpu(lambda: evaluate(found, reference, masks)) - layers:6.2f} CPU s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dsm(folder / "e.tif", found)
        write_dsm(folder / "r.tif", reference)
        for mask in masks.values():
            write_mask(folder / f"{mask.name}.tif", mask)
        flags = [flag for mask in masks for flag in ("--mask", f"{mask}={folder / mask}.tif")]
        verb = [sys.executable, "-m", "refbench.cli.main", "evaluate"]
        whole = process_cpu([*verb, str(folder / "e.tif"), str(folder / "r.tif"), *flags, "--no-bootstrap"])
        imports = process_cpu([sys.executable, "-c", "import refbench.cli.evaluate"])
        print(f"refbench evaluate --no-bootstrap {whole:6.2f} CPU s, of which imports {imports:.2f}")


if __name__ == "__main__":
    main()
