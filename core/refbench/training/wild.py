"""Training samples of the recipes ``*-wild``: cities of version 2, real surfaces and degraded ones, cached by seed.

A sample file holds one scene of ``SIDE`` px: initial and reference DSM, two orthos scaled by their own statistics.
Every number in it follows from its seed, so that a cache can be thrown away; files are written beside and renamed, so
that several processes may fill one cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from refbench.city import FIRST_TEST_SEED
from refbench.contracts.errors import InputError
from refbench.contracts.method import derived_rng
from refbench.contracts.raster import DSM
from refbench.files.atomic import atomic_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.city.make import City

SIDE = 256
LARGEST_GSD, SMALLEST_GSD = 1.0, 0.25
SURFACE_FRACTION = 0.5
"""Fraction of the seeds that take a real surface, where surfaces are given."""
ANY_METRIC_CRS = "EPSG:32632"
NOISY_GSD = 0.5
DEGRADED = 4
"""Degraded DSMs beside the matched one, of the same images."""


@dataclass(frozen=True, slots=True, eq=False)
class WildSample:
    """``initial`` (NaN in holes) and ``reference`` float32 [n, n] metres; ``images`` float16 [2, n, n], 0 unknown.

    Images are scaled by their own median and interquartile range. ``forest`` and ``building`` bool [n, n].
    """

    initial: NDArray[np.float32]
    reference: NDArray[np.float32]
    images: NDArray[np.float16]
    gsd: float
    building: NDArray[np.bool_]
    forest: NDArray[np.bool_]


Kind = Literal["matched", "degraded"]


def sample_path(cache: Path, seed: int, variant: int) -> Path:
    """Return where a sample lies: variant 0 is matched, then come the degraded ones, last the city of version 1."""
    return cache / f"wild-{seed:05d}-{variant}.npz"


def make_samples(seed: int, surfaces: Sequence[Path] = ()) -> list[WildSample]:
    """Return the samples of a seed: one city or surface under satellites, its matched DSM and degraded ones.

    Raises
    ------
    InputError
        The seed makes no city, or a surface cannot be used.
    """
    from refbench.city.degrade import degraded
    from refbench.city.make import fill_nearest, make_city
    from refbench.geometry.ortho import orthorectify

    rng = derived_rng(seed, "wild")
    gsd = round(float(np.exp(rng.uniform(np.log(SMALLEST_GSD), np.log(LARGEST_GSD)))), 3)
    is_surface = bool(surfaces) and rng.random() < SURFACE_FRACTION
    surface = None
    if is_surface:
        surface = open_surface(surfaces[int(rng.integers(len(surfaces)))])
        gsd = max(gsd, 0.45 * surface.grid.gsd)
    city = make_city(seed, SIDE, gsd, aerial=0, version=2, surface=surface)
    samples = [_sample(city, city.initial, [city.orthos[name].pixels[0] for name in ("a", "b")])]
    for index in range(DEGRADED):
        heights = degraded(city.reference.heights, gsd, derived_rng(seed, "degraded", index))
        if np.isnan(heights).all():
            continue
        initial = DSM(heights, city.grid)
        whole = fill_nearest(initial)
        orthos = [orthorectify(photo.image, photo.camera, whole).pixels[0] for photo in city.satellites]
        samples.append(_sample(city, initial, orthos))
    return [*samples, noisy_sample(seed)]


def noisy_sample(seed: int) -> WildSample:
    """Return the city of version 1: the noisiest images and one matcher, at 0.5 m."""
    from refbench.city.make import make_city

    city = make_city(seed, SIDE, NOISY_GSD, aerial=0)
    return _sample(city, city.initial, [city.orthos[name].pixels[0] for name in ("a", "b")])


def open_surface(path: Path) -> DSM:
    """Return a surface; only its metres count, so that one without CRS is taken as metric."""
    from refbench.formats.raster import open_dsm

    try:
        return open_dsm(path).read()
    except InputError:
        return open_dsm(path, crs=ANY_METRIC_CRS).read()


def _sample(city: City, initial: DSM, orthos: Sequence[NDArray[Any]]) -> WildSample:
    from refbench.geometry.image_scale import robust_scale

    layers = []
    for pixels in orthos:
        values = np.where(np.isfinite(pixels) & (pixels > 0), pixels, np.nan).astype(np.float32)
        layers.append(np.clip(robust_scale(values).apply(values), -30, 30))
    masks = {name: city.masks[name].is_class for name in ("building", "forest")}
    return WildSample(
        initial.heights, city.reference.heights, np.stack(layers).astype(np.float16), city.grid.gsd, **masks
    )


def fill_cache(cache: Path, seeds: Sequence[int], surfaces: Sequence[Path] = (), *, training: bool = True) -> int:
    """Make what the cache lacks of ``seeds`` and return how many samples were made; seeds without a city are left out.

    Raises
    ------
    InputError
        A seed that is kept for tests was asked for training.
    """
    if training and any(seed >= FIRST_TEST_SEED for seed in seeds):
        raise InputError(f"Seeds from {FIRST_TEST_SEED} on are kept for tests; take lower ones for training.")
    cache.mkdir(parents=True, exist_ok=True)
    made = 0
    for seed in seeds:
        if sample_path(cache, seed, 0).exists():
            continue
        try:
            samples = make_samples(seed, surfaces)
        except InputError:
            continue
        # Variant 0 is written last: it says that the seed is complete.
        for variant in reversed(range(len(samples))):
            write_sample(sample_path(cache, seed, variant), samples[variant])
        made += len(samples)
    return made


def write_sample(path: Path, sample: WildSample) -> None:
    """Write a sample."""
    with atomic_file(path) as file:
        np.savez(
            file,
            initial=sample.initial,
            reference=sample.reference,
            images=sample.images,
            gsd=np.float64(sample.gsd),
            building=sample.building,
            forest=sample.forest,
        )


def read_sample(path: Path) -> WildSample:
    """Read a sample; ``InputError`` where the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as held:
            values = {name: held[name] for name in held.files}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is no training sample ({error}); delete it and it is made again.") from error
    return WildSample(**{**values, "gsd": float(values["gsd"])})
