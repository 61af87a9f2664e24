"""Scores of the buildings that can be found in a DSM: the better they are found, the more it looks like LiDAR."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from refbench.contracts.errors import InputError
from refbench.contracts.raster import DSM, MASK_UNKNOWN, Mask
from refbench.evaluation.grids import mask_on_grid
from refbench.files.typed_config import typed_config
from refbench.formats.raster import open_image
from refbench.geometry.nodata_fill import filled
from refbench_pix2pix.footprints.assessors import assessor_record
from refbench_pix2pix.footprints.mask_metrics import fraction_scores, mean_scores, sod_scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from refbench_pix2pix.footprints.esfpnet import EsfpNet

    Levels = NDArray[np.uint8]
    Bools = NDArray[np.bool_]
    Part = tuple[slice, slice]

TILE = 256
"""What the published network was trained on, and what the published scores are means over."""
FULL = 255


@dataclass(frozen=True)
class FootprintOptions:
    """What the user can say; see ``assessors``."""

    weights: str | None = None
    mask: str | None = None
    reference_mask: str = "building"
    offset: float = 0.0
    step: float = 1.0
    heads: tuple[int, int, int, int] | None = None
    border: Literal["keep", "drop"] = "keep"
    compat: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be scored."""
        if (self.weights is None) == (self.mask is None):
            raise ValueError("give either weights=FILE of ESFPNet or mask=FILE, a building mask of the DSM")
        if not self.step > 0:
            raise ValueError("step must be positive")


def assess_footprints(
    evaluated: DSM, reference: DSM | None, masks: Mapping[str, Mask], options: Mapping[str, Any]
) -> dict[str, float]:
    """Return the scores of ``assessors.assessor_record``; those without any pixel are NaN.

    Parameters
    ----------
    evaluated
        The DSM to find buildings in. Pixels without a height are not scored; neither are those of an unknown class.
    reference
        Not needed.
    masks
        One of them is the reference, on the grid of ``evaluated``.
    options
        Those of ``FootprintOptions``.

    Raises
    ------
    InputError
        A wrong option, no true mask, heights that no 8-bit level stands for, files that cannot be read.
    """
    del reference
    # Requests of an older refbench say ``reference``.
    options = {"reference_mask" if key == "truth" else key: value for key, value in options.items()}
    chosen = typed_config(FootprintOptions, options, "--option")
    buildings = _reference_mask(masks, chosen.reference_mask)
    # As published, masks are compared without a look at the heights.
    valid = (buildings.values != MASK_UNKNOWN) & (evaluated.valid | chosen.compat)
    parts = list(tiles(evaluated.heights.shape, chosen.border))
    if chosen.weights is not None:
        found = _segmented(evaluated, _network(Path(chosen.weights), chosen), chosen, parts)
    else:
        found, known = mask_from_file(Path(str(chosen.mask)), evaluated)
        valid &= known
    true = np.where(buildings.is_class, np.uint8(FULL), np.uint8(0))
    scores: list[Mapping[str, float]] = []
    for part in parts:
        if (counted := valid[part]).any():
            arrays = (found[part], true[part], None if counted.all() else counted)
            scores.append(fraction_scores(*arrays) | sod_scores(*arrays))
    nothing = {score.key: float("nan") for score in assessor_record().scores}
    return {**nothing, **mean_scores(scores), "tiles": len(scores)}


def tiles(shape: tuple[int, int], border: Literal["keep", "drop"] = "keep") -> Iterator[Part]:
    """Yield the tiles of the grid of 256 from the top left corner; those that the edge cuts are kept or dropped."""
    for row in range(0, shape[0], TILE):
        for col in range(0, shape[1], TILE):
            rows, cols = slice(row, min(row + TILE, shape[0])), slice(col, min(col + TILE, shape[1]))
            if border == "keep" or (rows.stop - row, cols.stop - col) == (TILE, TILE):
                yield rows, cols


def grey_levels(dsm: DSM, options: FootprintOptions) -> Levels:
    """Return the 8-bit image that the network was trained on: whole levels, cut off below.

    Unknown heights become those of the nearest pixel, or level 0 where the published way is asked for.

    Raises
    ------
    InputError
        A height below level 0 or above level 255.
    """
    levels = np.floor((dsm.heights.astype(np.float64) - options.offset) / options.step)
    known = levels[dsm.valid]
    if known.size and (known.min() < 0 or known.max() > FULL):
        low, high = float(np.nanmin(dsm.heights)), float(np.nanmax(dsm.heights))
        top = options.offset + (FULL + 1) * options.step
        raise InputError(
            f"The network sees 256 levels, from {options.offset:g} to {top:g} m, and the DSM has {low:.1f} to "
            f"{high:.1f} m; move them with --option offset={np.floor(low):g}, or widen them with --option step=METRES."
        )
    if not options.compat:
        levels = filled(levels.astype(np.float32))
    return np.nan_to_num(levels, nan=0.0).astype(np.uint8)


def mask_from_file(path: Path, dsm: DSM) -> tuple[Levels, Bools]:
    """Return a building mask, 0 or 255, on the grid of ``dsm``, and where it is known.

    Building is 1, or 255 in a file without any 1, as segmentation programs write it; other values than 0 are unknown.
    A folder of official tiles is laid where their names say.
    """
    if path.is_dir():
        from refbench_pix2pix.footprints.mask_tiles import mosaic_of  # brings Pillow

        return mosaic_of(path, dsm.grid)
    image = open_image(path).read()
    values = image.pixels[0]
    building = values == (1 if (values == 1).any() else FULL)
    classes = np.where(building, np.uint8(1), np.where(values == 0, np.uint8(0), np.uint8(MASK_UNKNOWN)))
    mask = mask_on_grid(Mask(classes, image.grid, path.stem), dsm)
    return np.where(mask.is_class, np.uint8(FULL), np.uint8(0)), mask.values != MASK_UNKNOWN


def _reference_mask(masks: Mapping[str, Mask], name: str) -> Mask:
    if name not in masks:
        held = f"there are: {', '.join(masks)}" if masks else "there is none"
        raise InputError(f"Footprints need the true mask {name!r}, and {held}; give one with --mask {name}=FILE.")
    if not (masks[name].is_class | masks[name].is_other).any():
        raise InputError(f"The true mask {name!r} holds neither 1 (building) nor 0; it must be a raster of 0 and 1.")
    return masks[name]


def _segmented(dsm: DSM, net: EsfpNet, options: FootprintOptions, parts: list[Part]) -> Levels:
    """Return the mask that the network finds; tiles that the raster's edge cuts are continued by reflection."""
    from refbench_pix2pix.footprints.segment import segment_tile  # brings torch

    levels = grey_levels(dsm, options)
    found = np.zeros(levels.shape, np.uint8)
    for part in parts:
        tile = levels[part]
        rows, cols = tile.shape
        whole = np.pad(tile, ((0, TILE - rows), (0, TILE - cols)), mode="symmetric")
        found[part] = segment_tile(net, whole, compat=options.compat)[:rows, :cols]
    return found


def _network(path: Path, options: FootprintOptions) -> EsfpNet:
    try:
        from refbench_pix2pix.footprints.esfp_checkpoint import read_esfpnet
    except ImportError as error:
        raise InputError(
            "ESFPNet needs torch and Pillow; install them with: pip install 'refbench[pix2pix]'"
        ) from error
    return read_esfpnet(path, options.heads)
