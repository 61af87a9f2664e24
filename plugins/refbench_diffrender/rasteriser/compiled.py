"""How the CPU kernels are compiled and spread over threads.

Kernels are serial and release the interpreter lock; a pool of ordinary threads runs them on views and bands. Unlike
numba's own threads these do not spin between calls, survive a fork and may be called from several threads at once.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numba

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


def _kept(function: Kernel, **more: object) -> Kernel:
    kernel: Kernel
    try:
        kernel = numba.njit(cache=True, **_OPTIONS, **more)(function)
    except RuntimeError:  # "no locator available"
        kernel = numba.njit(**_OPTIONS, **more)(function)
    return kernel


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """A pool belongs to one process: a forked child has none of its parent's threads."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"rasteriser-{process}")


def in_threads(kernel: Kernel, calls: Iterable[tuple[Any, ...]], threads: int) -> None:
    """Call ``kernel(*arguments)`` for every tuple of ``calls``, on ``threads`` threads; return when all are done."""
    listed = list(calls)
    if threads <= 1 or len(listed) <= 1:
        for arguments in listed:
            kernel(*arguments)
        return
    waiting = [_pool(os.getpid(), threads).submit(kernel, *arguments) for arguments in listed]
    for future in waiting:
        future.result()
