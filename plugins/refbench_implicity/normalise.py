"""How heights and image values become network inputs, and where the constants come from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from refbench.contracts.errors import InputError, WeightsError
from refbench.contracts.grid import Window
from refbench_implicity.config import published

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from refbench.contracts.raster import Image
    from refbench.contracts.source import RasterSource
    from refbench_implicity.config import NormalisationConfig, ZShift

SAMPLE_SIDE = 1024
SAMPLE_WINDOWS = 9


@dataclass(frozen=True, slots=True)
class ImageScale:
    """Maps image values v to (v - centre) / spread."""

    centre: float
    spread: float

    def apply(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return scaled float32 values of the same shape; unknown ones (NaN) become 0, the centre."""
        scaled = ((np.asarray(values, np.float64) - self.centre) / self.spread).astype(np.float32)
        return np.nan_to_num(scaled, copy=False, nan=0.0)


def robust_scale(values: NDArray[Any]) -> ImageScale:
    """Return the scale by median and interquartile range of some values of any shape; NaN does not count.

    An image whose middle half has one value gets spread 1, one without values the scale (0, 1).
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return ImageScale(0.0, 1.0)
    low, centre, high = (float(v) for v in np.percentile(known, (25, 50, 75)))
    return ImageScale(centre, (high - low) or 1.0)


def one_band(image: Image, rule: Literal["first", "mean"]) -> NDArray[np.float64]:
    """Return the image as one band, float64 [rows, cols], NaN where it holds no data."""
    pixels = np.asarray(image.pixels, np.float64)
    band = pixels[0] if rule == "first" else pixels.mean(axis=0)
    return band if image.valid is None else np.where(image.valid, band, np.nan)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """The constants that a set of weights was trained with."""

    z_std: float
    z_shift: ZShift
    image_rule: Literal["fixed", "robust"]
    image_mean: float
    image_std: float
    bands: Literal["first", "mean"]

    def image_scale(self, source: RasterSource[Image]) -> ImageScale:
        """Return the scale of one ortho image; ``robust`` reads it, a large one by sample windows."""
        if self.image_rule == "fixed":
            return ImageScale(self.image_mean, self.image_std)
        parts = [one_band(source.read(window), self.bands).ravel() for window in _sample_windows(source)]
        return robust_scale(np.concatenate(parts))

    def as_dict(self) -> dict[str, Any]:
        """Return the constants as ``model.yaml`` stores them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def resolve_normalisation(
    config: NormalisationConfig, stored: Mapping[str, Any], *, images: bool = True
) -> tuple[Normalisation, tuple[str, ...]]:
    """Return the constants: from the configuration, else as stored with the weights, else the published ones.

    The notes say which were assumed; those of ``images`` do not matter to a network without any.
    """
    values: dict[str, Any] = {}
    assumed = []
    for field in fields(Normalisation):
        configured = getattr(config, field.name)
        values[field.name] = stored.get(field.name) if configured is None else configured
        if values[field.name] is None:
            values[field.name] = getattr(published, field.name)
            assumed.append(field.name)
    if values["image_rule"] == "robust":
        if "bands" in assumed:
            values["bands"] = "mean"
        assumed = [name for name in assumed if name not in ("image_mean", "image_std", "bands")]
    if not images:
        assumed = [name for name in assumed if name.startswith("z_")]
    if not values["z_std"] > 0 or not values["image_std"] > 0:
        raise WeightsError(f"z_std and image_std must be positive, got {values['z_std']} and {values['image_std']}.")
    if not assumed:
        return Normalisation(**values), ()
    note = "Neither weights nor configuration carry these constants, the published ones are used: "
    return Normalisation(**values), (note + ", ".join(f"{name} {values[name]}" for name in assumed) + ".",)


def _sample_windows(source: RasterSource[Image]) -> Iterator[Window]:
    """Yield the whole image, or evenly spread windows of a large one."""
    grid = source.grid
    if grid is None:
        raise InputError("An ortho image needs a grid; one in camera pixels is a view.")
    if grid.width * grid.height <= SAMPLE_WINDOWS * SAMPLE_SIDE**2:
        yield grid.full_window
        return
    side = round(SAMPLE_WINDOWS**0.5)
    width, height = min(SAMPLE_SIDE, grid.width), min(SAMPLE_SIDE, grid.height)
    for row in np.linspace(0, grid.height - height, side).astype(int).tolist():
        for col in np.linspace(0, grid.width - width, side).astype(int).tolist():
            yield Window(col, row, width, height)
