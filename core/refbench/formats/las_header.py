"""The fixed part of LAS and LAZ files, checked against the size of the file before any library sees it.

Counts and sizes in a damaged header would make readers loop for hours or ask for more memory than there is.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

HEADER_BYTES = {0: 227, 1: 227, 2: 227, 3: 235, 4: 375}
"""Smallest size of the header by minor version."""
POINT_BYTES = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)
"""Smallest size of a point by format."""
RECORD_HEAD = 54
EXTENDED_HEAD = 60
LASZIP_ID = 22204


@dataclass(frozen=True, slots=True)
class LasLayout:
    """Where things lie in the file; ``point_bytes`` is the size of one uncompressed point.

    ``laszip`` is the record that tells how points are compressed, None where they are not.
    """

    count: int
    point_format: int
    point_bytes: int
    points_at: int
    laszip: bytes | None


def read_layout(path: Path) -> LasLayout:
    """Return the layout of a LAS or LAZ file.

    Raises
    ------
    ValueError
        What the header says cannot be true of a file of this size; the text says what.
    InputError
        The file cannot be opened.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            return _layout(file, size)
    except struct.error as error:
        raise ValueError("its header is cut off") from error
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}.") from error


def _layout(file: BinaryIO, size: int) -> LasLayout:
    head = file.read(HEADER_BYTES[4])
    if head[:4] != b"LASF":
        raise ValueError("it does not start with 'LASF'")
    major, minor = struct.unpack_from("<BB", head, 24)
    if major != 1 or minor not in HEADER_BYTES:
        raise ValueError(f"it is of version {major}.{minor}, and versions 1.0 to 1.4 are read")
    header_size, points_at, records = struct.unpack_from("<HII", head, 94)
    kind, point_bytes, count = struct.unpack_from("<BHI", head, 104)
    if not HEADER_BYTES[minor] <= header_size <= points_at <= size:
        raise ValueError(
            f"its header of {header_size:,} bytes and points from byte {points_at:,} do not fit {size:,} bytes"
        )
    _check_numbers(struct.unpack_from("<6d", head, 131))
    if minor == 4:
        extended_at, extended = struct.unpack_from("<QI", head, 235)
        count = struct.unpack_from("<Q", head, 247)[0] or count
        _walk_extended(file, extended_at, extended, size)
    laszip = _walk_records(file, header_size, records, points_at)
    # LASzip marks compressed points by the two highest bits of the format.
    compressed, kind = bool(kind & 0xC0), kind & 0x3F
    if compressed and laszip is None:
        raise ValueError("its points are compressed, but it has no LASzip record")
    if kind >= len(POINT_BYTES) or point_bytes < POINT_BYTES[kind]:
        raise ValueError(f"points of format {kind} cannot have {point_bytes} bytes")
    layout = LasLayout(count, kind, point_bytes, points_at, laszip if compressed else None)
    if not compressed:
        _check_plain(layout, size)
    return layout


def _check_numbers(scales_and_offsets: tuple[float, ...]) -> None:
    if not all(map(math.isfinite, scales_and_offsets)) or not all(scales_and_offsets[:3]):
        raise ValueError("its scales and offsets must be finite, and scales not 0")


def _walk_records(file: BinaryIO, start: int, number: int, stop: int) -> bytes | None:
    """Check that the variable length records lie before the points; return the one of LASzip."""
    if number * RECORD_HEAD > stop - start:
        raise ValueError(f"{number:,} variable length records do not fit in {stop - start:,} bytes")
    laszip, at = None, start
    for _ in range(number):
        file.seek(at)
        code, length = struct.unpack("<18xHH32x", file.read(RECORD_HEAD))
        at += RECORD_HEAD + length
        if at > stop:
            raise ValueError("its variable length records run into the points")
        if code == LASZIP_ID:
            laszip = file.read(length)
    return laszip


def _walk_extended(file: BinaryIO, start: int, number: int, size: int) -> None:
    """Check that the records behind the points lie in the file."""
    if number and (start < HEADER_BYTES[4] or number * EXTENDED_HEAD > size - start):
        raise ValueError(f"{number:,} extended records from byte {start:,} do not fit in {size:,} bytes")
    at = start
    for _ in range(number):
        file.seek(at)
        (length,) = struct.unpack("<20xQ32x", file.read(EXTENDED_HEAD))
        at += EXTENDED_HEAD + length
        if at > size:
            raise ValueError("its extended records run past its end")


def _check_plain(layout: LasLayout, size: int) -> None:
    held = (size - layout.points_at) // layout.point_bytes
    if held < layout.count:
        raise ValueError(f"it is cut off after {held:,} of {layout.count:,} points")
