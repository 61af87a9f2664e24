"""The text forms of an RPC: GDAL's ``RPC`` metadata, ``_RPC.TXT`` and ``.RPB`` files, JSON of rpcm and others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

OFFSETS = (
    "line_off",
    "samp_off",
    "lat_off",
    "long_off",
    "height_off",
    "line_scale",
    "samp_scale",
    "lat_scale",
    "long_scale",
    "height_scale",
)
POLYNOMIALS = ("line_num_coeff", "line_den_coeff", "samp_num_coeff", "samp_den_coeff")


_AXES = {
    "line": ("line", "row"),
    "samp": ("samp", "col"),
    "lat": ("lat",),
    "long": ("long", "lon"),
    "height": ("height", "alt"),
}
_KINDS = {
    "off": ("off", "offset"),
    "scale": ("scale",),
    "num_coeff": ("numcoeff", "numcoef", "num"),
    "den_coeff": ("dencoeff", "dencoef", "den"),
}
_NAME_OF = {
    axis + kind: f"{name}_{suffix}"
    for name, axes in _AXES.items()
    for suffix, kinds in _KINDS.items()
    for axis in axes
    for kind in kinds
}
"""Spellings without case and underscores -> our name: ``LINE_OFF``, ``lineOffset`` and ``row_offset`` are one."""


def _spelt(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return tags under our names, and under ``<name>_<number>`` those of single coefficients."""
    found = {}
    for key, value in tags.items():
        letters, number = re.fullmatch(r"(.*?)(\d*)", key.lower().replace("_", ""), re.DOTALL).groups()  # type: ignore[union-attr]
        if (name := _NAME_OF.get(letters)) is not None:
            found[f"{name}_{int(number)}" if number else name] = value
    return found


def is_rpc(tags: Mapping[str, Any]) -> bool:
    """Return whether a mapping means to be an RPC: it holds one, or the offset of lines and of samples."""
    return "rpc" in tags or {"line_off", "samp_off"} <= set(_spelt(tags))


def parse_rpb(text: str) -> dict[str, str]:
    """Return the assignments of an ``.RPB`` file: ``key = value;`` or ``key = (value, ...);``."""
    pairs = re.findall(r"(\w+)\s*=\s*(\([^)]*\)|[^;\n]*)\s*;", text)
    return {key: value.strip("() \t\r\n") for key, value in pairs}


def parse_size(tags: Mapping[str, Any], side: str) -> int | None:
    """Return the width or height of the image in pixels, None where it is not a positive whole number."""
    value = tags.get(side)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def parse_tags(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return offsets and scales (float) and cubics (20 floats) under their lower-case names.

    Keys are spelt as GDAL, as ``.RPB`` files or as rpcm do. A cubic is a list, a string of 20 numbers, or 20 keys
    ``..._1`` to ``..._20``. Units after a number are dropped.

    Raises
    ------
    InputError
        A missing key or something that is not a number.
    """
    lower = _spelt(tags)
    out: dict[str, Any] = {name: _number(name, lower.get(name)) for name in OFFSETS}
    for name in POLYNOMIALS:
        value = lower.get(name)
        if value is None:
            value = [lower.get(f"{name}_{i}") for i in range(1, 21)]
        elif isinstance(value, str):
            value = value.replace(",", " ").split()
        if not isinstance(value, list | tuple) or len(value) != 20:
            given = len(value) if isinstance(value, list | tuple) else repr(value)
            raise InputError(f"RPC {name.upper()} needs 20 coefficients, got {given}.")
        out[name] = [_number(name, item) for item in value]
    return out


def _number(name: str, value: object) -> float:
    if value is None:
        raise InputError(f"The RPC lacks {name.upper()}.")
    token = str(value).split()[:1]
    try:
        return float(token[0]) if token else float("nan")
    except ValueError as error:
        raise InputError(f"RPC {name.upper()} must be a number, got {value!r}.") from error


def written_tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Return GDAL's upper-case keys and strings; every number keeps all its digits."""
    out = {name.upper(): repr(float(values[name])) for name in OFFSETS}
    for name in POLYNOMIALS:
        out[name.upper()] = " ".join(repr(float(item)) for item in values[name])
    return out
