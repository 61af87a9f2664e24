"""The header of PLY files: elements, their properties, and what comments say of CRS and unit."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from refbench.formats.units import parse_unit

HEADER_BYTES = 1 << 20
LARGEST_COUNT = 1 << 62
_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "int64": "i8", "uint64": "u8", "float32": "f4", "float64": "f8",
}  # fmt: skip
ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True, slots=True)
class Property:
    """One property: numpy type codes of its values and, for lists, of their lengths."""

    name: str
    kind: str
    length_kind: str | None = None


@dataclass(slots=True)
class Element:
    """A table of the file: its rows follow those of the elements before it."""

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)

    @property
    def has_lists(self) -> bool:
        """Whether rows have different sizes."""
        return any(item.length_kind for item in self.properties)

    @property
    def least_row(self) -> int:
        """Smallest number of bytes of a binary row: lists may be empty."""
        return sum(np.dtype(item.length_kind or item.kind).itemsize for item in self.properties)

    def dtype(self, order: str) -> np.dtype[np.void]:
        """Return the type of a row without lists, in the byte order ``<`` or ``>``."""
        return np.dtype([(f"p{k}", order + item.kind) for k, item in enumerate(self.properties)])


@dataclass(frozen=True, slots=True)
class PlyHeader:
    """What the header says; ``start`` is the byte where the rows begin, ``order`` is ``=`` for text."""

    order: str
    elements: tuple[Element, ...]
    comments: tuple[str, ...]
    start: int

    @property
    def vertex(self) -> Element:
        """The element of the points."""
        return next(element for element in self.elements if element.name == "vertex")


def read_header(file: BinaryIO) -> PlyHeader:
    """Return the header of an open PLY file.

    Raises
    ------
    ValueError
        It is no PLY header, or longer than 1 MiB; the text says what is wrong.
    """
    head = file.read(HEADER_BYTES)
    lines, start = _lines(head)
    order: str | None = None
    elements: list[Element] = []
    comments: list[str] = []
    for line in lines[1:]:
        key, _, rest = line.strip().partition(" ")
        if key in ("comment", "obj_info"):
            comments.append(rest.strip())
        elif key == "format":
            order = _order(rest.split())
        elif key == "element":
            elements.append(_element(rest.split()))
        elif key == "property":
            if not elements:
                raise ValueError("its header has a property before any element")
            elements[-1].properties.append(_property(rest.split()))
        elif key:
            raise ValueError(f"its header has a line that is none of PLY's: {line.strip()[:60]!r}")
    if order is None:
        raise ValueError("its header names no format")
    _check_names(elements)
    return PlyHeader(order, tuple(elements), tuple(comments), start)


def _lines(head: bytes) -> tuple[list[str], int]:
    """Return the lines before ``end_header`` and the byte behind it; lines end with LF, CR LF or CR."""
    if not re.match(rb"ply[ \t]*[\r\n]", head):
        raise ValueError("it does not start with 'ply'")
    end = re.search(rb"(?:\r\n|\n|\r)end_header[ \t]*(\r\n|\n|\r|\Z)", head)
    if end is None:
        raise ValueError("its header has no end" + f" within {HEADER_BYTES:,} bytes" * (len(head) == HEADER_BYTES))
    # A CR alone ends the header only where the lines before end so, too: what follows may be binary.
    stop = end.end()
    if end[1] == b"\r\n" and head[3:5] != b"\r\n" and head[3:4] == b"\r":
        stop -= 1
    return re.split(r"\r\n|\n|\r", head[: end.start()].decode("utf-8", "replace")), stop


def _order(words: list[str]) -> str:
    if len(words) != 2 or words[0] not in ORDERS:
        raise ValueError(f"its format {' '.join(words)[:60]!r} is none of {', '.join(ORDERS)}")
    return ORDERS[words[0]]


def _element(words: list[str]) -> Element:
    if len(words) != 2 or not (words[1].isascii() and words[1].isdigit()) or len(words[1]) > 20:
        raise ValueError(f"its header has an element without a name and a count: {' '.join(words)[:60]!r}")
    if int(words[1]) > LARGEST_COUNT:
        raise ValueError(f"it declares {words[1]} rows of {words[0][:40]}")
    return Element(words[0], int(words[1]))


def _property(words: list[str]) -> Property:
    listed = words[:1] == ["list"]
    kinds = words[1:3] if listed else words[:1]
    if len(words) != len(kinds) + 1 + listed or not all(kind in _TYPES for kind in kinds):
        raise ValueError(f"its header has a property of an unknown form: {' '.join(words)[:60]!r}")
    if listed and _TYPES[kinds[0]][0] == "f":
        raise ValueError(f"its list {words[-1][:40]!r} counts in {kinds[0]}")
    return Property(words[-1], _TYPES[kinds[-1]], _TYPES[kinds[0]] if listed else None)


def _check_names(elements: list[Element]) -> None:
    names = [element.name for element in elements]
    if names.count("vertex") != 1:
        raise ValueError("its header names no vertices" if "vertex" not in names else "it has two elements 'vertex'")
    for element in elements:
        keys = [item.name for item in element.properties]
        if len(set(keys)) != len(keys):
            raise ValueError(f"element {element.name[:40]!r} has two properties of one name")


def column(element: Element, names: tuple[str, ...]) -> int | None:
    """Return the place of the first property with one of these names, in any case; lists do not count."""
    keys = [None if item.length_kind else item.name.lower() for item in element.properties]
    return next((keys.index(name) for name in names if name in keys), None)


@dataclass(frozen=True, slots=True)
class Stated:
    """What comments say: a text for the CRS, one for the vertical datum, units of all coordinates and of heights."""

    crs: str | None = None
    vertical: str | None = None
    unit: str | None = None
    height_unit: str | None = None


_SAYS = re.compile(
    r"(?P<key>(?:height|vertical|z)[ _]units?|units?|projection|crs|srs|epsg|vertical(?: datum)?)"
    r"(?P<mark>\s*[:=]\s*|\s+)(?P<value>.+)",
    re.IGNORECASE,
)


def stated(comments: tuple[str, ...]) -> Stated:
    """Read comments such as ``projection: UTM 32N``, ``projection: CRS epsg:32632``, ``crs EPSG:2056``, ``unit: ft``.

    Other comments are prose and say nothing.

    Raises
    ------
    ValueError
        Two comments contradict each other.
    """
    found: dict[str, str] = {}
    for comment in comments:
        match = _SAYS.fullmatch(comment.strip()) if len(comment) <= 8192 else None
        if match is None:
            continue
        key, value = re.sub(r"[ _]+", " ", match["key"].lower()), match["value"].strip()
        if "unit" in key and not match["mark"].strip() and parse_unit(value) is None:
            continue
        said = _meaning(key, value)
        if said is None:
            continue
        if found.setdefault(said[0], said[1]) != said[1]:
            raise ValueError(f"its comments name {found[said[0]][:60]!r} and {said[1][:60]!r}")
    return Stated(**found)


def _meaning(key: str, value: str) -> tuple[str, str] | None:
    if key in ("projection", "crs", "srs", "epsg"):
        text = _crs_text(value, digits=key == "epsg")
        return None if text is None else ("crs", text)
    if "unit" in key:
        return ("unit" if key in ("unit", "units") else "height_unit", parse_unit(value) or value)
    return ("vertical", value) if re.fullmatch(r"(?i)epsg:\d+|ellipsoid|unknown", value) else None


def _crs_text(value: str, *, digits: bool) -> str | None:
    """Return the user text of a CRS: of a UTM zone on WGS 84, of a code, or of WKT."""
    value = re.sub(r"(?i)^crs[\s:]+", "", value).strip()
    if zone := re.fullmatch(r"(?i)utm[\s:]*(?:zone\s*)?(\d{1,2})\s*([ns])", value):
        if not 1 <= int(zone[1]) <= 60:
            return value
        return f"EPSG:{(32600 if zone[2].lower() == 'n' else 32700) + int(zone[1])}"
    if code := re.fullmatch(r"(?i)(?:urn:ogc:def:crs:)?epsg:{1,2}(\d{4,6})", value):
        return f"EPSG:{code[1]}"
    if digits and re.fullmatch(r"\d{4,6}", value):
        return f"EPSG:{value}"
    return value if re.match(r"(?i)[A-Z_]+\[|\+proj=|[a-z]+:\d+$", value) else None
