"""How kernels are compiled for the CPU: serial, without the interpreter lock, kept on disk. Needs numba."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

_Kernel = TypeVar("_Kernel", bound="Callable[..., Any]")
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def inlined(function: _Kernel) -> _Kernel:
    """Compile a part of kernels into each of its callers."""
    return numba.njit(inline="always", **_OPTIONS)(function)


def compiled(function: _Kernel) -> _Kernel:
    """Compile a kernel on its first call; the machine code is kept on disk.

    It lies beside the source, or in the user's cache folder where the installation is read-only (numba's own
    choice; ``NUMBA_CACHE_DIR`` overrides it). Without any writable place every process compiles anew.
    """
    return _kept(function)


def contracted(function: _Kernel) -> _Kernel:
    """Like ``compiled``, with fused multiplications and additions: for what need not agree with torch bit by bit."""
    return _kept(function, fastmath={"contract"})


def reordered(function: _Kernel) -> _Kernel:
    """Like ``compiled``, free in the order of its sums and minima: for numbers that are whole, or rounded anyway."""
    return _kept(function, fastmath=True)


def _kept(function: _Kernel, **more: object) -> _Kernel:
    try:
        return numba.njit(cache=True, **_OPTIONS, **more)(function)
    except RuntimeError:  # "no locator available"
        return numba.njit(**_OPTIONS, **more)(function)
