"""Machines, hours and cost of a city, a country, the land surface, from what jobs of this machine take.

``python benchmarks/scaling/areas.py`` runs a few small jobs and prints the tables of docs/scaling.md. CPU seconds and
bytes are those of ``result.json``; everything below the first table is arithmetic on them.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from scipy import ndimage

import refbench
from refbench import DSM, Grid
from refbench.formats.raster import write_dsm

AREAS_KM2 = {"city, 500 km²": 500.0, "country, 360,000 km²": 360e3, "land, 149 million km²": 149e6}
TILE = 4096
"""Pixels a side of one job's raster in the plan."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What one method takes: CPU seconds of a job apart from its pixels, and of a megapixel; bytes on disk a pixel."""

    method: str
    fixed_s: float
    megapixel_s: float
    peak_bytes: int
    disk_bytes: float

    def core_hours(self, km2: float, gsd: float) -> float:
        """Return the core hours of an area in tiles of ``TILE`` px."""
        megapixels = km2 / gsd**2
        return (megapixels * self.megapixel_s + megapixels * 1e6 / TILE**2 * self.fixed_s) / 3600


def city_like(size: int, gsd: float) -> DSM:
    """Return hills with blocks and noise, float32 [size, size] metres."""
    rng = np.random.default_rng(7)
    hills = ndimage.zoom(rng.normal(size=(33, 33)), size / 33, order=1)[:size, :size]
    heights = rng.uniform(3, 15, (size // 32, size // 32)) * (rng.random((size // 32, size // 32)) < 0.3)
    surface = 100 + 20 * hills + np.kron(heights, np.ones((32, 32))) + rng.normal(0, 0.5, (size, size))
    transform = Affine(gsd, 0, 500_000, 0, -gsd, 5_000_000)
    return DSM(surface.astype(np.float32), Grid(size, size, transform, CRS.from_epsg(32632)))


def measured(method: str, dsm: Path, folder: Path, pixels: int) -> Rate:
    """Run one job on one thread, unscored, and return its rate."""
    result = refbench.run(method=method, files={"dsm": dsm}, out=folder / method, threads=1)
    assert result.cost.cpu_s is not None and result.cost.peak_memory_bytes is not None
    work = sum(phase.cpu_s for phase in result.phases if phase.name == "refine")
    disk = (folder / method / "dsm.tif").stat().st_size / pixels
    return Rate(method, result.cost.cpu_s - work, work / (pixels / 1e6), result.cost.peak_memory_bytes, disk)


def short(value: float) -> str:
    """Return a number of two digits or, where it is larger, without decimals."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", nargs="+", default=["input", "median", "resdepth", "pix2pix"])
    parser.add_argument("--size", type=int, default=1024, help="pixels a side of the DSM that is measured")
    parser.add_argument("--gsd", type=float, default=0.5, help="metres a pixel of the plan")
    parser.add_argument("--price", type=float, default=0.04, help="of a core hour")
    parser.add_argument("--cores", type=int, default=64, help="of one machine")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dsm(folder / "dsm.tif", city_like(asked.size, asked.gsd))
        rates = [measured(method, folder / "dsm.tif", folder, asked.size**2) for method in asked.methods]
    print(
        "| method | CPU s a job | CPU s a megapixel | px/s a core | km²/h a core | peak MiB | bytes a pixel on disk |"
    )
    print("|---|" + "---:|" * 6)
    for rate in rates:
        speed = 1e6 / rate.megapixel_s
        print(
            f"| {rate.method} | {rate.fixed_s:.1f} | {rate.megapixel_s:.2f} | {speed:,.0f} "
            f"| {speed * asked.gsd**2 * 3600 / 1e6:,.0f} | {rate.peak_bytes / 2**20:,.0f} | {rate.disk_bytes:.2f} |"
        )
    print("\n| area | method | tiles | core hours | hours on 1 machine | hours on 1,000 cores | cost | TB written |")
    print("|---|---|" + "---:|" * 6)
    for area, km2 in AREAS_KM2.items():
        for rate in rates:
            hours, pixels = rate.core_hours(km2, asked.gsd), km2 * 1e6 / asked.gsd**2
            print(
                f"| {area} | {rate.method} | {pixels / TILE**2:,.0f} | {short(hours)} | {short(hours / asked.cores)} "
                f"| {short(hours / 1000)} | {short(hours * asked.price)} | {short(pixels * rate.disk_bytes / 1e12)} |"
            )


if __name__ == "__main__":
    main()
