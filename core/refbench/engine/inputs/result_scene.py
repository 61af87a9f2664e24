"""The folder of a result as a scene: the refined DSM, and how well it is known; for what writes it in other layouts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from refbench.contracts.errors import GridMismatchError, InputError
from refbench.contracts.scene import Scene
from refbench.engine.inputs.scene import open_folder
from refbench.engine.job.result import read_result
from refbench.formats.raster import open_dsm, open_image
from refbench.formats.raster_parts import ClassesMask

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.raster import Image, Mask
    from refbench.contracts.source import RasterSource

RESULT = "result.json"
MEASURED, INTERPOLATED = 1, 3
"""Values of a provenance raster."""


def scene_or_result(path: Path, beside: Path | None = None) -> Scene:
    """Return a scene, or that of a result: its DSM, ``confidence`` as the layer ``sigma``, provenance as masks.

    Parameters
    ----------
    path
        The folder of a scene in any layout, its ``scene.yaml``, or the folder of a result.
    beside
        For a result: the scene that was refined. What is not made anew (orthos, points, layers) is taken from it.

    Raises
    ------
    InputError
        The result holds no DSM, ``beside`` lies on another grid or stands beside no result, or as the readers do.
    """
    if not (path / RESULT).is_file():
        if beside is not None:
            raise InputError(f"{path} is no result, so it has no scene beside it; leave out --scene.")
        return open_folder(path)
    outputs = read_result(path / RESULT).outputs
    if "dsm" not in outputs:
        raise InputError(f"{path} holds no refined DSM.")
    dsm = open_dsm(path / outputs["dsm"])
    base = Scene(path.name) if beside is None else open_folder(beside)
    if base.grid is not None and (wrong := "; ".join(base.grid.differences(dsm.grid))):
        raise GridMismatchError(f"{path} does not lie on the grid of {beside}: {wrong}.")
    layers: dict[str, RasterSource[Image]] = dict(base.layers)
    masks: dict[str, RasterSource[Mask]] = dict(base.masks)
    if "confidence" in outputs:
        layers["sigma"] = open_image(path / outputs["confidence"])
    if "provenance" in outputs:
        provenance = open_image(path / outputs["provenance"])
        masks["measured"] = ClassesMask(provenance, (MEASURED,), "measured")
        masks["filled"] = ClassesMask(provenance, (INTERPOLATED,), "filled")
    vertical = dsm.grid.vertical
    return replace(base, grid=dsm.grid, dsm=dsm, layers=layers, masks=masks, vertical=vertical)
