"""Dense depth and normal maps of COLMAP's stereo: ``width&height&channels&`` and float32 values, column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FIELDS = 3


def read_dense(path: Path) -> NDArray[np.float32]:
    """Return a dense map [rows, cols], or [rows, cols, channels] where there are several; depth is z, 0 is unknown.

    Raises
    ------
    InputError
        It cannot be read, has no such head, or ends too early.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    parts = data.split(b"&", FIELDS)
    if len(parts) <= FIELDS or not all(part.isdigit() for part in parts[:FIELDS]):
        raise InputError(f"{path} is no dense map of COLMAP: it does not begin with width&height&channels&.")
    width, height, channels = (int(part) for part in parts[:FIELDS])
    if len(parts[FIELDS]) != 4 * width * height * channels:
        raise InputError(f"{path} holds {len(parts[FIELDS])} bytes for {width} x {height} x {channels} float32 values.")
    values = np.frombuffer(parts[FIELDS], "<f4").reshape((width, height, channels), order="F").transpose(1, 0, 2)
    return np.ascontiguousarray(values[..., 0] if channels == 1 else values)
