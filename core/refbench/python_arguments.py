"""Arguments of the Python API are of the type that their signature says, or the error names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from refbench.contracts.errors import InputError

_SEVERAL = ("points", "orthos", "views")


def check_path(name: str, value: Any, *, optional: bool = True) -> None:  # noqa: ANN401  # whatever a caller gives
    """Refuse what is no path; raises ``InputError``."""
    if not (optional and value is None) and not isinstance(value, str | PathLike):
        raise InputError(f"{name} must be a path, got {value!r}.")


def check_text(name: str, value: Any) -> None:  # noqa: ANN401  # whatever a caller gives
    """Refuse what is no text; raises ``InputError``."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be text, got {value!r}.")


def check_whole(name: str, value: Any, least: int, *, optional: bool = False) -> None:  # noqa: ANN401  # whatever a caller gives
    """Refuse what is no whole number from ``least`` on; raises ``InputError``."""
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number from {least} on, got {value!r}.")


def check_seconds(name: str, value: Any) -> None:  # noqa: ANN401  # whatever a caller gives
    """Refuse what is neither None nor a positive number; raises ``InputError``."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
        raise InputError(f"{name} must be a positive number of seconds, or None, got {value!r}.")


def check_names(name: str, value: Any) -> None:  # noqa: ANN401  # whatever a caller gives
    """Refuse a single name where several may stand; raises ``InputError``."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(one, str) for one in value):
        raise InputError(f"{name} must be a list of names, got {value!r}.")


def check_mapping(name: str, value: Any) -> None:  # noqa: ANN401  # whatever a caller gives
    """Refuse files that are no mapping, or a number where paths are listed; raises ``InputError``."""
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise InputError(f"{name} must be a mapping such as {{'dsm': 'dsm.tif'}}, got {value!r}.")
    for key in _SEVERAL:
        several = value.get(key)
        if several is not None and not isinstance(several, str | PathLike | Sequence):
            raise InputError(f"{name}[{key!r}] must be a list of paths, got {several!r}.")
