"""What a method gave: held against its contract, given the scene's NoData, written to the job's folder."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import MethodError
from refbench.contracts.method import Prediction
from refbench.contracts.raster import DSM
from refbench.engine.job.draft import Refined
from refbench.engine.tiles.stream import CONFIDENCE, inside_areas
from refbench.files.image_file import write_image
from refbench.files.names import as_file_name
from refbench.formats.raster_write import provenance_path, write_band, write_dsm

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.grid import Window
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource
    from refbench.engine.tiles.stream import RowWriter
    from refbench.formats.output_nodata import OutputCode

DSM_FILE = "dsm.tif"
PROVENANCE_FILE = provenance_path(DSM_FILE).name
_LAYER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")
_TAKEN = frozenset({"dsm", "dsm_provenance", CONFIDENCE})
"""Names of files that layers may not take."""


@dataclass(slots=True)
class ValidCount:
    """A ``RowWriter`` that counts what passes through: valid heights, and initial ones that were lost."""

    writer: RowWriter | None
    initial: RasterSource[DSM] | None
    areas: tuple[Window, ...] = ()
    valid: int = 0
    lost: int = 0

    def write(self, window: Window, heights: NDArray[np.float32]) -> None:
        """Count the rows and hand them on. ``heights`` are metres, [rows, cols] of the window."""
        known = np.isfinite(heights)
        self.valid += int(known.sum())
        if self.initial is not None:
            lost = self.initial.read(window).valid & ~known
            self.lost += int((lost & inside_areas(self.areas, window) if self.areas else lost).sum())
        if self.writer is not None:
            self.writer.write(window, heights)

    def warnings(self) -> tuple[str, ...]:
        """Return what has to be said of the counts.

        Raises
        ------
        MethodError
            There is no valid height.
        """
        if not self.valid:
            raise MethodError("It returned no valid height: all are NaN or infinite.")
        if not self.lost:
            return ()
        return (f"{self.lost} pixels with an initial height have no finite one after the refinement.",)


def checked(given: object, scene: Scene) -> Prediction:
    """Return what a method gave where it is a prediction whose rasters lie on the scene's grid.

    Raises
    ------
    MethodError
        It is not; the message says what is wrong with which part.
    """
    if not isinstance(given, Prediction):
        raise MethodError(f"It returned a {type(given).__name__}, not a Prediction.")
    if (dsm := given.dsm) is not None:
        if scene.grid is not None and (wrong := "; ".join(scene.grid.differences(dsm.grid))):
            raise MethodError(f"It returned a DSM on another grid than the scene's: {wrong}.")
        rasters = {CONFIDENCE: given.confidence, "provenance": given.provenance, **given.layers}
        for name, values in rasters.items():
            if values is not None and values.shape != dsm.grid.shape:
                raise MethodError(f"Its {name} has shape {values.shape}, the DSM {dsm.grid.shape}.")
    for name in given.layers:
        check_layer_name(name)
    for name, depth in given.depths.items():
        if depth.ndim != 2:
            raise MethodError(f"The depth map of {name} has shape {depth.shape}, not [rows, cols].")
    return given


def check_layer_name(name: str) -> None:
    """Raise ``MethodError`` where a layer cannot have a file of its name."""
    if not _LAYER_NAME.fullmatch(name) or name in _TAKEN:
        raise MethodError(f"It returned a layer called {name!r}, which cannot be the name of its file.")


def with_nodata(prediction: Prediction, scene: Scene) -> Prediction:
    """Return a prediction whose heights are NaN where the initial DSM has none, and outside the scene's areas."""
    dsm = prediction.dsm
    if dsm is None or (scene.dsm is None and not scene.areas):
        return prediction
    kept = np.ones(dsm.grid.shape, np.bool_) if scene.dsm is None else scene.dsm.read().valid
    if scene.areas:
        kept = kept & inside_areas(scene.areas, dsm.grid.full_window)
    confidence = prediction.confidence
    return replace(
        prediction,
        dsm=DSM(np.where(kept, dsm.heights, np.float32(np.nan)), dsm.grid),
        confidence=None if confidence is None else np.where(kept, confidence, np.float32(np.nan)),
        provenance=None if prediction.provenance is None else np.where(kept, prediction.provenance, np.uint8(0)),
    )


def write_prediction(
    prediction: Prediction, scene: Scene, folder: Path, nodata: OutputCode, tags: dict[str, str]
) -> Refined:
    """Write the DSM, its confidence, layers and provenance, depth maps and images; keep the files in the scratch.

    Raises
    ------
    MethodError
        No height is valid, or two files have one name.
    """
    outputs: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    if (dsm := prediction.dsm) is not None:
        counted = ValidCount(None, scene.dsm, scene.areas)
        counted.write(dsm.grid.full_window, dsm.heights)
        warnings = counted.warnings()
        write_dsm(folder / DSM_FILE, dsm, nodata=nodata, tags=tags, provenance=prediction.provenance)
        outputs["dsm"] = DSM_FILE
        if prediction.provenance is not None:
            outputs["provenance"] = PROVENANCE_FILE
        if prediction.confidence is not None:
            outputs |= _bands(folder, {CONFIDENCE: prediction.confidence}, dsm)
        outputs |= _bands(folder, prediction.layers, dsm)
    outputs |= write_beside(prediction, folder)
    return Refined(outputs=outputs, warnings=warnings)


def write_beside(prediction: Prediction, folder: Path) -> dict[str, str]:
    """Write what there is beside a DSM: depth maps, images, the files in the scratch; return name -> file.

    Raises
    ------
    MethodError
        Two files have one name.
    """
    outputs: dict[str, str] = {}
    for name, depth in prediction.depths.items():
        outputs[f"depth_{name}"] = f"depth_{as_file_name(name)}.tif"
        write_band(folder / outputs[f"depth_{name}"], depth, None, "depth", nodata=math.nan)
    for name, image in prediction.views.items():
        outputs[f"view_{name}"] = f"view_{as_file_name(name)}.png"
        write_image(folder / outputs[f"view_{name}"], image)
    for name, path in prediction.files.items():
        kept = folder / path.name
        if kept.exists():
            raise MethodError(f"It gave two files of the name {path.name}.")
        path.replace(kept)
        outputs[name] = kept.name
    return outputs


def _bands(folder: Path, layers: Mapping[str, NDArray[Any]], dsm: DSM) -> dict[str, str]:
    """Write layers on the DSM's grid; return name -> file."""
    for name, values in layers.items():
        # Counts and classes are integers, which have no NaN.
        nodata = math.nan if values.dtype.kind == "f" else None
        write_band(folder / f"{name}.tif", values, dsm.grid, name, nodata=nodata)
    return {name: f"{name}.tif" for name in layers}
