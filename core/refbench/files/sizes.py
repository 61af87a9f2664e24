"""Sizes in bytes as people write them."""

from __future__ import annotations


def parse_size(text: str) -> int:
    """Return the bytes that ``500MB`` (decimal) or ``4GiB`` (binary) stand for.

    Raises
    ------
    ValueError
        It is no size, or none of a machine.
    """
    from pydantic import ByteSize, TypeAdapter  # options that take sizes belong to verbs that may never see one

    size = int(TypeAdapter(ByteSize).validate_python(text.strip()))
    if not 1 <= size < 1 << 63:
        raise ValueError(f"{text!r} is no size of a machine")
    return size
