"""NoData rules on bare values, for arrays that did not come through ``refbench.scenes``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_M = 1e30
"""Magnitudes above are no heights: undeclared codes such as -3.4e38."""


def valid_values(values: NDArray[Any], nodata: float | None = None) -> NDArray[np.bool_]:
    """Return where ``values`` (any shape, any number type) hold data.

    Invalid is what is not finite, equals ``nodata`` (compared in the values' own type), or exceeds ``LARGEST_M``.

    >>> valid_values(np.array([1.0, np.nan, -9999.0, -3.4e38]), -9999).tolist()
    [True, False, False, False]
    """
    if np.issubdtype(values.dtype, np.integer):
        valid = np.ones(values.shape, np.bool_)
    else:
        valid = np.isfinite(values) & (np.abs(values) <= LARGEST_M)
    if nodata is not None and not np.isnan(nodata):
        # A code that the type cannot hold (-9999 in uint8) is no value of it.
        if np.issubdtype(values.dtype, np.integer):
            info = np.iinfo(values.dtype)
            if float(nodata).is_integer() and info.min <= nodata <= info.max:
                valid &= values != values.dtype.type(int(nodata))
        else:
            valid &= values != values.dtype.type(nodata)
    return valid
