"""Output folders of other pipelines as their documentation describes them, small, with real files of every kind.

Each function writes one below ``folder`` on ``grid_of`` and returns the folder; heights are ``hills`` but for a hole.
"""

import json
import warnings

import cv2
import numpy as np
import rasterio
import yaml
from affine import Affine
from makers import grid_of, hills, rpc_looking_down, write_tif
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import transform
from scipy.spatial.transform import Rotation

from refbench import Grid
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
    tags = {"CLASSES": "{0: (0, 0.968), 1: (0.968, 1.13375), 2: (1.13375, inf)}"}
    write_tif(dsm / "performance_map.tif", performance, grid, nodata=255, tags=tags)
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


def asp_folder(folder, prefix="run", degrees=False):
    """A DEM by point2dem; its grid is stated by pixel centres (AREA_OR_POINT=Point), as ASP does."""
    grid = the_grid()
    if degrees:  # what point2dem makes without --t_srs
        grid = Grid(COLS, ROWS, Affine(GSD / 78_700, 0, 9.0, 0, -GSD / 111_100, 45.1535), CRS.from_epsg(4326))
    folder.mkdir(parents=True)
    point = {"tags": {"AREA_OR_POINT": "Point"}}
    write_tif(folder / f"{prefix}-DEM.tif", heights_with_hole(grid, -1e6), grid, nodata=-1e6, **point)
    image = texture(grid)
    image[:, :6, :7] = 0
    write_tif(folder / f"{prefix}-DRG.tif", image, grid, nodata=0, **point)
    error = np.tile(np.linspace(0.1, 2, grid.width, dtype=np.float32), (grid.height, 1))
    for name in ("IntersectionErr", "VerticalStdDev"):
        write_tif(folder / f"{prefix}-{name}.tif", error, grid, nodata=-1e6, **point)
    x, y, z = centres(grid)
    source = CRS.from_epsg(4979) if degrees else grid.crs
    place = np.stack(transform(source, CRS.from_epsg(4978), x.ravel(), y.ravel(), z.ravel()))
    centre = np.round(place.mean(axis=1), -2)
    bands = np.concatenate([(place - centre[:, None]), error.reshape(1, -1)]).reshape(4, *grid.shape)
    bands[:, :6, :7] = 0
    tags = {"POINT_OFFSET": " ".join(repr(float(value)) for value in centre)}
    write_tif(folder / f"{prefix}-PC.tif", bands.astype(np.float32), tags=tags)
    write_tif(folder / f"{prefix}-L.tif", texture(grid))
    return folder


def odm_folder(folder):
    grid = the_grid()
    for name in ("odm_dem", "odm_georeferencing", "odm_orthophoto", "opensfm", "images"):
        (folder / name).mkdir(parents=True)
    write_tif(folder / "odm_dem/dsm.tif", heights_with_hole(grid, -9999), grid, nodata=-9999)
    write_tif(folder / "odm_dem/dtm.tif", heights_with_hole(grid, -9999) - 3, grid, nodata=-9999)
    fine = grid_of(ROWS * 2, COLS * 2, GSD / 2)
    rgba = np.concatenate([texture(fine, bands=3), np.full((1, *fine.shape), 255, np.uint8)])
    write_tif(folder / "odm_orthophoto/odm_orthophoto.tif", rgba, fine, photometric="RGB", ALPHA="YES")
    cloud = np.stack([a.ravel() for a in centres(grid)], axis=1)
    write_points(folder / "odm_georeferencing/odm_georeferenced_model.laz", PointCloud(np.round(cloud, 3), grid.crs))
    opensfm_files(folder / "opensfm/reconstruction.json", folder / "images", grid)
    return folder


def opensfm_files(reconstruction, images, grid, kind="brown"):
    """Three shots that look down at the middle of the grid from 60 m, and the points of a plane below them."""
    x, y, _ = centres(grid)
    middle = x.mean(), y.mean()
    lon, lat = transform(grid.crs, CRS.from_epsg(4326), [middle[0]], [middle[1]])
    camera = {"projection_type": kind, "width": 64, "height": 48}
    camera |= {"focal": 0.9} if kind == "perspective" else {"focal_x": 0.9, "focal_y": 0.91, "c_x": 0.01, "c_y": -0.02}
    camera |= {"k1": -0.02, "k2": 0.001}
    shots = {}
    rng = np.random.default_rng(2)
    for k, east in enumerate((-8.0, 0.0, 8.0)):
        name = f"DJI_{k:04d}.png"
        rotation = Rotation.from_euler("xz", [180, 5 * k], degrees=True)
        centre = np.array([east, 1.0, 60.0])
        shots[name] = {
            "camera": "v2 test 64 48", "rotation": rotation.as_rotvec().tolist(),
            "translation": (-rotation.as_matrix() @ centre).tolist(), "gps_position": centre.tolist(),
        }  # fmt: skip
        cv2.imwrite(str(images / name), rng.integers(20, 220, (48, 64, 3)).astype(np.uint8))
    points = {
        str(k): {"coordinates": [k % 5 * 2.0 - 4, k // 5 * 2.0 - 4, 0.0], "color": [9, 99, 200]} for k in range(25)
    }
    place = {"latitude": lat[0], "longitude": lon[0], "altitude": 100.0}
    whole = {"cameras": {"v2 test 64 48": camera}, "shots": shots, "points": points, "reference_lla": place}
    lost = {"cameras": {"v2 test 64 48": camera}, "shots": {}, "points": {}, "reference_lla": place}
    reconstruction.write_text(json.dumps([lost, whole]))


def opensfm_folder(folder):
    (folder / "images").mkdir(parents=True)
    opensfm_files(folder / "reconstruction.json", folder / "images", the_grid(), "perspective")
    return folder


MICMAC_STEP, MICMAC_ORIGIN = 0.05, 90.0


def micmac_folder(folder, tfw=True, crs="EPSG:32632"):
    """The last steps of Malt Ortho: altitudes in steps of 5 cm above 90 m, a mask, correlations as bytes."""
    grid = the_grid()
    folder.mkdir(parents=True)
    counts = (hills(grid).astype(np.float64) - MICMAC_ORIGIN) / MICMAC_STEP
    for step, zoom in ((7, 4), (8, 1), (9, 1)):
        name = f"Z_Num{step}_DeZoom{zoom}_STD-MALT"
        write_tif(folder / f"{name}.tif", counts.astype(np.float32) if step == 9 else np.zeros((9, 9), np.float32))
        x, y = grid.bounds.west + GSD / 2, grid.bounds.north - GSD / 2
        (folder / f"{name}.xml").write_text(
            f'<?xml version="1.0" ?>\n<FileOriMnt>\n<NameFileMnt>{name}.tif</NameFileMnt>\n'
            f"<NombrePixels>{COLS} {ROWS}</NombrePixels>\n<OriginePlani>{x} {y}</OriginePlani>\n"
            f"<ResolutionPlani>{GSD} {-GSD}</ResolutionPlani>\n<OrigineAlti>{MICMAC_ORIGIN}</OrigineAlti>\n"
            f"<ResolutionAlti>{MICMAC_STEP}</ResolutionAlti>\n<Geometrie>eGeomMNTEuclid</Geometrie>\n</FileOriMnt>\n"
        )
        if tfw:
            (folder / f"{name}.tfw").write_text(f"{GSD}\n0\n0\n{-GSD}\n{x}\n{y}\n")
    mask = np.full(grid.shape, 255, np.uint8)
    mask[:6, :7] = 0
    write_tif(folder / "AutoMask_STD-MALT_Num_8.tif", mask)
    correlation = np.tile(np.linspace(0, 255, grid.width).astype(np.uint8), (grid.height, 1))
    write_tif(folder / "Correl_STD-MALT_Num_8.tif", correlation)
    if crs:
        (folder / "crs.txt").write_text(f"{crs}\n")
    return folder


def transforms_folder(folder, depth=True, shared=True):
    """Two images as nerfstudio lists them: OpenGL poses, principal points from the corner of the first pixel."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(4)
    frames = []
    intrinsics = {"fl_x": 70.0, "fl_y": 72.0, "cx": 32.5, "cy": 23.5, "w": 64, "h": 48, "camera_model": "OPENCV"}
    for k, east in enumerate((-1.0, 1.0)):
        name = f"frame_{k:05d}"
        cv2.imwrite(str(folder / f"images/{name}.png"), rng.integers(20, 220, (48, 64, 3)).astype(np.uint8))
        pose = np.eye(4)  # a camera of OpenGL without rotation looks down -z, y up
        pose[:3, 3] = east, 0.5, 10.0
        frame = {"file_path": f"images/{name}.png", "transform_matrix": pose.tolist()}
        if depth:
            counts = np.full((48, 64), 10_000, np.uint16)
            counts[0, 0] = 0
            cv2.imwrite(str(folder / f"images/{name}_depth.png"), counts)
            frame["depth_file_path"] = f"images/{name}_depth.png"
        frames.append(frame if shared else {**frame, **intrinsics})
    xyz = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.5]])
    write_points(folder / "sparse_pc.ply", PointCloud(xyz))
    content = {**(intrinsics if shared else {}), "frames": frames, "ply_file_path": "sparse_pc.ply"}
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


def eth3d_folder(folder):
    """Two images of the SLR camera with the text files of their calibration, and depth maps of no view."""
    below = folder / "dslr_calibration_undistorted"
    for place in (below, folder / "images/dslr_images_undistorted", folder / "ground_truth_depth/dslr_images"):
        place.mkdir(parents=True)
    (below / "cameras.txt").write_text("# Camera list\n0 PINHOLE 64 48 70 70 32.5 24.5\n")
    lines, rng = [], np.random.default_rng(6)
    for k, east in enumerate((-0.5, 0.5)):
        name = f"dslr_images_undistorted/DSC_{k:04d}.JPG"
        cv2.imwrite(str(folder / "images" / name), rng.integers(20, 220, (48, 64, 3)).astype(np.uint8))
        lines.append(f"{k} 1 0 0 0 {-east} 0 0 0 {name}\n32.5 24.5 0 -1 -1 -1\n")
    (below / "images.txt").write_text("# Image list\n" + "".join(lines))
    (below / "points3D.txt").write_text("0 0 0 5 10 20 30 0.5 0 0 1 0\n1 1 0 5 10 20 30 0.5 0 1 1 1\n")
    return folder
