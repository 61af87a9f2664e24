"""How kernels are compiled for the CPU: serial, without the interpreter lock, kept on disk. Needs numba."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

    Kernel = Callable[..., Any]
    """numba tells the types of a kernel by its arguments, call by call."""

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def inlined(function: Kernel) -> Kernel:
    """Compile a part of kernels into each of its callers."""
    kernel: Kernel = numba.njit(inline="always", **_OPTIONS)(function)
    return kernel


def compiled(function: Kernel) -> Kernel:
    """Compile a kernel on its first call; the machine code is kept on disk.

    It lies beside the source, or in the user's cache folder where the installation is read-only (numba's own
    choice; ``NUMBA_CACHE_DIR`` overrides it). Without any writable place every process compiles anew.
    """
    return _kept(function)


def contracted(function: Kernel) -> Kernel:
    """Like ``compiled``, with fused multiplications and additions: for what need not agree with torch bit by bit."""
    return _kept(function, fastmath={"contract"})


def reordered(function: Kernel) -> Kernel:
    """Like ``compiled``, free in the order of its sums and minima: for numbers that are whole, or rounded anyway."""
    return _kept(function, fastmath=True)


def _kept(function: Kernel, **more: object) -> Kernel:
    kernel: Kernel
    try:
        kernel = numba.njit(cache=True, **_OPTIONS, **more)(function)
    except RuntimeError:  # "no locator available"
        kernel = numba.njit(**_OPTIONS, **more)(function)
    return kernel
