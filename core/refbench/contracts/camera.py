"""What a camera is. Integer image coordinates are pixel centres; depth is z along the optical axis, not ray length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Projected = tuple["NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]"]


@runtime_checkable
class Camera(Protocol):
    """Maps scene coordinates to image coordinates."""

    def project(self, xyz: NDArray[np.float64]) -> Projected:
        """Return (col, row, depth), each float64 [...], of scene points ``xyz`` float64 [..., 3]."""
