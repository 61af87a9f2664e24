"""A scene folder from satellite images: ``scene.yaml`` with DSM, cloud, orthos and views, layers and notes beside."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import yaml

from refbench.contracts.errors import InputError
from refbench.contracts.points import PointCloud
from refbench.contracts.raster import DSM
from refbench.contracts.scene import Reference, Scene
from refbench.files.atomic import atomic_file
from refbench.files.new_folder import new_folder
from refbench.files.regular import remove
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import ArraySource, open_dsm
from refbench.formats.raster_write import provenance_path, write_band, write_dsm
from refbench.geometry.ortho import orthorectify
from refbench.scenes.write import write_scene
from refbench.stereo.from_images import StereoOptions, surface_from_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from refbench.contracts.source import RasterSource
    from refbench.stereo.from_images import StereoSurface

NOTES_FILE = "notes.yaml"


def write_scene_from_images(
    images: Sequence[Path],
    out: Path,
    *,
    gsd: float | None = None,
    like: Path | None = None,
    reference: Path | None = None,
    crs: str | None = None,
    most_pairs: int = 7,
    note: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """Make a scene from satellite images in the folder ``out``, whole or not at all; return sentences on it.

    Parameters
    ----------
    images
        Two or more GeoTIFFs with RPC.
    out
        A folder that is not there yet, or empty.
    gsd, crs
        Pixel size (m) and CRS of the DSM; None: the images' footprint, their UTM zone.
    like, reference
        A DSM whose grid is taken; the second becomes the scene's reference, too.
    most_pairs
        How many pairs are matched at most.
    note
        Told what is being done.

    Raises
    ------
    InputError
        A raster that cannot be read, both a grid and a pixel size, or a folder that cannot be written.
    UnsupportedError
        No pair can be matched.
    """
    if gsd is not None and (like or reference):
        raise InputError("The grid of --like or --reference has its pixel size; leave out --gsd.")
    target = None if reference is None else open_dsm(reference)
    grid = open_dsm(like).grid if like is not None else None if target is None else target.grid
    options = StereoOptions(gsd=gsd, grid=grid, crs=crs, most_pairs=most_pairs)
    with new_folder(out) as folder:
        scratch = folder / "scratch"
        found = surface_from_images(images, options, scratch, note)
        remove(scratch)
        _write(folder, found, out.name, target)
    return [
        f"pairs    {'; '.join(found.notes['pairs'])}",
        f"grid     {found.grid!r}",
        f"measured {100 * found.notes['complete']:.1f} % of the cells, the others filled (dsm_provenance.tif)",
    ]


def _write(folder: Path, found: StereoSurface, name: str, target: RasterSource[DSM] | None) -> None:
    """Write the layers, the notes, and the scene with its ``scene.yaml`` last."""
    grid, surface = found.grid, DSM(found.heights, found.grid)
    write_band(provenance_path(folder / "dsm.tif"), found.provenance, grid, "provenance")
    write_band(folder / "dsm_std.tif", found.deviation, grid, "standard deviation", nodata=float("nan"))
    write_band(folder / "dsm_count.tif", found.count, grid, "number of pairs")
    (folder / "pairs").mkdir()
    for pair, heights in found.pairs.items():
        write_dsm(folder / "pairs" / f"{pair}.tif", DSM(heights, grid))
    best = found.images.pairs[0]
    orthos = {}
    for view in (best.first, best.second):
        image = view.image.read()
        orthos[view.name] = ArraySource(orthorectify(image, view.camera, surface))
        visible = orthorectify(image, view.camera, surface, occlusion=True).valid
        assert visible is not None  # orthos have it
        write_band(folder / f"occlusion_{view.name}.tif", (~visible).astype(np.uint8), grid, "hidden from the camera")
    scene = Scene(
        name,
        grid,
        ArraySource(surface),
        HeldPoints(PointCloud(found.points, grid.crs, grid.vertical)),
        orthos,
        ((best.first.name, best.second.name),),
        views={view.name: replace(view, depth=None) for view in found.images.views},
        reference=None if target is None or target.grid != grid else Reference(target),
        vertical=grid.vertical,
    )
    with atomic_file(folder / NOTES_FILE) as file:
        file.write(yaml.safe_dump(found.notes, sort_keys=False, width=120).encode())
    write_scene(folder, scene)
