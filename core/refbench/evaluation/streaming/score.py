"""All that is computed from rasters of any size, in two passes: a survey, then every sum that metrics need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.evaluation.block_draws import BLOCK_PX, REPEATS, block_sides
from refbench.evaluation.ground import shape_scores
from refbench.evaluation.shape import ROOF_EROSION_PLANE, Surface
from refbench.evaluation.slope import slope_rad
from refbench.evaluation.statistics import statistics_of
from refbench.evaluation.strata import eroded, land_strata, slope_strata
from refbench.evaluation.streaming.blocks import StreamedDraws, TileBlocks
from refbench.evaluation.streaming.drawn_sums import DrawnPairs, DrawnSums
from refbench.evaluation.streaming.roofs import Roofs
from refbench.evaluation.streaming.rounded import steps_of
from refbench.evaluation.streaming.shape_sums import BUILDING, ShapeSums, TileShape, halo_px
from refbench.evaluation.streaming.strata_sums import Classes, StrataSums, bits_of, count_classes
from refbench.evaluation.streaming.survey import Survey, common_of, survey
from refbench.evaluation.streaming.tiles import Rasters, Tile, tiles_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

MAX_ROOFS_LISTED = 10_000
"""Of more roofs only the median is given."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is computed, and from how much memory."""

    layers: Collection[str]
    bootstrap: bool = True
    seed: int = 0
    pair: tuple[str, str] | None = None
    """The DSMs before and after a refinement."""
    own_domains: bool = False
    """Whether statistics are also taken on each DSM's own pixels."""
    budget_bytes: int = 2 << 30


@dataclass(slots=True, eq=False)
class Streamed:
    """The sums of rasters of any size, and the numbers that follow from them."""

    rasters: Rasters
    survey: Survey
    draws: StreamedDraws | None
    bit_of: dict[str, int] = field(default_factory=dict)
    """Stratum -> its bit."""
    land: tuple[str, ...] = ()
    common: dict[str, StrataSums] = field(default_factory=dict)
    """DSM -> its residuals on the pixels that all DSMs have."""
    more: dict[str, StrataSums] = field(default_factory=dict)
    """DSM -> its residuals on further pixels of its own."""
    shapes: dict[str, ShapeSums] = field(default_factory=dict)
    drawn: dict[str, DrawnSums] = field(default_factory=dict)
    drawn_pairs: DrawnPairs | None = None

    def statistics(self, name: str) -> dict[str, dict[str, Any]]:
        """Return stratum -> metrics of a DSM on the common pixels."""
        return {stratum: statistics_of(self.common[name].stratum(bit).state()) for stratum, bit in self.bit_of.items()}

    def own_statistics(self, name: str, found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Return stratum -> metrics of a DSM on its own pixels, for all pixels and land cover.

        ``found`` are those on the common pixels, which hold where there are no further ones.
        """
        own = {}
        for stratum in ("all", *self.land):
            bit = self.bit_of[stratum]
            further = self.more[name].stratum(bit)
            if further.moments.n:
                own[stratum] = statistics_of(self.common[name].stratum(bit, self.more[name]).state())
            else:
                own[stratum] = dict(found[stratum])
        return own

    def shape(self, name: str) -> dict[str, Any]:
        """Return the metrics of shape of a DSM."""
        found = shape_scores(self.shapes[name])
        if len(found.get("roof_plane_labels", ())) > MAX_ROOFS_LISTED:
            del found["roof_plane_labels"], found["roof_plane_rms_per_label_m"]
        return found


def stream(rasters: Rasters, protocol: Protocol, *, block_px: int = BLOCK_PX, repeats: int = REPEATS) -> Streamed:
    """Return the sums of rasters; see ``tiles`` for why they do not depend on the memory that there is."""
    height, width = rasters.grid.resolution[::-1]
    sides = block_sides((height, width), block_px)
    first = survey(rasters, sides, protocol.budget_bytes)
    draws = None
    if protocol.bootstrap:
        draws = StreamedDraws.over(first.layout, first.counts, protocol.seed, block_px, repeats)
    found = Streamed(rasters, first, draws)
    names = tuple(rasters.dsms)
    found.common = {name: StrataSums() for name in names}
    found.more = {name: StrataSums() for name in names}
    if draws is not None:
        found.drawn = {name: DrawnSums(first.counts, first.residuals[name], draws) for name in names}
        found.drawn_pairs = DrawnPairs(first.counts, draws) if protocol.pair is not None else None
    roofs = Roofs(rasters.grid.shape, first.turn, names)
    for tile in tiles_of(rasters, halo_px((height, width)), protocol.budget_bytes):
        _Look(tile, found, protocol, (height, width)).take(roofs)
    if "shape" in protocol.layers and BUILDING in found.land:
        for name, planes in roofs.planes().items():
            found.shapes[name].roof_planes = planes
    return found


class _Look:
    """One tile, and what its pixels add to the sums."""

    def __init__(self, tile: Tile, found: Streamed, protocol: Protocol, pixel: tuple[float, float]) -> None:
        self._tile, self._found, self._protocol, self._pixel = tile, found, protocol, pixel
        self._surface = Surface(tile.reference, tile.transform)
        self._common = common_of(tile)
        self._land: dict[str, Bools] = {}

    def take(self, roofs: Roofs) -> None:
        """Add everything."""
        tile, layers = self._tile, self._protocol.layers
        if self._found.bit_of and not tile.base.any():  # nothing counts; only buildings are told from one another
            if "shape" in layers and "building" in tile.masks:
                roofs.add(tile, tile.masks["building"].is_class[tile.inner], {})
            return
        self._land = land_strata(tile.masks, pixel=self._pixel) if {"strata", "shape"} & set(layers) else {}
        named = {"all": np.ones(tile.base[tile.inner].shape, np.bool_)}
        if "strata" in layers:
            named |= {name: where[tile.inner] for name, where in self._land.items()}
        self._found.land = tuple(self._land)
        if "slope" in layers:
            slope = slope_rad(*(of[tile.inner] for of in self._surface.gradient))
            named |= slope_strata(slope)
        bits, self._found.bit_of = bits_of(named)
        self._residuals(bits)
        if "shape" in layers:
            self._shapes(roofs)

    def _residuals(self, bits: NDArray[Any]) -> None:
        tile, found = self._tile, self._found
        base, common = tile.base[tile.inner], self._common[tile.inner]
        counts = count_classes(bits[base])
        for sums in found.common.values():
            sums.add_reference(counts)
        classes = Classes(bits[common])
        blocks = found.survey.layout.of_tile(tile)
        index = blocks.index[common]
        reference = tile.reference[tile.inner]
        sizes = {}
        for name, heights in tile.dsms.items():
            own = heights[tile.inner]
            if classes.keys:
                e = own[common].astype(np.float64) - reference[common]
                sizes[name] = np.abs(e)
                steps = steps_of(e)
                found.common[name].add(classes, e, steps)
                if name in found.drawn:
                    found.drawn[name].add(e, sizes[name], steps, index, blocks)
            if self._protocol.own_domains and (more := base & np.isfinite(own) & ~common).any():
                e = own[more].astype(np.float64) - reference[more]
                found.more[name].add(Classes(bits[more]), e, steps_of(e))
        if self._protocol.pair is not None and classes.keys:
            before, after = (sizes[name] for name in self._protocol.pair)
            self._pair(classes, before, after, index, blocks)

    def _pair(
        self, classes: Classes, before: Floats, after: Floats, index: NDArray[np.intp], blocks: TileBlocks
    ) -> None:
        assert self._protocol.pair is not None  # the caller looked
        self._found.common[self._protocol.pair[1]].add_pair(classes, before, after)
        if self._found.drawn_pairs is not None:
            self._found.drawn_pairs.add(before, after, index, blocks)

    def _shapes(self, roofs: Roofs) -> None:
        tile, found = self._tile, self._found
        inner = tile.inner
        if not found.shapes:
            found.shapes |= {name: ShapeSums(tuple(self._land)) for name in tile.dsms}
        building = self._land.get(BUILDING)
        if self._common.any():
            shared = TileShape(tile, self._surface, self._common, self._land)
            for name, heights in tile.dsms.items():
                # As scored: without the pixels that another DSM lacks, which a single DSM has none of.
                kept = heights if len(tile.dsms) == 1 else np.where(_all_known(tile), heights, np.float32(np.nan))
                found.shapes[name].add(shared, kept)
        if building is not None:
            inside = eroded(building, ROOF_EROSION_PLANE, self._pixel) & self._common
            roofs.add(tile, building[inner], dict.fromkeys(tile.dsms, inside[inner]))


def _all_known(tile: Tile) -> Bools:
    known: Sequence[Bools] = [np.isfinite(heights) for heights in tile.dsms.values()]
    return np.asarray(np.logical_and.reduce(known))
