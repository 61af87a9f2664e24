"""The scales that a training derives from its own data (docs/methods/resdepth.md, Normalisation)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench import Window
from refbench.geometry.image_scale import one_band
from refbench_resdepth.normalise import patch_std, training_std

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from refbench_resdepth.training.samples import Area, GridSamples

BATCH = 64
ROWS_AT_ONCE = 512


def height_scale(areas: Sequence[Area], positions: Sequence[NDArray[np.int64]], tile: int) -> float:
    """Return the height scale in metres from the patches at ``positions`` [n, 2] (y, x) of each area.

    Each position counts once, however many tuples of images it is used with.
    """
    stds: list[NDArray[np.float64]] = []
    for area, drawn in zip(areas, positions, strict=True):
        places = np.unique(drawn, axis=0)
        for first in range(0, len(places), BATCH):
            patches = [area.heights(int(y), int(x), tile) for y, x in places[first : first + BATCH]]
            stds.append(patch_std(np.stack(patches)))
    return training_std(np.concatenate(stds))


def image_statistics(areas: Sequence[Area]) -> tuple[float, float]:
    """Return mean and standard deviation of all images that any tuple uses, over the areas' extents.

    Read strip by strip; sums are float64.
    """
    count, total, squares = 0, 0.0, 0.0
    for values in _strips(areas):
        known = values[np.isfinite(values)]
        count, total = count + known.size, total + float(known.sum())
    mean = total / max(count, 1)
    for values in _strips(areas):
        known = values[np.isfinite(values)]
        squares += float(np.square(known - mean).sum())
    return mean, float(np.sqrt(squares / max(count, 1)))


def _strips(areas: Sequence[Area]) -> Iterator[NDArray[np.float64]]:
    for area in areas:
        for name in dict.fromkeys(name for names in area.tuples for name in names):
            for extent in area.extents:
                for first in range(extent.y_first, extent.y_last + 1, ROWS_AT_ONCE):
                    rows = min(ROWS_AT_ONCE, extent.y_last + 1 - first)
                    yield one_band(area.images[name].read(Window(extent.x_first, first, extent.cols, rows)), "mean")


def input_error(samples: GridSamples) -> float | None:
    """Return what the validation score of the initial DSM itself is: MAE in metres over the same pixels."""
    total, count = 0.0, 0
    for index in range(len(samples)):
        sample = samples[index]
        if not samples.cutter.model.has_dsm:
            return None
        error = abs(sample["x"][0] - sample["y"][0]) * sample["std"]
        mask = sample["mask"][0]
        total, count = total + float(error[mask].sum()), count + int(mask.sum())
    return total / count if count else None
