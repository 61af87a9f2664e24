"""Point clouds out: LAZ, LAS, NPZ, PLY, whole or not at all; equal clouds give equal bytes."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError
from refbench.files.atomic import atomic_file
from refbench.formats.cloud_formats import SUFFIXES, import_open3d
from refbench.formats.crs import compound_crs

if TYPE_CHECKING:
    from typing import BinaryIO

    from numpy.typing import NDArray

    from refbench.contracts.points import PointCloud

SCALE = 1e-3
"""Millimetres: what LAS and NPZ files keep of a coordinate."""


def write_points(path: str | Path, cloud: PointCloud) -> None:
    """Write a cloud as LAZ, LAS, NPZ or PLY, by suffix; LAS and NPZ keep millimetres.

    Raises
    ------
    InputError
        An unknown suffix, no points, a missing folder or a full disk.
    MissingExtraError
        PLY without open3d.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: point clouds are written as {', '.join(SUFFIXES)}.")
    if not len(cloud):
        raise InputError(f"{path}: a cloud without points is not written.")
    if suffix == ".ply":
        _write_ply(path, cloud)
        return
    with atomic_file(path) as file:
        if suffix == ".npz":
            _write_npz(file, cloud)
        else:
            _write_las(file, cloud, compress=suffix == ".laz")


def _quantised(xyz: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return whole millimetres from the floored minimum, and that minimum."""
    offset = np.floor(xyz.min(axis=0))
    steps = np.rint((xyz - offset) / SCALE)
    if steps.max() > np.iinfo(np.int32).max:
        raise InputError("The cloud is wider than 2147 km, which LAS and NPZ cannot hold in millimetres.")
    return steps.astype(np.int32), offset


def _write_npz(file: BinaryIO, cloud: PointCloud) -> None:
    steps, offset = _quantised(cloud.xyz)
    arrays: dict[str, Any] = {"xyz": steps, "scale": np.full(3, SCALE), "offset": offset}
    arrays["vertical"] = np.array(cloud.vertical)
    if cloud.crs is not None:
        arrays["crs"] = np.array(cloud.crs.to_string())
    for key, name in (("rgb", "colour"), ("intensity", "intensity"), ("classes", "classes")):
        if (values := getattr(cloud, name)) is not None:
            arrays[key] = values
    np.savez_compressed(file, **arrays)


def as_uint16(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Return values in LAS's 16 bits: bytes are spread, floats in [0, 1] are fractions, all else is clipped.

    Any shape, which stays; bytes become levels times 257.
    """
    if values.dtype == np.uint8:
        return np.asarray(values.astype(np.uint16) * 257)
    if values.dtype.kind == "f" and values.size and values.min() >= 0 and values.max() <= 1:
        values = np.rint(values * 65535)
    return np.asarray(np.clip(values, 0, 65535), np.uint16)


def _write_las(file: BinaryIO, cloud: PointCloud, compress: bool) -> None:
    import laspy

    steps, offset = _quantised(cloud.xyz)
    header = laspy.LasHeader(point_format=6 if cloud.colour is None else 7, version="1.4")
    header.scales, header.offsets = np.full(3, SCALE), offset
    header.generating_software = "refbench"
    header.creation_date = datetime.date(2000, 1, 1)  # equal clouds, equal bytes
    wkt_crs = compound_crs(cloud.crs, cloud.vertical)
    if wkt_crs is not None:
        header.vlrs.append(laspy.vlrs.known.WktCoordinateSystemVlr(wkt_crs.to_wkt()))
    header.global_encoding.wkt = True
    las = laspy.LasData(header)
    las.X, las.Y, las.Z = steps.T
    if cloud.colour is not None:
        las.red, las.green, las.blue = as_uint16(cloud.colour).T
    if cloud.intensity is not None:
        las.intensity = np.clip(cloud.intensity, 0, 65535).astype(np.uint16)
    if cloud.classes is not None:
        las.classification = cloud.classes
    las.write(file, do_compress=compress)


def _write_ply(path: Path, cloud: PointCloud) -> None:
    open3d = import_open3d("writing PLY files")
    out = open3d.t.geometry.PointCloud()
    out.point["positions"] = open3d.core.Tensor(np.ascontiguousarray(cloud.xyz))
    if cloud.colour is not None:
        out.point["colors"] = open3d.core.Tensor(np.ascontiguousarray(cloud.colour))
    for name in ("intensity", "classes"):
        if (values := getattr(cloud, name)) is not None:
            out.point[name] = open3d.core.Tensor(np.ascontiguousarray(values).reshape(-1, 1))
    with atomic_file(path) as file:
        if not open3d.t.io.write_point_cloud(file.name, out):
            raise OSError(f"open3d could not write {path.name}")
