"""How the CPU kernels are compiled and spread over threads.

Kernels are serial and release the interpreter lock; a pool of ordinary threads runs them on views and bands. Unlike
numba's own threads these do not spin between calls, survive a fork and may be called from several threads at once.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

from refbench.geometry.compiled import compiled, contracted, inlined

if TYPE_CHECKING:
    from collections.abc import Iterable

    from refbench.geometry.compiled import Kernel

__all__ = ["compiled", "contracted", "in_threads", "inlined"]


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
