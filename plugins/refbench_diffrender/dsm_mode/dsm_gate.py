"""What views and sparse points that took no part say of a refined block of a DSM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.geometry.sample import sample_bilinear
from refbench_diffrender.dsm_mode.dsm_refinement import DsmRefinement
from refbench_diffrender.dsm_mode.dsm_trust import held_out_similarity
from refbench_diffrender.outputs.gate import Evidence, point_evidence, view_evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench import DSM
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.rasteriser.rasteriser import Rasteriser
    from refbench_diffrender.views.ground_view import GroundView

    Floats = NDArray[np.float64]


def block_evidence(
    surfaces: tuple[DSM, DSM],
    views: Sequence[GroundView],
    held: Sequence[GroundView],
    points: Floats | None,
    config: DiffrenderConfig,
    renderer: Rasteriser,
    device: str = "cpu",
) -> list[Evidence]:
    """Return the evidence for a block.

    Parameters
    ----------
    surfaces
        The block before and after, on one grid and without holes.
    views, held
        The views that were compared, and those that were not, cut to the block.
    points
        Sparse points [N, 3] in scene coordinates, metres; DSM mode uses none itself. None where there are none.
    """
    found: list[Evidence] = []
    if points is not None:
        errors = [height_errors(points, surface) for surface in surfaces]
        found += point_evidence(errors[0], errors[1])
    facts = {}
    for view in held:
        before, after = (
            DsmRefinement(dsm.heights, dsm.valid, dsm.grid, [view, *views], config, renderer, device)
            for dsm in surfaces
        )
        facts[view.name] = held_out_similarity(before, after, 0)
    return found + view_evidence(facts, "correlation", best=1.0)


def height_errors(points: Floats, surface: DSM) -> Floats:
    """Return the absolute differences [N] in metres of points [N, 3] to a DSM; NaN beside it."""
    heights = sample_bilinear(surface.heights, surface.grid, points[:, 0], points[:, 1])
    return np.asarray(np.abs(heights - points[:, 2]), np.float64)
