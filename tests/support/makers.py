"""Small grids, DSMs, clouds, cameras, scenes and files: what tests of every wing are made of.

A scene of one method lies in a module of its own beside this one; it is made of these.
"""

import warnings
from dataclasses import replace

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning

from refbench import DSM, Context, Grid, Image, Need, PointCloud, Scene
from refbench.engine.tiles.stream import ArrayWriter, run_tiles
from refbench.formats.raster import ArraySource
from refbench.geometry.cameras import Pinhole
from refbench.geometry.rpc_fit import fit_rpc

UTM = CRS.from_epsg(32632)
WEST, NORTH = 500_000.0, 5_000_000.0


def grid_of(rows=40, cols=50, gsd=0.5, west=WEST, north=NORTH, crs=UTM, vertical="unknown"):
    return Grid(cols, rows, Affine(gsd, 0, west, 0, -gsd, north), crs, vertical)


def centred_grid(side, gsd=1.0):
    """A square grid without a CRS whose middle is (0, 0)."""
    return grid_of(side, side, gsd, west=-side * gsd / 2, north=side * gsd / 2, crs=None)


def hills(grid, seed=0):
    """A smooth surface with a block on it, float32 [rows, cols]."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[: grid.height, : grid.width]
    heights = 100 + 3 * np.sin(cols / 9) + 2 * np.cos(rows / 7) + rng.normal(0, 0.05, grid.shape)
    heights[grid.height // 3 : grid.height // 2, grid.width // 3 : grid.width // 2] += 6
    return heights.astype(np.float32)


def listing(folder):
    """The names in a folder, hidden ones as well, sorted."""
    return sorted(path.name for path in folder.iterdir())


def write_tif(path, values, grid=None, nodata=None, unit=None, crs="grid", tags=None, names=(), **profile):
    """Write [rows, cols] or [bands, rows, cols] as a plain GeoTIFF, without refbench."""
    values = np.asarray(values)
    bands = values[None] if values.ndim == 2 else values
    where = {}
    if grid is not None:
        where = {"transform": grid.transform, "crs": grid.crs if crs == "grid" else crs}
    if grid is None:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # pytest resets the filters after each test
    with rasterio.open(
        path, "w", driver="GTiff", height=bands.shape[1], width=bands.shape[2], count=bands.shape[0],
        dtype=bands.dtype.name, nodata=nodata, **where, **profile,
    ) as file:  # fmt: skip
        file.update_tags(**(tags or {}))
        file.write(bands)
        for band, name in enumerate(names, 1):
            file.set_band_description(band, name)
        if unit is not None:
            file.set_band_unit(1, unit)
    return path


def cloud_of(grid, count=2000, seed=0, crs=UTM):
    """Points on ``hills``, in whole millimetres."""
    rng = np.random.default_rng(seed)
    b = grid.bounds
    x, y = rng.uniform(b.west, b.east, count), rng.uniform(b.south, b.north, count)
    col, row = (
        np.floor(v).astype(int).clip(0, n - 1) for v, n in zip(grid.pixel_of(x, y), grid.shape[::-1], strict=True)
    )
    xyz = np.round(np.stack([x, y, hills(grid)[row, col]], axis=1), 3)
    return PointCloud(
        xyz.astype(np.float64), crs, intensity=rng.integers(1, 200, count).astype(np.uint8),
        colour=rng.integers(1, 255, (count, 3)).astype(np.uint8), classes=rng.integers(1, 7, count).astype(np.uint8),
    )  # fmt: skip


def dsm_of(grid, holes=False):
    heights = hills(grid)
    if holes:
        heights[:5, :5] = np.nan
    return DSM(heights, grid)


def dsm_with(heights, **where):
    """These heights [rows, cols] on ``grid_of(rows, cols, **where)``."""
    heights = np.asarray(heights, np.float32)
    return DSM(heights, grid_of(*heights.shape, **where))


def orthos_on(grid, names, seed=5, bands=1):
    """An image of noise, uint16 [bands, rows, cols], for every name."""
    rng = np.random.default_rng(seed)
    return {
        name: ArraySource(Image(rng.integers(100, 900, (bands, *grid.shape)).astype(np.uint16), grid)) for name in names
    }


def scene_with(heights, *, where=None, **parts):
    """A scene whose initial DSM has these heights [rows, cols]; ``where``: options of ``grid_of``."""
    dsm = dsm_with(heights, **(where or {}))
    return Scene("test", dsm.grid, dsm=ArraySource(dsm), **parts)


def refined_by(method, scene, needs=(Need.DSM,), *, fills=False):
    """Run a tile method over a scene as the engine does; return layer -> values [rows, cols], and its notes."""
    notes = method.prepare(scene, Context())
    writers = {name: ArrayWriter(np.zeros(scene.grid.shape, np.float32)) for name in ("dsm", *method.layers())}
    layers = {name: writer for name, writer in writers.items() if name != "dsm"}
    run_tiles(method, scene, Context(), writers["dsm"], needs=needs, layers=layers, fills=fills)
    return {name: writer.heights for name, writer in writers.items()}, notes


def predicted_by(method, scene, context=None, needs=(Need.DSM, Need.VIEWS), *, fills=True, **options):
    """Run a tile method over a scene as the engine does; return all that it gives as one prediction."""
    context = context or Context()
    notes = dict(method.prepare(scene, context))
    written = {name: ArrayWriter(np.zeros(scene.grid.shape, np.float32)) for name in ("dsm", *method.layers())}
    written |= {name: ArrayWriter(np.zeros(scene.grid.shape, np.float32)) for name in method.quality_layers()}
    layers = {name: writer for name, writer in written.items() if name != "dsm"}
    run_tiles(method, scene, context, written["dsm"], needs=needs, layers=layers, fills=fills, **options)
    dsm = DSM(written.pop("dsm").heights, scene.grid)
    found = {name: writer.heights for name, writer in written.items()}
    added = method.finish(ArraySource(dsm), context)
    provenance = found.pop("provenance").astype(np.uint8) if "provenance" in found else None
    return replace(added, dsm=dsm, layers=found, provenance=provenance, notes={**notes, **added.notes})


def pinhole_above(x, y, height, *, focal, size, tilt=0.0):
    """A pinhole at (x, y, height) that looks down, rows to the south, tilted about the y axis by ``tilt`` rad."""
    rows, cols = size
    down = np.array([[1, 0, 0], [0, -1, 0], [0, 0, -1.0]])
    turn = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    R = turn @ down
    K = np.array([[focal, 0, cols / 2 - 0.5], [0, focal, rows / 2 - 0.5], [0, 0, 1]])
    return Pinhole(K, R, -R @ np.array([x, y, height], np.float64), cols, rows)


def looking_down(grid, lean=0.0, height=500.0, size=(60, 80)):
    """A pinhole above the middle of ``grid`` that looks at it, ``lean`` its offset east as a share of the height."""
    b = grid.bounds
    target = np.array([(b.west + b.east) / 2, (b.south + b.north) / 2, 100.0])
    centre = target + np.array([lean * height, 0, height])
    forward = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    rows, cols = size
    focal = height * cols / (b.east - b.west)
    K = np.array([[focal, 0, (cols - 1) / 2], [0, focal, (rows - 1) / 2], [0, 0, 1]])
    return Pinhole(K, R, -R @ centre, cols, rows)


def rpc_looking_down(grid, lean=0.0, size=(60, 80)):
    """An RPC fitted to ``looking_down`` from far above."""
    camera = looking_down(grid, lean, height=50_000.0, size=size)
    return fit_rpc(camera, grid.bounds.padded(20.0), (60.0, 160.0), UTM).rpc
