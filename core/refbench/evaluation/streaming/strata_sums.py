"""Sums by class of pixels: a class is a set of strata, so every pixel is summed once, whatever strata it lies in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.evaluation.metrics import PAIR
from refbench.evaluation.streaming.residual_sums import ResidualSums

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]


class Classes:
    """Pixels [N] grouped by their class: ``order`` sorts them, class ``keys[i]`` is at ``slices[i]`` after that."""

    def __init__(self, bits: NDArray[Any]) -> None:
        self.order = np.argsort(bits, kind="stable")  # a radix sort up to 16 strata
        held = bits[self.order]
        is_first = np.ones(held.size, np.bool_)
        np.not_equal(held[1:], held[:-1], out=is_first[1:])
        self.starts = np.flatnonzero(is_first)
        self.keys = [int(key) for key in held[self.starts]]
        ends = np.append(self.starts[1:], held.size) if held.size else self.starts
        self.slices = [slice(start, end) for start, end in zip(self.starts.tolist(), ends.tolist(), strict=True)]

    def __iter__(self) -> Iterator[tuple[int, slice]]:
        return iter(zip(self.keys, self.slices, strict=True))


class StrataSums:
    """Sums of residuals by class, and of what a refinement did where ``is_paired``."""

    def __init__(self) -> None:
        self._classes: dict[int, ResidualSums] = {}
        self._pairs: dict[int, Floats] = {}

    def add(self, classes: Classes, e: Floats, steps: NDArray[np.int32]) -> None:
        """Take in residuals [N] in metres and their ``steps_of``."""
        e, steps = e[classes.order], steps[classes.order]
        for key, part in classes:
            self._of(key).add(e[part], steps[part])

    def add_reference(self, counts: Mapping[int, int]) -> None:
        """Count pixels on which the reference counts, by class."""
        for key, count in counts.items():
            self._of(key).n_ref_valid += count

    def add_pair(self, classes: Classes, before: Floats, after: Floats) -> None:
        """Take in magnitudes of residuals [N] before and after a refinement."""
        if not classes.keys:
            return
        found = []
        for metric in PAIR:
            for of in (metric.part, metric.whole):
                values = np.asarray(of(before, after), np.float64)[classes.order]
                found.append(np.add.reduceat(values, classes.starts))
        for key, sums in zip(classes.keys, np.stack(found, axis=1), strict=True):
            self._pairs[key] = self._pairs.get(key, 0.0) + sums

    def _of(self, key: int) -> ResidualSums:
        if key not in self._classes:
            self._classes[key] = ResidualSums()
        return self._classes[key]

    def stratum(self, bit: int, also: StrataSums | None = None) -> ResidualSums:
        """Return the sums of all classes that lie in a stratum, of this part and of another."""
        parts = (self, also) if also is not None else (self,)
        return ResidualSums.merged(sums for part in parts for key, sums in sorted(part._classes.items()) if key & bit)

    def pair(self, bit: int) -> dict[str, float | None]:
        """Return the metrics of pairs on a stratum."""
        total = sum((sums for key, sums in sorted(self._pairs.items()) if key & bit), np.zeros(2 * len(PAIR)))
        found = {}
        for metric, (part, whole) in zip(PAIR, total.reshape(-1, 2).tolist(), strict=True):
            found[metric.key] = part / whole if whole else None
        return found


def count_classes(bits: NDArray[Any]) -> dict[int, int]:
    """Return class -> number of its pixels among [N]."""
    if bits.dtype.itemsize > 2:
        keys, counts = np.unique(bits, return_counts=True)
        return dict(zip(keys.tolist(), counts.tolist(), strict=True))
    every = np.bincount(bits)
    held = np.flatnonzero(every)
    return dict(zip(held.tolist(), every[held].tolist(), strict=True))


def bits_of(named: Mapping[str, Bools]) -> tuple[NDArray[Any], dict[str, int]]:
    """Return the class of every pixel [rows, cols] and the bit of every stratum."""
    kind = np.min_scalar_type((1 << len(named)) - 1)
    bits = np.zeros(next(iter(named.values())).shape, kind)
    for number, where in enumerate(named.values()):
        bits |= where.astype(kind) << kind.type(number)
    return bits, {name: 1 << number for number, name in enumerate(named)}
