"""Images of lenses with distortion, straightened as they are read."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.raster import Image
from refbench.formats.raster import ArraySource

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.grid import Grid, Window
    from refbench.formats.raster import ImageFile
    from refbench.geometry.cameras import Pinhole


@dataclass(frozen=True, slots=True)
class Distortion:
    """Radial k1, k2, k3 and tangential p1, p2 of a lens, OpenCV's model."""

    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0


class UndistortedImage:
    """An image as a pinhole of the same intrinsics would have taken it; invalid where the lens saw nothing."""

    def __init__(self, source: ImageFile, camera: Pinhole, distortion: Distortion) -> None:
        """Take the image, its pinhole and its lens; nothing is read yet."""
        self.source, self.camera, self.distortion = source, camera, distortion
        self.warnings: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid | None:
        """None: an image in camera pixels."""
        return None

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.source.shape

    @property
    def files(self) -> tuple[Path, ...]:
        """The image's file."""
        return self.source.files

    def read(self, window: Window | None = None) -> Image:
        """Return the straightened image or a padded window of it."""
        import cv2

        image = self.source.read()
        lens = np.array(astuple(self.distortion))
        K, size = np.asarray(self.camera.K), self.shape[::-1]
        across, down = cv2.initUndistortRectifyMap(K, lens, np.eye(3), K, size, cv2.CV_32FC1)
        known = np.ones(self.shape, np.uint8) if image.valid is None else image.valid.astype(np.uint8)
        bands = [cv2.remap(np.ascontiguousarray(band), across, down, cv2.INTER_LINEAR) for band in image.pixels]
        seen = cv2.remap(known, across, down, cv2.INTER_NEAREST) > 0
        straight = ArraySource(Image(np.stack(bands), None, image.band_names, seen))
        return straight.read(window)
