"""Depth maps of all views -> one DSM, with how many points stand behind every cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench import DSM
from refbench.geometry.fuse import agreeing_views, depth_to_points
from refbench.geometry.rasterise import rasterise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench import Grid
    from refbench_immpi.config import FusionConfig
    from refbench_immpi.views.posed import Posed


def fuse(
    views: Sequence[Posed],
    depths: Sequence[NDArray[np.float32]],
    spacings: Sequence[float],
    grid: Grid,
    config: FusionConfig,
) -> tuple[DSM, NDArray[np.float32]]:
    """Return the DSM of depth maps and the number of points behind every cell [rows, cols].

    Parameters
    ----------
    views, depths
        Cameras and their depth maps [h, w], NaN unknown, scene units.
    spacings
        The gap between the planes of every view, scene units.
    grid
        Of the DSM, in the cameras' coordinates.
    config
        See ``FusionConfig``.
    """
    cameras = [view.camera for view in views]
    tolerance = config.spacings * float(np.median(spacings))
    agreed = agreeing_views(depths, cameras, relative=config.relative, absolute=tolerance)
    least = min(config.min_views, len(views))
    parts = [depth_to_points(d, c, a >= least) for d, c, a in zip(depths, cameras, agreed, strict=True)]
    points = np.concatenate(parts)
    heights = rasterise(points, grid, config.layer)
    count = rasterise(points, grid, "count")
    return DSM(heights.astype(np.float32), grid), count.astype(np.float32)
