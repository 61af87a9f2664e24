"""A scene as an output folder of s2p: ``dsm.tif``, ``confidence.tif``, one tile with the cloud, ``config.json``."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.files.atomic import atomic_file
from refbench.scenes.exporters.tree import first_ortho, not_written, surface_of, write_heights, write_layer, write_text
from refbench.scenes.importers.s2p import CONFIG, LAYERS

if TYPE_CHECKING:
    from pathlib import Path

    from rasterio.crs import CRS

    from refbench.contracts.points import PointCloud
    from refbench.contracts.scene import Scene

TILE = "tiles/row_0000000_height_{rows}/col_0000000_width_{cols}"


def write_s2p(scene: Scene, folder: Path) -> list[str]:
    """Write the folder; images with RPC are named in its configuration where they lie in files of their own.

    Returns
    -------
    What has no place there.
    """
    dsm = surface_of(scene, "s2p")
    write_heights(folder / "dsm.tif", dsm, math.nan)
    stems = {name: stem for stem, name in LAYERS.items() if name in scene.layers}
    for name, stem in stems.items():
        write_layer(folder / f"{stem}.tif", scene.layers[name], dsm.grid, math.nan)
    tile = folder / TILE.format(rows=dsm.grid.height, cols=dsm.grid.width)
    tile.mkdir(parents=True)
    if scene.points is not None and dsm.grid.crs is not None:
        _write_cloud(tile / "cloud.ply", scene.points.read(), dsm.grid.crs)
    views = {name: view.image.files[0] for name, view in scene.views.items() if view.camera.lonlat and view.image.files}
    images = [{"img": os.path.relpath(path.absolute(), folder.absolute())} for path in views.values()]
    content: dict[str, Any] = {"out_dir": ".", "images": images, "dsm_resolution": dsm.grid.gsd}
    write_text(folder / CONFIG, json.dumps(content, indent=2) + "\n")
    write_text(folder / "tiles.txt", f"{tile.relative_to(folder)}/{CONFIG}\n")
    ortho, _ = first_ortho(scene)
    notes = [] if ortho is None else [f"orthos left out: {', '.join(scene.orthos)}"]
    return notes + not_written(scene, layers=stems, views=views)


def _write_cloud(path: Path, cloud: PointCloud, crs: CRS) -> None:
    """Write a cloud as s2p does: doubles, bytes of colour, the CRS in a comment."""
    fields: list[tuple[str, str]] = [(axis, "<f8") for axis in "xyz"]
    names = ("red", "green", "blue")
    colour = cloud.colour
    if colour is not None:
        fields += [(name, "u1") for name in names]
    rows = np.zeros(len(cloud), fields)
    for k, axis in enumerate("xyz"):
        rows[axis] = cloud.xyz[:, k]
    if colour is not None:
        # Colours of 16 bits, as LAS has them, keep their upper byte.
        eight = colour if colour.max(initial=0) <= 255 else colour // 256
        for k, name in enumerate(names):
            rows[name] = eight[:, k].astype(np.uint8)
    code = crs.to_epsg()
    head = ["ply", "format binary_little_endian 1.0", "comment created by refbench"]
    head += [f"comment projection: CRS {f'epsg:{code}' if code else crs.to_wkt()}", f"element vertex {len(rows)}"]
    head += [f"property {'double' if kind == '<f8' else 'uchar'} {name}" for name, kind in fields]
    with atomic_file(path) as file:
        file.write(("\n".join([*head, "end_header"]) + "\n").encode())
        file.write(rows.tobytes())
