"""What the images say of a refined height field: confidence by cell, and similarity of views that took no part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench.geometry.sample import bilinear
from refbench_diffrender.losses.robust_loss import patch_loss
from refbench_diffrender.outputs.confidence import correlation

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from refbench_diffrender.dsm_mode.dsm_refinement import DsmRefinement

    Floats = NDArray[np.float64]


@torch.no_grad()
def cell_confidence(run: DsmRefinement) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the confidence of every cell, float32 [rows, cols] in [0, 1], and how many views see it.

    It is the mean, over the pairs of views that see the cell, of the correlation of brightness in the patch of cells
    around it; 0 where no pair does.
    """
    heights = run.surface.heights()
    points = run.surface.points(heights)
    shape = (int(heights.shape[0]), int(heights.shape[1]))
    looked = [_looked(run, number, points, shape) for number in range(len(run.views))]
    summed, pairs = np.zeros(shape), np.zeros(shape)
    # Every pair once, whichever of the two is the target.
    listed = {tuple(sorted((target, one))) for target, sources in enumerate(run.sources) for one in sources}
    for first, second in sorted(listed):
        both = np.isfinite(looked[first]) & np.isfinite(looked[second])
        summed += np.where(both, correlation(looked[first], looked[second], both), 0)
        pairs += both
    seen = np.zeros(shape, np.int64)
    for one in looked:
        seen += np.isfinite(one)
    return (summed / np.maximum(pairs, 1)).astype(np.float32), seen


def _looked(run: DsmRefinement, number: int, points: Tensor, shape: tuple[int, int]) -> Floats:
    """Return the brightness [rows, cols] that a view shows of the cells; NaN where it does not see them."""
    view = run.views[number]
    projected = view.project(points)
    carried = view.carried(projected)
    z_buffer = run.z_buffer(number, projected)
    w = torch.where(carried[:, 2:3] > 0, carried[:, 2:3], torch.ones_like(carried[:, 2:3]))
    uv = (carried[:, :2] / w).reshape(1, *shape, 2)
    visible = run.visible(uv, carried[:, 3].reshape(shape), z_buffer).cpu().numpy() & view.placed.reshape(shape)
    rows, cols = view.view.shape
    col, row = (uv[0, ..., axis].double().cpu().numpy() * side - 0.5 for axis, side in enumerate((cols, rows)))
    known = np.where(view.view.known, view.view.brightness, np.float32(np.nan))
    return np.where(visible, bilinear(known, col, row), np.nan)


@torch.no_grad()
def held_out_similarity(before: DsmRefinement, after: DsmRefinement, target: int) -> dict[str, Any]:
    """Return how similar the images that two surfaces carry into a view are to the view's own image.

    Parameters
    ----------
    before, after
        The same views on the initial and on the refined surface.
    target
        Number of the view.

    Returns
    -------
    ``sources`` by name, ``pixels`` that are seen with both surfaces and, where there are any, ``before`` and
    ``after``: ``correlation`` of patches in [-1, 1] and ``psnr`` of brightness (dB).
    """
    sources = before.sources[target]
    facts: dict[str, Any] = {"sources": [before.views[n].view.name for n in sources], "pixels": 0}
    if not sources:
        return facts
    found = [_compared(run, target, sources) for run in (before, after)]
    both = found[0][2] * found[1][2]
    facts["pixels"] = int(both.sum())
    if facts["pixels"]:
        for name, (seen, wanted, _) in zip(("before", "after"), found, strict=True):
            dissimilarity = float(patch_loss(seen, wanted, both, patch="ncc", size=before.at.patch_size))
            error = float((((seen - wanted) ** 2) * both).sum() / both.sum())
            facts[name] = {"correlation": 1 - 2 * dissimilarity, "psnr": float(-10 * np.log10(max(error, 1e-12)))}
    return facts


def _compared(run: DsmRefinement, target: int, sources: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    points = run.surface.points(run.surface.heights())
    projected = {number: run.views[number].project(points) for number in (target, *sources)}
    z_buffers = {number: run.z_buffer(number, projected[number]) for number in sources}
    return run.compared(target, sources, projected, z_buffers)
