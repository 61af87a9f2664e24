"""The numbers that other tools would print of two DSMs, by their own definitions and under their own names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.evaluation.grids import mask_on_grid, on_grid
from refbench.evaluation.image_scores import image_scores
from refbench.evaluation.slope import florinsky_gradient, slope_rad
from refbench.evaluation.tool_statistics import demcompare_statistics, xdem_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from refbench.contracts.raster import DSM, Mask

    Floats = NDArray[np.float64]

DEFINITIONS = ("xdem", "demcompare", "image")
SLOPE_EDGES = (0.0, 10.0, 25.0, 50.0, 90.0)


def by_definition(
    name: str, evaluated: DSM, reference: DSM, masks: Mapping[str, Mask], gt_mask: Mask | None = None
) -> dict[str, dict[str, Any]]:
    """Return table -> key -> value by one of ``DEFINITIONS``.

    ``xdem``: its statistics of the elevation difference, and of the slope by its default, Florinsky's 5 x 5 cells.
    ``demcompare``: reference - evaluated; globally, per building class, per slope class. ``image``: PSNR and SSIM of
    heights, which depend on the relief. Where ``gt_mask`` is 0 nothing counts.
    """
    aligned = on_grid(evaluated, reference)
    where = np.ones(reference.grid.shape, np.bool_)
    if gt_mask is not None:
        where = mask_on_grid(gt_mask, reference).is_class
    first, second = (np.where(where, dsm.heights, np.nan).astype(np.float64) for dsm in (aligned, reference))
    transform = reference.grid.transform
    if name == "image":
        return {"image": image_scores(first.astype(np.float32), second.astype(np.float32))}
    if name == "demcompare":
        building = {}
        if "building" in masks:
            mask = mask_on_grid(masks["building"], reference)
            building = {"0": mask.is_other, "1": mask.is_class}
        layers = demcompare_statistics(first, second, transform, SLOPE_EDGES, building)
        return {f"{layer} {key}": values for layer, of in layers.items() for key, values in of.items()}
    slopes = [np.degrees(slope_rad(*florinsky_gradient(z, transform))) for z in (first, second)]
    return {"elevation": xdem_statistics(first - second), "slope (degrees)": xdem_statistics(slopes[0] - slopes[1])}
