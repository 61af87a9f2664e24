"""Evaluation of the refinement on what it never used: held-out views and held-out sparse points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench_diffrender.mesh.grid_mesh import facing, grid_points, grid_triangles, inside
from refbench_diffrender.outputs.gate import Evidence, median_errors, point_evidence, view_evidence
from refbench_diffrender.views.view_selection import neighbours
from refbench_diffrender.views.views import clip_planes, tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.rasteriser.rasteriser import Rasteriser
    from refbench_diffrender.views.views import SceneView
    from refbench_diffrender.views.visible_points import ViewPoints

    Floats = NDArray[np.float32]

STEEPEST_DEG = 85.0
"""A triangle that its own view sees under a larger angle spans a step between two surfaces: nobody saw it."""


def held_out_notes(
    refined: Sequence[SceneView],
    held: Sequence[SceneView],
    depths: Mapping[str, Floats],
    config: DiffrenderConfig,
    renderer: Rasteriser,
    device: str = "cpu",
) -> dict[str, Any]:
    """Return ``held_out`` and ``held_out_points`` for a prediction's notes, each where anything is held out."""
    notes: dict[str, Any] = {}
    if held:
        notes["held_out"] = held_out_views(held, refined, depths, config, renderer, device)
    if config.hold_out_points:
        notes["held_out_points"] = {view.name: held_out_points(view, depths[view.name]) for view in refined}
    return notes


def held_out_views(
    held: Sequence[SceneView],
    refined: Sequence[SceneView],
    depths: Mapping[str, Floats],
    config: DiffrenderConfig,
    renderer: Rasteriser,
    device: str = "cpu",
) -> dict[str, Any]:
    """Return how well refined views, carried into held-out ones by their depths, look like these: before and after.

    Every held-out view is compared with each of its best refined neighbours in turn, on the pixels that are seen with
    the initial as well as with the refined depth of that neighbour.

    Parameters
    ----------
    held, refined
        Views that took no part, and those that were refined.
    depths
        Refined depth maps by the name of a view, metres [rows, cols], NaN unknown.
    config, draw, device
        The method's configuration and rasteriser, and where that renders.

    Returns
    -------
    By view: ``neighbours``, ``pixels`` and, where there are any, ``before`` and ``after`` with ``psnr`` (dB) and
    ``mae`` (mean absolute error of colours in [0, 1]).
    """
    planes = clip_planes([*held, *refined])
    found: dict[str, Any] = {}
    for view in held:
        best = neighbours(view, refined, config.min_overlap, config.best_angle_deg)
        sources = [one.view for one in best][: config.neighbours or None]
        pairs = [_differences(source, depths[source.name], view, planes, renderer, device) for source in sources]
        pixels = sum(len(before) for before, _ in pairs)
        found[view.name] = {"neighbours": [source.name for source in sources], "pixels": pixels}
        if pixels:
            before, after = (np.concatenate([pair[which] for pair in pairs]) for which in (0, 1))
            found[view.name] |= {"before": _photometric(before), "after": _photometric(after)}
    return found


def held_out_points(view: SceneView, depth: Floats) -> dict[str, Any]:
    """Return the errors of a view's depths, initial and refined, against the sparse points that took no part.

    ``before`` and ``after`` hold ``median`` and ``mean`` of the absolute differences in metres, where there are
    ``points``.
    """
    if view.held_out is None:
        return {"points": 0}
    return median_errors(*_point_errors(view, view.held_out, depth))


def depth_evidence(
    view: SceneView,
    depth: Floats,
    held: Sequence[SceneView],
    config: DiffrenderConfig,
    renderer: Rasteriser,
    device: str = "cpu",
) -> list[Evidence]:
    """Return what held-out points and views say of a view's refined depth map [rows, cols], metres, NaN unknown."""
    carried_into = held_out_views(held, [view], {view.name: depth}, config, renderer, device)
    points = [] if view.held_out is None else point_evidence(*_point_errors(view, view.held_out, depth))
    return [*points, *view_evidence(carried_into, "mae", best=0.0)]


def _point_errors(
    view: SceneView, points: ViewPoints, depth: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the absolute differences [N] in metres of initial and refined depth to points of the view."""
    before, after = (np.abs(points.under(values) - points.depth) for values in (_initial(view), depth))
    return before, after


def carried(
    source: SceneView,
    depth: Floats,
    target: SceneView,
    planes: tuple[float, float],
    renderer: Rasteriser,
    device: str = "cpu",
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return a view's image as another view sees it by a depth map of the first, and where it sees it.

    The depth map [rows, cols] is a mesh in the pixel raster, without what only steps in depth would make. The image
    is float32 [rows, cols, 3] of the target's size.
    """
    at = source.intrinsics
    points = grid_points(depth, (at.fx, at.fy, at.cx, at.cy), 1)
    triangles = grid_triangles(*depth.shape, valid=inside(points, *planes))
    triangles = triangles[(triangles >= 0).all(axis=1)]
    triangles = triangles[facing(points, triangles, STEEPEST_DEG)]
    if not len(triangles):
        return np.zeros((*target.depth.shape, 3), np.float32), np.zeros(target.depth.shape, bool)
    matrix = target.intrinsics.projection(*planes) @ target.model_view @ np.linalg.inv(source.model_view)
    clip = np.nan_to_num(points) @ matrix[:, :3].T + matrix[:, 3]
    rast, colour = renderer.render(
        tensor(clip, device)[None],
        torch.from_numpy(np.ascontiguousarray(triangles)).to(device),
        tensor(source.image.reshape(1, -1, source.image.shape[2]), device),
        (target.depth.shape[0], target.depth.shape[1]),
    )
    return colour[0].cpu().numpy(), (rast[0, ..., 3] > 0).cpu().numpy()


def _initial(view: SceneView) -> Floats:
    return np.where(view.known, view.depth, np.float32(np.nan))


def _differences(
    source: SceneView, depth: Floats, target: SceneView, planes: tuple[float, float], renderer: Rasteriser, device: str
) -> tuple[Floats, Floats]:
    """Return colour differences [N, 3] of a carried image, with the initial and with the refined depth."""
    refined = np.where(source.known, depth, np.float32(np.nan))
    images = [carried(source, values, target, planes, renderer, device) for values in (_initial(source), refined)]
    both = images[0][1] & images[1][1]
    before, after = (image[both] - target.image[both] for image, _ in images)
    return before, after


def _photometric(differences: Floats) -> dict[str, float]:
    squared = float(np.mean(differences.astype(np.float64) ** 2))
    return {"psnr": float(-10 * np.log10(max(squared, 1e-12))), "mae": float(np.abs(differences).mean())}
