"""Whether a raster file is all there, where GDAL would fill what is missing, or unreadable, with zeros."""

from __future__ import annotations

import functools
import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BARE, TEXT = ("ENVI", "EHdr"), "AAIGrid"
TEXT_BYTES = 16 << 20
"""So much of a grid of numbers is looked at at once."""
LINE_BYTES = 1 << 12
HEADER_LETTERS = frozenset(bytes((letter,)) for letter in b"abcdefghijklmnopqrstuvwxyz")
UNKNOWN = frozenset((b"nan", b"null", b"*"))
"""Words that stand for NoData among the numbers of an Esri ASCII grid."""


def missing_part(path: Path, driver: str, dataset: Any) -> str | None:  # noqa: ANN401  # rasterio carries no types
    """Return a phrase on what is missing or damaged in a file that ``dataset`` was opened from; None: it is whole."""
    if driver in BARE:
        return _missing_bytes(path, dataset)
    if driver == TEXT:
        state = path.stat()
        return _damaged_numbers(path, dataset.width * dataset.height, state.st_mtime_ns, state.st_size)
    return None


def png_is_whole(path: Path) -> bool:
    """Return whether the chunks of a PNG are all there and bear their checksums."""
    with path.open("rb") as file:
        file.seek(8)
        while len(start := file.read(8)) == 8:
            length, kind = int.from_bytes(start[:4], "big"), start[4:]
            left, checksum = length, zlib.crc32(kind)
            while left and (part := file.read(min(left, 1 << 20))):
                left, checksum = left - len(part), zlib.crc32(part, checksum)
            if left or file.read(4) != checksum.to_bytes(4, "big"):
                return False
            if kind == b"IEND":
                return True
    return False


def _missing_bytes(path: Path, dataset: Any) -> str | None:  # noqa: ANN401  # rasterio carries no types
    """Compare the size of bare pixels with what their header says; those that are packed are left to GDAL."""
    said = dataset.tags(ns="ENVI")
    if said.get("file_compression", "0").strip() not in ("", "0"):
        return None
    offset = said.get("header_offset", "0").strip()
    size = sum(np.dtype(kind).itemsize for kind in dataset.dtypes if kind != "complex_int16")
    wanted = math.prod(dataset.shape) * size + (int(offset) if offset.isdigit() else 0)
    there = path.stat().st_size
    # Pixels of fewer than 8 bits take less than their type.
    packed = any("NBITS" in dataset.tags(band, ns="IMAGE_STRUCTURE") for band in range(1, dataset.count + 1))
    if packed or there >= wanted:
        return None
    return f"it is cut off, its header says {wanted:,} bytes and it has {there:,}"


@functools.lru_cache(maxsize=64)
def _damaged_numbers(path: Path, wanted: int, changed: int, size: int) -> str | None:
    """Count and read the numbers of an Esri ASCII grid; time and size of the file tell whether they were before."""
    del changed, size
    count = 0
    for words in _words(path):
        numbers = [b"0" if word.lower() in UNKNOWN else word.replace(b",", b".") for word in words]
        try:
            np.array(numbers, dtype=np.bytes_).astype(np.float64)
        except ValueError:
            return f"its numbers hold {_first_no_number(numbers)!r}, which is none"
        count += len(words)
    return None if count >= wanted else f"it is cut off, its header says {wanted:,} numbers and it has {count:,}"


def _first_no_number(words: list[bytes]) -> str:
    for word in words:
        try:
            float(word)
        except ValueError:
            return word[:20].decode(errors="replace")
    return ""


def _words(path: Path) -> Iterator[list[bytes]]:
    """Yield the words behind the header of an Esri ASCII grid, whose lines begin with letters, by blocks."""
    with path.open("rb") as file:
        start = 0
        while line := file.readline(LINE_BYTES):
            word = next(iter(line.split()), b"n").lower()
            if word[:1] not in HEADER_LETTERS or word in UNKNOWN:
                break
            start += len(line)
        file.seek(start)
        rest = b""
        while block := file.read(TEXT_BYTES):
            # The last word of a block may go on in the next one.
            whole, space, rest = (rest + block).rpartition(b"\n") if b"\n" in block else (b"", b"", rest + block)
            yield (whole + space).split()
        yield rest.split()
