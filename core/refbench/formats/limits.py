"""How many pixels a raster may declare: checked before anything of that size is allocated or walked through."""

from __future__ import annotations

import os

from refbench.contracts.errors import InputError

LIMIT_VARIABLE = "REFBENCH_MAX_PIXELS"
"""Set by ``--max-pixels``; through the environment, so that the processes of jobs see the same limit."""
DEFAULT_MAX_PIXELS = 1 << 31
BYTES_PER_PIXEL = 8
"""A height and what scoring holds beside it; the machine's memory over this bounds the default."""


def max_pixels() -> int:
    """Return the largest number of pixels that a raster may have.

    It is what the user set, else 2^31 or what the machine's memory holds at ``BYTES_PER_PIXEL``, whichever is less.

    Raises
    ------
    InputError
        The environment variable holds no positive whole number.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return min(DEFAULT_MAX_PIXELS, _memory_bytes() // BYTES_PER_PIXEL)
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 18 and int(text) > 0):
        raise InputError(f"{LIMIT_VARIABLE} must be a positive whole number of pixels, got {text[:40]!r}.")
    return int(text)


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # no POSIX
        return DEFAULT_MAX_PIXELS * BYTES_PER_PIXEL


def check_pixels(what: str, width: int, height: int) -> None:
    """Refuse a raster or grid of more than ``max_pixels`` pixels; ``what`` begins the sentence.

    Raises
    ------
    InputError
        It has more.
    """
    if width * height > (limit := max_pixels()):
        raise InputError(
            f"{what} {width:,} x {height:,} px, more than the limit of {limit:,}; "
            "crop it, or allow more with --max-pixels."
        )
