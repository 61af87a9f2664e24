"""A camera model that refbench does not know: a level line scanner. One file, and everything takes it."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from refbench.formats.camera_files import CameraFormat, register_camera_format
from refbench.geometry.camera_model import CameraModel, resized


@dataclass(frozen=True)
class LineScanner(CameraModel):
    """Flies south at ``altitude`` and scans lines from west to east, each by a slit of its own centre of projection.

    The column is that of a pinhole across the track, ``focal * (x - x0) / (altitude - h) + centre``; the row grows by
    one every ``step`` metres from ``y0`` to the south and leans by ``lean`` metres a metre of height. Depth is the
    distance below the platform. So rays of a line meet, those of an image do not.
    """

    x0: float
    y0: float
    altitude: float
    focal: float
    centre: float
    step: float
    lean: float = 0.0
    low: float = 0.0
    high: float = 300.0

    @property
    def height_range(self):
        return self.low, self.high

    def project(self, xyz):
        x, y, h = np.moveaxis(np.asarray(xyz, np.float64), -1, 0)
        depth = self.altitude - h
        col = self.focal * (x - self.x0) / np.where(depth > 0, depth, np.nan) + self.centre
        return col, (self.y0 - y + self.lean * h) / self.step, depth

    def unproject(self, col, row, depth):
        col, row, depth = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (col, row, depth)))
        x, h = self.x0 + (col - self.centre) * depth / self.focal, self.altitude - depth
        return np.stack([x, self.y0 + self.lean * h - self.step * row, h], axis=-1)

    def scaled(self, across, down):
        step = self.step / down
        # Row -0.5 stays where it is.
        y0 = self.y0 + 0.5 * (self.step - step)
        return replace(self, focal=self.focal * across, centre=resized(self.centre, across), step=step, y0=y0)

    def to_torch(self):
        from torch_pushbroom import TorchLineScanner

        return TorchLineScanner(self)


register_camera_format(
    CameraFormat(
        "line_scanner", LineScanner, tuple(LineScanner.__dataclass_fields__), asdict,
        lambda content, crs: LineScanner(**content),
    )
)  # fmt: skip
