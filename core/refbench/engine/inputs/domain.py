"""Whether a scene lies in the domain of weights: pixel size, noise, contrast, point density, what is missing.

Everything is measured on a few windows, so that it costs next to nothing on rasters of any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.grid import Window
from refbench.weights.domain import Domain, bounds
from refbench.weights.weights_folder import is_weights_folder, read_weights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.raster import DSM, Image
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource
    from refbench.weights.domain import Range

WINDOW = 256
"""Side in pixels of the windows that are looked at."""
WINDOWS = 3
"""How many of them a side."""
LEAST_SAMPLES = 100
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class _Figure:
    """A range of the domain: what it is of, its unit, its name in ``Domain``."""

    name: str
    what: str
    unit: str


_FIGURES = (
    _Figure("gsd", "a pixel size", " m"),
    _Figure("noise", "noise of a pixel", " m"),
    _Figure("contrast", "a contrast of the ortho images", ""),
    _Figure("density", "a point density", " per square metre"),
    _Figure("views", "a number of views", ""),
)


def weights_domain(weights: Path | None) -> Domain:
    """Return the domain of weights; one that asks for nothing where they are no weights folder, or there are none.

    Raises
    ------
    WeightsError
        Their ``model.yaml`` states an impossible one.
    """
    if weights is None:
        return Domain()
    folder = weights if weights.is_dir() else weights.parent
    return read_weights(folder).domain if is_weights_folder(folder) else Domain()


def outside_domain(domain: Domain, scene: Scene) -> tuple[str, ...]:
    """Return a sentence for everything in which a scene lies outside the domain of the weights.

    What the domain does not state, or the scene does not hold, is not looked at.
    """
    said = []
    for figure in _FIGURES:
        limits: Range | None = getattr(domain, figure.name)
        value = None if limits is None else _MEASURES[figure.name](scene)
        if value is not None and _is_outside(value, limits):
            said.append(
                f"Outside the domain of the weights: {figure.what} of {value:.2g}{figure.unit}; "
                f"they know {_range(limits)}{figure.unit}."
            )
    return (*said, *_missing(domain, scene))


def changed_weights(asked: Path | None, used: Path | None) -> tuple[str, ...]:
    """Return a sentence where other weights run than those that were asked for."""
    if asked is None or used is None or used.resolve() in (asked.resolve(), asked.resolve().parent):
        return ()
    if is_weights_folder(used) and is_weights_folder(asked):
        return (f"The weights {used.name} run in place of {asked.name}: the scene lacks inputs of the latter.",)
    return ()


def pixel_noise(heights: NDArray[np.float32]) -> float:
    """Return the standard deviation of white noise in one pixel of a DSM, metres; NaN where little is known.

    Parameters
    ----------
    heights
        float32 [rows, cols], NaN unknown.
    """
    z = heights.astype(np.float64)
    # Second differences do not see planes; those of white noise of deviation s have deviation s * sqrt(1 + 4 + 1).
    bends = [z[2:] - 2 * z[1:-1] + z[:-2], z[:, 2:] - 2 * z[:, 1:-1] + z[:, :-2]]
    bend = np.concatenate([part[np.isfinite(part)] for part in bends])
    if len(bend) < LEAST_SAMPLES:
        return math.nan
    # The median of |.| sees roofs and ground, not the few edges between them.
    return MAD_TO_SIGMA * float(np.median(np.abs(bend))) / math.sqrt(6)


def contrast(values: NDArray[np.float64]) -> float:
    """Return the contrast of an image's values [n], in [0, 1]: (p95 - p5) / (p95 + p5); NaN where it has no meaning."""
    if len(values) < LEAST_SAMPLES:
        return math.nan
    low, high = np.percentile(values, [5, 95])
    return float((high - low) / (high + low)) if low >= 0 and high > 0 else 0.0 if low == high else math.nan


def _is_outside(value: float, limits: Range | None) -> bool:
    low, high = bounds(limits)
    return math.isfinite(value) and not low <= value <= high


def _range(limits: Range | None) -> str:
    low, high = bounds(limits)
    if math.isinf(high):
        return f"{low:g} and more"
    return f"{low:g} to {high:g}" if low > 0 else f"up to {high:g}"


def _windows(source: RasterSource[Any]) -> Iterator[Window]:
    """Yield up to 3 x 3 windows, spread evenly over a raster."""
    rows, cols = source.shape
    height, width = min(rows, WINDOW), min(cols, WINDOW)
    for row in sorted({round(part * (rows - height) / (WINDOWS - 1)) for part in range(WINDOWS)}):
        for col in sorted({round(part * (cols - width) / (WINDOWS - 1)) for part in range(WINDOWS)}):
            yield Window(col, row, width, height)


def _gsd(scene: Scene) -> float | None:
    return None if scene.grid is None else scene.grid.gsd


def _noise(scene: Scene) -> float | None:
    source: RasterSource[DSM] | None = scene.dsm
    if source is None:
        return None
    found = [pixel_noise(source.read(window).heights) for window in _windows(source)]
    known = [value for value in found if math.isfinite(value)]
    return float(np.median(known)) if known else None


def _contrast(scene: Scene) -> float | None:
    """Return the contrast of the faintest ortho image."""
    found = [contrast(_values(source)) for source in scene.orthos.values()]
    known = [value for value in found if math.isfinite(value)]
    return min(known) if known else None


def _values(source: RasterSource[Image]) -> NDArray[np.float64]:
    """Return the valid values of all bands of an image's windows, [n]."""
    parts = []
    for window in _windows(source):
        image = source.read(window)
        values = image.pixels.astype(np.float64)
        kept = np.isfinite(values) if image.valid is None else np.isfinite(values) & image.valid
        parts.append(values[kept])
    return np.concatenate(parts)


def _density(scene: Scene) -> float | None:
    """Return the points per square metre of the rectangle around them."""
    if scene.points is None or scene.grid is None:
        return None
    around = scene.points.bounds()
    area = (around.east - around.west) * (around.north - around.south)
    return scene.points.count() / area if area > 0 else None


def _views(scene: Scene) -> float | None:
    return float(len(scene.views))


_MEASURES = {"gsd": _gsd, "noise": _noise, "contrast": _contrast, "density": _density, "views": _views}


def _missing(domain: Domain, scene: Scene) -> Iterator[str]:
    if domain.images is not None and (there := len(scene.orthos)) < domain.images:
        yield f"The weights take {domain.images} ortho images, the scene has {there or 'none'}."
    if domain.ndvi and scene.ndvi is None:
        yield "The weights take an NDVI, the scene has none."
