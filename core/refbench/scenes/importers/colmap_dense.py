"""Dense maps of COLMAP: ``width&height&channels&``, then float32 values, channel by channel and row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.raster import Image
from refbench.formats.raster import ArraySource

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid, Window

FIELDS = 3
HEAD_BYTES = 64
"""More than three numbers and their separators take."""


class DenseDepth:
    """A dense depth map as a source: z in the model's unit at pixel centres, invalid where COLMAP found none."""

    def __init__(self, path: Path) -> None:
        """Read the head.

        Raises
        ------
        InputError
            It cannot be read, is no dense map, or has several channels.
        """
        self.path = path
        width, height, channels, _ = _head(path, _read(path, HEAD_BYTES))
        if channels != 1:
            raise InputError(f"{path} holds {channels} channels; a depth map has 1.")
        self.shape = height, width

    @property
    def grid(self) -> Grid | None:
        """None: it lies in camera pixels."""
        return None

    @property
    def files(self) -> tuple[Path, ...]:
        """The map's file."""
        return (self.path,)

    def read(self, window: Window | None = None) -> Image:
        """Return the map [1, rows, cols] or a padded window of it; NaN where unknown."""
        depth = read_dense(self.path)
        # COLMAP writes 0 where the geometric consistency check left nothing.
        known = np.isfinite(depth) & (depth > 0)
        held = Image(np.where(known, depth, np.float32(np.nan))[None], None, ("depth",), known)
        return ArraySource(held).read(window)


def _read(path: Path, size: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _head(path: Path, data: bytes) -> tuple[int, int, int, int]:
    """Return width, height, channels and where the values begin."""
    parts = data[:HEAD_BYTES].split(b"&", FIELDS)
    if len(parts) <= FIELDS or not all(part.isdigit() for part in parts[:FIELDS]):
        raise InputError(f"{path} is no dense map of COLMAP: it does not begin with width&height&channels&.")
    width, height, channels = (int(part) for part in parts[:FIELDS])
    return width, height, channels, sum(len(part) + 1 for part in parts[:FIELDS])


def read_dense(path: Path) -> NDArray[np.float32]:
    """Return a dense map [rows, cols], or [rows, cols, channels] where there are several; depth is z, 0 is unknown.

    Raises
    ------
    InputError
        It cannot be read, has no such head, or ends too early.
    """
    data = _read(path)
    width, height, channels, start = _head(path, data)
    if len(data) - start != 4 * width * height * channels:
        raise InputError(f"{path} holds {len(data) - start} bytes for {width} x {height} x {channels} float32 values.")
    values = np.frombuffer(data, "<f4", offset=start).reshape((width, height, channels), order="F").transpose(1, 0, 2)
    return np.ascontiguousarray(values[..., 0] if channels == 1 else values)
