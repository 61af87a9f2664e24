"""An image of the ground by any camera, as the rasteriser sees it. Letters: V vertices.

Clip coordinates of parallel cameras (affine, RPC) have one w, those of a pinhole its depth, so that a plane triangle
is rendered exactly by both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench.geometry.sample import bilinear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from refbench.contracts.camera import Camera
    from refbench.contracts.tiles import TileView

    Floats = NDArray[np.float64]

DARK, BRIGHT = 0.5, 99.5
"""Percentiles of an image that become 0 and 1."""
NEAREST = 0.25
"""Fraction of a pinhole's smallest initial depth before which nothing is rendered."""
LEAST_DEPTH = 1e-3
"""Fraction of the largest depth from which on a pinhole places points: others lie beside or behind it."""
ROOM_M = 100.0
"""By how much heights may move, at most, for the depths of parallel cameras."""
PARALLEL_W = 100.0
"""w of a parallel camera's clip coordinates: backward passes add 1e-6 to areas in them, which must not be felt."""
ROOM_PX = 8
"""What is cut from an image reaches so far beyond the surface, pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class GroundView:
    """``brightness`` float32 [rows, cols], about [0, 1]; ``known`` bool [rows, cols].

    A pixel coordinate of ``camera`` becomes one of the image by ``scale * (col + 0.5) - 0.5 - corner[0]``, rows
    alike. ``corner`` holds what was cut off and what the camera points beside, see ``rpc_bias``.
    """

    name: str
    camera: Camera
    brightness: NDArray[np.float32]
    known: NDArray[np.bool_]
    scale: tuple[float, float] = (1.0, 1.0)
    corner: tuple[float, float] = (0.0, 0.0)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the image."""
        return self.brightness.shape[0], self.brightness.shape[1]

    @property
    def is_perspective(self) -> bool:
        """Whether depth, not height, orders what is seen, and rays meet."""
        return self.camera.is_perspective

    def project(self, xyz: Floats) -> tuple[Floats, Floats, Floats]:
        """Return (col, row, depth) [...] in the image of scene points [..., 3]."""
        col, row, depth = self.camera.project(xyz)
        return self._placed(col, 0), self._placed(row, 1), depth

    def _placed(self, place: Floats, axis: int) -> Floats:
        return np.asarray(self.scale[axis] * (place + 0.5) - 0.5 - self.corner[axis])

    def sees(self, xyz: Floats) -> NDArray[np.bool_]:
        """Return which scene points [..., 3] fall on the image, hidden or not. Metres; bool [...]."""
        col, row, depth = self.project(xyz)
        rows, cols = self.shape
        with np.errstate(invalid="ignore"):
            inside = (col >= -0.5) & (row >= -0.5) & (col < cols - 0.5) & (row < rows - 0.5)
        return np.asarray(inside & (depth > 0) if self.is_perspective else inside)

    def brightness_at(self, xyz: Floats) -> Floats:
        """Return the brightness [...] where scene points [..., 3] fall, hidden or not; NaN beyond the image."""
        col, row, _ = self.project(xyz)
        found = bilinear(np.where(self.known, self.brightness, np.float32(np.nan)), col, row)
        return np.where(self.sees(xyz), found, np.nan)

    def direction(self, xyz: Floats) -> Floats:
        """Return the unit vectors along which points [N, 3] are seen, away from the sensor, float64 [N, 3]."""
        slopes = self.camera.jacobian(xyz)
        ray = np.cross(slopes[:, 0], slopes[:, 1])
        ray *= -np.sign(ray[:, 2:])
        return np.asarray(ray / np.linalg.norm(ray, axis=1, keepdims=True))

    def reduction(self, gsd: float, xyz: Floats, pixels_per_cell: float) -> tuple[float, float]:
        """Return by which factors (columns, rows) a whole image is reduced, 1 where it is not.

        It then resolves ``gsd`` metres at a point [3] into ``pixels_per_cell`` pixels at most.
        """
        slopes = self.camera.jacobian(xyz)
        fraction = pixels_per_cell / (np.linalg.norm(slopes[:, :2], 2) * gsd)
        if fraction >= 1:
            return 1.0, 1.0
        rows, cols = self.shape
        return max(1, round(cols * fraction)) / cols, max(1, round(rows * fraction)) / rows

    def reduced(self, scale: tuple[float, float]) -> GroundView:
        """Return the view with its image reduced by factors (columns, rows); before it is moved.

        Pixels are those of the reduced whole image, also where this is a part of it: parts that overlap agree.
        """
        if scale == (1.0, 1.0):
            return self
        spans = [_whole_pixels(self.corner[axis], self.shape[1 - axis], scale[axis]) for axis in (0, 1)]
        weight = _area_means(self.known.astype(np.float64), self.corner, spans, scale)
        summed = _area_means(np.where(self.known, self.brightness, 0).astype(np.float64), self.corner, spans, scale)
        known = np.asarray(weight > 0.5, bool)
        brightness = np.asarray(np.where(known, summed / np.maximum(weight, 0.5), 0), np.float32)
        return replace(
            self, brightness=brightness, known=known, scale=scale, corner=(float(spans[0][0]), float(spans[1][0]))
        )

    def moved(self, across: float, down: float) -> GroundView:
        """Return the view whose camera shows everything so many pixels of the image farther right and down."""
        return replace(self, corner=(self.corner[0] - across, self.corner[1] - down))

    def cut(self, xyz: Floats) -> GroundView | None:
        """Return the view with the part of its image that shows points [N, 3]; None where it shows none."""
        seen = self.sees(xyz)
        if not seen.any():
            return None
        col, row, _ = (values[seen] for values in self.project(xyz))
        rows, cols = self.shape
        left, top = (max(0, int(np.floor(place.min())) - ROOM_PX) for place in (col, row))
        right, bottom = (
            min(side, int(np.ceil(place.max())) + 1 + ROOM_PX) for place, side in ((col, cols), (row, rows))
        )
        part = np.s_[top:bottom, left:right]
        corner = self.corner[0] + left, self.corner[1] + top
        brightness = np.ascontiguousarray(self.brightness[part], np.float32)
        known = np.ascontiguousarray(self.known[part], np.bool_)
        return GroundView(self.name, self.camera, brightness, known, self.scale, corner)


@dataclass(frozen=True, slots=True)
class ViewScale:
    """What a view's parts share: ``dark`` and ``bright`` grey values become 0 and 1, the image is reduced by ``scale``
    (columns, rows), and then shows everything ``shift`` pixels farther right and down.
    """

    dark: float
    bright: float
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)


def view_scale(whole: TileView) -> ViewScale:
    """Return the scale of a view, of its whole image, that stays as large as it is."""
    grey, known = _grey(whole)
    low, high = np.percentile(grey[known], (DARK, BRIGHT)) if known.any() else (0.0, 1.0)
    return ViewScale(float(low), float(high))


def ground_part(part: TileView, at: ViewScale) -> GroundView:
    """Return a part of a view with its brightness between the dark and the bright end of the whole."""
    grey, known = _grey(part)
    brightness = np.where(known, (grey - at.dark) / max(at.bright - at.dark, 1e-6), 0).astype(np.float32)
    corner = float(part.window.col_off), float(part.window.row_off)
    return GroundView(part.name, part.camera, brightness, known, corner=corner).reduced(at.scale).moved(*at.shift)


def _grey(part: TileView) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the mean of the first three bands, 0 where it is not known, and where it is, [rows, cols]."""
    image = part.image
    known = np.ones(image.shape, bool) if image.valid is None else np.array(image.valid)
    colour = image.pixels[:3].astype(np.float32)
    known &= np.isfinite(colour).all(axis=0)
    return np.where(known, colour.mean(axis=0), 0), known


def _whole_pixels(corner: float, side: int, scale: float) -> tuple[int, int]:
    """Return the first and the last but one of the reduced pixels that ``side`` pixels from ``corner`` on cover."""
    rounding = 1e-9
    return math.ceil(corner * scale - rounding), math.floor((corner + side) * scale + rounding)


def _area_means(
    values: Floats, corner: tuple[float, float], spans: Sequence[tuple[int, int]], scale: tuple[float, float]
) -> Floats:
    """Return the means [rows, cols] of ``values`` over the reduced pixels of ``spans`` (columns, rows).

    A reduced pixel j covers the pixels from j / scale to (j + 1) / scale, the outer ones in part.
    """
    for axis, along in ((0, 1), (1, 0)):  # columns, then rows
        first, stop = spans[axis]
        edges = np.clip(np.arange(first, stop + 1) / scale[axis] - corner[axis], 0, values.shape[along])
        whole = np.minimum(edges.astype(np.int64), values.shape[along] - 1)
        # The integral up to an edge: whole pixels before it, and a part of the one that it cuts.
        before = np.cumsum(values, axis=along)
        before = np.concatenate([np.zeros_like(before.take([0], axis=along)), before], axis=along)
        part = np.expand_dims(edges - whole, 1 - along) * values.take(whole, axis=along)
        values = np.diff(before.take(whole, axis=along) + part, axis=along) * scale[axis]
    return values


@dataclass(eq=False)
class RenderedView:
    """A ``GroundView`` on a device: ``image`` [1, rows, cols, 1]; ``placed`` bool [V]: vertices that it can project."""

    view: GroundView
    vertices: Floats
    device: str
    image: Tensor = field(init=False)
    known: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Bring image and camera to the device; find the span of depths."""
        at = self.view
        self.image = torch.from_numpy(at.brightness).to(self.device)[None, ..., None]
        self.known = torch.from_numpy(at.known).to(self.device)
        self._camera = at.camera.to_torch().to(self.device)
        col, row, depth = at.camera.project(self.vertices)
        placed = np.isfinite(col) & np.isfinite(row) & np.isfinite(depth)
        if at.is_perspective:
            placed &= depth > LEAST_DEPTH * depth.max()
        self.placed = placed
        self._usable = None if placed.all() else torch.from_numpy(np.flatnonzero(placed)).to(self.device)
        low, high = (float(depth[placed].min()), float(depth[placed].max())) if placed.any() else (0.0, 1.0)
        self._span, self._middle = (low, high), (low + high) / 2
        self._scale = torch.tensor(at.scale, dtype=torch.float64, device=self.device)
        self._shift = torch.tensor(
            [0.5 * (s - 1) - c for s, c in zip(at.scale, at.corner, strict=True)],
            dtype=torch.float64,
            device=self.device,
        )

    def project(self, points: Tensor) -> Tensor:
        """Return (col * w, row * w, w, depth) float64 [V, 4] in the image of points float64 [V, 3].

        Vertices that the camera cannot place get zeros.
        """
        if self._usable is None:
            return self._projected(points)
        found = self._projected(points[self._usable])
        return torch.zeros(len(points), 4, dtype=found.dtype, device=found.device).index_copy(0, self._usable, found)

    def _projected(self, points: Tensor) -> Tensor:
        place, w, depth = self._camera.homogeneous(points)
        return torch.cat([self._scale * place + self._shift * w, w, depth], dim=1)

    def clip(self, projected: Tensor) -> Tensor:
        """Return clip positions float32 [1, V, 4] of what ``project`` found."""
        rows, cols = self.view.shape
        w = projected[:, 2:3]
        size = torch.tensor([cols, rows], dtype=projected.dtype, device=projected.device)
        xy = (2 * projected[:, :2] + w) / size - w
        low, high = self._span
        if self.view.is_perspective:
            near, far = NEAREST * low, high + (high - low) + ROOM_M
            z = ((far + near) * projected[:, 3:] - 2 * far * near) / (far - near)
        else:
            z = (projected[:, 3:] - self._middle) / ((high - low) / 2 + ROOM_M)
            xy, z, w = PARALLEL_W * xy, PARALLEL_W * z, PARALLEL_W * w
        return torch.cat([xy, z, w], dim=1).float()[None]

    def carried(self, projected: Tensor) -> Tensor:
        """Return what vertices carry into another view, float32 [V, 4]: texture coordinates times w, w, and depth."""
        rows, cols = self.view.shape
        w = projected[:, 2:3]
        size = torch.tensor([cols, rows], dtype=projected.dtype, device=projected.device)
        depth = projected[:, 3:] - self._middle
        return torch.cat([(projected[:, :2] + 0.5 * w) / size, w, depth], dim=1).float()
