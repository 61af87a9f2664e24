"""Small scenes with closed-form surfaces, for tests: DSMs, clouds, cameras, ortho images, all in memory.

The surface is a gentle slope with a wave and a block of ``BLOCK_M`` metres on it. The initial DSM and the cloud lie on
it within a few decimetres, the reference is the surface itself, images show a texture that is a function of x and y.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from refbench.contracts.grid import Grid
from refbench.contracts.method import derived_rng
from refbench.contracts.need import Need
from refbench.contracts.points import PointCloud
from refbench.contracts.raster import DSM, Image, Mask
from refbench.contracts.scene import Reference, Scene, View
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import ArraySource
from refbench.geometry.cameras import Pinhole
from refbench.geometry.depth import render_depth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

WEST, NORTH = 500_000.0, 5_400_000.0
BASE_M, BLOCK_M, NOISE_M = 100.0, 6.0, 0.2
EVERYTHING = tuple(Need)
_VIEW_SHAPE = (48, 64)
_EYES = ((-12.0, 0.0), (0.0, 6.0), (12.0, 0.0))


def utm_grid(rows: int = 64, cols: int = 64, gsd: float = 0.5, *, rotation: float = 0.0) -> Grid:
    """Return a grid in EPSG:32632, its corner at (``WEST``, ``NORTH``); ``rotation`` in degrees, anticlockwise."""
    transform = Affine.translation(WEST, NORTH) @ Affine.rotation(rotation) @ Affine.scale(gsd, -gsd)
    return Grid(cols, rows, transform, CRS.from_epsg(32632))


def surface(grid: Grid, base: float = BASE_M) -> DSM:
    """Return the true surface at the pixel centres; heights in metres about ``base``."""
    x, y = grid.centres()
    return DSM(_heights(x, y, grid, base).astype(np.float32), grid)


def noisy_dsm(grid: Grid, seed: int = 0, base: float = BASE_M, *, holes: bool = True) -> DSM:
    """Return the surface with Gaussian noise of ``NOISE_M``; ``holes`` leaves a square of 4 px (less on tiny grids)."""
    heights = surface(grid, base).heights + derived_rng(seed, "noise").normal(0, NOISE_M, grid.shape)
    if holes:
        row, col = grid.height // 8, grid.width // 8
        heights[row : row + 4, col : col + 4] = np.nan
    return DSM(heights.astype(np.float32), grid)


def cloud(grid: Grid, seed: int = 0, base: float = BASE_M, per_pixel: float = 2.0) -> PointCloud:
    """Return points on the surface within 5 cm, ``per_pixel`` of them for a pixel, whole millimetres."""
    rng, count = derived_rng(seed, "cloud"), max(1, int(per_pixel * grid.width * grid.height))
    cols, rows = rng.uniform(0, grid.width, count), rng.uniform(0, grid.height, count)
    t = grid.transform
    x, y = t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f
    z = _heights(x, y, grid, base) + rng.normal(0, 0.05, count)
    xyz = np.stack([x, y, z], axis=1).astype(np.float64)
    return PointCloud(xyz.round(3), grid.crs)


def brightness(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the texture of the ground in [0, 1] at world coordinates [...]."""
    x, y = x - WEST, y - NORTH
    return 0.5 + 0.2 * np.sin(x / 0.9 + np.cos(y / 1.7)) + 0.2 * np.cos(y / 1.1 + x / 4)


def ortho(grid: Grid, gain: float = 1.0) -> Image:
    """Return a true ortho image of the texture, uint16 [1, rows, cols] of 11 bits; ``gain`` scales it."""
    values = np.rint(2047 * np.clip(gain * brightness(*grid.centres()), 0, 1)).astype(np.uint16)
    return Image(values[None], grid)


def ndvi(grid: Grid) -> Image:
    """Return vegetation in stripes, float32 [1, rows, cols] in [-1, 1]."""
    x, _ = grid.centres()
    return Image((0.6 * np.sin((x - WEST) / 5)).astype(np.float32)[None], grid)


def pinhole(grid: Grid, east: float = 0.0, north: float = 0.0, base: float = BASE_M) -> Pinhole:
    """Return a nadir camera of 48 x 64 px that sees the whole grid, shifted from its middle by metres."""
    b = grid.bounds
    extent = max(b.east - b.west, b.north - b.south)
    height = 2.0 * extent
    rows, cols = _VIEW_SHAPE
    focal = rows / 1.15 * height / extent
    R = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    K = np.array([[focal, 0, (cols - 1) / 2], [0, focal, (rows - 1) / 2], [0, 0, 1]])
    eye = np.array([(b.west + b.east) / 2 + east, (b.south + b.north) / 2 + north, base + height])
    return Pinhole(K, R, -R @ eye, cols, rows)


def view(name: str, camera: Pinhole, ground: DSM, initial: DSM) -> View:
    """Return what the camera sees of ``ground``, 8 bits, with depths float32 of ``initial``, NaN outside."""
    rows, cols = np.mgrid[: _VIEW_SHAPE[0], : _VIEW_SHAPE[1]].astype(np.float64)
    seen = camera.unproject(cols, rows, render_depth(ground, camera, _VIEW_SHAPE))
    grey = np.rint(255 * np.nan_to_num(brightness(seen[..., 0], seen[..., 1]))).astype(np.uint8)
    depth = render_depth(initial, camera, _VIEW_SHAPE).astype(np.float32)
    nearest, farthest = float(np.nanmin(depth)) - BLOCK_M, float(np.nanmax(depth)) + BLOCK_M
    image, source = ArraySource(Image(np.stack([grey] * 3))), ArraySource(Image(depth[None]))
    return View(name, image, camera, depth=source, depth_range=(nearest, farthest))


def scene(
    holding: Iterable[Need] = EVERYTHING,
    grid: Grid | None = None,
    *,
    seed: int = 0,
    base: float = BASE_M,
    holes: bool = True,
    name: str = "block",
) -> Scene:
    """Return a scene in memory with a grid, a reference, a building mask, and what ``holding`` names.

    Parameters
    ----------
    holding
        What the scene holds; ``Need.ORTHO`` is one image, ``Need.ORTHO_PAIR`` two.
    grid
        Its grid; None takes 64 x 64 px of 0.5 m.
    seed
        Of the noise of the DSM and of the points.
    base
        Height of the ground in metres.
    holes
        Whether the initial DSM has a hole.
    name
        Its id.
    """
    held, grid = set(holding), utm_grid() if grid is None else grid
    reference, initial = surface(grid, base), noisy_dsm(grid, seed, base, holes=holes)
    block = Mask((reference.heights - base > BLOCK_M / 2).astype(np.uint8), grid, "building")
    made = Scene(
        name,
        grid=grid,
        origin=(*grid.origin, 0.0),
        masks={"building": ArraySource(block)},
        reference=Reference(dsm=ArraySource(reference)),
    )
    if Need.DSM in held:
        made = replace(made, dsm=ArraySource(initial))
    if Need.POINTS in held:
        made = replace(made, points=HeldPoints(cloud(grid, seed, base)))
    if Need.ORTHO_PAIR in held:
        pair = {"a": ArraySource(ortho(grid)), "b": ArraySource(ortho(grid, 0.9))}
        made = replace(made, orthos=pair, pairs=(("a", "b"),))
    elif Need.ORTHO in held:
        made = replace(made, orthos={"a": ArraySource(ortho(grid))})
    if Need.NDVI in held:
        made = replace(made, ndvi=ArraySource(ndvi(grid)))
    if held & {Need.VIEWS, Need.DEPTHS}:
        whole = noisy_dsm(grid, seed, base, holes=False)
        cameras = {f"v{number}": pinhole(grid, *eye, base=base) for number, eye in enumerate(_EYES)}
        views = {label: view(label, camera, reference, whole) for label, camera in cameras.items()}
        if Need.DEPTHS not in held:
            views = {label: replace(one, depth=None) for label, one in views.items()}
        made = replace(made, views=views)
    return made


def without_heights(made: Scene) -> Scene:
    """Return the scene with an initial DSM that knows no height."""
    assert made.grid is not None
    return replace(made, dsm=ArraySource(DSM(np.full(made.grid.shape, np.nan, np.float32), made.grid)))


def _heights(x: NDArray[np.float64], y: NDArray[np.float64], grid: Grid, base: float) -> NDArray[np.float64]:
    """Return slope, wave and block at world coordinates [...]; the block takes the middle ninth of the grid."""
    cols, rows = grid.pixel_of(x, y)
    is_block = (abs(cols / grid.width - 0.5) < 1 / 6) & (abs(rows / grid.height - 0.5) < 1 / 6)
    return base + 0.02 * (x - WEST) + 0.3 * np.sin((y - NORTH) / 3) + BLOCK_M * is_block
