"""Makes a DSM of a point cloud."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from acme_dsm.settings import AcmeCloudConfig
from refbench import DSM, Context, Prediction, Scene
from refbench.geometry.rasterise import rasterise


class AcmeCloud:
    """Rasterises the cloud; pixels without a point take the height of the nearest one that has."""

    def __init__(self, config: AcmeCloudConfig, weights: Path | None) -> None:
        """Keep the configuration; ``weights`` is None, the record names none."""
        self.config = config

    def refine(self, scene: Scene, context: Context) -> Prediction:
        """Return the DSM on the scene's grid: heights float32 [rows, cols] in metres, NaN where unknown."""
        assert scene.points is not None  # the record asks for them
        grid = scene.require_grid()
        heights = rasterise(scene.points.read().xyz, grid, self.config.layer)
        context.report(0.5, "rasterised")
        context.check_cancelled()
        empty = np.isnan(heights)
        if not empty.all():
            nearest = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
            heights = heights[tuple(nearest)]
        notes = {"pixels_without_points": int(empty.sum())}
        return Prediction(dsm=DSM(heights.astype(np.float32), grid), notes=notes)
