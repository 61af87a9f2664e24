"""What a camera is. Integer image coordinates are pixel centres; depth is z along the optical axis, not ray length.

Code asks a camera by the members declared here and never by its type: a camera model that has them all works
everywhere. ``refbench.geometry.camera_model.CameraModel`` holds what most of them share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rasterio.crs import CRS
    from torch import Tensor
    from typing_extensions import Self

    Floats = NDArray[np.float64]
    Projected = tuple[Floats, Floats, Floats]
    TorchProjected = tuple[Tensor, Tensor, Tensor]


class PinholeMatrices(NamedTuple):
    """``(col, row, 1) ~ K (R X + t)``: ``K`` float64 [3, 3] in pixels, ``R`` float64 [3, 3], ``t`` float64 [3]."""

    K: Floats
    R: Floats
    t: Floats


@runtime_checkable
class Camera(Protocol):
    """Maps scene coordinates (x, y, height; metres where the scene has a CRS) to image coordinates (col, row; pixels).

    *Depth* orders the points of a line of sight, the nearest first: z in the camera's frame for a perspective camera,
    the distance along the viewing direction for an affine one, minus the height for an RPC.
    """

    @property
    def is_perspective(self) -> bool:
        """Whether rays meet in a centre, depth is z, and 1/depth is linear along straight lines in the image.

        Of all other cameras depth itself is linear there.
        """

    @property
    def pinhole(self) -> PinholeMatrices | None:
        """The matrices of a pinhole camera; None of every other model."""

    @property
    def size(self) -> tuple[int, int] | None:
        """(rows, cols) of the image that the camera is for; None where its file does not say."""

    @property
    def height_range(self) -> tuple[float, float] | None:
        """Lowest and highest height, metres, that the camera was made for; None where nothing says it."""

    @property
    def crs(self) -> CRS | None:
        """The CRS of the scene coordinates; None where the camera does not know it, or they are its own frame."""

    @property
    def lonlat(self) -> tuple[float, float] | None:
        """Longitude and latitude (degrees, WGS 84) of the middle of what it sees; None where it knows no place."""

    def project(self, xyz: Floats) -> Projected:
        """Return (col, row, depth), each float64 [...], of scene points ``xyz`` float64 [..., 3].

        Points that the camera cannot see have NaN as col and row.
        """

    def unproject(self, col: Floats, row: Floats, depth: Floats) -> Floats:
        """Return scene points float64 [..., 3] of image coordinates (pixels) and depths [...]: ``project``'s inverse.

        NaN where there is no such point.
        """

    def unproject_to_height(self, col: Floats, row: Floats, height: Floats) -> Floats:
        """Return where the rays of image coordinates [...] reach heights [...] (scene z), float64 [..., 3].

        NaN where a ray does not reach its height.
        """

    def jacobian(self, xyz: Floats) -> Floats:
        """Return d(col, row) / d(xyz), float64 [..., 2, 3], in pixels per scene unit, at points [..., 3]."""

    def scaled(self, across: float, down: float) -> Self:
        """Return the camera of the image resized by these factors, columns and rows.

        The corners of the image stay corners, so a column ``c`` becomes ``(c + 0.5) * across - 0.5``.
        """

    def to_torch(self) -> TorchCamera:
        """Return the same camera for float64 tensors, with gradients through everything; imports torch.

        Raises
        ------
        UnsupportedError
            The model has no differentiable form.
        """


class TorchCamera(Protocol):
    """A camera for tensors: a ``torch.nn.Module`` whose buffers are float64."""

    def project(self, xyz: Tensor) -> TorchProjected:
        """Return (col, row, depth), each float64 [...], of points ``xyz`` float64 [..., 3]; see ``Camera.project``."""

    def homogeneous(self, xyz: Tensor) -> TorchProjected:
        """Return (col * w, row * w) [..., 2], w [..., 1] and depth [..., 1] of points float64 [..., 3].

        With these, what is linear on a plane in the scene is linear in the image. w is the depth of a perspective
        camera, so it may be negative, and 1 for all others.
        """

    def to(self, device: str) -> Self:
        """Return the camera on a device."""
