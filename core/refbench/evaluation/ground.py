"""What all DSMs of a scene are scored on: the reference, where it counts, its strata and slopes, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError
from refbench.evaluation.block_draws import BLOCK_PX, REPEATS, BlockDraws, block_ids, block_sides
from refbench.evaluation.grids import check_metric, mask_on_grid
from refbench.evaluation.metrics import PAIR, SHAPE
from refbench.evaluation.shape import ShapePair, Surface, building_labels
from refbench.evaluation.slope import slope_rad
from refbench.evaluation.statistics import ordered_statistics
from refbench.evaluation.strata import land_strata, slope_strata

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from refbench.contracts.raster import DSM, Mask
    from refbench.evaluation.states import ShapeState

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

MAX_STRATA = 64


class Ground:
    """The reference and what it gives to every DSM that is scored on it.

    Parameters
    ----------
    reference
        DSM in metres; its grid is that of every array here.
    masks
        Class masks by name, on any grids.
    gt_mask
        Where the reference counts: 1.
    domain
        A further restriction, bool [rows, cols] of the reference.
    seed, block_px, repeats
        Of the bootstrap; see ``BlockDraws.over``.

    Raises
    ------
    InputError
        The reference's CRS is geographic; a mask that does not fit.
    """

    def __init__(
        self,
        reference: DSM,
        masks: Mapping[str, Mask] | None = None,
        gt_mask: Mask | None = None,
        domain: Bools | None = None,
        *,
        seed: int = 0,
        block_px: int = BLOCK_PX,
        repeats: int = REPEATS,
    ) -> None:
        check_metric(reference.grid)
        self.reference = reference
        height, width = reference.grid.resolution[::-1]
        self.block_sides = block_sides((height, width), block_px)
        """Rows and columns of a block of the bootstrap."""
        held = {name: mask_on_grid(mask, reference) for name, mask in (masks or {}).items()}
        self.land = land_strata(held, pixel=(height, width))
        self.base: Bools = reference.valid
        """Where the reference counts."""
        if gt_mask is not None:
            self.base = self.base & mask_on_grid(gt_mask, reference).is_class
        if domain is not None:
            self.base = self.base & domain
        self._bootstrap = {"block_px": block_px, "repeats": repeats, "seed": seed}
        self._draws: dict[tuple[str, str], BlockDraws | None] = {}
        self._strata: dict[bool, Strata] = {}

    @cached_property
    def surface(self) -> Surface:
        """The reference with its slopes."""
        return Surface(self.reference.heights, self.reference.grid.transform)

    @cached_property
    def everywhere(self) -> Bools:
        """The stratum of all pixels."""
        return np.ones(self.base.shape, np.bool_)

    def residuals(self, dsm: DSM) -> Floats:
        """Return a DSM on the reference's grid minus the reference, metres [rows, cols], NaN where either is."""
        return np.asarray(dsm.heights.astype(np.float64) - self.reference.heights, np.float64)

    def draws(self, name: str, stratum: str, domain: Bools) -> BlockDraws | None:
        """Return the draws of blocks over a stratum of a domain, made once for every ``name`` of the domain."""
        if (name, stratum) not in self._draws:
            self._draws[name, stratum] = self.new_draws(stratum, domain)
        return self._draws[name, stratum]

    def new_draws(self, stratum: str, domain: Bools) -> BlockDraws | None:
        """Return draws that no other DSM shares; None where fewer than two blocks hold pixels."""
        where = domain if stratum == "all" else domain & self.land[stratum]
        return BlockDraws.over(where, self._block_ids, **self._bootstrap)

    @cached_property
    def _roofs(self) -> NDArray[Any] | None:
        """Number of the building of every pixel [rows, cols], in the order that the relief picks; 0 is none."""
        building = self.land.get("building_undilated")
        return None if building is None else building_labels(building, self.surface.orientation)

    @cached_property
    def _block_ids(self) -> NDArray[np.int64]:
        """Number of the block of every pixel [rows, cols], laid out and numbered in the order that the relief picks."""
        turn = self.surface.orientation
        rows, cols = turn.swapped(self.reference.grid.shape)
        return np.ascontiguousarray(turn.undo(block_ids((rows, cols), turn.swapped(self.block_sides))))

    def blocks(self, name: str, stratum: str) -> int:
        """Return the number of blocks behind draws that were made before; 0 where there are none."""
        draws = self._draws.get((name, stratum))
        return 0 if draws is None else draws.blocks

    def strata(self, layers: Collection[str]) -> Strata:
        """Return the strata of some layers: all pixels, ``strata`` of land cover, ``slope`` classes."""
        is_sloped = "slope" in layers
        if "strata" not in layers:
            return Strata(self._named(land=False, sloped=is_sloped), self.base)
        if is_sloped not in self._strata:
            self._strata[is_sloped] = Strata(self._named(land=True, sloped=is_sloped), self.base)
        return self._strata[is_sloped]

    def _named(self, *, land: bool, sloped: bool) -> dict[str, Bools]:
        named = {"all": self.everywhere, **(self.land if land else {})}
        return named | slope_strata(slope_rad(*self.surface.gradient)) if sloped else named

    def ordered(self, residuals: Floats, valid: Bools, layers: Collection[str], also: Ordered | None = None) -> Ordered:
        """Return the residuals of valid pixels, ascending, with their strata; ``also`` are some that are so already."""
        strata = self.strata(layers)
        known = residuals[valid]
        order = np.argsort(known)
        values, bits = known[order], strata.bits[valid][order]
        if also is not None:
            values, bits = np.concatenate((also.values, values)), np.concatenate((also.bits, bits))
            order = np.argsort(values, kind="stable")  # two ascending runs: this merges, it does not sort anew
            values, bits = values[order], bits[order]
        return Ordered(values, bits, strata)

    def statistics(self, ordered: Ordered, names: Collection[str] | None = None) -> dict[str, dict[str, Any]]:
        """Return stratum -> metrics, of all strata or some; sorted once for all of them."""
        found = {}
        for name, bit in ordered.strata.bit_of.items():
            if names is None or name in names:
                part = ordered.values if name == "all" else ordered.values[ordered.bits & bit != 0]
                found[name] = ordered_statistics(part, ordered.strata.counts[name])
        return found

    def shape(self, dsm: DSM, valid: Bools) -> dict[str, Any]:
        """Return the metrics of shape of a DSM on the reference's grid."""
        surface = Surface(dsm.heights, dsm.grid.transform)
        return shape_scores(ShapePair(surface, self.surface, valid, self.land, self._roofs))

    def pair(
        self, before: Floats, after: Floats, domain: Bools, layers: Collection[str]
    ) -> dict[str, dict[str, float | None]]:
        """Return stratum -> metric -> value of what a refinement did to its input.

        ``before`` and ``after`` are residuals [rows, cols]; pixels of the domain where one is NaN do not count.
        """
        where = domain & np.isfinite(before) & np.isfinite(after)
        sizes = np.abs(before[where]), np.abs(after[where])
        strata = self.strata(layers)
        bits = strata.bits[where]
        parts = {metric.key: (metric.part(*sizes), metric.whole(*sizes)) for metric in PAIR}
        found: dict[str, dict[str, float | None]] = {}
        for name, bit in strata.bit_of.items():
            inside = bits & bit != 0
            sums = {key: [float(np.sum(values, where=inside)) for values in of] for key, of in parts.items()}
            found[name] = {key: part / whole if whole else None for key, (part, whole) in sums.items()}
        return found

    def pair_samples(self, before: Floats, after: Floats, draws: BlockDraws) -> dict[str, Floats]:
        """Return metric -> its value in every draw [repeats]; NaN in a draw without a pixel that it counts among."""
        pixels = before.ravel()[draws.inside], after.ravel()[draws.inside]
        known = np.isfinite(pixels[0]) & np.isfinite(pixels[1])
        sizes = np.abs(pixels[0]), np.abs(pixels[1])
        found = {}
        for metric in PAIR:
            part, whole = (draws.sums(np.where(known, of(*sizes), 0.0)) for of in (metric.part, metric.whole))
            if whole.any():
                found[metric.key] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Ordered:
    """Residuals [N], ascending, metres, and the bits of the strata of each [N]."""

    values: Floats
    bits: NDArray[Any]
    strata: Strata


class Strata:
    """Named strata as bits: bit ``bit_of[name]`` of ``bits`` [rows, cols] says whether a pixel is in it."""

    def __init__(self, named: Mapping[str, Bools], base: Bools) -> None:
        if len(named) > MAX_STRATA:
            raise InputError(f"At most {MAX_STRATA} strata can be scored at once, the masks make {len(named)}.")
        kind = np.min_scalar_type((1 << len(named)) - 1)
        self.bits: NDArray[Any] = np.zeros(base.shape, kind)
        self.bit_of: dict[str, Any] = {}
        self.counts: dict[str, int] = {}
        """Stratum -> number of pixels on which the reference counts."""
        for number, (name, where) in enumerate(named.items()):
            self.bit_of[name] = kind.type(1 << number)
            self.bits |= where.astype(kind) << kind.type(number)
            self.counts[name] = int(np.count_nonzero(base & where))


def shape_scores(pair: ShapeState) -> dict[str, Any]:
    """Return the metrics of shape that the strata allow, ``n`` pixels with slopes, and the roofs one by one."""
    found: dict[str, Any] = {"n": pair.n}
    found |= {m.key: m.compute(pair) for m in SHAPE if set(m.strata) <= pair.strata.keys()}
    if "building_undilated" in pair.strata:
        found["roof_plane_rms_per_label_m"] = list(pair.roof_planes.values())
        found["roof_plane_labels"] = list(pair.roof_planes)
    return found
