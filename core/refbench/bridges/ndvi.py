"""NDVI from an ortho image that has a red and a near-infrared band."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from refbench.bridges.bridge import Bridge
from refbench.contracts.estimate import Estimate
from refbench.contracts.grid import Window
from refbench.contracts.need import Need
from refbench.contracts.raster import Image

if TYPE_CHECKING:
    from refbench.contracts.grid import Grid
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource

RED = ("red", "r")
NEAR_INFRARED = ("nir", "near infrared", "near-infrared", "near_infrared", "n")


@dataclass(frozen=True)
class NDVISource:
    """(nir - red) / (nir + red) of an image, read by window; pixels where both are 0 are invalid."""

    source: RasterSource[Image]
    red: int
    nir: int

    @property
    def grid(self) -> Grid | None:
        """The grid of the image."""
        return self.source.grid

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the image."""
        return self.source.shape

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the image."""
        return self.source.files

    def read(self, window: Window | None = None) -> Image:
        """Return the NDVI as an image of one band in [-1, 1]."""
        image = self.source.read(window)
        red, nir = (image.pixels[band].astype(np.float64) for band in (self.red, self.nir))
        total = red + nir
        known = (total > 0) & (red >= 0) & (nir >= 0)
        ndvi = np.where(known, (nir - red) / np.where(known, total, 1), 0).astype(np.float32)
        valid = known if image.valid is None else known & image.valid
        return Image(ndvi[None], image.grid, ("ndvi",), valid)


class OrthoToNDVI(Bridge):
    """Takes the first ortho, by name, with bands called red and nir (or near infrared)."""

    name = "ortho-to-ndvi"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ORTHO})
    serves_optional = True

    def makes(self, scene: Scene) -> frozenset[Need]:
        """Return NDVI."""
        del scene
        return frozenset({Need.NDVI})

    def condition(self, scene: Scene, held: frozenset[Need]) -> str | None:
        """Return that no ortho names the two bands."""
        del held
        return None if _found(scene) else "an ortho with bands named red and nir"

    def describe(self) -> str:
        """Return the formula."""
        return "NDVI from the ortho's bands red and nir: (nir - red) / (nir + red)"

    def estimate(self, scene: Scene) -> Estimate:
        """Return nothing: it is read by window."""
        del scene
        return Estimate(0, 0.0)

    def outline(self, scene: Scene) -> Scene:
        """Return the scene with its NDVI: nothing is read before it is asked for."""
        return self.apply(scene, Path())

    def apply(self, scene: Scene, scratch: Path) -> Scene:
        """Return the scene with its NDVI."""
        del scratch
        found = _found(scene)
        assert found is not None  # the condition
        return self._extended(scene, ndvi=found)


def _found(scene: Scene) -> NDVISource | None:
    for name in sorted(scene.orthos):
        source = scene.orthos[name]
        bands = [band.strip().lower() for band in source.read(Window(0, 0, 1, 1)).band_names]
        red = next((i for i, band in enumerate(bands) if band in RED), None)
        nir = next((i for i, band in enumerate(bands) if band in NEAR_INFRARED), None)
        if red is not None and nir is not None:
            return NDVISource(source, red, nir)
    return None
