"""By how many pixels one image lies beside another: the peak of their masked correlation, to a part of a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_CORRELATION = 0.2
"""Lower peaks are noise: the images do not show the same."""


def best_shift(
    seen: NDArray[np.float32], wanted: NDArray[np.float32], mask: NDArray[np.bool_], reach: int
) -> tuple[float, float, float] | None:
    """Return (right, down, correlation): ``wanted`` at a pixel moved so shows what ``seen`` shows at that pixel.

    Parameters
    ----------
    seen, wanted
        Images [rows, cols] of one shape, without NaN.
    mask
        bool [rows, cols]: which pixels of ``seen`` count.
    reach
        How far shifts are searched, pixels.

    Returns
    -------
    Pixels and the correlation there; None where the peak is below ``LEAST_CORRELATION`` or on the border of the search.
    """
    room = cv2.copyMakeBorder(wanted, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    scores = cv2.matchTemplate(room, seen, cv2.TM_CCOEFF_NORMED, mask=mask.astype(np.float32))
    scores = np.where(np.isfinite(scores), scores, -1.0)
    row, col = np.unravel_index(int(scores.argmax()), scores.shape)
    last = 2 * reach
    if scores[row, col] < LEAST_CORRELATION or row in (0, last) or col in (0, last):
        return None
    down = row - reach + parabola_vertex(scores[row - 1 : row + 2, col])
    across = col - reach + parabola_vertex(scores[row, col - 1 : col + 2])
    return float(across), float(down), float(scores[row, col])


def parabola_vertex(values: NDArray[np.floating]) -> float:
    """Return where the parabola through three values has its vertex, counted from the middle one.

    ``values`` is [3], of any unit; the answer is in steps between them, such as pixels.
    """
    bend = float(values[0] - 2 * values[1] + values[2])
    return 0.0 if bend >= 0 else float(0.5 * (values[0] - values[2]) / bend)
