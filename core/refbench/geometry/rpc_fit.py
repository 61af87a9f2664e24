"""Fit an RPC00B to another camera, as satellite operators do for theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError
from refbench.geometry.crs_map import transform_exact
from refbench.geometry.rpc import RPC, WGS84, terms

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.crs import CRS

    from refbench.contracts.camera import Camera
    from refbench.contracts.grid import Bounds

REWEIGHTINGS = 4


@dataclass(frozen=True, slots=True)
class RPCFit:
    """A fitted RPC and its distance in pixels from the camera, at points between those of the fit."""

    rpc: RPC
    max_error_px: float
    rms_error_px: float


def fit_rpc(
    camera: Camera,
    bounds: Bounds,
    heights: tuple[float, float],
    crs: CRS | None,
    *,
    nodes: int = 15,
    ridge: float = 1e-9,
) -> RPCFit:
    """Return the RPC that projects as ``camera`` does over a box of the scene.

    Parameters
    ----------
    camera
        Any camera that sees the whole box.
    bounds
        The box, in the scene's CRS.
    heights
        Lowest and highest height of the box, metres.
    crs
        The scene's CRS; None where its coordinates are longitude and latitude.
    nodes
        Points per axis of the lattice of the fit.
    ridge
        Weight of the squared cubic coefficients: it keeps the many that a smooth camera does not need near 0.

    Raises
    ------
    InputError
        An empty box, or a camera that does not see all of it.
    """
    if not (bounds.east > bounds.west and bounds.north > bounds.south and heights[1] > heights[0]):
        raise InputError("An RPC is fitted over a box with a positive size in x, y and height.")
    lonlath, image = _lattice(camera, bounds, heights, crs, nodes)
    offsets, scales = _offset_scale(lonlath)
    image_offset, image_scale = _offset_scale(image)
    design = terms(*((lonlath - offsets) / scales).T).T
    sample, line = ((image - image_offset) / image_scale).T
    line_num, line_den = _ratio(design, line, ridge)
    samp_num, samp_den = _ratio(design, sample, ridge)
    rpc = RPC(
        image_offset[1], image_offset[0], offsets[1], offsets[0], offsets[2],
        image_scale[1], image_scale[0], scales[1], scales[0], scales[2],
        line_num, line_den, samp_num, samp_den, crs,
    )  # fmt: skip
    check, wanted = _lattice(camera, bounds, heights, crs, nodes + 4)
    error = np.hypot(*(np.stack(rpc.project_lonlat(*check.T), axis=-1) - wanted).T)
    return RPCFit(rpc, float(error.max()), float(np.sqrt(np.mean(error**2))))


def _lattice(
    camera: Camera, bounds: Bounds, heights: tuple[float, float], crs: CRS | None, nodes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (lon, lat, h) [N, 3] and (col, row) [N, 2] of ``nodes``^3 points of the box."""
    spans = ((bounds.west, bounds.east), (bounds.south, bounds.north), heights)
    axes = [np.linspace(low, high, nodes) for low, high in spans]
    xyz = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    col, row, _ = camera.project(xyz)
    if not np.isfinite(col).all() or not np.isfinite(row).all():
        raise InputError("The camera does not see the whole box over which an RPC is to be fitted.")
    lon, lat = (xyz[:, 0], xyz[:, 1]) if crs is None else transform_exact(crs, WGS84, xyz[:, 0], xyz[:, 1])
    return np.stack([lon, lat, xyz[:, 2]], axis=-1), np.stack([col, row], axis=-1)


def _offset_scale(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle and half the range of every column of [N, k]."""
    low, high = values.min(axis=0), values.max(axis=0)
    return (low + high) / 2, np.maximum((high - low) / 2, 1e-12)


def _ratio(
    design: NDArray[np.float64], value: NDArray[np.float64], ridge: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return numerator and denominator [20] (first coefficient 1) whose ratio over ``design`` [N, 20] is ``value``."""
    # num - value * den = value, divided by the last denominator: then the residual is that of the ratio itself.
    system = np.hstack([design, -value[:, None] * design[:, 1:]])
    penalty = np.sqrt(ridge * len(value)) * np.diag(np.r_[np.zeros(4), np.ones(35)])
    denominator = np.ones_like(value)
    solution = np.zeros(39)
    for _ in range(REWEIGHTINGS):
        matrix = np.vstack([system / denominator[:, None], penalty])
        solution = np.linalg.lstsq(matrix, np.r_[value / denominator, np.zeros(39)], rcond=None)[0]
        denominator = 1 + design[:, 1:] @ solution[20:]
    return solution[:20], np.r_[1.0, solution[20:]]
