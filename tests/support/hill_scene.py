"""A hill on a plain, textured, imaged by two cameras of any kind: the smallest scene of DSM mode."""

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from refbench import DSM, Grid, Image, Scene, View
from refbench.contracts.grid import Bounds
from refbench.formats.raster import ArraySource
from refbench.geometry.affine_camera import AffineCamera
from refbench.geometry.cameras import Pinhole
from refbench.geometry.rpc_fit import fit_rpc

SIDE, GSD, PIXELS = 64, 0.5, 96
EAST, NORTH, BASE = 500_000.25, 5_400_000.75, 300.0
GRID = Grid(SIDE, SIDE, Affine(GSD, 0, EAST - SIDE * GSD / 2, 0, -GSD, NORTH + SIDE * GSD / 2), CRS.from_epsg(32632))


def hill_at(x, y):
    """Heights of the reference; slopes stay below 0.5."""
    return BASE + 3 * np.exp(-((x - EAST) ** 2 + (y - NORTH) ** 2) / 32)


def brightness_at(x, y):
    x, y = x - EAST, y - NORTH
    return 0.5 + 0.2 * np.sin(x / 0.7 + np.cos(y / 1.3)) + 0.2 * np.cos(y / 0.9 + x / 3)


def affine_camera(lean, across=0.0):
    """A camera that sees 1 m as two pixels, and a metre of height ``2 * lean`` pixels to the right."""
    matrix = np.array([[2.0, 0, 2 * lean], [0, -2.0, 2 * across]])
    middle = (PIXELS - 1) / 2
    return AffineCamera(matrix, np.array([middle, middle]), np.array([EAST, NORTH, BASE]))


def pinhole_camera(lean, height=200.0):
    R = np.array([[1, 0, 0], [0, -1, 0], [0, 0, -1.0]])
    middle, focal = (PIXELS - 1) / 2, 2 * height
    K = np.array([[focal, 0, middle - focal * lean], [0, focal, middle], [0, 0, 1]])
    eye = np.array([EAST - lean * height, NORTH, BASE + height])
    return Pinhole(K, R, -R @ eye, PIXELS, PIXELS)


def rpc_camera(lean):
    box = Bounds(EAST - 60, NORTH - 60, EAST + 60, NORTH + 60)
    fitted = fit_rpc(affine_camera(lean), box, (BASE - 30, BASE + 30), GRID.crs)
    assert fitted.max_error_px < 1e-3
    return fitted.rpc


CAMERAS = {"affine": affine_camera, "rpc": rpc_camera, "pinhole": pinhole_camera}


def image_of(camera, bits=11):
    """What a camera sees of the hill, by going down every ray: uint16 [1, PIXELS, PIXELS]."""
    row, col = np.mgrid[:PIXELS, :PIXELS].astype(float)
    far = 190.0 if isinstance(camera, Pinhole) else -BASE
    near = camera.unproject(col, row, np.full_like(col, far))
    step = camera.unproject(col, row, np.full_like(col, far + 1)) - near
    at = near
    for _ in range(30):
        height = hill_at(at[..., 0], at[..., 1])
        at = near + ((height - near[..., 2]) / step[..., 2])[..., None] * step
    return np.rint((2**bits - 1) * brightness_at(at[..., 0], at[..., 1])).astype(np.uint16)[None]


def hill():
    x, y = GRID.centres()
    return DSM(hill_at(x, y).astype(np.float32), GRID)


def hill_scene(cameras, *, start=None):
    """Return the scene of cameras by name; the initial DSM is flat without ``start``."""
    heights = np.full((SIDE, SIDE), BASE, np.float32) if start is None else start
    views = {name: View(name, ArraySource(Image(image_of(camera))), camera) for name, camera in cameras.items()}
    return Scene("hill", grid=GRID, dsm=ArraySource(DSM(heights, GRID)), views=views)


def two(kind, lean=0.3):
    return {"left": CAMERAS[kind](-lean), "right": CAMERAS[kind](lean)}
