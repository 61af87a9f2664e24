"""The realism table, which tells whether training data err as real DSMs do.

Run as ``python benchmarks/realism/table.py [--data FOLDER] [--cities N] [--version 1|2] [--cache FOLDER]``: N cities,
of version 2 each with its degraded DSMs, or the training samples of a cache. The folder of ``--data`` holds real and
semi-synthetic pairs in folders of their own (``usa_village_pair``, ``semisyn_*``, ``jax068_wv3``), each with
``reference_dsm.tif`` and DSMs to look at. A DSM that does not lie on its reference is coregistered once, as by
``--coregister initial-once``. The last lines say which column of which pair lies outside the 5-95 % range of the
cities; the exit code is 1 where there is one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from measures import COLUMNS, Realism, realism

from refbench.evaluation.coregistration import coregister
from refbench.evaluation.shift import shifted
from refbench.formats.raster import open_dsm
from refbench.geometry.warp import warp_dsm
from refbench.training.wild import make_samples, read_sample

if TYPE_CHECKING:
    from collections.abc import Iterator

PAIRS = ("usa_village_pair", "semisyn_*")
TO_COREGISTER = "jax068_wv3"


def real_pairs(data: Path) -> Iterator[tuple[str, Realism]]:
    """Yield name and figures of every pair below ``data``."""
    for pattern in (*PAIRS, TO_COREGISTER):
        for folder in sorted(data.glob(pattern)):
            reference = open_dsm(folder / "reference_dsm.tif").read()
            for path in sorted(folder.glob("input_dsm*.tif")):
                dsm = open_dsm(path).read()
                if folder.name == TO_COREGISTER:
                    dsm = warp_dsm(shifted(dsm, coregister(dsm, reference)), reference.grid)
                yield f"{folder.name}/{path.stem}", realism(dsm.heights, reference.heights, reference.grid.gsd)


def cities(first: int, count: int, size: int, version: int) -> Iterator[tuple[str, Realism]]:
    """Yield name and figures of procedural cities; pixels of version 2 are those of the training samples."""
    from refbench.city.make import make_city

    for seed in range(first, first + count):
        if version == 2:
            for variant, sample in enumerate(make_samples(seed)):
                yield f"city-{seed:04d}/{variant}", realism(sample.initial, sample.reference, sample.gsd)
        else:
            city = make_city(seed, size, aerial=0)
            yield f"city-{seed:04d}", realism(city.initial.heights, city.reference.heights, city.grid.gsd)


def cached(cache: Path) -> Iterator[tuple[str, Realism]]:
    """Yield name and figures of the training samples in a cache."""
    for path in sorted(cache.glob("wild-*.npz")):
        sample = read_sample(path)
        yield path.stem, realism(sample.initial, sample.reference, sample.gsd)


def row(name: str, figures: Realism) -> str:
    """Return one line of the table."""
    return f"{name:36s} " + " ".join(f"{value:14.3f}" for value in figures.values())


def outside(real: dict[str, Realism], made: list[Realism]) -> list[str]:
    """Return a line for every figure of a real pair outside the 5-95 % range of what was ``made``."""
    low, high = np.nanpercentile([figures.values() for figures in made], (5, 95), axis=0)
    lines = [row("5 %", Realism(*low)), row("95 %", Realism(*high))]
    print("\n".join(lines))
    return [
        f"{name}: {column} {value:.3f} outside {low[index]:.3f} to {high[index]:.3f}"
        for name, figures in real.items()
        for index, (column, value) in enumerate(zip(COLUMNS, figures.values(), strict=True))
        if np.isfinite(value) and not low[index] <= value <= high[index]
    ]


def main() -> int:
    """Print the table and what lies outside."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of real and semi-synthetic pairs")
    parser.add_argument("--cache", type=Path, help="training samples that are there, instead of cities to make")
    parser.add_argument("--cities", type=int, default=6, help="how many cities to make")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=256, help="side of a city in pixels")
    parser.add_argument("--version", type=int, default=2, choices=(1, 2), help="version of the city")
    options = parser.parse_args()
    print(f"{'':36s} " + " ".join(f"{column:>14s}" for column in COLUMNS))
    real = {}
    for name, figures in real_pairs(options.data) if options.data else ():
        real[name] = figures
        print(row(name, figures), flush=True)
    made = []
    source = cities(options.first_seed, options.cities, options.size, options.version)
    for name, figures in cached(options.cache) if options.cache else source:
        made.append(figures)
        print(row(name, figures), flush=True)
    if not made:
        return 0
    wrong = outside(real, made)
    print("\n".join(wrong) or "every pair lies within the 5-95 % range of the cities in every column")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
