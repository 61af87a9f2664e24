"""The official data set from meshes, rasters and point clouds: chunks of points and labelled queries.

Chunks and windows run x outer, y inner. Coordinates are world metres, float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from refbench.contracts.errors import ConfigError, InputError, MissingFileError
from refbench_implicity.official.chunk_files import CHUNK_INFO, MASKS, POINT_FILE
from refbench_implicity.official.closest_point import ClosestPoint
from refbench_implicity.official.labels import Lookup, dilated, query_labels
from refbench_implicity.official.mesh import Mesh, read_obj, voxel_centroids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

SURFACES = ("roof", "facade", "terrain")
TEXT_CLOUDS = (".xyz", ".pts", ".txt")


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """What the official builder configuration says; lengths in metres."""

    chunk_x: tuple[float, ...]
    chunk_y: tuple[float, ...]
    safe_padding: float
    window: tuple[float, float]
    step: float
    padding_z: tuple[float, float]
    min_z: float
    uniform_num: int
    surface_count_max: int
    radii: Mapping[str, float]
    offset_std: float
    dilate_building: int
    out_of_mask_value: int
    meshes: Mapping[str, Path]
    gt_dsm: Path
    masks: Mapping[str, Path]
    clouds: Path
    grid_sample_dist: float | None = None

    @classmethod
    def from_official(cls, config: Mapping[str, Any], root: Path | None = None) -> BuildConfig:
        """Return the configuration of a merged official file; ``root`` is where its relative paths start.

        Raises
        ------
        ConfigError
            A key is missing or of another type.
        """
        base = root or Path()
        try:
            chunk, query = config["chunk"], config["query_points"]
            folder = base / config["gt_mesh_folder"]
            return cls(
                chunk_x=tuple(map(float, chunk["chunk_x"])),
                chunk_y=tuple(map(float, chunk["chunk_y"])),
                safe_padding=float(chunk["chunk_safe_padding"]),
                window=(float(chunk["sliding_window"][0]), float(chunk["sliding_window"][1])),
                step=float(chunk["sliding_step"]),
                padding_z=(float(chunk["padding_z"][0]), float(chunk["padding_z"][1])),
                min_z=float(chunk["min_z"]),
                uniform_num=int(query["uniform_num"]),
                surface_count_max=int(query["surface_count_max"]),
                radii={kind: float(query[f"{kind}_radius"]) for kind in SURFACES},
                offset_std=float(query["surface_offset_std"]),
                dilate_building=int(config["dilate_building"]),
                out_of_mask_value=int(config["out_of_mask_value"]),
                meshes={kind: folder / name for kind, name in config["gt_mesh_files"].items()},
                gt_dsm=base / config["gt_dsm"],
                masks={kind: base / config["mask_files"][kind] for kind in MASKS},
                clouds=base / config["input_pointcloud_folder"],
                grid_sample_dist=config.get("grid_sample_dist") or query.get("grid_sample_dist"),
            )
        except KeyError as error:
            raise ConfigError(f"The builder's configuration lacks the key {error}.") from None
        except (TypeError, ValueError, IndexError) as error:
            raise ConfigError(f"The builder's configuration has a value of another type ({error}).") from None

    def chunks(self) -> list[ChunkArea]:
        """Return the chunks between neighbouring edges."""
        xs, ys = (list(pairwise(edges)) for edges in (self.chunk_x, self.chunk_y))
        corners = [((x0, y0), (x1, y1)) for x0, x1 in xs for y0, y1 in ys]
        return [ChunkArea(f"chunk_{n:03d}", low, high) for n, (low, high) in enumerate(corners)]


@dataclass(frozen=True, slots=True)
class ChunkArea:
    """A chunk to build: its name and rectangle."""

    name: str
    low: tuple[float, float]
    high: tuple[float, float]


class SceneFiles:
    """The inputs of a build, read on first use, and what is made of them."""

    def __init__(self, config: BuildConfig) -> None:
        self.config = config

    @cached_property
    def meshes(self) -> dict[str, Mesh]:
        """Meshes of roofs, facades, terrain and buildings."""
        needed = (*SURFACES, "buildings")
        missing = [kind for kind in needed if kind not in self.config.meshes]
        if missing:
            raise ConfigError(f"gt_mesh_files lacks {', '.join(missing)}.")
        return {kind: read_obj(self.config.meshes[kind]) for kind in needed}

    @cached_property
    def terrain(self) -> ClosestPoint:
        """Closest points of the whole terrain mesh."""
        return ClosestPoint(self.meshes["terrain"].triangles)

    @cached_property
    def surface(self) -> Lookup:
        """The reference DSM."""
        return _raster(self.config.gt_dsm, 0)

    @cached_property
    def masks(self) -> dict[str, Lookup]:
        """The land masks, buildings dilated."""
        lookups = {kind: _raster(path, self.config.out_of_mask_value) for kind, path in self.config.masks.items()}
        plain = lookups["building"]
        grown = dilated(plain.values, self.config.dilate_building)
        return {**lookups, "building": Lookup(grown, plain.transform, plain.outside)}

    @cached_property
    def cloud(self) -> NDArray[np.float64]:
        """All point clouds of the folder in order of their names, [N, 3]. Metres in the CRS of the folder."""
        files = sorted(path for path in self.config.clouds.glob("*") if path.is_file())
        if not files:
            raise MissingFileError(f"{self.config.clouds} holds no point cloud.")
        return np.concatenate([_read_cloud(path) for path in files])

    def chunk_bounds(self, chunk: ChunkArea) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return lower and upper corner [3] of a chunk, heights from its terrain and buildings."""
        low, _ = self.meshes["terrain"].clipped(chunk.low, chunk.high).z_range
        _, top = self.meshes["buildings"].clipped(chunk.low, chunk.high).z_range
        if not np.isfinite(low):
            raise InputError(f"The terrain mesh does not reach {chunk.name}.")
        return np.array([*chunk.low, low]), np.array([*chunk.high, max(top, low + self.config.min_z)])

    def points_inside(self, chunk: ChunkArea) -> NDArray[np.float64]:
        """Return the input points strictly inside a chunk, thinned to ``grid_sample_dist`` where that is set.

        [n, 3], metres in the CRS of the folder.
        """
        xy = self.cloud[:, :2]
        points = self.cloud[((xy > chunk.low) & (xy < chunk.high)).all(axis=1)]
        spacing = self.config.grid_sample_dist
        return voxel_centroids(points, spacing) if spacing else points

    def uniform_queries(self, chunk: ChunkArea, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return ``uniform_num`` points per window, uniform between its padded lowest and highest mesh.

        [n, 3], metres in the CRS of the folder.
        """
        config, pad = self.config, self.config.safe_padding
        around = [(c - pad) for c in chunk.low], [(c + pad) for c in chunk.high]
        terrain, roof = (self.meshes[kind].clipped(*around) for kind in ("terrain", "roof"))
        parts = []
        for x in np.arange(chunk.low[0], chunk.high[0], config.step):
            for y in np.arange(chunk.low[1], chunk.high[1], config.step):
                low, high = (x, y), (x + config.window[0], y + config.window[1])
                ground, _ = terrain.clipped(low, high).z_range
                _, top = roof.clipped(low, high).z_range
                if not np.isfinite(ground):
                    continue
                span = ground - config.padding_z[0], max(top, ground + config.min_z) + config.padding_z[1]
                parts.append(rng.uniform((*low, span[0]), (*high, span[1]), (config.uniform_num, 3)))
        return np.concatenate(parts) if parts else np.empty((0, 3))

    def surface_queries(self, chunk: ChunkArea, kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return points near a mesh: area-uniform, thinned to its radius, shifted by a normal offset.

        [n, 3], metres in the CRS of the folder.
        """
        mesh = self.meshes[kind].clipped(chunk.low, chunk.high)
        points = voxel_centroids(mesh.sampled(self.config.surface_count_max, rng), self.config.radii[kind])
        return points + rng.normal(0, self.config.offset_std, points.shape)

    def labelled(self, points: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Return the arrays of a query file: ``pts``, ``occ`` and the masks.

        ``points`` and ``pts`` are [n, 3], metres in the CRS of the folder; the others [n], labels and bool.
        """
        arrays: dict[str, NDArray[Any]] = {"pts": points, "occ": query_labels(points, self.surface, self.terrain)}
        return arrays | {f"mask_{kind}": mask(points[:, :2]) for kind, mask in self.masks.items()}


def build_dataset(
    config: BuildConfig,
    folder: Path,
    rng: np.random.Generator,
    report: Callable[[float, str], None] = lambda fraction, text: None,
) -> None:
    """Build the data set of ``config`` in ``folder``, which must not hold one.

    Raises
    ------
    InputError
        An input is missing or does not cover a chunk, or ``folder`` already holds a data set.
    """
    if (folder / CHUNK_INFO).exists():
        raise InputError(f"{folder} already holds a data set; give another folder.")
    files, info, chunks = SceneFiles(config), {}, config.chunks()
    for number, chunk in enumerate(chunks):
        report(number / len(chunks), chunk.name)
        low, high = files.chunk_bounds(chunk)
        entry: dict[str, Any] = {"name": chunk.name, "min_bound": low.tolist(), "max_bound": high.tolist()}
        place = folder / chunk.name
        place.mkdir(parents=True, exist_ok=True)
        np.savez(place / POINT_FILE, pts=files.points_inside(chunk))
        queries = {"uniform": files.uniform_queries(chunk, rng)}
        kinds = [kind for kind in SURFACES if config.radii[kind] > 0]
        queries |= {kind: files.surface_queries(chunk, kind, rng) for kind in kinds}
        for kind, points in queries.items():
            write_queries(place, kind, files.labelled(points))
            entry[f"n_query_pts-{kind}"] = len(points)
        entry |= {f"surface-radius-{kind}": config.radii[kind] for kind in kinds}
        entry["surface_point-offset-std"] = config.offset_std
        info[number] = entry
    write_chunk_info(folder, info)


def write_queries(chunk: Path, kind: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the labelled query points of one kind into the folder of their chunk.

    Arrays as ``labelled`` gives them: [n, 3] in metres and [n] bool.
    """
    named: dict[str, Any] = dict(arrays)
    np.savez(chunk / f"query--{kind}.npz", **named)


def write_chunk_info(folder: Path, info: Mapping[int, Mapping[str, Any]]) -> None:
    """Write ``chunk_info.yaml``, last of all: its presence says that the data set is whole."""
    beside = folder / f".{CHUNK_INFO}.new"
    beside.write_text(yaml.safe_dump(dict(info)), encoding="utf-8")
    beside.replace(folder / CHUNK_INFO)


def _raster(path: Path, outside: float) -> Lookup:
    from refbench.formats.raster_access import FAILURES, open_dataset, reason

    with open_dataset(path) as file:
        try:
            return Lookup(file.read(1), file.transform, outside)
        except FAILURES as error:
            raise InputError(f"{path} cannot be read; it may be cut off or damaged: {reason(error)}.") from None


def _read_cloud(path: Path) -> NDArray[np.float64]:
    from refbench.formats.cloud import read_points

    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False)[:, :3], np.float64)
        if path.suffix in TEXT_CLOUDS:
            return np.loadtxt(path, comments=("#", "//"), usecols=(0, 1, 2), ndmin=2)
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} is no point cloud with three columns: {error}.") from None
    return read_points(path).xyz
