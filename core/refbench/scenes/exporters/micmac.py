"""A scene as a MEC folder of MicMac: the Z image of a last step with tfw and xml, correlation, mask, CRS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError
from refbench.formats.raster_write import write_band
from refbench.scenes.exporters.tree import not_written, surface_of, write_text
from refbench.scenes.importers.micmac import CRS_FILES, GROUND

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.grid import Grid
    from refbench.contracts.scene import Scene

STEP_M = 0.01
STEM = "STD-MALT"
Z_IMAGE, MASK, CORRELATION = f"Z_Num9_DeZoom1_{STEM}", f"AutoMask_{STEM}_Num_8", f"Correl_{STEM}_Num_8"


def write_micmac(scene: Scene, folder: Path) -> list[str]:
    """Write the folder: altitudes as floating counts of 1 cm above the lowest whole metre.

    Returns
    -------
    What has no place there.

    Raises
    ------
    InputError
        The grid is turned, which no xml of MicMac can say, or there is no height.
    """
    dsm = surface_of(scene, "MicMac")
    grid = dsm.grid
    if grid.transform.b or grid.transform.d:
        raise InputError(f"The grid of scene {scene.id} is turned; MicMac's files hold none that is.")
    if not dsm.valid.any():
        raise InputError(f"Scene {scene.id} has no height to write.")
    origin = float(math.floor(float(np.nanmin(dsm.heights))))
    counts = (dsm.heights.astype(np.float64) - origin) / STEP_M
    folder.mkdir(parents=True, exist_ok=True)
    # Without a geotransform, as MicMac writes them: the tfw beside each says where it lies.
    write_band(folder / f"{Z_IMAGE}.tif", np.where(dsm.valid, counts, 0).astype(np.float32), None, "altitude")
    write_band(folder / f"{MASK}.tif", np.where(dsm.valid, 255, 0).astype(np.uint8), None, "mask")
    if "correlation" in scene.layers:
        image = scene.layers["correlation"].read()
        known = np.ones(grid.shape, np.bool_) if image.valid is None else image.valid
        write_band(folder / f"{CORRELATION}.tif", np.where(known, image.pixels[0], 0), None, "correlation")
    _write_place(folder, grid, origin)
    assert grid.crs is not None  # surface_of looked
    write_text(folder / CRS_FILES[0], f"{grid.crs.to_string()}\n")
    notes = [f"orthos left out: {', '.join(scene.orthos)}"] if scene.orthos else []
    notes += ["points left out"] if scene.points is not None else []
    return notes + not_written(scene, layers=("correlation",))


def _write_place(folder: Path, grid: Grid, origin: float) -> None:
    """Write tfw and xml: the centre of the first pixel, the pixel, the altitude of a count of 0, the step."""
    t = grid.transform
    x, y = t @ (0.5, 0.5)
    write_text(folder / f"{Z_IMAGE}.tfw", "".join(f"{value!r}\n" for value in (t.a, 0.0, 0.0, t.e, x, y)))
    said = {
        "NameFileMnt": f"{Z_IMAGE}.tif", "NameFileMasque": f"{MASK}.tif", "NombrePixels": f"{grid.width} {grid.height}",
        "OriginePlani": f"{x!r} {y!r}", "ResolutionPlani": f"{t.a!r} {t.e!r}", "OrigineAlti": repr(origin),
        "ResolutionAlti": repr(STEP_M), "Geometrie": GROUND,
    }  # fmt: skip
    lines = [f"     <{key}>{value}</{key}>" for key, value in said.items()]
    text = '<?xml version="1.0" ?>\n<FileOriMnt>\n' + "\n".join(lines) + "\n</FileOriMnt>\n"
    write_text(folder / f"{Z_IMAGE}.xml", text)
