"""A scene from plain files, without ``scene.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.files.gdal_path import own_path
from refbench.scenes.build import SceneFiles, ViewFiles, build_scene
from refbench.scenes.scan import scanned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from refbench.contracts.scene import Scene

ORTHO_NAMES = "abcdefghijklmnopqrstuvwxyz"


def scene_from_files(
    points: str | Path | Sequence[str | Path] | None = None,
    dsm: str | Path | None = None,
    orthos: Sequence[str | Path] = (),
    reference: str | Path | None = None,
    masks: Mapping[str, str | Path] | None = None,
    ndvi: str | Path | None = None,
    views: Sequence[str | Path] = (),
    *,
    gsd: float | None = None,
    crs: str | None = None,
    target_crs: str | None = None,
    resampling: str = "auto",
    vertical: str | None = None,
    height_unit: str | None = None,
    keep_noise: bool = False,
    nodata_in: float | None = None,
    scene_id: str | None = None,
) -> Scene:
    """Return the scene of some files, each read once to find what is wrong with it.

    Parameters
    ----------
    points, dsm, orthos, reference, ndvi
        Files; at least one of points, DSM and orthos. Rasters given as text may be paths of GDAL's
        virtual file systems (``/vsizip/...``) and URLs. Several files of points are read as one
        cloud. Two orthos or more are named a, b, ... and the first two form a pair.
    masks
        Name of the class to file.
    views
        Images in their own pixels whose RPC is inside or beside them; each is named by the stem of its file.
    gsd
        Pixel size in metres of the grid that is laid over the points where there is no raster to take it from.
    crs, vertical, height_unit
        For files that do not say it themselves.
    target_crs
        The CRS in metres of the scene; ``own``: that of a DSM in feet, counted in metres. Default: the DSM's where it
        is in metres, else the UTM zone of its middle.
    resampling
        Kernel by which rasters come to the scene's grid: auto, nearest, bilinear, cubic or average.
    keep_noise
        Keep points of the noise classes 7 and 18.
    nodata_in
        NoData code of the heights in DSM and reference that their files do not declare.
    scene_id
        Name in results; default: the stem of the DSM, else of the first file.

    Raises
    ------
    InputError
        See ``build_scene`` and ``scanned``; also no file at all, or points alone without ``gsd``.
    """
    clouds = [points] if isinstance(points, str | Path) else list(points or ())
    given = [_own(path) for path in (dsm, *clouds, *orthos) if path is not None]
    if not given:
        raise InputError("A scene needs at least a DSM, a point cloud or an ortho image.")
    if len(orthos) > len(ORTHO_NAMES):
        raise InputError(f"At most {len(ORTHO_NAMES)} orthos can be given as plain files; write a scene.yaml instead.")
    if dsm is None and reference is None and not orthos and gsd is None:
        raise InputError(
            f"{clouds[0]} comes without a raster, so its grid is open; give the pixel size in metres as gsd."
        )
    stems = [_own(path).stem for path in views]
    if repeated := [stem for stem in stems if stems.count(stem) > 1]:
        raise InputError(f"Two views are named {repeated[0]}; give files of different names, or write a scene.yaml.")
    files = SceneFiles(
        scene_id or given[0].stem,
        crs=crs,
        target_crs=target_crs,
        resampling=resampling,
        vertical=vertical,
        height_unit=height_unit,
        nodata=nodata_in,
        gsd=gsd,
        dsm=_path(dsm),
        points=tuple(map(Path, clouds)),
        keep_noise=keep_noise,
        orthos={name: _own(path) for name, path in zip(ORTHO_NAMES, orthos, strict=False)},
        ndvi=_path(ndvi),
        views={stem: ViewFiles(_own(path)) for stem, path in zip(stems, views, strict=True)},
        masks={name: _own(path) for name, path in (masks or {}).items()},
        reference_dsm=_path(reference),
    )
    return scanned(build_scene(files))


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else _own(path)


def _own(path: str | Path) -> Path:
    """Return a file that the user names; a text may name what GDAL's virtual file systems hold, or a URL."""
    return path if isinstance(path, Path) else own_path(path)
