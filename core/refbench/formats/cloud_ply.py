"""PLY point clouds: text and binary of either byte order, properties of any order and type, lists passed over."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from refbench.contracts.errors import InputError
from refbench.formats import cloud_reader
from refbench.formats.cloud_reader import CloudReader
from refbench.formats.crs import SplitCRS, parse_crs, split_crs
from refbench.formats.ply_header import Element, PlyHeader, column, read_header, stated
from refbench.formats.ply_rows import check_rest, skip_rows, text_rows, vertex_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.formats.cloud_index import Arrays

_COLOURS = (("red", "r", "diffuse_red"), ("green", "g", "diffuse_green"), ("blue", "b", "diffuse_blue"))
_INTENSITY = ("intensity", "scalar_intensity")
_CLASSES = ("classes", "classification", "class", "scalar_classification")


class PlyReader(CloudReader):
    """PLY read here, in chunks; counts are checked against the size of the file before anything is allocated."""

    def __init__(self, path: Path) -> None:
        """Read the header and what its comments say of CRS and unit."""
        self.path = path
        with self._edge(), path.open("rb") as file:
            self._header = read_header(file)
            said = stated(self._header.comments)
            self._check_size(path.stat().st_size - self._header.start)
            self._places = _places(self._header.vertex)
        self.count = self._header.vertex.count
        self.unit = said.unit
        if said.crs is not None:
            self.crs = split_crs(parse_crs(said.crs, f"{path}: its comment"))
        self.crs = SplitCRS(
            self.crs.horizontal, said.vertical or self.crs.vertical, said.height_unit or self.crs.height_unit
        )

    @contextlib.contextmanager
    def _edge(self) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except (ValueError, OSError, OverflowError, MemoryError) as error:
            raise self._damaged(error) from error

    def _check_size(self, rest: int) -> None:
        """Refuse counts that the file is too short for."""
        for element in self._header.elements:
            # In text every value takes a digit and what parts it from the next.
            row = 2 * len(element.properties) if self._header.order == "=" else element.least_row
            if element.count * row > rest + 1:
                raise ValueError(
                    f"it is cut off, {element.count:,} rows of {element.name[:40]} do not fit in {rest:,} bytes"
                )

    def chunks(self) -> Iterator[Arrays]:
        """Yield the points; whatever the file lacks raises."""
        with self._edge(), self.path.open("rb") as file:
            file.seek(self._header.start)
            for columns in self._tables(file, self._header):
                yield self._arrays(columns)

    def _tables(self, file: BinaryIO, header: PlyHeader) -> Iterator[list[NDArray[np.generic]]]:
        """Yield the vertices by chunks, a column for every property (lists are empty), and check what follows."""
        before = header.elements[: header.elements.index(header.vertex)]
        after = header.elements[len(before) + 1 :]
        step = cloud_reader.CHUNK_POINTS
        if header.order == "=":
            for element in before:
                for _ in text_rows(file, element, step):
                    pass
            yield from text_rows(file, header.vertex, step, keep=True)
            for element in after:
                for _ in text_rows(file, element, step):
                    pass
            return
        for element in before:
            skip_rows(file, element, header.order)
        yield from vertex_rows(file, header.vertex, header.order, step)
        check_rest(file, after, header.order)

    def _arrays(self, columns: list[NDArray[np.generic]]) -> Arrays:
        def stack(places: tuple[int, ...]) -> NDArray[np.generic]:
            return np.stack([columns[k] for k in places], axis=1)

        arrays: Arrays = {"xyz": stack(self._places["xyz"]).astype(np.float64)}
        if "colour" in self._places:
            arrays["colour"] = stack(self._places["colour"])
        if "intensity" in self._places:
            arrays["intensity"] = columns[self._places["intensity"][0]]
        if "classes" in self._places:
            values = np.nan_to_num(columns[self._places["classes"][0]].astype(np.float64), nan=0.0)
            arrays["classes"] = np.where((values >= 0) & (values <= 255), values, 0).astype(np.uint8)
        return arrays


def _places(vertex: Element) -> dict[str, tuple[int, ...]]:
    """Return the columns of every array of a cloud; raise ``ValueError`` where there are no coordinates."""
    axes = [column(vertex, (axis,)) for axis in "xyz"]
    places: dict[str, tuple[int, ...]] = {}
    for name, found in (
        ("xyz", axes),
        ("colour", [column(vertex, names) for names in _COLOURS]),
        ("intensity", [column(vertex, _INTENSITY)]),
        ("classes", [column(vertex, _CLASSES)]),
    ):
        known = tuple(place for place in found if place is not None)
        if len(known) == len(found):
            places[name] = known
        elif name == "xyz":
            raise ValueError("its vertices lack x, y or z")
    return places
