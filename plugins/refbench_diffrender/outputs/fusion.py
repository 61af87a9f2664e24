"""Depth maps of several views become one cloud of points, and a DSM with its confidence. Letters: N points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench import DSM
from refbench.geometry.fuse import depth_to_points
from refbench.geometry.rasterise import rasterise
from refbench_diffrender.outputs.confidence import DepthView, agreement, confidences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench import Grid

ALONG = 1e-3
"""By which fraction of its depth a point moves to show which way its pixel's ray goes."""


@dataclass(frozen=True, slots=True, eq=False)
class SurfacePoints:
    """``xyz`` float64 [N, 3] in scene coordinates; ``normals`` float32 [N, 3] of length 1 (0 where there is none),
    towards the camera; ``colour`` uint8 [N, 3]; ``confidence`` float32 [N] in [0, 1] or None.
    """

    xyz: NDArray[np.float64]
    normals: NDArray[np.float32]
    colour: NDArray[np.uint8]
    confidence: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """``points`` of all views that enough depth maps agree on; ``confidence`` maps float32 [rows, cols] by view."""

    points: SurfacePoints
    confidence: dict[str, NDArray[np.float32]]


def fused(
    views: Sequence[DepthView],
    images: Sequence[DepthView],
    *,
    min_views: int,
    absolute: float,
    with_confidence: bool = True,
) -> Fused:
    """Return the points of the depth maps of ``views``.

    Parameters
    ----------
    views
        With depth maps.
    images
        Further images that confidence looks at.
    min_views
        How many maps must agree on a point; no more than there are.
    absolute
        Maps agree where they differ by at most so many metres.
    with_confidence
        False computes none.
    """
    agreed = agreement(views, absolute)
    trust = confidences(views, images, agreed, absolute) if with_confidence else []
    least = min(min_views, len(views))
    parts = []
    for number, view in enumerate(views):
        keep = agreed[number] >= max(least, 1)
        parts.append(_points(view, keep, trust[number] if trust else None))
    xyz, normals, colour = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("xyz", "normals", "colour")
    )
    fractions = np.concatenate([part.confidence for part in parts if part.confidence is not None]) if trust else None
    return Fused(
        SurfacePoints(xyz, normals, colour, fractions),
        {view.name: one for view, one in zip(views, trust, strict=False)},
    )


def fused_dsm(points: SurfacePoints, grid: Grid) -> tuple[DSM, NDArray[np.float32] | None]:
    """Return the DSM of the median height of the points in every cell, and its confidence float32 [rows, cols].

    A cell's confidence is the mean of its points' (see ``confidence``), 0 without points; None where they have none.
    """
    heights = rasterise(points.xyz, grid, "median").astype(np.float32)
    if points.confidence is None:
        return DSM(heights, grid), None
    return DSM(heights, grid), np.nan_to_num(of_cells(points, points.confidence, grid)).astype(np.float32)


def of_cells(points: SurfacePoints, values: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """Return the mean of the points' ``values`` [N] in every cell, float64 [rows, cols]; NaN without points."""
    return rasterise(points.xyz, grid, "mean", values=values.astype(np.float64))


def _points(view: DepthView, keep: NDArray[np.bool_], trust: NDArray[np.float32] | None) -> SurfacePoints:
    assert view.depth is not None  # the caller gave maps
    known = keep & np.isfinite(view.depth)
    colour = np.rint(255 * np.clip(view.image[known], 0, 1)).astype(np.uint8)
    return SurfacePoints(
        depth_to_points(view.depth, view.camera, keep),
        normals_of(view)[known],
        colour,
        None if trust is None else trust[known],
    )


def normals_of(view: DepthView) -> NDArray[np.float32]:
    """Return unit normals float32 [rows, cols, 3] of a depth map, towards the camera; 0 beside the unknown."""
    assert view.depth is not None  # the caller gave maps
    depth = view.depth.astype(np.float64)
    row, col = np.mgrid[: depth.shape[0], : depth.shape[1]].astype(np.float64)
    points = view.camera.unproject(col, row, depth)
    away = view.camera.unproject(col, row, depth + ALONG * np.maximum(np.abs(depth), 1)) - points
    found = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    found *= -np.sign(np.einsum("rcx,rcx->rc", found, away))[..., None]
    length = np.linalg.norm(found, axis=2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nan_to_num(found / length), np.float32)
