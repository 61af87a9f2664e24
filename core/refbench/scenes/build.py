"""From file names to a scene: opens headers, gives everything one CRS and one grid, refuses what contradicts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rasterio.crs import CRS

from refbench.contracts.errors import ConfigError, GridMismatchError, InputError
from refbench.contracts.scene import Reference, Scene, View
from refbench.formats.camera_files import read_camera, rpc_of_image
from refbench.formats.cloud_grid import grid_over
from refbench.formats.cloud_joined import open_clouds
from refbench.formats.crs import parse_crs, require_map, require_metric
from refbench.formats.in_metres import in_metres, metric_target
from refbench.formats.raster import DSMFile, ImageFile, MaskFile, open_dsm, open_image, open_mask
from refbench.formats.utm import utm_zone
from refbench.scenes.align import NEAREST, Aligner, parse_target, scene_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from refbench.contracts.camera import Camera
    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import DSM, Image, Mask
    from refbench.formats.cloud import PointFile
    from refbench.formats.cloud_joined import JoinedPoints
    from refbench.formats.warped import Warped


@dataclass(frozen=True, slots=True)
class ViewFiles:
    """The files of one view; ``camera`` None looks for an RPC in or beside the image."""

    image: Path
    camera: Path | None = None
    depth: Path | None = None
    mask: Path | None = None
    depth_range: tuple[float, float] | None = None
    acquired: datetime | None = None


@dataclass(frozen=True, slots=True)
class SceneFiles:
    """Absolute file names and declarations: what ``scene.yaml`` or the options of the command line say."""

    id: str
    folder: Path | None = None
    crs: str | None = None
    vertical: str | None = None
    height_unit: str | None = None
    gsd: float | None = None
    dsm: Path | None = None
    points: tuple[Path, ...] = ()
    """Files of one cloud."""
    orthos: Mapping[str, Path] = field(default_factory=dict)
    pairs: tuple[tuple[str, ...], ...] | None = None
    ndvi: Path | None = None
    views: Mapping[str, ViewFiles] = field(default_factory=dict)
    masks: Mapping[str, Path] = field(default_factory=dict)
    reference_dsm: Path | None = None
    reference_mask: Path | None = None
    reference_depths: Mapping[str, Path] = field(default_factory=dict)
    nodata: float | None = None
    """NoData code of the heights in DSM and reference that their files do not declare."""
    keep_noise: bool = False
    """Keep points of the noise classes 7 and 18."""
    target_crs: str | None = None
    """The CRS in metres of the scene; ``own``: that of its DSM counted in metres."""
    resampling: str = "auto"
    """Kernel by which rasters come to the scene's grid; see ``refbench.formats.warped``."""
    layers: Mapping[str, Path] = field(default_factory=dict)
    """What is known of the initial heights beside themselves, such as ``sigma``: name -> raster of one band."""


@dataclass(slots=True)
class _Opened:
    """Sources whose headers have been read."""

    dsm: DSMFile | Warped[DSM] | None
    reference: DSMFile | Warped[DSM] | None
    points: PointFile | JoinedPoints | None
    orthos: dict[str, ImageFile | Warped[Image]]
    images: dict[str, ImageFile]


def build_scene(files: SceneFiles) -> Scene:
    """Return the scene; nothing but headers is read, and points where only they tell the extent of the scene.

    Raises
    ------
    InputError
        Any file that is missing, unreadable or of the wrong kind; a raster that does not overlap the scene's
        grid, or has no place and another size.
    """
    opened = _open(files)
    crs, notes = _scene_crs(files, opened)
    _give_crs(opened, crs)
    kernel = scene_kernel(files.resampling)
    if isinstance(opened.dsm, DSMFile):
        opened.dsm = in_metres(opened.dsm, crs, gsd=files.gsd, kernel=kernel)
    elif isinstance(opened.reference, DSMFile):
        opened.reference = in_metres(opened.reference, crs, gsd=files.gsd, kernel=kernel)
    grid = _scene_grid(files, opened)
    base = opened.dsm or opened.reference
    aligner = Aligner(grid, f"the grid of {base.files[0]}" if base else "the grid of the scene", kernel)
    if opened.reference is not None:
        opened.reference = aligner.onto(opened.reference)
    opened.orthos = aligner.orthos(opened.orthos)
    aligned = _aligned(files, crs, aligner)
    views = {name: _view(name, view, opened.images[name], crs) for name, view in files.views.items()}
    vertical, vertical_notes = _vertical(opened)
    return Scene(
        files.id, _with_vertical(grid, vertical), opened.dsm, opened.points, opened.orthos,
        _pairs(files, opened.orthos, aligner), aligned.ndvi, views, aligned.masks,
        _reference(files, opened, aligned, views), _origin(grid, opened), vertical, files.folder,
        (*notes, *vertical_notes, *_source_warnings(opened), *aligner.notes), layers=aligned.layers,
    )  # fmt: skip


def _open(files: SceneFiles) -> _Opened:
    declared: dict[str, Any] = {"height_unit": files.height_unit, "crs": files.crs, "vertical": files.vertical}
    heights = {**declared, "nodata": files.nodata, "any_crs": True}
    opened = _Opened(
        None if files.dsm is None else open_dsm(files.dsm, **heights),
        None if files.reference_dsm is None else open_dsm(files.reference_dsm, **heights),
        None,
        {name: _open_ortho(path, files.crs) for name, path in files.orthos.items()},
        {name: open_image(view.image, in_camera=True) for name, view in files.views.items()},
    )
    if files.points:
        target = _raster_crs(files, opened)
        opened.points = open_clouds(files.points, keep_noise=files.keep_noise, target=target, **declared)
    return opened


def _open_ortho(path: Path, crs: str | None) -> ImageFile:
    image = open_image(path, crs=crs)
    if image.grid is None:
        raise InputError(f"{path} has no geotransform, so it is no ortho; give an image with a camera as a view.")
    if image.grid.crs is not None:
        require_map(str(path), image.grid.crs)
    return image


def _grids(opened: _Opened) -> Iterator[tuple[Path, Grid]]:
    """Yield the rasters that have a CRS, first the one that the scene's grid comes from."""
    for raster in (opened.dsm, opened.reference, *opened.orthos.values()):
        if raster is not None and raster.grid is not None and raster.grid.crs is not None:
            yield raster.files[0], raster.grid


def _raster_crs(files: SceneFiles, opened: _Opened) -> CRS | str | None:
    """Return the CRS in metres that the rasters give the scene, else what the user names: a CRS or ``own``."""
    target = parse_target(files.target_crs)
    for path, grid in _grids(opened):
        return metric_target(str(path), grid, target) or grid.crs
    return target


def _scene_crs(files: SceneFiles, opened: _Opened) -> tuple[CRS | None, tuple[str, ...]]:
    """Return the one CRS of the scene and what the user should know about it."""
    found = _raster_crs(files, opened)
    if isinstance(found, CRS):
        return found, ()
    if opened.points is not None and opened.points.crs is not None:
        return opened.points.crs, ()
    if files.crs is not None:
        return require_metric("crs", parse_crs(files.crs)), ()
    for name, view in files.views.items():
        for camera in (_camera(view, opened.images[name], None), rpc_of_image(opened.images[name])):
            if camera is not None and camera.lonlat is not None:
                crs = utm_zone(*camera.lonlat, f"View {name}")
                return crs, (f"The scene names no CRS; {crs.to_string()} was taken from the RPC of view {name}.",)
    # Points beside pinhole views may live in an arbitrary frame; orthos and points alone may not.
    if opened.orthos:
        require_metric(str(next(iter(opened.orthos.values())).files[0]), None)
    if opened.points is not None and not files.views:
        require_metric(str(opened.points.files[0]), None)
    return None, ()


def _give_crs(opened: _Opened, crs: CRS | None) -> None:
    """Give the scene's CRS to those that carry none."""
    for ortho in opened.orthos.values():
        if isinstance(ortho, ImageFile) and ortho.grid is not None and ortho.grid.crs is None:
            ortho.grid = replace(ortho.grid, crs=crs)
    if opened.points is not None and opened.points.crs is None:
        opened.points.crs = crs


def _scene_grid(files: SceneFiles, opened: _Opened) -> Grid | None:
    """Return the grid of the DSM, else of the reference, else of the first ortho, else points' at the stated GSD."""
    for raster in (opened.dsm, opened.reference, *opened.orthos.values()):
        if raster is not None:
            return raster.grid
    if opened.points is None or files.gsd is None:
        return None
    return grid_over(opened.points, files.gsd)


def _pairs(
    files: SceneFiles, orthos: dict[str, ImageFile | Warped[Image]], aligner: Aligner
) -> tuple[tuple[str, ...], ...]:
    """Return the pairs; orthos that form one come to the grid of its first."""
    pairs = files.pairs
    if pairs is None:
        pairs = (tuple(orthos)[:2],) if len(orthos) >= 2 else ()
    for pair in pairs:
        for name in pair:
            if name not in orthos:
                raise ConfigError(f"pairs names the ortho {name!r}, but there are {', '.join(orthos) or 'none'}.")
        first = orthos[pair[0]]
        for name in pair[1:]:
            beside = Aligner(first.grid, f"the grid of {first.files[0]}", aligner.kernel, aligner.notes)
            orthos[name] = beside.onto(orthos[name])
    return pairs


@dataclass(slots=True)
class _Aligned:
    """Sources that must lie on the scene's grid."""

    ndvi: ImageFile | Warped[Image] | None
    masks: dict[str, MaskFile | Warped[Mask]]
    layers: dict[str, ImageFile | Warped[Image]]
    reference_mask: MaskFile | Warped[Mask] | None


def _aligned(files: SceneFiles, crs: CRS | None, aligner: Aligner) -> _Aligned:
    ndvi = None if files.ndvi is None else open_image(files.ndvi, crs=files.crs)
    masks = {name: open_mask(path, name=name, crs=files.crs) for name, path in files.masks.items()}
    layers = {name: open_image(path, crs=files.crs) for name, path in files.layers.items()}
    mask = None if files.reference_mask is None else open_mask(files.reference_mask, name="reference", crs=files.crs)
    for source in (ndvi, *masks.values(), *layers.values(), mask):
        if source is not None and source.grid is not None and source.grid.crs is None:
            source.grid = replace(source.grid, crs=crs)
    if ndvi is not None and ndvi.bands != 1:
        raise InputError(f"{files.ndvi} has {ndvi.bands} bands; NDVI has exactly 1.")
    for name, layer in layers.items():
        if layer.bands != 1:
            raise InputError(f"{layer.files[0]} has {layer.bands} bands; the layer {name} has exactly 1.")
    return _Aligned(
        None if ndvi is None else aligner.onto(ndvi),
        {name: aligner.onto(source, NEAREST) for name, source in masks.items()},
        {name: aligner.onto(layer) for name, layer in layers.items()},
        None if mask is None else aligner.onto(mask, NEAREST),
    )


def _camera(files: ViewFiles, image: ImageFile, crs: CRS | None) -> Camera | None:
    return rpc_of_image(image, crs) if files.camera is None else read_camera(files.camera, crs)


def _view(name: str, files: ViewFiles, image: ImageFile, crs: CRS | None) -> View:
    camera = _camera(files, image, crs)
    if camera is None:
        raise InputError(
            f"View {name}: {files.image} carries no RPC and has no _RPC.TXT, .RPB or JSON of an RPC beside it; give a "
            "camera file."
        )
    if camera.size is not None and camera.size != image.shape:
        raise GridMismatchError(
            f"View {name}: the camera is for {camera.size[1]} x {camera.size[0]} px, but {files.image} has "
            f"{image.shape[1]} x {image.shape[0]}."
        )
    depth = None if files.depth is None else open_image(files.depth, in_camera=True)
    mask = None if files.mask is None else open_mask(files.mask, name=name, in_camera=True)
    for source in (depth, mask):
        if source is not None:
            _check_shape(name, source, image)
    acquired = files.acquired or image.acquired
    return View(name, image, camera, depth, mask, files.depth_range, acquired=acquired)


def _check_shape(name: str, source: ImageFile | MaskFile, image: ImageFile) -> None:
    if source.shape != image.shape:
        rows, cols = source.shape
        raise GridMismatchError(
            f"View {name}: {source.files[0]} has {cols} x {rows} px, its image {image.shape[1]} x {image.shape[0]}."
        )


def _reference(files: SceneFiles, opened: _Opened, aligned: _Aligned, views: Mapping[str, View]) -> Reference | None:
    for name in files.reference_depths:
        if name not in views:
            raise ConfigError(f"reference.depths names the view {name!r}, but there are {', '.join(views) or 'none'}.")
    depths = {name: open_image(path, in_camera=True) for name, path in files.reference_depths.items()}
    for name, depth in depths.items():
        _check_shape(name, depth, opened.images[name])
    if opened.reference is None and not depths:
        return None
    return Reference(opened.reference, aligned.reference_mask, depths)


def _vertical(opened: _Opened) -> tuple[str, tuple[str, ...]]:
    """Return the scene's vertical datum, and a warning where two sources name different ones."""
    known = {
        str(source.files[0]): datum
        for source, datum in (
            (opened.dsm, opened.dsm and opened.dsm.grid.vertical),
            (opened.reference, opened.reference and opened.reference.grid.vertical),
            (opened.points, opened.points and opened.points.vertical),
        )
        if source is not None and datum not in (None, "unknown")
    }
    if not known:
        return "unknown", ()
    first = next(iter(known))
    notes = tuple(
        f"{path} has the vertical datum {datum}, {first} has {known[first]}; heights are compared as they are."
        for path, datum in known.items()
        if datum != known[first]
    )
    return str(known[first]), notes


def _with_vertical(grid: Grid | None, vertical: str) -> Grid | None:
    if grid is None or grid.vertical != "unknown":
        return grid
    return replace(grid, vertical=vertical)


def _origin(grid: Grid | None, opened: _Opened) -> tuple[float, float, float]:
    if grid is not None:
        return (*grid.origin, 0.0)
    if opened.points is not None:
        bounds = opened.points.bounds()
        return math.floor(bounds.west) + 0.0, math.floor(bounds.south) + 0.0, 0.0
    return 0.0, 0.0, 0.0


def _source_warnings(opened: _Opened) -> Iterator[str]:
    for source in (opened.dsm, opened.reference, opened.points, *opened.orthos.values()):
        if source is not None:
            yield from source.warnings
