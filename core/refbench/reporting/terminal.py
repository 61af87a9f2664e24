"""The one way of text to the terminal: names and reasons of others cannot move its cursor or change its colours."""

from __future__ import annotations

import contextlib
import io
import sys
import unicodedata

import click

_KEPT = "\n\t"
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
"""Signs that change the direction of what follows."""
REPLACEMENT = "\ufffd"


def plain(text: str) -> str:
    """Return text with every control character but line ends and tabs, and signs of direction, replaced."""
    if text.isprintable():
        return text
    return "".join(REPLACEMENT if _acts(letter) else letter for letter in text)


def _acts(letter: str) -> bool:
    return letter in _TURNING or (letter not in _KEPT and unicodedata.category(letter) == "Cc")


def echo(message: object = "", err: bool = False, nl: bool = True) -> None:
    """Print plain text, a line unless ``nl`` is False."""
    click.echo(plain(str(message)), err=err, nl=nl)


def never_refuse() -> None:
    """Let output that cannot hold a letter, such as one in latin-1, print ``?`` instead of ending a finished run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError):  # closed
                stream.reconfigure(errors="replace")
