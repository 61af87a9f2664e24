"""What one pass over a cloud tells: which points count, where they lie, and which lie far from all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.grid import Bounds
from refbench.formats.cloud_index import just_beyond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from refbench.formats.cloud_index import Arrays

LARGEST = 1e30
NOISE_CLASSES = (7, 18)
"""LAS: low noise and high noise."""
SAMPLE = 100_000
FAR_WIDTHS = 10.0
FAR_METRES = np.array([1e3, 1e3, 1e4])
"""A point is far where it lies beyond the bulk of the others by ten of its widths and by more than this, per axis."""
TRIM = 0.005
"""Fraction of the points at either end that the bulk leaves out."""
MOST_FAR = 1e-3
"""Largest fraction of points that are called far: more of them are a part of the scene."""
FEWEST = 20
HEADER_TOLERANCE = 0.01
"""Header and points agree to this, in the file's unit: writers round."""


class Survey:
    """Counts, rectangle and bulk of the points of one file; points come in chunks, in the order of the file."""

    def __init__(self, declared: int) -> None:
        """Expect ``declared`` points."""
        self.declared = declared
        self.kept = self.infinite = self.withheld = self.noise = self.far = 0
        self._low, self._high = np.full(3, np.inf), np.full(3, -np.inf)
        self._box = np.full((2, 2), np.nan)
        self._stride = max(1, -(-declared // SAMPLE))
        self._sample: list[NDArray[np.float64]] = []
        self._limits: NDArray[np.float64] | None = None
        self._example: NDArray[np.float64] | None = None

    def saw(self, xyz: NDArray[np.float64]) -> None:
        """Widen the rectangle of all finite points, whether they count or not: that is what headers state.

        ``xyz`` is [n, 3], metres.
        """
        if len(xyz):
            low, high = xyz[:, :2].min(axis=0), xyz[:, :2].max(axis=0)
            self._box = np.stack([np.fmin(self._box[0], low), np.fmax(self._box[1], high)])

    def add(self, xyz: NDArray[np.float64]) -> None:
        """Take the points of a chunk that count, float64 [n, 3] in metres."""
        if not len(xyz):
            return
        self._low, self._high = np.minimum(self._low, xyz.min(axis=0)), np.maximum(self._high, xyz.max(axis=0))
        self._sample.append(xyz[-self.kept % self._stride :: self._stride].copy())
        self.kept += len(xyz)

    def find_far(self, points: Callable[[], Iterable[NDArray[np.float64]]]) -> None:
        """Find the few points that lie far from all others; ``points`` is called for a second pass where needed.

        One corrupt coordinate would else stretch the cloud over a continent. The bulk is what lies between the order
        statistics that leave out ``TRIM`` at either end.
        Blocks of points are [n, 3], metres.
        """
        sample, self._sample = np.concatenate(self._sample), []
        if self.kept < FEWEST:
            return
        skip = max(2, round(TRIM * len(sample)))
        ordered = np.sort(sample, axis=0)
        low, high = ordered[min(skip, len(sample) - 1)], ordered[max(0, len(sample) - 1 - skip)]
        reach = np.maximum(FAR_WIDTHS * (high - low), FAR_METRES)
        limits = np.stack([low - reach, high + reach])
        if (self._low >= limits[0]).all() and (self._high <= limits[1]).all():
            return
        far, inner = 0, np.stack([np.full(3, np.inf), np.full(3, -np.inf)])
        example = None
        for xyz in points():
            near = _within(xyz, limits)
            if not near.all():
                far += int((~near).sum())
                example = xyz[~near][0] if example is None else example
            if near.any():
                kept = xyz[near]
                inner = np.stack([np.minimum(inner[0], kept.min(axis=0)), np.maximum(inner[1], kept.max(axis=0))])
        if far > max(2, MOST_FAR * self.kept):
            return
        self.far, self._limits, self._example = far, limits, example
        self.kept -= far
        self._low, self._high = inner

    def without_far(self, chunk: Arrays) -> Arrays:
        """Return a chunk without the far points."""
        if self._limits is None:
            return chunk
        near = _within(chunk["xyz"], self._limits)
        return chunk if near.all() else {name: values[near] for name, values in chunk.items()}

    def bounds(self) -> Bounds:
        """Return the rectangle around the points that count; its open sides lie just beyond the outermost."""
        west, south, east, north = (float(v) for v in (*self._low[:2], *self._high[:2]))
        return just_beyond(Bounds(west, south, east, north))

    def notes(self, path: str, header: Bounds | None) -> list[str]:
        """Return a sentence for every kind of dropped points, and for a header that tells other bounds."""
        of = f"of {self.declared:,} points"
        notes = []
        if self.infinite:
            notes.append(f"{path}: {self.infinite:,} {of} are not finite or beyond 1e30; they were dropped.")
        if self.withheld:
            notes.append(f"{path}: {self.withheld:,} {of} are flagged as withheld; they were dropped.")
        if self.noise:
            notes.append(
                f"{path}: {self.noise:,} {of} are classified as noise (classes 7 and 18); they were dropped, "
                "--keep-noise or keep_noise: true in scene.yaml keeps them."
            )
        if self.far and self._example is not None:
            place = ", ".join(f"{value:.10g}" for value in self._example)
            notes.append(f"{path}: {self.far:,} {of} lie far from all others (such as {place}); they were dropped.")
        if header is not None and self._disagrees(header):
            notes.append(f"{path}: its header states other bounds than its points have; those of the points are used.")
        return notes

    def _disagrees(self, header: Bounds) -> bool:
        stated = np.array([[header.west, header.south], [header.east, header.north]])
        return not bool((np.abs(stated - self._box) <= HEADER_TOLERANCE).all())


def _within(xyz: NDArray[np.float64], limits: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(((xyz >= limits[0]) & (xyz <= limits[1])).all(axis=1))


def drop_flagged(chunk: Arrays, *, keep_noise: bool, survey: Survey | None) -> Arrays:
    """Return a chunk without points that are not finite, withheld or noise; each is counted once, in this order."""
    xyz = chunk["xyz"]
    good = (np.abs(xyz) <= LARGEST).all(axis=1)  # NaN compares false
    withheld = good & chunk.pop("withheld", np.zeros(len(xyz), bool))
    classes = chunk.get("classes")
    noise = np.zeros(len(xyz), bool)
    if classes is not None and not keep_noise:
        noise = good & ~withheld & np.isin(classes, NOISE_CLASSES)
    if survey is not None:
        survey.infinite += int((~good).sum())
        survey.withheld += int(withheld.sum())
        survey.noise += int(noise.sum())
        survey.saw(xyz[good])
    keep = good & ~withheld & ~noise
    return chunk if keep.all() else {name: values[keep] for name, values in chunk.items()}
