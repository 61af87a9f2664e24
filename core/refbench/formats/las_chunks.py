"""The compressed chunks of LAZ files, checked before the decoder allocates what their table asks for."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from refbench.formats.las_header import LasLayout

RECORD_BYTES = 34
ITEM_BYTES = 6
CHUNKED = (2, 3)
"""Kinds of LASzip that compress in chunks."""
LAYERED = 3
LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}
"""Layers of an item by its kind: point, RGB, RGB and near infrared, waveform."""
EXTRA_BYTES = 14
"""Kind of the item with a layer for every byte."""
VARIABLE = 0xFFFFFFFF
LARGEST_CHUNK = 1 << 28
"""Bytes of an unpacked chunk; writers make chunks of 50,000 points, some 3 MB."""


def check_chunks(path: Path, layout: LasLayout) -> None:
    """Check the LASzip record and the table of chunks of a file with points.

    Raises
    ------
    ValueError
        The decoder cannot read them, or they cannot be true of a file of this size; the text says what is wrong.
    """
    laszip = layout.laszip or b""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            limit = _chunk_points(laszip, layout)
            chunks, table_at = _table_place(file, layout, size)
        except struct.error as error:
            raise ValueError("its LASzip record or table of chunks is cut off") from error
        # Every chunk starts with one whole point.
        if chunks * layout.point_bytes > table_at - layout.points_at:
            raise ValueError(f"{chunks:,} compressed chunks do not fit before their table")
        if limit is not None and layout.count > chunks * limit:
            raise ValueError(f"{chunks:,} chunks of {limit:,} points do not hold {layout.count:,} points")
        file.seek(layout.points_at)
        table = _read_table(file, laszip)
        _check_table(table, layout, table_at, variable=limit is None)
        if (layers := _layers(laszip)) is not None:
            _check_layers(file, [size for _, size in table], layout, layers)


def _chunk_points(laszip: bytes, layout: LasLayout) -> int | None:
    """Return the points of a chunk, None where every chunk has its own number."""
    (compressor,) = struct.unpack_from("<H", laszip)
    if compressor not in CHUNKED:
        raise ValueError(f"its points are compressed without chunks (LASzip kind {compressor}); write it anew as LAZ")
    points, items = struct.unpack_from("<I", laszip, 12)[0], struct.unpack_from("<H", laszip, 32)[0]
    sizes = [struct.unpack_from("<H", laszip, RECORD_BYTES + ITEM_BYTES * k + 2)[0] for k in range(items)]
    if sum(sizes) != layout.point_bytes:
        raise ValueError(f"its LASzip record describes points of {sum(sizes)} bytes, its header {layout.point_bytes}")
    if points == VARIABLE:
        return None
    if not 0 < points * layout.point_bytes <= LARGEST_CHUNK:
        raise ValueError(f"its LASzip record asks for chunks of {points:,} points")
    return int(points)


def _table_place(file: BinaryIO, layout: LasLayout, size: int) -> tuple[int, int]:
    """Return the number of chunks and where their table lies."""
    file.seek(layout.points_at)
    (table_at,) = struct.unpack("<q", file.read(8))
    if table_at == -1:  # written as a stream: the last 8 bytes tell
        file.seek(size - 8)
        (table_at,) = struct.unpack("<q", file.read(8))
    if not layout.points_at + 8 <= table_at <= size - 8:
        raise ValueError("it has no table of compressed chunks; write it anew as LAZ")
    file.seek(table_at)
    _, chunks = struct.unpack("<II", file.read(8))
    return chunks, table_at


def _read_table(file: BinaryIO, laszip: bytes) -> list[tuple[int, int]]:
    """Return (points, bytes) of every chunk."""
    import lazrs

    try:
        with quiet_panics():
            return list(lazrs.read_chunk_table(file, lazrs.LazVlr(laszip)))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of Rust is no Exception
        raise ValueError(f"its table of compressed chunks is damaged ({error})") from error


def _check_table(table: list[tuple[int, int]], layout: LasLayout, table_at: int, *, variable: bool) -> None:
    room = table_at - layout.points_at - 8
    if any(size < layout.point_bytes for _, size in table) or sum(size for _, size in table) != room:
        raise ValueError(f"its table of compressed chunks does not describe the {room:,} bytes before it")
    if not variable:
        return
    if any(not 0 < points * layout.point_bytes <= LARGEST_CHUNK for points, _ in table):
        raise ValueError("its table of compressed chunks asks for chunks of more than 256 MiB")
    if sum(points for points, _ in table) != layout.count:
        raise ValueError(f"its chunks do not hold {layout.count:,} points")


def _layers(laszip: bytes) -> int | None:
    """Return the number of layers of every chunk, None where chunks are not layered."""
    if struct.unpack_from("<H", laszip)[0] != LAYERED:
        return None
    number = 0
    for k in range(struct.unpack_from("<H", laszip, 32)[0]):
        kind, size = struct.unpack_from("<HH", laszip, RECORD_BYTES + ITEM_BYTES * k)
        if kind not in LAYERS and kind != EXTRA_BYTES:
            raise ValueError(f"its LASzip record names an item of kind {kind}, which layered chunks do not have")
        number += size if kind == EXTRA_BYTES else LAYERS[kind]
    return number


def _check_layers(file: BinaryIO, sizes: list[int], layout: LasLayout, layers: int) -> None:
    """Check that the layers of each chunk fill it: a whole point, the number of points, layer sizes, layers."""
    at, head = layout.points_at + 8, layout.point_bytes + 4
    for size in sizes:
        file.seek(at + head)
        data = file.read(4 * layers)
        if len(data) < 4 * layers or head + 4 * layers + sum(struct.unpack(f"<{layers}I", data)) != size:
            raise ValueError("a compressed chunk has layers of other sizes than its own")
        at += size


@contextlib.contextmanager
def quiet_panics() -> Iterator[None]:
    """Keep what the decoder prints on a panic off the terminal; what it raises says the same."""
    with contextlib.ExitStack() as stack:
        try:
            kept = os.dup(2)
        except OSError:  # no standard error
            yield
            return
        stack.callback(os.close, kept)
        null = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, null)
        os.dup2(null, 2)
        stack.callback(os.dup2, kept, 2)
        yield
