"""Three pinholes in a row over a building, and what initial depths can come from."""

import cv2
import numpy as np
from makers import centred_grid, pinhole_above

from refbench import DSM, Context, Image, Scene, View
from refbench.contracts.points import PointCloud
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import ArraySource
from refbench.formats.raster_write import write_image
from refbench.geometry.depth import render_depth
from refbench_diffrender.config import DiffrenderConfig
from refbench_diffrender.views.views import scene_views

ROWS, COLS, FOCAL, HEIGHT, SIDE = 60, 80, 90.0, 60.0, 80
BLOCK, ROOF = 8.0, 15.0
"""Half the side of a building in the middle, and its height."""
GRID = centred_grid(SIDE)
rng = np.random.default_rng(3)


def height(x, y):
    return np.where((np.abs(x) < BLOCK) & (np.abs(y) < BLOCK), ROOF, 0.02 * x + 0.01 * y)


def surface():
    return DSM(height(*GRID.centres()).astype(np.float32), GRID)


def camera(x, y):
    return pinhole_above(x, y, HEIGHT, focal=FOCAL, size=(ROWS, COLS))


def cloud(number=3000):
    xy = rng.uniform(-35, 35, (number, 2))
    xy = xy[(np.abs(np.abs(xy) - BLOCK) > 1).all(axis=1)]
    return np.column_stack([xy, height(*xy.T)])


POINTS = cloud()
PLACES = ((-14, 0), (0, 0), (14, 0))


def depth_of(number):
    return render_depth(surface(), camera(*PLACES[number]), (ROWS, COLS))


def scene(*, dsm=False, points=None, depth=False, ties=False):
    views = {}
    for number, place in enumerate(PLACES):
        name, pinhole = f"v{number}", camera(*place)
        image = np.random.default_rng(number).integers(0, 255, (3, ROWS, COLS), dtype=np.uint8)
        own = ArraySource(Image(depth_of(number)[None] + 1)) if depth else None
        tie = really_seen(points, number) if ties else None
        view = View(name, ArraySource(Image(image)), pinhole, own, tie_points=tie)
        views[name] = view
    held = None if points is None else HeldPoints(PointCloud(points))
    return Scene("block", grid=GRID, dsm=ArraySource(surface()) if dsm else None, views=views, points=held)


def really_seen(points, number):
    """Those of some points that nothing hides: their depth is that of the true surface."""
    col, row, depth = camera(*PLACES[number]).project(points)
    inside = (col > 0) & (row > 0) & (col < COLS - 1) & (row < ROWS - 1)
    at = depth_of(number)[np.where(inside, row, 0).round().astype(int), np.where(inside, col, 0).round().astype(int)]
    return points[inside & (np.abs(at - depth) < 1.0)]


def views_of(*, config=None, seed=0, **parts):
    return scene_views(scene(**parts), config or DiffrenderConfig(), Context(seed=seed))


def written(folder, name, depth, kind):
    path = folder / f"{name}{kind}"
    if kind == ".tif":
        write_image(path, Image(depth.astype(np.float32)[None]))
    elif kind == ".npy":
        np.save(path, depth)
    elif kind == ".pfm":
        cv2.imwrite(str(path), np.nan_to_num(depth).astype(np.float32))
    else:
        cv2.imwrite(str(path), np.rint(np.nan_to_num(depth) * 1000).astype(np.uint16))
