"""Rows of PLY files, text and binary: those of the points in columns, all others passed over."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from refbench.formats.ply_header import Element

LONGEST_LINE = 1 << 20
BLOCK_BYTES = 64 << 20
LARGEST_GUESS = 1 << 16
"""Rows with lists that are tried at most with the lengths of the one before them."""


def _cut(element: Element, done: int) -> ValueError:
    return ValueError(f"it is cut off after {done:,} of {element.count:,} rows of {element.name[:40]}")


def text_rows(file: BinaryIO, element: Element, step: int, *, keep: bool = False) -> Iterator[list[NDArray[Any]]]:
    """Yield the columns of text rows, one line each, by ``step`` rows; nothing is converted without ``keep``.

    A column is [rows], in the file's own unit and type.

    Raises
    ------
    ValueError
        A line holds too few or too many values or no numbers, or the file ends early.
    """
    kinds = [item.kind for item in element.properties]
    step = max(1, min(step, BLOCK_BYTES // (64 * max(1, len(kinds)))))
    for first in range(0, element.count, step):
        rows = min(step, element.count - first)
        lines = [_line(file, element, first + k) for k in range(rows)]
        if not keep:
            continue
        words = [_without_lists(line, element) for line in lines] if element.has_lists else lines
        table = np.array(words, dtype=np.float64).reshape(rows, len(words[0]))
        places = iter(range(table.shape[1]))
        yield [
            np.empty((rows, 0)) if item.length_kind else _typed(table[:, next(places)], item.kind)
            for item in element.properties
        ]


def _line(file: BinaryIO, element: Element, number: int) -> list[bytes]:
    while True:
        line = file.readline(LONGEST_LINE)
        if not line:
            raise _cut(element, number)
        if len(line) == LONGEST_LINE:
            raise ValueError(f"row {number + 1:,} of {element.name[:40]} is longer than {LONGEST_LINE:,} bytes")
        words = line.split()
        if words or not element.properties:
            break
    if not element.has_lists and len(words) != len(element.properties):
        raise ValueError(
            f"row {number + 1:,} of {element.name[:40]} holds {len(words)} values instead of {len(element.properties)}"
        )
    return words


def _without_lists(words: list[bytes], element: Element) -> list[bytes]:
    kept, at = [], 0
    for item in element.properties:
        if at >= len(words):
            raise ValueError(f"a row of {element.name[:40]} holds too few values")
        if item.length_kind is None:
            kept.append(words[at])
            at += 1
        else:
            at += 1 + int(words[at])
    return kept


def _typed(values: NDArray[np.float64], kind: str) -> NDArray[Any]:
    """Return text values as the type of their property where they all fit; else as they are."""
    if kind[0] == "f":
        return values  # text holds more digits than float32 keeps
    limits = np.iinfo(kind)
    fits = (values >= limits.min) & (values <= limits.max)
    return values.astype(kind) if fits.all() else values


def vertex_rows(file: BinaryIO, vertex: Element, order: str, step: int) -> Iterator[list[NDArray[Any]]]:
    """Yield the columns of binary rows by ``step`` rows, native byte order.

    A column is [rows], in the file's own unit and type.

    Raises
    ------
    ValueError
        The file ends early.
    """
    if vertex.has_lists:
        yield from _listed_rows(file, vertex, order, step)
        return
    kind = vertex.dtype(order)
    step = max(1, min(step, BLOCK_BYTES // max(1, kind.itemsize)))
    for first in range(0, vertex.count, step):
        rows = min(step, vertex.count - first)
        data = file.read(rows * kind.itemsize)
        if len(data) != rows * kind.itemsize:
            raise _cut(vertex, first + len(data) // kind.itemsize)
        table = np.frombuffer(data, kind)
        yield [table[name].astype(table[name].dtype.newbyteorder("=")) for name in kind.names or ()]


def _listed_rows(file: BinaryIO, vertex: Element, order: str, step: int) -> Iterator[list[NDArray[Any]]]:
    """Yield columns of rows that hold lists: each row is walked."""
    step = min(step, 1 << 16)
    for first in range(0, vertex.count, step):
        rows = min(step, vertex.count - first)
        values: list[list[Any]] = [[] for _ in vertex.properties]
        for row in range(rows):
            for k, item in enumerate(vertex.properties):
                if item.length_kind is None:
                    values[k].append(_number(file, vertex, order + item.kind, first + row))
                else:
                    _pass_list(file, vertex, order, k, first + row)
        yield [
            np.empty((rows, 0)) if item.length_kind else np.array(values[k], dtype=item.kind)
            for k, item in enumerate(vertex.properties)
        ]


def _number(file: BinaryIO, element: Element, kind: str, row: int) -> Any:  # noqa: ANN401  # any number
    size = np.dtype(kind).itemsize
    data = file.read(size)
    if len(data) != size:
        raise _cut(element, row)
    return np.frombuffer(data, kind)[0]


def _pass_list(file: BinaryIO, element: Element, order: str, place: int, row: int) -> None:
    item = element.properties[place]
    length = int(_number(file, element, f"{order}{item.length_kind}", row))
    if length < 0:
        raise ValueError(f"row {row + 1:,} of {element.name[:40]} has a list of {length} values")
    _advance(file, element, length * np.dtype(item.kind).itemsize, row)


def _advance(file: BinaryIO, element: Element, size: int, row: int) -> None:
    """Go on by ``size`` bytes, which the file must hold."""
    if size > os.fstat(file.fileno()).st_size - file.tell():
        raise _cut(element, row)
    file.seek(size, os.SEEK_CUR)


def skip_rows(file: BinaryIO, element: Element, order: str) -> None:
    """Pass over the binary rows of an element.

    Raises
    ------
    ValueError
        The file ends early.
    """
    if not element.has_lists:
        _advance(file, element, element.count * element.least_row, 0)
        return
    done, guess = 0, 8
    while done < element.count:
        start = file.tell()
        for place, item in enumerate(element.properties):
            if item.length_kind is None:
                _advance(file, element, np.dtype(item.kind).itemsize, done)
            else:
                _pass_list(file, element, order, place, done)
        done += 1
        alike = _alike(file, element, order, start, min(guess, element.count - done))
        guess = min(4 * guess, LARGEST_GUESS) if alike == guess else 8
        done += alike


def _alike(file: BinaryIO, element: Element, order: str, start: int, limit: int) -> int:
    """Pass over the following rows whose lists are as long as those of the row at ``start``; return their number."""
    stop = file.tell()
    file.seek(start)
    fields: list[tuple[Any, ...]] = []
    for k, item in enumerate(element.properties):
        if item.length_kind is None:
            fields.append((f"p{k}", order + item.kind))
            file.seek(np.dtype(item.kind).itemsize, os.SEEK_CUR)
            continue
        length = int(_number(file, element, f"{order}{item.length_kind}", 0))
        fields += [(f"n{k}", order + item.length_kind), (f"p{k}", f"V{length * np.dtype(item.kind).itemsize}")]
        file.seek(length * np.dtype(item.kind).itemsize, os.SEEK_CUR)
    kind = np.dtype([pair for pair in fields if pair[1] != "V0"])
    limit = min(limit, BLOCK_BYTES // kind.itemsize)
    data = file.read(limit * kind.itemsize)
    rows = np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind)
    file.seek(start)
    model = np.frombuffer(file.read(kind.itemsize), kind)[0]
    same = np.ones(len(rows), bool)
    for name in kind.names or ():
        if name.startswith("n"):
            same &= rows[name] == model[name]
    count = len(rows) if same.all() else int(np.argmin(same))
    file.seek(stop + count * kind.itemsize)
    return count


def check_rest(file: BinaryIO, elements: Sequence[Element], order: str) -> None:
    """Pass over the elements behind the points, so that a file cut off there is noticed."""
    for element in elements:
        skip_rows(file, element, order)
