"""The official evaluation: its pixel sets, its formulas and its statistics files, character by character.

It differs from ``refbench.evaluation`` on purpose (its NMAD subtracts the median of the *absolute* errors), so that
numbers can be compared with those of the official code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from refbench.contracts.raster import MASK_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from refbench_resdepth.regions import Extent

NMAD_FACTOR = 1.4826
BUILDING_DILATION = 2
LINES = {
    "max": "Maximum residual error [m]:" + 6 * "\t",
    "min": "Minimum residual error [m]:" + 6 * "\t",
    "MAE": "Mean absolute residual error (MAE) [m]:" + 5 * "\t",
    "RMSE": "RMSE residual error [m]:" + 6 * "\t",
    "MedAE": "Absolute median residual error [m]:" + 5 * "\t",
    "median": "Median residual error [m]:" + 6 * "\t",
    "NMAD": "Normalized median absolute deviation (NMAD) [m]:" + 3 * "\t",
}
"""Key of ``scores`` -> what stands before its value in the file."""
TITLES = {
    "all": "OVERALL",
    "building": "BUILDING PIXELS",
    "terrain": "TERRAIN PIXELS",
    "terrain_nowater": "TERRAIN PIXELS WITHOUT WATER",
    "terrain_nowater_noforest": "TERRAIN PIXELS WITHOUT WATER/FOREST",
}
"""Pixel set -> its name in the file, in the order of the file."""

Scores = dict[str, float]


@dataclass(frozen=True, slots=True)
class Residuals:
    """Heights minus reference of the pixels of a set, before and after: float64 [n] in metres."""

    initial: NDArray[np.float64]
    refined: NDArray[np.float64]


def scores(residuals: NDArray[np.floating[Any]]) -> Scores:
    """Return ``count`` and the scores in metres of residuals [n], by the official formulas; NaN without any.

    NMAD is 1.4826 times the median distance of the residuals to the median of their *sizes*, as published.
    """
    if not residuals.size:
        return {"count": 0, **dict.fromkeys(LINES, float("nan"))}
    errors = np.asarray(residuals, np.float64)
    size = np.abs(errors)
    middle = np.median(size)
    return {
        "count": errors.size,
        "max": float(errors.max()),
        "min": float(errors.min()),
        "MAE": float(size.mean()),
        "RMSE": float(np.sqrt(np.mean(errors**2))),
        "MedAE": float(middle),
        "median": float(np.median(errors)),
        "NMAD": float(NMAD_FACTOR * np.median(np.abs(errors - middle))),
    }


def truncated(residuals: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Return the residuals of at most ``threshold`` metres in size. Float64 [n]."""
    return residuals[np.abs(residuals) <= threshold]


def set_masks(
    valid: NDArray[np.bool_], masks: Mapping[str, NDArray[np.uint8]], extents: Sequence[Extent] = ()
) -> dict[str, NDArray[np.bool_]]:
    """Return the pixel sets, bool [rows, cols], by name in the order of the statistics file.

    Parameters
    ----------
    valid
        Where heights and reference are known, [rows, cols].
    masks
        Any of ``ground_truth``, ``building``, ``water`` and ``forest`` [rows, cols], with the values of
        ``refbench.Mask``. Terrain needs ``building``; water and forest are only taken out of it.
    extents
        The regions; none stands for the whole raster. Buildings grow before they are cut.
    """
    everything = valid & (masks["ground_truth"] == 1) if "ground_truth" in masks else valid
    if extents:
        everything = everything & _inside(everything.shape, extents)
    found = {"all": everything}
    if "building" not in masks:
        return found
    grown = ndimage.binary_dilation(masks["building"] == 1, iterations=BUILDING_DILATION)
    found["building"] = everything & grown
    terrain = found["terrain"] = everything & ~grown & (masks["building"] != MASK_UNKNOWN)
    if "water" in masks:
        terrain = found["terrain_nowater"] = terrain & (masks["water"] != 1)
    if "forest" in masks:
        found["terrain_nowater_noforest"] = terrain & (masks["forest"] != 1)
    return found


def sets(
    reference: NDArray[np.floating[Any]],
    initial: NDArray[np.floating[Any]],
    refined: NDArray[np.floating[Any]],
    masks: Mapping[str, NDArray[np.uint8]],
    extents: Sequence[Extent] = (),
) -> dict[str, Residuals]:
    """Return the residuals of every pixel set of ``set_masks``.

    ``reference``, ``initial`` and ``refined`` [rows, cols] are metres, NaN where unknown; a pixel counts where all are
    known. A reference of 0 counts.
    """
    valid = ~(np.isnan(reference) | np.isnan(initial) | np.isnan(refined))
    found = set_masks(valid, masks, extents)
    everything = found["all"]
    before, after = (heights[everything].astype(np.float64) - reference[everything] for heights in (initial, refined))
    return {name: Residuals(before[mask[everything]], after[mask[everything]]) for name, mask in found.items()}


def pooled(runs: Iterable[Mapping[str, Residuals]]) -> dict[str, NDArray[np.float64]]:
    """Return the refined residuals of several runs, such as pairs, joined by set; all runs have the same sets.

    Float64 [n], metres.
    """
    parts: dict[str, list[NDArray[np.float64]]] = {}
    for run in runs:
        for name, residuals in run.items():
            parts.setdefault(name, []).append(residuals.refined)
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def statistics_text(model: str, weights: str, residuals: Mapping[str, Residuals], pixel_area: float) -> str:
    """Return the statistics file of one run.

    Parameters
    ----------
    model, weights
        Name of the network and path of its weights, as in the configuration.
    residuals
        By pixel set, as ``sets`` gives them.
    pixel_area
        Square metres of a pixel.
    """
    count = residuals["all"].initial.size
    lines = [*_head(model, weights, 5), *_title("Performance Evaluation")]
    lines += [f"Number of pixels:\t\t\t{count}", f"Area [km^2]:\t\t\t\t{count * pixel_area / 1e6:.2f}"]
    for name, label in _labels(residuals):
        lines += _block(f"{label}: INITIAL DSM", scores(residuals[name].initial), extra_dash=name == "all")
        lines += _block(f"{label}: REFINED DSM", scores(residuals[name].refined))
    return "\n".join(lines) + "\n\n"


def pooled_statistics_text(model: str, weights: str, residuals: Mapping[str, NDArray[np.float64]]) -> str:
    """Return the statistics file over several runs; ``residuals`` of the refined DSMs by set, see ``pooled``.

    Residuals are [n], metres.
    """
    lines = [*_head(model, weights, 4), *_title("Performance Evaluation: Statistics over all predictions")[:-1]]
    for name, label in _labels(residuals):
        lines += _block(f"{label}: REFINED DSM", scores(residuals[name]))
    return "\n".join(lines) + "\n\n"


def _inside(shape: tuple[int, ...], extents: Sequence[Extent]) -> NDArray[np.bool_]:
    inside = np.zeros(shape, np.bool_)
    for extent in extents:
        inside[extent.pixels] = True
    return inside


def _labels(residuals: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (set, name in the file) of the sets that are there."""
    labels = {name: label for name, label in TITLES.items() if name in residuals}
    if "terrain_nowater" not in residuals and "terrain_nowater_noforest" in residuals:
        labels["terrain_nowater_noforest"] = "TERRAIN PIXELS WITHOUT FOREST"
    return list(labels.items())


def _head(model: str, weights: str, blank: int) -> list[str]:
    return [f"Model name:\t{model}", f"Model weights:\t{weights}", *[""] * blank]


def _title(text: str) -> list[str]:
    return [text, "-" * len(text), ""]


def _block(title: str, values: Scores, *, extra_dash: bool = False) -> list[str]:
    heading = f"STATISTICS, {title}"
    body = [f"{label}{values[key]:10.3f} m" for key, label in LINES.items()]
    return ["", "", heading, "-" * (len(heading) + extra_dash), "", *body]
