"""RPC bias compensation: an RPC is off by some pixels, by nearly the same shift all over an image.

The initial DSM carries the images of other views into a view; correlation with the view's own image tells the shift.
The first view stays where it is: where the block as a whole lies, images alone cannot tell.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench.geometry.image_shift import best_shift
from refbench_diffrender.dsm_mode.dsm_refinement import DsmRefinement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench import DSM
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.rasteriser.rasteriser import Rasteriser
    from refbench_diffrender.views.ground_view import GroundView

ROUNDS = 4
REACH_PX, NEAR_PX = 16, 3
"""How far shifts are looked for, in the first round and in those after it."""
LEAST_PIXELS = 1000


def without_rpc_bias(
    views: Sequence[GroundView],
    surface: DSM,
    known: NDArray[np.bool_],
    config: DiffrenderConfig,
    renderer: Rasteriser,
    device: str,
) -> tuple[list[GroundView], dict[str, tuple[float, float]]]:
    """Return the views, the satellites among them moved, and by how many pixels (right, down) each of these was.

    Parameters
    ----------
    views
        Of all kinds; pinholes stay as they are and are what the others are laid on, else the first satellite is.
    surface, known
        The DSM without holes, or the middle of a large one, and where it was given, bool [rows, cols].
    """
    settings = replace(config, dsm=replace(config.dsm, neighbours=len(views)))
    satellites = [number for number, view in enumerate(views) if not view.is_perspective]
    fixed = [number for number, view in enumerate(views) if view.is_perspective] or satellites[:1]
    moving = [number for number in satellites if number not in fixed]
    found, offsets = list(views), dict.fromkeys((views[number].name for number in moving), (0.0, 0.0))
    # Shifts of one image change what it shows of the others: a few rounds, the first with a wide search.
    for turn in range(ROUNDS if moving else 0):
        run = DsmRefinement(surface.heights, known, surface.grid, found, settings, renderer, device)
        run.show_known_only()
        placed = list(fixed)
        for number in moving:
            sources = [source for source in run.sources[number] if source in placed]
            shift = _shift(run, number, sources, NEAR_PX if turn else REACH_PX)
            if shift is not None:
                found[number] = found[number].moved(*shift)
                before = offsets[views[number].name]
                offsets[views[number].name] = before[0] + shift[0], before[1] + shift[1]
            placed.append(number)
    return found, offsets


@torch.no_grad()
def _shift(run: DsmRefinement, target: int, sources: list[int], reach: int) -> tuple[float, float] | None:
    """Return by how many pixels (right, down) an image lies beside what others show there; None: unknown."""
    if not sources:
        return None
    points = run.surface.points(run.surface.heights())
    projected = {number: run.views[number].project(points) for number in (target, *sources)}
    z_buffers = {number: run.z_buffer(number, projected[number]) for number in sources}
    shifts, weights = [], []
    for seen, wanted, visible in zip(*run.compared(target, sources, projected, z_buffers), strict=True):
        mask = visible[..., 0].cpu().numpy() > 0
        if mask.sum() < LEAST_PIXELS:
            continue
        found = best_shift(seen[..., 0].cpu().numpy(), wanted[..., 0].cpu().numpy(), mask, reach)
        if found is not None:
            shifts.append(found[:2])
            weights.append(found[2])
    if not shifts:
        return None
    # Sources vote by how well they correlate.
    across, down = np.average(np.array(shifts), axis=0, weights=weights)
    return float(across), float(down)
