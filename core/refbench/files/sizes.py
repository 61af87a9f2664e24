"""Sizes in bytes as people write them."""

from __future__ import annotations

from pydantic import ByteSize, TypeAdapter

_SIZES = TypeAdapter(ByteSize)


def parse_size(text: str) -> int:
    """Return the bytes that ``500MB`` (decimal) or ``4GiB`` (binary) stand for.

    Raises
    ------
    ValueError
        It is no size, or none of a machine.
    """
    size = int(_SIZES.validate_python(text.strip()))
    if not 1 <= size < 1 << 63:
        raise ValueError(f"{text!r} is no size of a machine")
    return size
