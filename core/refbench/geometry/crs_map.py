"""Horizontal coordinates from one CRS to another, fast: a Chebyshev polynomial over a box, checked against PROJ.

PROJ takes about half a microsecond a point and cannot be differentiated; a map projection over the tens of
kilometres of a scene is a polynomial of low degree to far below a micrometre.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.warp import transform as proj_transform

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.crs import CRS

    Pair = tuple[NDArray[np.float64], NDArray[np.float64]]

DEGREES = (4, 6, 8, 11)
TOLERANCE_DEGREES = 1e-12
TOLERANCE_METRES = 1e-7
CHUNK = 1 << 14


def transform_exact(source: CRS, target: CRS, x: NDArray[np.float64], y: NDArray[np.float64]) -> Pair:
    """Return PROJ's coordinates of points [...] (x or longitude first), each float64 [...].

    Raises
    ------
    InputError
        There is no transformation between the two.
    """
    shape = np.shape(x)
    try:
        out_x, out_y = proj_transform(source, target, np.ravel(x), np.ravel(y))[:2]
    except (RasterioError, CPLE_BaseError) as error:
        first, second = (text if len(text := crs.to_string()) < 60 else f"{text[:50]}..." for crs in (source, target))
        raise InputError(f"No transformation leads from {first} to {second}; reproject one of the two.") from error
    return np.asarray(out_x, np.float64).reshape(shape), np.asarray(out_y, np.float64).reshape(shape)


@dataclass(frozen=True, slots=True, eq=False)
class CrsMap:
    """The transformation ``source`` -> ``target``; inside ``box`` by polynomials where these are good enough.

    ``coefficients`` float64 [2, degree + 1, degree + 1] of Chebyshev products T_i(u) T_j(v), u and v in [-1, 1]
    over the box; None where no degree reaches the tolerance (then every point goes through PROJ).
    """

    source: CRS
    target: CRS
    box: Bounds
    coefficients: NDArray[np.float64] | None

    def __call__(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Pair:
        """Return the coordinates of points [...], each float64 [...]; points outside the box go through PROJ."""
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        if self.coefficients is None:
            return transform_exact(self.source, self.target, x, y)
        flat_x, flat_y = x.ravel(), y.ravel()
        out = np.empty((2, flat_x.size))
        for start in range(0, flat_x.size, CHUNK):
            part = slice(start, start + CHUNK)
            u, v = normalised(flat_x[part], flat_y[part], self.box)
            out[:, part] = evaluated(self.coefficients, u, v)
            outside = np.flatnonzero(~((np.abs(u) <= 1) & (np.abs(v) <= 1)))
            if outside.size:
                exact = transform_exact(self.source, self.target, flat_x[part][outside], flat_y[part][outside])
                out[:, start + outside] = exact
        return out[0].reshape(x.shape), out[1].reshape(x.shape)


@lru_cache(maxsize=64)
def _fitted(source: CRS, target: CRS, west: float, south: float, east: float, north: float) -> CrsMap:
    box = Bounds(west, south, east, north)
    tolerance = TOLERANCE_DEGREES if target.is_geographic else TOLERANCE_METRES
    for degree in DEGREES:
        coefficients = _fit(source, target, box, degree)
        check = np.linspace(-1, 1, 2 * degree + 5)
        u, v = (a.ravel() for a in np.meshgrid(check, check))
        reference = transform_exact(source, target, *_denormalised(u, v, box))
        with np.errstate(invalid="ignore"):
            error = np.abs(evaluated(coefficients, u, v) - np.stack(reference)).max()
        if error <= tolerance:
            coefficients.flags.writeable = False
            return CrsMap(source, target, box, coefficients)
    return CrsMap(source, target, box, None)


def crs_map(source: CRS, target: CRS, box: Bounds) -> CrsMap:
    """Return the (cached) transformation between two CRS, fast inside ``box`` (in ``source``)."""
    return _fitted(source, target, box.west, box.south, box.east, box.north)


def mapped_box(source: CRS, target: CRS, box: Bounds) -> Bounds:
    """Return the rectangle in ``target`` around ``box``, by 21 points inside each side, as GDAL does."""
    side = np.linspace(0, 1, 23)
    u, v = (a.ravel() for a in np.meshgrid(side, side))
    x, y = transform_exact(
        source, target, box.west + u * (box.east - box.west), box.south + v * (box.north - box.south)
    )
    return Bounds(float(x.min()), float(y.min()), float(x.max()), float(y.max()))


def _fit(source: CRS, target: CRS, box: Bounds, degree: int) -> NDArray[np.float64]:
    """Return the coefficients [2, degree + 1, degree + 1] that interpolate at the Chebyshev nodes."""
    number = degree + 1
    nodes = np.cos(np.pi * (np.arange(number) + 0.5) / number)
    u, v = np.meshgrid(nodes, nodes, indexing="ij")
    values = np.stack(transform_exact(source, target, *_denormalised(u, v, box)))
    # Discrete orthogonality of the polynomials at these nodes makes the fit a product of matrices.
    basis = chebyshev(nodes, degree)
    basis[0] /= 2
    return np.asarray(4 / number**2 * (basis @ values @ basis.T))


def chebyshev(u: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """Return T_0 ... T_degree of ``u`` [N], float64 [degree + 1, N]."""
    out = np.empty((degree + 1, u.size))
    out[0] = 1
    out[1] = u
    for k in range(2, degree + 1):
        out[k] = 2 * u * out[k - 1] - out[k - 2]
    return out


def evaluated(coefficients: NDArray[np.float64], u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return both coordinates [2, N] of normalised points [N]."""
    degree = coefficients.shape[1] - 1
    of_u, of_v = chebyshev(u, degree), chebyshev(v, degree)
    return np.stack([((c.T @ of_u) * of_v).sum(axis=0) for c in coefficients])


def normalised(x: NDArray[np.float64], y: NDArray[np.float64], box: Bounds) -> Pair:
    """Return coordinates in [-1, 1] over the box. ``x`` and ``y`` of one shape, which stays."""
    u = (x - 0.5 * (box.west + box.east)) / (0.5 * (box.east - box.west))
    v = (y - 0.5 * (box.south + box.north)) / (0.5 * (box.north - box.south))
    return u, v


def _denormalised(u: NDArray[np.float64], v: NDArray[np.float64], box: Bounds) -> Pair:
    x = 0.5 * (box.west + box.east) + u * 0.5 * (box.east - box.west)
    y = 0.5 * (box.south + box.north) + v * 0.5 * (box.north - box.south)
    return x, y
