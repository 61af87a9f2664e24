"""Large arrays whose memory is used again: fresh pages may cost as much time as drawing into them."""

from __future__ import annotations

import math
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

_SMALL = 2**18


class Buffers:
    """Hands out uninitialised arrays; what nobody refers to any longer, nor to a tensor of it, is handed out again."""

    def __init__(self, most: int = 2**29) -> None:
        """Keep at most ``most`` bytes that are not in use when new ones are asked for."""
        self._most = most
        self._kept = [np.empty(0, np.uint8)]
        self._unused = self._references(0)
        self._lock = threading.Lock()

    def take(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of any content. Of the shape and the float or int type that are asked for."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size < _SMALL:
            return np.empty(shape, dtype)
        with self._lock:
            free = [n for n in range(len(self._kept)) if self._references(n) == self._unused]
            fitting = [n for n in free if self._kept[n].nbytes == size]
            if fitting:
                self._kept.append(self._kept.pop(fitting[-1]))  # the least recently used come first
            else:
                self._forget(free)
                self._kept.append(np.empty(size, np.uint8))
            return self._kept[-1].view(dtype).reshape(shape)

    def _forget(self, free: list[int]) -> None:
        total = 0
        for n in reversed(free):  # from the most recently used one
            total += self._kept[n].nbytes
            if total > self._most:
                del self._kept[n]

    def _references(self, n: int) -> int:
        return sys.getrefcount(self._kept[n])
