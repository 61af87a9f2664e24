"""Satellites laid on each other: an RPC points some pixels beside the place, by nearly the same all over an image.

The initial DSM carries the images of other views into a view; correlation tells by how much its image lies
beside them. The first view stays where it is: where the block as a whole lies, images alone cannot tell.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from refbench import Window
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
LEAST_CORRELATION = 0.2
"""Lower peaks are noise: the images do not show the same."""
LEAST_PIXELS = 1000
MOST_CELLS = 512
"""Side of the middle part of a large DSM that tells the shifts, cells."""


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
        The DSM without holes, and where it was given, bool [rows, cols].
    """
    window = _middle(surface, MOST_CELLS)
    at = window.slices
    grid, heights, mask = surface.grid.window(window), surface.heights[at], np.ascontiguousarray(known[at])
    settings = replace(config, dsm=replace(config.dsm, neighbours=len(views)))
    satellites = [number for number, view in enumerate(views) if not view.is_perspective]
    fixed = [number for number, view in enumerate(views) if view.is_perspective] or satellites[:1]
    moving = [number for number in satellites if number not in fixed]
    found, offsets = list(views), dict.fromkeys((views[number].name for number in moving), (0.0, 0.0))
    # Shifts of one image change what it shows of the others: a few rounds, the first with a wide search.
    for turn in range(ROUNDS if moving else 0):
        run = DsmRefinement(heights, mask, grid, found, settings, renderer, device)
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


def _middle(surface: DSM, most: int) -> Window:
    height, width = min(most, surface.grid.height), min(most, surface.grid.width)
    return Window((surface.grid.width - width) // 2, (surface.grid.height - height) // 2, width, height)


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
        found = _best_shift(seen[..., 0].cpu().numpy(), wanted[..., 0].cpu().numpy(), mask, reach)
        if found is not None:
            shifts.append(found[:2])
            weights.append(found[2])
    if not shifts:
        return None
    # Sources vote by how well they correlate.
    across, down = np.average(np.array(shifts), axis=0, weights=weights)
    return float(across), float(down)


def _best_shift(
    seen: NDArray[np.float32], wanted: NDArray[np.float32], mask: NDArray[np.bool_], reach: int
) -> tuple[float, float, float] | None:
    """Return the shift (right, down) at which an image correlates best with what others show, and how well.

    None where the peak lies on the border of the search, or is none.
    """
    room = cv2.copyMakeBorder(wanted, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    # Normalised cross-correlation of what is seen only, at every shift up to ``reach``.
    scores = cv2.matchTemplate(room, seen, cv2.TM_CCOEFF_NORMED, mask=mask.astype(np.float32))
    scores = np.where(np.isfinite(scores), scores, -1.0)
    row, col = np.unravel_index(int(scores.argmax()), scores.shape)
    last = 2 * reach
    if scores[row, col] < LEAST_CORRELATION or row in (0, last) or col in (0, last):
        return None
    # Sub-pixel by the parabola through the peak and its two neighbours.
    down = row - reach + _vertex(scores[row - 1 : row + 2, col])
    across = col - reach + _vertex(scores[row, col - 1 : col + 2])
    return float(across), float(down), float(scores[row, col])


def _vertex(values: NDArray[np.floating]) -> float:
    """Return where the parabola through three values has its vertex, counted from the middle one."""
    bend = float(values[0] - 2 * values[1] + values[2])
    return 0.0 if bend >= 0 else float(0.5 * (values[0] - values[2]) / bend)
