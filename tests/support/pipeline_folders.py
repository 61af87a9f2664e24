"""Output folders of other pipelines as their documentation describes them, small, with real files of every kind.

Each function writes one below ``folder`` on ``grid_of`` and returns the folder; heights are ``hills`` but for a hole.
"""

import json
import warnings

import numpy as np
import rasterio
import yaml
from makers import grid_of, hills, rpc_looking_down, write_tif
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import transform

from refbench.contracts.points import PointCloud
from refbench.formats.cloud import write_points

ROWS, COLS, GSD = 72, 80, 0.5


def the_grid(**options):
    return grid_of(ROWS, COLS, GSD, **options)


def heights_with_hole(grid, code):
    """``hills`` [rows, cols] with ``code`` in a corner of 6 x 7 pixels."""
    heights = hills(grid)
    heights[:6, :7] = code
    return heights


def texture(grid, dtype=np.uint8, seed=3, bands=1):
    rng = np.random.default_rng(seed)
    return rng.integers(10, 200, (bands, *grid.shape)).astype(dtype)


def centres(grid):
    """x, y, z of the centres of all pixels, float64 [rows, cols]."""
    x, y = grid.centres()
    return x, y, hills(grid).astype(np.float64)


def cars_folder(folder, clouds="laz", index="yaml"):
    grid = the_grid()
    dsm = folder / "dsm"
    dsm.mkdir(parents=True)
    write_tif(dsm / "dsm.tif", heights_with_hole(grid, -32768), grid, nodata=-32768)
    image = texture(grid, np.uint16, bands=3)
    image[:, :6, :7] = 65535
    write_tif(dsm / "image.tif", image, grid, nodata=65535, names=("b0", "b1", "b2"))
    ambiguity = np.linspace(0, 1, grid.height * grid.width, dtype=np.float32).reshape(grid.shape)
    ambiguity[:6, :7] = 255
    write_tif(dsm / "ambiguity.tif", ambiguity, grid, nodata=255)
    performance = (np.arange(grid.width) // 16 + np.zeros(grid.shape)).astype(np.uint8)
    performance[:6, :7] = 255
    write_tif(dsm / "performance_map.tif", performance, grid, nodata=255)
    filling = np.ones(grid.shape, np.uint8)
    filling[:6, :7], filling[10:14], filling[20:22] = 0, 3, 5
    write_tif(dsm / "filling.tif", filling, grid, nodata=255)
    classes = np.zeros(grid.shape, np.uint8)
    classes[:, 40:], classes[:6, :7] = 2, 255
    write_tif(dsm / "classification.tif", classes, grid, nodata=255)
    write_tif(dsm / "contributing_pair.tif", np.ones(grid.shape, np.uint8), grid, nodata=255)
    names = ("dsm", "image", "ambiguity", "performance_map", "filling", "classification", "contributing_pair")
    listed = {**{name: f"{name}.tif" for name in names}, "mask": None}
    text = yaml.safe_dump(listed) if index == "yaml" else json.dumps(listed)
    (dsm / f"index.{index}").write_text(text)
    (folder / "metadata.yaml").write_text("version: 1.3.0\n")
    (folder / "monocular").mkdir()
    if clouds:
        _cars_clouds(folder / "point_cloud", clouds, grid)
    return folder


def _cars_clouds(folder, kind, grid):
    x, y, z = centres(grid)
    for pair, rows in (("one_three", slice(0, 40)), ("one_two", slice(40, None))):
        below = folder / pair
        below.mkdir(parents=True)
        if kind == "laz":
            xyz = np.stack([x[rows].ravel(), y[rows].ravel(), z[rows].ravel()], axis=1)
            write_points(below / "0_0.laz", PointCloud(np.round(xyz, 2)))
            (below / "0_0.laz.prj").write_text(grid.crs.to_proj4())
        else:
            lon, lat = transform(grid.crs, CRS.from_epsg(4326), x[rows].ravel(), y[rows].ravel())
            for axis, values in (("X", lon), ("Y", lat), ("Z", z[rows].ravel())):
                array = np.array(values).reshape(x[rows].shape)
                array[0, 0] = np.nan
                write_tif(below / f"{axis}.tif", array)
    entry = {pair: {"x": f"{pair}/X.tif", "epsg": 4326} for pair in ("one_two", "one_three")}
    (folder / "index.yaml").write_text(yaml.safe_dump(entry))


def s2p_folder(folder, images=()):
    grid = the_grid()
    folder.mkdir(parents=True)
    write_tif(folder / "dsm.tif", heights_with_hole(grid, np.nan), grid, nodata=np.nan, crs=grid.crs)
    confidence = np.tile(np.linspace(0, 1, grid.width, dtype=np.float32), (grid.height, 1))
    confidence[:6, :7] = np.nan
    write_tif(folder / "confidence.tif", confidence, grid, nodata=np.nan)
    x, y, z = centres(grid)
    for row, rows in enumerate((slice(0, 40), slice(40, None))):
        for col, cols in enumerate((slice(0, 50), slice(50, None))):
            tile = folder / f"tiles/row_{row:07d}_height_40/col_{col:07d}_width_50"
            tile.mkdir(parents=True)
            xyz = np.stack([a[rows, cols].ravel() for a in (x, y, z)], axis=1)
            (tile / "cloud.ply").write_bytes(s2p_cloud(xyz, 32632))
    sea = folder / "tiles/row_0000080_height_40/col_0000000_width_50"
    sea.mkdir(parents=True)
    (sea / "cloud.ply").write_bytes(s2p_cloud(np.zeros((0, 3)), 32632))
    config = {"out_dir": ".", "images": [{"img": str(image)} for image in images], "dsm_resolution": GSD}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tiles.txt").write_text("tiles/row_0000000_height_40/col_0000000_width_50/config.json\n")
    return folder


def s2p_cloud(xyz, epsg):
    """The bytes of a cloud as s2p writes it: doubles, colours and a float of confidence a point."""
    fields = [(axis, "<f8") for axis in "xyz"] + [(colour, "u1") for colour in ("red", "green", "blue")]
    rows = np.zeros(len(xyz), [*fields, ("confidence", "<f4")])
    for k, axis in enumerate("xyz"):
        rows[axis] = xyz[:, k]
    rows["red"], rows["confidence"] = 90, 0.5
    head = ["ply", "format binary_little_endian 1.0", "comment created by S2P", f"comment projection: CRS epsg:{epsg}"]
    head += [f"element vertex {len(xyz)}", *(f"property double {axis}" for axis in "xyz")]
    head += [*(f"property uchar {c}" for c in ("red", "green", "blue")), "property float confidence", "end_header"]
    return ("\n".join(head) + "\n").encode() + rows.tobytes()


def rpc_image(path, grid, lean=0.0, size=(60, 80), seed=1):
    """A satellite image of noise with an RPC that looks at the grid."""
    tags = rpc_looking_down(grid, lean, size).to_tags()
    pixels = np.random.default_rng(seed).integers(100, 900, size).astype(np.uint16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        write_tif(path, pixels)
        with rasterio.open(path, "r+") as file:
            file.update_tags(ns="RPC", **tags)
    return path
