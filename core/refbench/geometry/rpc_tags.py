"""The text forms of an RPC: GDAL's ``RPC`` metadata, ``_RPC.TXT`` files, JSON."""

from __future__ import annotations

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


def parse_tags(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return offsets and scales (float) and cubics (20 floats) under their lower-case names.

    A cubic is a list, a string of 20 numbers, or 20 keys ``..._1`` to ``..._20``. Units after a number are dropped.

    Raises
    ------
    InputError
        A missing key or something that is not a number.
    """
    lower = {key.lower(): value for key, value in tags.items()}
    out: dict[str, Any] = {name: _number(name, lower.get(name)) for name in OFFSETS}
    for name in POLYNOMIALS:
        value = lower.get(name)
        if value is None:
            value = [lower.get(f"{name}_{i}") for i in range(1, 21)]
        elif isinstance(value, str):
            value = value.replace(",", " ").split()
        if len(value) != 20:
            raise InputError(f"RPC {name.upper()} needs 20 coefficients, got {len(value)}.")
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
