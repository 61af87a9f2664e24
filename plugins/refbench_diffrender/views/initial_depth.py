"""The depth map that a view starts from: its own, the DSM's, the sparse points', a file's or an estimator's.

What has no scale of its own is aligned to the sparse points that the view sees, else to the DSM rendered into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from scipy import interpolate, ndimage

from refbench import DSM
from refbench.contracts.errors import ConfigError, InputError, UnsupportedError
from refbench.geometry.depth import render_depth
from refbench.geometry.nodata_fill import filled
from refbench_diffrender.losses.atrous import bilateral_atrous
from refbench_diffrender.views.alignment import aligned
from refbench_diffrender.views.depth_file import read_depth
from refbench_diffrender.views.visible_points import ViewPoints, before_surface, not_behind_others

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.scene import View
    from refbench.geometry.cameras import Pinhole
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.views.alignment import How

    Floats = NDArray[np.float64]

MIN_POINTS = 20
PLANE_ROOM = 0.3
"""By how much depths may lie before the nearest and behind the farthest known one, as a fraction of these."""
MOST_PAIRS = 20_000
LARGEST_HOLE = 0.01
"""Fraction of an image that a hole in its initial depth may have to be filled with the depth around it."""


@dataclass(frozen=True, eq=False)
class DepthSources:
    """What the initial depth of one view may be made of.

    ``image`` float32 [rows, cols, 3] in [0, 1]; ``camera`` for that size; ``surface``: the DSM without holes;
    ``points``: the sparse points that fall into the view, None where the scene has none; ``tracked``: they were
    matched there, so none is hidden; ``rng`` draws the trials of RANSAC.
    """

    view: View
    image: NDArray[np.float32]
    camera: Pinhole
    surface: DSM | None
    points: ViewPoints | None
    tracked: bool
    config: DiffrenderConfig
    rng: np.random.Generator

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the image."""
        return self.image.shape[0], self.image.shape[1]

    @cached_property
    def rendered(self) -> Floats | None:
        """The DSM's depth map, NaN where the view sees none of it; None without a DSM."""
        return None if self.surface is None else render_depth(self.surface, self.camera, self.shape)

    @cached_property
    def seen(self) -> ViewPoints | None:
        """The points that are seen, told without an initial depth; None where the scene has none."""
        if self.points is None or self.tracked:
            return self.points
        if self.rendered is not None:
            return self.points.where(before_surface(self.points, self.rendered))
        return self.points.where(not_behind_others(self.points, self.camera))

    def visible(self, points: ViewPoints, depth: Floats) -> ViewPoints:
        """Return those of some points that are seen where ``depth`` [rows, cols] is the initial depth."""
        return points if self.tracked else points.where(before_surface(points, depth))


def initial_depth(sources: DepthSources) -> Floats:
    """Return the initial depth map of a view, metres [rows, cols], NaN where it was not given.

    Raises
    ------
    UnsupportedError
        The scene lacks what the configuration starts from.
    InputError
        A file that is missing or unusable; an alignment that is not possible.
    ConfigError
        Keys that do not fit together.
    """
    kind = sources.config.initial
    if kind == "auto":
        kind = "view" if sources.view.depth is not None else "dsm" if sources.surface is not None else "points"
        if kind == "points" and sources.points is None:
            raise _nothing(sources, "anything to start from: it needs a depth map, an initial DSM or sparse points")
    depth = _FROM[kind](sources)
    relative = kind == "monocular" or (kind == "file" and sources.config.relative)
    depth = _metric(sources, depth, relative)
    known = np.isfinite(depth) & (depth > 0)
    if known.sum() < MIN_POINTS:
        raise UnsupportedError(f"View {sources.view.name} has {known.sum()} known depths to start from.")
    return np.where(known, depth, np.nan)


def beyond_known(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the unknown pixels [rows, cols] that are no small hole: the nearest known depth does not stand for them.

    These are connected regions that reach the border of the image or take more than ``LARGEST_HOLE`` of it.
    """
    regions, number = ndimage.label(~known)
    if number == 0:
        return np.zeros(known.shape, bool)
    large = np.bincount(regions.ravel(), minlength=number + 1) > LARGEST_HOLE * known.size
    for rim in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        large[rim] = True
    large[0] = False  # what is known
    return np.asarray(large[regions])


def denoised(depth: Floats, passes: int, metres: float) -> Floats:
    """Return a depth map without holes [rows, cols] in metres, smoothed but for its steps.

    Pass n averages taps 2^n pixels apart; a tap counts exp(-difference / ``metres``), so what lies on the other side
    of a depth step hardly counts.
    """
    found = torch.from_numpy(np.asarray(depth, np.float64)) / metres
    for number in range(passes):
        found = bilateral_atrous(found, 2**number)
    return np.asarray((metres * found).numpy(), np.float64) if passes else depth


def whole_surface(dsm: DSM) -> DSM:
    """Return a DSM whose holes hold the nearest height; raises ``UnsupportedError`` where there is none at all."""
    if not dsm.valid.any():
        raise UnsupportedError("The initial DSM has no height at all.")
    return DSM(filled(dsm.heights), dsm.grid)


def _nothing(sources: DepthSources, what: str) -> UnsupportedError:
    return UnsupportedError(f"View {sources.view.name} does not have {what}.")


def _own(sources: DepthSources) -> Floats:
    if sources.view.depth is None:
        raise _nothing(sources, "a depth map of its own, which initial: view starts from")
    held = sources.view.depth.read()
    depth = held.pixels[0].astype(np.float64)
    depth = depth if held.valid is None else np.where(held.valid, depth, np.nan)
    shape = sources.shape
    return cv2.resize(depth, shape[::-1], interpolation=cv2.INTER_NEAREST) if depth.shape != shape else depth


def _dsm(sources: DepthSources) -> Floats:
    if sources.rendered is None:
        raise _nothing(sources, "an initial DSM in its scene, which initial: dsm starts from")
    return sources.rendered


def _points(sources: DepthSources) -> Floats:
    """Return depths between the sparse points that the view sees; NaN beyond their hull."""
    if sources.seen is None:
        raise _nothing(sources, "sparse points in its scene, which initial: points starts from")
    seen = sources.seen
    if len(seen) < MIN_POINTS:
        raise UnsupportedError(
            f"View {sources.view.name} sees {len(seen)} sparse points; {MIN_POINTS} are needed to start from them."
        )
    inverse = interpolate.LinearNDInterpolator(np.column_stack([seen.col, seen.row]), 1 / seen.depth)
    down, across = np.mgrid[: sources.shape[0], : sources.shape[1]]
    return np.asarray(1 / inverse(across, down), np.float64)


def _file(sources: DepthSources) -> Floats:
    config = sources.config
    if config.initial_depths is None:
        raise ConfigError("initial: file needs initial_depths, the folder with a depth map per view.")
    unit = 1.0 if config.relative else config.initial_unit
    return read_depth(Path(config.initial_depths), sources.view.name, sources.shape, unit)


def _monocular(sources: DepthSources) -> Floats:
    from refbench_diffrender.views.monocular import estimated_depth

    return estimated_depth(sources.image, sources.config.estimator).astype(np.float64)


_FROM = {"view": _own, "dsm": _dsm, "points": _points, "file": _file, "monocular": _monocular}


def _metric(sources: DepthSources, depth: Floats, relative: bool) -> Floats:
    """Return a depth map in metres: aligned where that is asked for, or a relative one."""
    how = sources.config.align
    if how == "auto":
        how = "ransac" if relative else "none"
    if how == "none":
        if relative and sources.config.initial == "file":
            raise ConfigError(
                "align: none leaves a relative depth map without metres; take relative: false, or ransac."
            )
        return depth
    return _aligned(sources, depth, how, relative)


def _aligned(sources: DepthSources, depth: Floats, how: How, relative: bool) -> Floats:
    name, config = sources.view.name, sources.config
    values, wanted = _pairs(sources, depth)
    kind = config.relative_kind if relative else "depth"
    try:
        found = aligned(values, wanted, how, kind, sources.rng, config.percentile).depth(depth)
    except InputError as error:
        raise InputError(f"View {name}: {error}") from error
    # Sky and other far things have no disparity; nothing lies far beyond what is known.
    low = config.near if config.near is not None else (1 - PLANE_ROOM) * float(wanted.min())
    high = config.far if config.far is not None else (1 + PLANE_ROOM) * float(wanted.max())
    return np.clip(found, low, high)


def _pairs(sources: DepthSources, depth: Floats) -> tuple[Floats, Floats]:
    """Return values of the map and depths in metres that belong together, [N] each."""
    values, wanted = np.zeros(0), np.zeros(0)
    if sources.seen is not None:
        values, wanted = sources.seen.under(depth), sources.seen.depth
    elif sources.rendered is not None:
        every = max(1, int((depth.size / MOST_PAIRS) ** 0.5))
        values, wanted = depth[::every, ::every].ravel(), sources.rendered[::every, ::every].ravel()
    else:
        raise _nothing(sources, "sparse points or an initial DSM in its scene, which its depth map could be aligned to")
    known = np.isfinite(values) & np.isfinite(wanted)
    if not known.any():
        raise InputError(
            f"View {sources.view.name} sees no sparse point or DSM where its depth map has values: it cannot be "
            "aligned; give another view, a denser sparse model or metric depths."
        )
    return values[known], wanted[known]
