"""The one rule of which pixels of a raster file hold data; DSMs, images and masks read through it.

A pixel holds data where all of these say so: the alpha bands (not 0), GDAL's mask bands (internal, ``.msk``, several
NoData codes), the band's NoData code, the codes that the user declared, the number itself (finite, at most 1e30 in
magnitude), and the search for codes that nobody declared (``CodeSearch``). Codes are compared before scale and offset.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.formats.raster_file import equals_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from refbench.contracts.grid import Window
    from refbench.formats.raster_file import RasterFile

LARGEST_VALUE = 1e30
NEGATIVE_CODES = (
    *(-999.0, -9999.0, -10_000.0, -32_767.0, -32_768.0, -99_999.0, -100_000.0, -999_999.0, -1e6, -9_999_999.0),
    *(-2_147_483_647.0, -2_147_483_648.0, -1e10, -1e20, -1e30),
)
POSITIVE_CODES = (9999.0, 32_767.0, 65_535.0, 99_999.0, 999_999.0, 2_147_483_647.0, 1e10, 1e20, 1e30)
"""What programs write where they know nothing; a file should declare it, and often does not."""
HEIGHT_CODES = (*NEGATIVE_CODES, *POSITIVE_CODES)
FAR_METRES = 100.0
MANY = 10
"""So many equal values far from all others look like a code, whatever it is."""
SUSPECTED = 0.2
"""Part of the least distance of a known code that is far enough for a remark: zeros below a town at 60 m."""


@dataclass(slots=True)
class CodeSearch:
    """Looks for codes that nobody declared, block by block, in the raw values of one band.

    A known code counts as NoData where it lies far outside all other values: by more than half their range and more
    than ``floor``, both in raw units. A value that is no known code but lies as far, and often, is only suspected.
    """

    codes: tuple[float, ...]
    floor: float
    counts: dict[float, int] = field(default_factory=dict)
    low: dict[float, int] = field(default_factory=dict)
    """The two smallest other values and how often each occurs."""
    high: dict[float, int] = field(default_factory=dict)

    def add(self, values: NDArray[Any]) -> None:
        """Look at the raw values [n] of a block that hold data by all that is declared. In the file's own unit."""
        if not values.size:
            return
        lowest, highest = values.min(), values.max()
        for code in self.codes:
            if not lowest <= values.dtype.type(code) <= highest or (equal := equals_code(values, code)) is None:
                continue
            if number := int(np.count_nonzero(equal)):
                self.counts[code] = self.counts.get(code, 0) + number
                values = values[~equal]
        self._extremes(values)

    def _extremes(self, values: NDArray[Any]) -> None:
        """Note the two smallest and the two largest values of a block without known codes."""
        if not values.size:
            return
        low, high = values.min(), values.max()
        _note(self.low, low, values, min)
        _note(self.high, high, values, max)
        if low < high:  # the next ones lie between, without a copy of the block
            _note(self.low, np.min(values, where=values > low, initial=high), values, min)
            _note(self.high, np.max(values, where=values < high, initial=low), values, max)

    def found(self) -> tuple[tuple[float, int], ...]:
        """Return the codes that count as NoData, each with its number of pixels."""
        if not self.low:  # nothing but known codes
            return tuple(self.counts.items())
        low, high = min(self.low), max(self.high)
        reach = max((high - low) / 2, self.floor)
        return tuple((code, n) for code, n in self.counts.items() if max(low - code, code - high) > reach)

    def suspected(self) -> tuple[tuple[float, int], ...]:
        """Return values, no known codes, that occur often and far from all others, each with its number of pixels."""
        if len(self.low) < 2:
            return ()
        (low, next_low), (next_high, high) = sorted(self.low), sorted(self.high)
        found, floor = [], SUSPECTED * self.floor
        if self.low[low] >= MANY and next_low - low > max((high - next_low) / 2, floor):
            found.append((low, self.low[low]))
        if self.high[high] >= MANY and high - next_high > max((next_high - low) / 2, floor):
            found.append((high, self.high[high]))
        return tuple(found)


def _note(known: dict[float, int], value: Any, values: NDArray[Any], edge: Callable[..., float]) -> None:  # noqa: ANN401
    """Count a value among the two nearest to the edge (``min`` or ``max``) that are kept."""
    known[float(value)] = known.get(float(value), 0) + int(np.count_nonzero(values == value))
    while len(known) > 2:  # the third from the edge says nothing
        del known[max(known) if edge is min else min(known)]


@dataclass(frozen=True, slots=True)
class Findings:
    """What one pass over a raster found; tuples of (value, number of pixels) a band."""

    valid: int
    """Pixels that hold data; of several bands at most that many."""
    undeclared: int
    """Values that are infinite or beyond 1e30 but no declared code."""
    codes: tuple[tuple[tuple[float, int], ...], ...]
    suspected: tuple[tuple[tuple[float, int], ...], ...]


class Validity:
    """Applies the rule to the bands of one file; see the module."""

    def __init__(
        self,
        file: RasterFile,
        bands: list[int],
        codes: tuple[float, ...],
        *,
        floor: float = 0.0,
        declared: tuple[float, ...] = (),
    ) -> None:
        """Take the numbers (from 1) of the bands.

        Parameters
        ----------
        codes
            Known codes to search for where nobody declared them.
        floor
            Least distance of such a code from all other values, in scaled units.
        declared
            Codes that the user declared, raw.
        """
        self.file, self.bands, self.codes, self.floor, self.declared = file, bands, codes, floor, declared
        self._findings: Findings | None = None

    def declared_valid(self, raw: NDArray[Any], part: Window) -> tuple[NDArray[np.bool_], int]:
        """Return where raw values [bands, rows, cols] hold data by all that is declared, and the number of wild ones.

        Wild values are infinite or beyond 1e30, without being a declared code.
        """
        header = self.file.header
        valid = np.ones(raw.shape, np.bool_)
        if masked := [index for index, band in enumerate(self.bands) if header.masked[band - 1]]:
            valid[masked] = self.file.read_mask([self.bands[index] for index in masked], part)
        if header.alphas:
            # NaN compares false, so a NaN in a float alpha band is transparent.
            valid &= (self.file.read(list(header.alphas), part) > 0).all(axis=0)
        wild_number = 0
        for values, here, band in zip(raw, valid, self.bands, strict=True):
            values = values.astype(header.dtypes[band - 1], copy=False)
            for code in (header.nodata[band - 1], *self.declared):
                if (equal := equals_code(values, code)) is not None:
                    here &= ~equal
            if values.dtype.kind == "f":
                here &= ~np.isnan(values)
                wild = here & (np.abs(values) > LARGEST_VALUE)
                wild_number += int(np.count_nonzero(wild))
                here &= ~wild
        return valid, wild_number

    def valid(self, raw: NDArray[Any], part: Window) -> NDArray[np.bool_]:
        """Return where raw values [bands, rows, cols] of a window inside the raster hold data, by the whole rule.

        Bool [rows, cols]; raw values are in the file's own unit, float or integer (uint8, int16, ...).
        """
        found = self.declared_valid(raw, part)
        valid = found[0]
        if self._nothing_to_find:
            return valid
        if self._findings is None and raw.shape[1:] == (self.file.header.height, self.file.header.width):
            self._findings = self._search([(raw, *found)])  # all pixels are here: no second pass over the file
        for values, here, band, codes in zip(raw, valid, self.bands, self.findings.codes, strict=True):
            for code, _number in codes:
                equal = equals_code(values.astype(self.file.header.dtypes[band - 1], copy=False), code)
                if equal is not None:
                    here &= ~equal
        return valid

    @property
    def _nothing_to_find(self) -> bool:
        """Whether the types of the bands can hold none of the codes, nor infinities."""
        dtypes = [np.dtype(self.file.header.dtypes[band - 1]) for band in self.bands]
        return all(dtype.kind in "iub" and not _candidates(dtype, self.codes) for dtype in dtypes)

    @property
    def findings(self) -> Findings:
        """What the pixels say; reads the whole raster, by blocks and only once."""
        if self._findings is None:
            self._findings = self._search(self._blocks())
        return self._findings

    def _blocks(self) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_], int]]:
        for strip in self.file.strips():
            raw = self.file.read(self.bands, strip)
            yield raw, *self.declared_valid(raw, strip)

    def _search(self, blocks: Iterable[tuple[NDArray[Any], NDArray[np.bool_], int]]) -> Findings:
        """Return what blocks say: raw values [bands, rows, cols], where these hold data, number of wild ones."""
        header = self.file.header
        searches = [
            CodeSearch(
                _candidates(np.dtype(header.dtypes[band - 1]), self.codes), self.floor / abs(header.scales[band - 1])
            )
            for band in self.bands
        ]
        pixels = undeclared = 0
        for raw, valid, wild in blocks:
            undeclared += wild
            pixels += int(np.count_nonzero(valid.all(axis=0)))
            for search, values, here in zip(searches, raw, valid, strict=True):
                search.add(values[here])
        codes = tuple(search.found() for search in searches)
        pixels -= max(sum(number for _, number in found) for found in codes)
        return Findings(pixels, undeclared, codes, tuple(search.suspected() for search in searches))

    def scaled(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Return raw values [bands, rows, cols] times scale plus offset in float64, or unchanged without them."""
        header = self.file.header
        scales = np.array([header.scales[band - 1] for band in self.bands])[:, None, None]
        offsets = np.array([header.offsets[band - 1] for band in self.bands])[:, None, None]
        if (scales == 1).all() and (offsets == 0).all():
            return raw
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(raw.astype(np.float64) * scales + offsets)


def _candidates(dtype: np.dtype[Any], codes: tuple[float, ...]) -> tuple[float, ...]:
    """Return the codes that a type can hold."""
    if dtype.kind not in "iub":
        return codes
    limits = np.iinfo(np.uint8 if dtype.kind == "b" else dtype)
    return tuple(code for code in codes if limits.min <= code <= limits.max)


def undeclared_notes(path: object, findings: Findings, option: str = "--nodata-in") -> list[str]:
    """Return sentences that name the file, each value that was or may be a code that nobody declared, and its count."""
    notes = []
    if findings.undeclared:
        notes.append(
            f"{path}: {findings.undeclared:,} pixels are infinite or beyond 1e30 but not its NoData code; they count "
            "as NoData."
        )
    for codes in dict.fromkeys(findings.codes):
        notes += [
            f"{path}: {number:,} pixels are {value:.9g}, far outside all others, and the file does not declare that "
            "code; they count as NoData."
            for value, number in codes
        ]
    for suspects in dict.fromkeys(findings.suspected):
        notes += [
            f"{path}: {number:,} pixels are exactly {value:.9g}, far from all others; they count as data. "
            f"If that is its NoData code, declare it with {option} {value:.9g}."
            for value, number in suspects
        ]
    return notes
