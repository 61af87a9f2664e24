"""Parity of gridding, georeferencing and cameras; ``test_evaluation`` collects these tests."""

import json
import re

import numpy as np
import pytest
from affine import Affine
from golden_evaluation import FOLDER, cases
from rasterio.crs import CRS

from refbench.contracts.grid import Grid
from refbench.formats.raster import open_dsm
from refbench.geometry.affine_camera import AffineCamera
from refbench.geometry.crs_map import mapped_box
from refbench.geometry.neighbourhood import gaussian
from refbench.geometry.rasterise import rasterise
from refbench.geometry.rpc import RPC
from refbench.geometry.sample import sample_bilinear, sample_nearest
from refbench.geometry.warp import warp
from refbench.scenes.importers.colmap_model import ColmapCamera


def expected(kind):
    path = FOLDER / kind / "expected.json"
    return json.loads(path.read_text()) if path.is_file() else {}


RASTERISE, GEOREF, CAMERAS = (expected(kind) for kind in ("rasterise", "georef", "cameras"))
LAYERS = dict(np.load(FOLDER / "rasterise" / "expected.npz")) if RASTERISE else {}
NEIGHBOURHOOD = r"(cars|plyflatten_local)_radius(\d+)_(?:sigma([\d.]+)|unweighted)(_weights|_n_disc)?"
PIXEL_IS = [kind for kind in GEOREF if (FOLDER / "georef" / f"pixel_is_{kind.lower()}.tif").is_file()]
RPC_FILES = sorted((FOLDER / "cameras").glob("rpc*"))


def cloud_and_grid():
    grid = RASTERISE["grid"]
    transform = Affine(grid["resolution"], 0, grid["x_ul"], 0, -grid["resolution"], grid["y_ul"])
    xyz = np.loadtxt(FOLDER / "rasterise" / "points.csv", delimiter=",", skiprows=1, ndmin=2)
    return xyz, Grid(grid["nx"], grid["ny"], transform)


def layer(name, xyz, grid):
    """The layer of a golden name, with the tolerances (absolute, relative) of the tool behind it."""
    if match := re.fullmatch(NEIGHBOURHOOD, name):
        tool, radius, sigma, what = match.groups()
        shape = "disc" if tool == "cars" else "square"
        width = None if sigma is None else float(sigma)
        around = gaussian(xyz, xyz[:, 2], grid, radius=int(radius), sigma=width, shape=shape)
        # Both tools answer in float32: a few of its last digits come on top of the stated metres.
        tolerance = (1e-5, 1e-7) if tool == "cars" else (1e-4, 5e-7)
        if what == "_n_disc":
            return around.number, (0, 0)
        return (around.mean, tolerance) if what is None else (around.weight, (1e-5, 1e-6))
    if match := re.fullmatch(r"idw_p([\d.]+)_r([\d.]+)m", name):
        return rasterise(xyz, grid, "idw", power=float(match[1]), distance=float(match[2])), (0, 1e-9)
    plain = name.removesuffix("_population").removesuffix("_linear")
    return rasterise(xyz, grid, plain), (1e-9, 1e-9) if plain == "std" else (0, 1e-9)


@cases("name", LAYERS)
def test_rasterise(name):
    got, (absolute, relative) = layer(name, *cloud_and_grid())
    np.testing.assert_allclose(got, LAYERS[name], rtol=relative, atol=absolute)


@cases("place", RASTERISE.get("points_on_cell_borders", {}))
def test_a_point_on_a_cell_border(place):
    x, y = map(float, place.split(","))
    _, grid = cloud_and_grid()
    cells = np.argwhere(rasterise(np.array([[x, y, 0.0]]), grid, "count")).tolist()
    wanted = RASTERISE["points_on_cell_borders"][place]["floor_rule_rowcol"]
    assert cells == ([] if wanted is None else [wanted])


@cases("kind", PIXEL_IS)
def test_georeferencing(kind):
    want, grid = GEOREF[kind], open_dsm(FOLDER / "georef" / f"pixel_is_{kind.lower()}.tif").grid
    np.testing.assert_allclose(tuple(grid.transform)[:6], want["transform_read"], rtol=0, atol=1e-9)
    bounds = grid.bounds
    np.testing.assert_allclose([bounds.west, bounds.south, bounds.east, bounds.north], want["bounds"], atol=1e-9)
    x, y = grid.centres()
    np.testing.assert_allclose([x[0, 0], y[0, 0]], want["centre_of_pixel_0_0"], atol=1e-9)
    np.testing.assert_allclose(grid.transform @ (0, 0), want["upper_left_of_pixel_0_0"], atol=1e-9)


def georef_dsm():
    return open_dsm(FOLDER / "georef" / f"pixel_is_{PIXEL_IS[0].lower()}.tif").read()


@cases("index", range(len(GEOREF.get("samples", []))))
def test_sampling(index):
    sample, dsm = GEOREF["samples"][index], georef_dsm()
    x, y = np.array([sample["x"]]), np.array([sample["y"]])
    col, row = (int(np.floor(a[0])) for a in dsm.grid.pixel_of(x, y))
    assert [row, col] == [sample["row_floor"], sample["col_floor"]] == sample["rasterio_rowcol"]
    nodata = json.loads((FOLDER / "manifest.json").read_text())["georef"]["nodata"]
    near, smooth = sample["rasterio_sample"], sample["bilinear_pixel_centre_strict"]
    got = sample_nearest(dsm.heights, dsm.grid, x, y)[0]
    assert np.isnan(got) if near == nodata else got == pytest.approx(near, rel=1e-7)
    got = sample_bilinear(dsm.heights, dsm.grid, x, y)[0]
    assert np.isnan(got) if smooth is None else got == pytest.approx(smooth, rel=1e-9)


@cases("path", sorted((FOLDER / "georef").glob("gdal_warp_*.npy")), ids=lambda path: path.stem)
def test_warp(path):
    dsm, to = georef_dsm(), GEOREF["warp"]
    grid = Grid(to["shape"][1], to["shape"][0], Affine(*to["dst_transform"]), dsm.grid.crs)
    want = np.load(path).astype(np.float64)
    want[want == json.loads((FOLDER / "manifest.json").read_text())["georef"]["nodata"]] = np.nan
    got = warp(dsm.heights, dsm.grid, grid, path.stem.removeprefix("gdal_warp_").join(("gdal_", "")))
    np.testing.assert_allclose(got, want, rtol=1e-6)


@cases("key", [key for key in GEOREF if key.startswith("bounds_wgs84")])
def test_bounds_in_degrees(key):
    grid = georef_dsm().grid
    box = mapped_box(grid.crs, CRS.from_epsg(4326), grid.bounds)
    np.testing.assert_allclose([box.west, box.south, box.east, box.north], GEOREF[key], rtol=0, atol=1e-9)


def rpc_of(path):
    text = path.read_text()
    return RPC.from_dict(json.loads(text)) if path.suffix == ".json" else RPC.from_text(text)


@cases("path, index", [(path, index) for path in RPC_FILES for index in range(len(CAMERAS.get("rpc", [])))])
def test_rpc(path, index):
    rpc, want = rpc_of(path), CAMERAS["rpc"][index]
    col, row, _ = rpc.project(np.array([want["lon"], want["lat"], want["h"]]))
    np.testing.assert_allclose([col, row], [want["rpcm_sample"], want["rpcm_line"]], rtol=0, atol=1e-6)
    np.testing.assert_allclose([col + 0.5, row + 0.5], [want["gdal_col"], want["gdal_row"]], rtol=0, atol=1e-6)
    lonlat = rpc.localise(want["rpcm_sample"], want["rpcm_line"], want["h"])
    localised = [want["rpcm_localised_lon"], want["rpcm_localised_lat"]]
    np.testing.assert_allclose(lonlat, localised, rtol=0, atol=1e-9)


@cases("index", range(len(CAMERAS.get("pinhole", []))))
def test_pinhole(index):
    want = CAMERAS["pinhole"][index]
    size = want["width"], want["height"]
    lens = ColmapCamera("PINHOLE", *size, want["pinhole_fx_fy_cx_cy"])
    camera = lens.pinhole(want["colmap_qvec_wxyz"], want["colmap_tvec"])
    np.testing.assert_allclose(camera.R, want["R_world_to_camera"], atol=1e-12)
    np.testing.assert_allclose(camera.centre, want["centre_world"], rtol=1e-9, atol=1e-9)
    points = np.array(want["points_world"])
    col, row, depth = camera.project(points)
    uv = np.stack([col, row], axis=-1)
    np.testing.assert_allclose(uv, want["uv_centre_origin_opencv"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(uv + 0.5, want["uv_pixel_corner_origin"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(depth, want["z_depth"], rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(points - camera.centre, axis=1), want["ray_distance"], rtol=1e-9)
    np.testing.assert_allclose(camera.unproject(col, row, depth), points, atol=1e-9)


@cases("path", RPC_FILES if "affine" in CAMERAS else [], ids=lambda path: path.name)
def test_affine(path):
    want = CAMERAS["affine"]
    camera = AffineCamera.from_camera(rpc_of(path), want["origin_lon_lat_h"], frame="lon/lat/h")
    np.testing.assert_allclose(camera.offset, want["value_sample_line"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(camera.matrix, want["jacobian_2x3"], rtol=1e-7)
