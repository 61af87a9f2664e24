"""The official evaluation of a DSM: residuals on the official masks, the official formulas, the official text.

It differs from ``refbench.evaluation`` on purpose (its NMAD subtracts the median of the *absolute* errors, NoData is
not left out), so that numbers can be compared with those of the official code.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from refbench.contracts.errors import GridMismatchError, InputError, SkippedError
from refbench_implicity.official.names import STATISTICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid

NMAD_FACTOR = 1.4826
BUILDING_DILATION = 2
COLUMNS = {
    "MAE[m]": "MAE",
    "RMSE[m]": "RMSE",
    "MedAE[m]": "abs_median",
    "Max[m]": "max",
    "Min[m]": "min",
    "Median[m]": "median",
    "NMAD[m]": "NMAD",
    "#Pixels": "n_pixel",
}
"""Header of the report's table -> key of the statistics."""
LEGEND = """ Metrics:
        MAE: Mean Absolute residual Error
        RMSE: Root Mean Square Error
        MedAE: Median Absolute Error
        Max: Maximum value
        Min: Minimum value
        Median: Median value
        NMAD: Normalised Median Absolute Deviation
        #pixels:  Number of pixels
    """

Statistics = dict[str, "float | int | None"]


@dataclass(frozen=True)
class OfficialEvaluation:
    """``residual`` float64 [rows, cols] in metres, NaN outside the reference mask; statistics by land type."""

    residual: NDArray[np.float64]
    statistics: dict[str, Statistics]

    def report(self, title: str, created: datetime) -> str:
        """Return the report as the official code writes it."""
        head = f"DSM Evaluation\t\t\tcreated: {created:%Y-%m-%d %H:%M:%S}\n\n{title}\n\n"
        return f"{head}Performance Evaluation \n{'=' * 20}\n{_table(self.statistics)}\n{'-' * 20}\n{LEGEND}"


def evaluate_official(
    target: NDArray[np.floating],
    grid: Grid,
    reference: NDArray[np.floating],
    masks: Mapping[str, NDArray[np.generic]],
    reference_grid: Grid,
    dilation: int = BUILDING_DILATION,
) -> OfficialEvaluation:
    """Compare a DSM with the reference as the official code does.

    Parameters
    ----------
    target
        Heights [rows, cols] in metres; NaN is left out, a NoData code is not.
    grid
        Grid of ``target``; only its corner and size count, the pixel size is taken to be that of the reference.
    reference, masks
        Whole rasters on ``reference_grid``; ``masks`` hold ``gt`` and any of ``building``, ``forest``, ``water``.
    dilation
        Steps of the 4-neighbour cross by which buildings grow.

    Raises
    ------
    InputError
        There is no mask ``gt``.
    GridMismatchError
        The target reaches past the reference.
    """
    if "gt" not in masks:
        raise InputError("The official evaluation needs the mask gt.")
    col, row = reference_grid.pixel_of(np.array(grid.transform.c), np.array(grid.transform.f))
    first_row, first_col = int(np.floor(row)), int(np.floor(col))
    area = np.s_[first_row : first_row + target.shape[0], first_col : first_col + target.shape[1]]
    if min(first_row, first_col) < 0 or reference[area].shape != target.shape:
        raise GridMismatchError("The DSM reaches past the reference, so the official evaluation is not defined.")
    types = _land_types(masks, dilation)
    residual = np.asarray(target, np.float64) - reference[area]
    statistics = {name: statistics_of(residual[mask[area]]) for name, mask in types.items()}
    return OfficialEvaluation(np.where(types["overall"][area], residual, np.nan), statistics)


STRATA = {
    **{"overall": "all", "building": "building", "forest": "forest", "water": "water", "terrain": "terrain"},
    **{"terrain_wo_water": "terrain_nowater", "terrain_wo_forest": "terrain_noforest"},
}
"""Land type of the report -> stratum of a result."""
RESULT_KEYS = {
    **{"max": "max", "min": "min", "MAE": "mae", "RMSE": "rmse", "abs_median": "medae", "median": "median"},
    **{"n_pixel": "n", "NMAD": "nmad_about_medae"},
}


def write_official_report(results: Sequence[Any], folder: Path) -> Path:
    """Write ``implicity_eval.txt``: the official table of each result's refined DSM on its own valid pixels.

    Raises
    ------
    SkippedError
        No result was scored.
    """
    texts = []
    for result in results:
        scores = ((result.metrics or {}).get("own_domain") or {}).get("refined")
        if scores is None:
            continue
        table = {
            name: {key: scores[stratum][own] for key, own in RESULT_KEYS.items()}
            for name, stratum in STRATA.items()
            if stratum in scores
        }
        empty = np.empty((0, 0))
        title = f"{result.scene}-{result.method}"
        texts.append(OfficialEvaluation(empty, table).report(title, datetime.fromisoformat(result.created)))
    if not texts:
        raise SkippedError("There is no reference, so there is nothing to put into ImpliCity's report.")
    path = folder / "implicity_eval.txt"
    path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    return path


def statistics_of(residuals: NDArray[np.float64]) -> Statistics:
    """Return the official statistics of some residuals in metres; all None where none is a number."""
    known = residuals[~np.isnan(residuals)]
    if not known.size:
        return dict.fromkeys(STATISTICS)
    size = np.abs(known)
    middle = np.median(size)
    return {
        "max": float(known.max()),
        "min": float(known.min()),
        "MAE": float(size.mean()),
        "RMSE": float(np.sqrt(np.mean(known**2))),
        "abs_median": float(middle),
        "median": float(np.median(known)),
        "n_pixel": int(known.size),
        "NMAD": float(NMAD_FACTOR * np.median(np.abs(known - middle))),
    }


def _land_types(masks: Mapping[str, NDArray[np.generic]], dilation: int) -> dict[str, NDArray[np.bool_]]:
    """Return the evaluated areas by name, in the order of the report."""
    held = {name: np.asarray(mask) > 0 for name, mask in masks.items()}
    valid = held["gt"]
    if "building" in held and dilation > 0:
        held["building"] = ndimage.binary_dilation(held["building"], iterations=dilation)
    types = {"overall": valid}
    types |= {name: valid & held[name] for name in ("building", "forest", "water") if name in held}
    if "building" in held:
        types["terrain"] = valid & ~held["building"]
        types |= {f"terrain_wo_{name}": types["terrain"] & ~held[name] for name in ("water", "forest") if name in held}
    return types


def _table(statistics: Mapping[str, Statistics]) -> str:
    rows = [
        [name.capitalize(), *(_cell(values[key]) for key in COLUMNS.values())] for name, values in statistics.items()
    ]
    headers = ["Type", *COLUMNS]
    widths = [max(len(header) + 2, *(len(row[index]) for row in rows)) for index, header in enumerate(headers)]
    lines = [headers, ["-" * width for width in widths], *rows]
    return "\n".join(_line(line, widths) for line in lines)


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
    return "  ".join(padded).rstrip()


def _cell(value: float | int | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4f}"
