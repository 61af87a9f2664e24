"""Satellite images of a known surface: RPC cameras, a fixed ground texture, GeoTIFFs with RPC tags."""

import numpy as np
from makers import dsm_of, grid_of, rpc_looking_down

from refbench import Image, View
from refbench.formats.camera_files import image_tags
from refbench.formats.raster import ArraySource
from refbench.formats.raster_write import write_image
from refbench.geometry.biased_camera import BiasedCamera
from refbench.geometry.depth import render_depth

GRID = grid_of(rows=120, cols=140)
SIZE = (150, 180)
SURFACE = dsm_of(GRID)
NOISE = np.random.default_rng(3).normal(0, 30, (300, 300))


def texture(xyz):
    """Grey values of the ground, patterns of about 1.5 m."""
    col = (xyz[..., 0] - GRID.bounds.west) / 0.5 + 40
    row = (GRID.bounds.north - xyz[..., 1]) / 0.5 + 40
    smooth = sum(np.roll(NOISE, shift, axis) for axis in (0, 1) for shift in (-1, 0, 1))
    inside = np.isfinite(col) & (col > 0) & (row > 0) & (col < 299) & (row < 299)
    at = (np.where(inside, np.nan_to_num(v), 0).astype(int) for v in (row, col))
    return np.where(inside, smooth[tuple(at)], 0)


def satellite(lean):
    return rpc_looking_down(GRID, lean, size=SIZE)


def view(name, lean, bias=(0.0, 0.0), acquired=None, rpc=None):
    """A view whose RPC points ``bias`` (right, down) pixels beside: its image lies so far beside what it says."""
    rpc = rpc or satellite(lean)
    taken = BiasedCamera(rpc, bias)
    rows, cols = np.mgrid[: SIZE[0], : SIZE[1]]
    xyz = taken.unproject(cols, rows, render_depth(SURFACE, taken, SIZE))
    image = Image(np.clip(texture(xyz) + 600, 1, None).astype(np.uint16)[None])
    return View(name, ArraySource(image), rpc, acquired=acquired)


def write_views(folder, views):
    """Write the images with their RPCs as tags; return the paths."""
    paths = []
    for each in views:
        paths.append(folder / f"{each.name}.tif")
        write_image(paths[-1], each.image.read(), rpcs=image_tags(each.camera))
    return paths
