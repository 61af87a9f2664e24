"""The form of what the method returns on the standard scene: shapes, types, grid, finite values."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.need import Gives
from refbench.engine.tiles.stream import CONFIDENCE
from refbench.testing.check import check
from refbench.testing.require import applies, require
from refbench.testing.subject import describe

if TYPE_CHECKING:
    from refbench.contracts.method import Prediction
    from refbench.testing.subject import Subject

_WRITABLE = ("float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "bool")
_HALF_PIXEL = 1e-3


@check("runs", after=("loads",))
def runs(subject: Subject) -> None:
    """It runs on the standard scene without an error."""
    trial = subject.standard
    if trial.network:  # the error is then that of the refused connection
        return
    require(trial.error is None, f"it raised {describe(trial.error)}")


def _prediction(subject: Subject) -> Prediction:
    applies(subject.standard.prediction is not None, "tiles lie where the engine cuts them")
    assert subject.standard.prediction is not None
    return subject.standard.prediction


@check("shape", after=("runs",))
def shape(subject: Subject) -> None:
    """Everything has the shape that it was asked for: tiles [N, rows, cols], rasters and depth maps [rows, cols]."""
    trial = subject.standard
    require(not trial.wrong_shape, trial.wrong_shape)
    if (given := trial.prediction) is None:
        return
    if given.dsm is not None and trial.scene.grid is not None:
        wanted, rows_cols = trial.scene.grid.shape, given.dsm.grid.shape
        require(rows_cols == wanted, f"the DSM has {rows_cols} rows and columns, the scene's grid {wanted}")
        rasters = {CONFIDENCE: given.confidence, "provenance": given.provenance, **given.layers}
        for name, values in rasters.items():
            found = None if values is None else values.shape
            require(found is None or found == wanted, f"{name} has shape {found}, the DSM {wanted}")
    for name, depth in given.depths.items():
        require(name in trial.scene.views, f"there is a depth map of {name}, which is no view of the scene")
        wanted = trial.scene.views[name].image.shape
        require(depth.shape == wanted, f"the depth map of {name} has shape {depth.shape}, its image {wanted}")


@check("grid", after=("shape",))
def grid(subject: Subject) -> None:
    """The DSM lies on the scene's grid, pixel for pixel."""
    given, asked = _prediction(subject), subject.standard.scene.grid
    applies(given.dsm is not None and asked is not None, "it gives no DSM")
    assert given.dsm is not None and asked is not None
    apart = asked.corner_distance_px(given.dsm.grid)
    require(apart <= _HALF_PIXEL, f"its corners are up to {apart:.3g} px from those of the scene's grid")


@check("crs", after=("shape",))
def crs(subject: Subject) -> None:
    """The DSM keeps the CRS of the scene."""
    given, asked = _prediction(subject), subject.standard.scene.grid
    applies(given.dsm is not None and asked is not None, "it gives no DSM")
    assert given.dsm is not None and asked is not None
    found = given.dsm.grid.crs
    require(found == asked.crs, f"the DSM is in {found}, the scene in {asked.crs}")


@check("dtype", after=("shape",))
def dtype(subject: Subject) -> None:
    """Heights, depths, views and sigma are float32, the provenance uint8."""
    for name, arrays in subject.standard.raw.items():
        layers = () if subject.standard.prediction is None else subject.standard.prediction.layers
        wanted = ("uint8",) if name == "provenance" else _WRITABLE if name in layers else ("float32",)
        found = np.asarray(arrays[0]).dtype.name
        require(found in wanted, f"{name} is {found}, not {wanted[0]}")


@check("finite", after=("shape",))
def finite(subject: Subject) -> None:
    """What is not known is NaN, never infinite."""
    for name, arrays in subject.standard.raw.items():
        bad = sum(int(np.isinf(array).sum()) for array in arrays if np.issubdtype(array.dtype, np.floating))
        require(not bad, f"{name} holds {bad} infinite values")


@check("gives", after=("shape",))
def gives(subject: Subject) -> None:
    """It gives what its record promises."""
    trial, said = subject.standard, set(subject.record.gives)
    found = {Gives.DSM} if trial.heights is not None else set()
    if (given := trial.prediction) is not None:
        found |= {Gives.DEPTHS} if given.depths else set()
        found |= {Gives.VIEWS} if given.views else set()
    found |= {Gives.CONFIDENCE} if trial.sigma is not None else set()
    missing = ", ".join(sorted(item.value for item in said - found))
    require(not missing, f"its record promises {missing}, which it did not give")


@check("notes", after=("runs",))
def notes(subject: Subject) -> None:
    """Its notes can be kept as JSON: text, numbers, lists and mappings with text as keys."""
    try:
        json.dumps(dict(subject.standard.notes), default=_number)
    except (TypeError, ValueError) as error:
        require(False, f"its notes are not of JSON types: {error}")


def _number(value: Any) -> Any:  # noqa: ANN401  # anything that JSON does not know
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r:.60}")


@check("progress", after=("runs",))
def progress(subject: Subject) -> None:
    """The progress that it reports is a number from 0 to 1 that does not fall, with a text."""
    told = subject.standard.reports
    applies(bool(told), "it reports no progress")
    fractions = [float(fraction) for fraction, _ in told]
    require(
        all(0 <= fraction <= 1 for fraction in fractions), f"it reported {max(fractions):g}, which is not in [0, 1]"
    )
    require(all(isinstance(text, str) for _, text in told), "its message is no text")
    falls = [(a, b) for a, b in itertools.pairwise(fractions) if b < a - 1e-9]
    require(not falls, f"its progress fell from {falls[0][0]:g} to {falls[0][1]:g}" if falls else "")


@check("sigma", after=("shape", "gives"))
def sigma(subject: Subject) -> None:
    """A standard deviation is positive, in metres, and there where a height is."""
    values, heights = subject.standard.sigma, subject.standard.heights
    applies(values is not None and heights is not None, "it gives no standard deviation")
    assert values is not None and heights is not None
    known = np.isfinite(heights)
    require(bool(np.isfinite(values[known]).any()), "no height has a standard deviation")
    require(not (values[known] < 0).any(), "some standard deviations are negative")
    require(float(np.nanmedian(values[known])) < 100, "its median is above 100: is it in metres?")
