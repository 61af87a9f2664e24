"""Which NoData code an output raster has: the user's, else the input DSM's own, else -9999."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.source import StatesNoData

if TYPE_CHECKING:
    from refbench.contracts.source import RasterSource

DEFAULT_NODATA = -9999.0
CLEARANCE = 1e-6
"""GDAL takes float32 values within about 5e-7 of a code, relative to it, for the code."""


@dataclass(frozen=True, slots=True)
class OutputCode:
    """A NoData code; ``moves_heights``: a height equal to it is written a millionth beside it rather than refused."""

    value: float
    moves_heights: bool = False


def output_nodata(asked: float | None, source: RasterSource[Any] | None) -> OutputCode:
    """Return the code for a raster that is made from ``source``.

    A code that the user asked for must not occur among the heights. The source's own may: its type was another one
    (0 in a file of integers), so heights give way to it.
    """
    if asked is not None:
        return OutputCode(asked)
    own = source.nodata if isinstance(source, StatesNoData) else None
    if own is None or math.isinf(own) or not (math.isnan(own) or float(np.float32(own)) == own):
        return OutputCode(DEFAULT_NODATA, moves_heights=True)
    return OutputCode(float(own), moves_heights=True)


def beside(code: float) -> np.float32:
    """Return the height next to ``code`` that no reader takes for it."""
    return np.float32(code + CLEARANCE * max(abs(code), 1.0))
