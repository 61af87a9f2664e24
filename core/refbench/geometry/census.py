"""Census codes of an image: which neighbours are darker than a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def census_codes(image: NDArray[np.uint8], window: int) -> NDArray[np.uint64]:
    """Return codes uint64 [rows, cols]: one bit for each neighbour in the window (3 to 7 px) darker than its centre."""
    reach = min(max(window // 2, 1), 3)
    padded = np.pad(image, reach, mode="edge")
    rows, cols = image.shape
    codes = np.zeros(image.shape, np.uint64)
    for row in range(2 * reach + 1):
        for col in range(2 * reach + 1):
            if (row, col) != (reach, reach):
                codes = (codes << np.uint64(1)) | (padded[row : row + rows, col : col + cols] < image)
    return codes
