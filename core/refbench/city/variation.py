"""What differs from city to city beside its plan: sensors, light, orbit, dates, matching, the making of the DSM.

``fixed`` is version 1: one sensor, one sun, one base, one matcher. ``drawn`` is version 2, as varied as the DSMs that
reach a user. Each version draws from its own generators, so that version 1 stays what it was, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from refbench.city.render import Sun
from refbench.contracts.method import derived_rng
from refbench.geometry.match_options import MatchOptions

if TYPE_CHECKING:
    from refbench.city.sensor import Optics

MATCHING_FRACTION = 0.8
"""Pixel of the matching frame over that of the images: below 1 few cells of the grid stay without a point."""


@dataclass(frozen=True, slots=True)
class Dates:
    """What changes between the two images and the reference: fractions of what is there on another date only.

    ``leaf_off`` is the fraction of a crown that the images do not see; the reference sees all of it.
    """

    cars: float = 0.0
    leaf_off: float = 0.0
    gone: float = 0.0
    """Fraction of the buildings that stand in the reference only."""
    trees: float = 0.0


@dataclass(frozen=True, slots=True)
class Making:
    """How points become an initial DSM; see ``finish.finished``."""

    layer: str = "mean"
    passes: int = 1
    """Independent matchings whose median is the DSM."""
    median_px: int = 0
    smooth_px: float = 0.0
    fill: Literal["none", "small", "all"] = "none"
    fill_by: Literal["nearest", "low", "linear"] = "nearest"
    reject_m: float = 0.0
    """Heights that stand out from the median of 5 x 5 by more are taken out; 0 keeps all."""


@dataclass(frozen=True, slots=True)
class Variation:
    """One draw. ``optics`` None: those of version 1. ``lean`` and ``base`` are tangents of angles from the nadir."""

    suns: tuple[Sun, Sun]
    optics: Optics | None = None
    image_gsd: float = 1.0
    """Pixel of the images over that of the grid."""
    lean: tuple[float, float] | None = None
    base: tuple[float, float] = (0.35, 0.0)
    """Base-to-height ratio and its azimuth in radians, where ``lean`` is given."""
    matching_fraction: float = MATCHING_FRACTION
    match: MatchOptions = field(default_factory=MatchOptions)
    making: Making = field(default_factory=Making)
    dates: Dates = field(default_factory=Dates)
    furniture: float = 0.0
    """How densely walls, hedges, fences and rubble stand, 0 to 1."""
    terraces: bool = False

    def notes(self) -> dict[str, Any]:
        """Return the draw as facts of JSON types."""
        return {
            "base_to_height": round(self.base[0], 3),
            "matcher": self.match.matcher,
            "window": self.match.window,
            "fill": self.making.fill,
            "passes": self.making.passes,
            "leaf_off": round(self.dates.leaf_off, 3),
        } | ({} if self.optics is None else {"snr": round(self.optics.snr, 1), "bits": self.optics.bits})


def fixed(seed: int) -> Variation:
    """Return version 1."""
    light = derived_rng(seed, "city", "light")
    sun = Sun(float(light.uniform(135, 205)), float(light.uniform(35, 60)))
    return Variation((sun, sun))


def drawn(seed: int) -> Variation:
    """Return the draw of a seed, version 2."""
    from refbench.city.sensor import Optics

    rng = derived_rng(seed, "city 2", "variation")
    azimuth, elevation = float(rng.uniform(0, 360)), float(rng.uniform(22, 70))
    same_day = rng.random() < 0.45
    turn, rise = (0.0, 0.0) if same_day else (rng.normal(0, 25), rng.normal(0, 8))
    suns = (Sun(azimuth, elevation), Sun(azimuth + float(turn), float(np.clip(elevation + rise, 18, 75))))
    optics = Optics(
        snr=float(np.exp(rng.uniform(np.log(10), np.log(80)))),
        shot_fraction=float(rng.uniform(0, 1)),
        blur_px=float(rng.uniform(0.35, 1.0)),
        bits=int(rng.choice([8, 10, 11, 12], p=[0.35, 0.15, 0.4, 0.1])),
        fill_fraction=(float(rng.uniform(0.25, 0.9)), float(rng.uniform(0.25, 0.9))),
    )
    off_nadir, towards = 0.4 * float(np.sqrt(rng.random())), float(rng.uniform(0, 2 * np.pi))
    dates = Dates(
        cars=float(rng.uniform(0.2, 1.0)),
        leaf_off=float(rng.uniform(0.5, 0.97)) if rng.random() < 0.35 else 0.0,
        gone=float(rng.uniform(0, 0.06)) if rng.random() < 0.4 else 0.0,
        trees=float(rng.uniform(0, 0.3)) if rng.random() < 0.5 else 0.0,
    )
    return Variation(
        suns=suns,
        optics=optics,
        image_gsd=float(rng.uniform(0.6, 1.15)),
        lean=(off_nadir * np.cos(towards), off_nadir * np.sin(towards)),
        base=(0.1 + 0.5 * float(rng.random()) ** 0.8, float(rng.uniform(0, 2 * np.pi))),
        matching_fraction=float(rng.uniform(0.7, 1.1)),
        match=_match_options(rng),
        making=draw_making(rng),
        dates=dates,
        furniture=float(rng.uniform(0, 1)) if rng.random() < 0.75 else 0.0,
        terraces=bool(rng.random() < 0.25),
    )


def _match_options(rng: np.random.Generator) -> MatchOptions:
    matcher = rng.choice(["sgbm", "census", "bm"], p=[0.52, 0.4, 0.08])
    common: dict[str, Any] = {
        "uniqueness_percent": int(rng.choice([0, 5, 8, 15])),
        "speckle_px": int(rng.choice([0, 30, 60, 200])),
        "left_right_px": int(rng.choice([1, 1, 2])),
    }
    if matcher == "sgbm":
        first = int(rng.integers(4, 16))
        ratio = int(rng.choice([4, 8, 12, 24]))
        directions = str(rng.choice(["hh", "five", "three"]))
        window = int(rng.choice([3, 5, 7, 9, 11]))
        return MatchOptions(window, first, ratio * first, **common, directions=directions)  # type: ignore[arg-type]
    if matcher == "census":
        first = int(rng.integers(6, 26))
        subpixel = str(rng.choice(["parabola", "angle", "angle", "none"], p=[0.35, 0.3, 0.3, 0.05]))
        window = int(rng.choice([3, 5, 7]))
        penalty = int(first * rng.uniform(2, 7))
        return MatchOptions(window, first, penalty, **common, matcher="census", subpixel=subpixel)  # type: ignore[arg-type]
    return MatchOptions(int(rng.choice([9, 13, 17, 21])), **common, matcher="bm")


def draw_making(rng: np.random.Generator) -> Making:
    """Return how one DSM is made from its points."""
    return Making(
        layer=str(rng.choice(["mean", "median", "max", "gaussian"], p=[0.45, 0.25, 0.1, 0.2])),
        passes=int(rng.choice([1, 3, 5], p=[0.75, 0.15, 0.1])),
        median_px=int(rng.choice([0, 3, 5, 7], p=[0.4, 0.3, 0.2, 0.1])),
        smooth_px=float(rng.uniform(0.5, 3.0)) if rng.random() < 0.4 else 0.0,
        fill=str(rng.choice(["none", "small", "all"], p=[0.4, 0.25, 0.35])),  # type: ignore[arg-type]
        fill_by=str(rng.choice(["nearest", "low", "linear"])),  # type: ignore[arg-type]
        reject_m=float(rng.uniform(1.0, 4.0)) if rng.random() < 0.4 else 0.0,
    )
