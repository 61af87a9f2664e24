"""A few windows of rasters of any size side by side: enough to tell a shift by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.grid import Window
from refbench.contracts.method import derived_rng
from refbench.evaluation.shift_solver import MAX_PX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.evaluation.streaming.blocks import BlockLayout
    from refbench.evaluation.streaming.tiles import Rasters

    Bools = NDArray[np.bool_]

SIDE_PX = 256
WINDOWS = 8
MARGIN_PX = int(MAX_PX) + 3
"""A shift of ``MAX_PX`` and a cubic kernel stay inside."""


def side_by_side(
    rasters: Rasters, layout: BlockLayout, counts: NDArray[np.float64]
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]], Bools]:
    """Return windows of the reference and the DSMs one below the other, and where pixels of them count.

    Parameters
    ----------
    rasters
        What to read.
    layout
        Of the blocks.
    counts
        Pixels of the domain in every block [rows, cols]; at least one block holds some.

    Returns
    -------
    float32 [rows, cols] each, NaN where unknown and between windows; bool [rows, cols], False in the margins, so that
    no pixel that counts looks from one window into the next.
    """
    places = _places(layout, counts)
    if len(places) > WINDOWS:
        chosen = derived_rng(0, "windows").choice(len(places), WINDOWS, replace=False)
        places = places[np.sort(chosen)]
    references, counted = [], []
    dsms: dict[str, list[NDArray[np.float32]]] = {name: [] for name in rasters.dsms}
    inner = np.zeros((SIDE_PX + 2 * MARGIN_PX, SIDE_PX + 2 * MARGIN_PX), np.bool_)
    inner[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX] = True
    for row, col in places.tolist():
        window = Window(col - MARGIN_PX, row - MARGIN_PX, inner.shape[1], inner.shape[0])
        reference = rasters.reference.read(window).heights
        base = inner & np.isfinite(reference)
        if rasters.gt_mask is not None:
            base &= rasters.gt_mask.read(window).is_class
        references.append(reference)
        for name, source in rasters.dsms.items():
            dsms[name].append(source.read(window).heights)
            base &= np.isfinite(dsms[name][-1])
        counted.append(base)
    return np.concatenate(references), {name: np.concatenate(of) for name, of in dsms.items()}, np.concatenate(counted)


def _places(layout: BlockLayout, counts: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the first rows and columns [N, 2] of windows that hold pixels: a block is in that where it begins."""
    firsts = [np.unique(of, return_index=True)[1] // SIDE_PX for of in (layout.rows, layout.cols)]
    rows, cols = np.nonzero(counts)
    return np.unique(np.stack((firsts[0][rows], firsts[1][cols]), axis=1), axis=0) * SIDE_PX
