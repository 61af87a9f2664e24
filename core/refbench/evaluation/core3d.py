"""The assessor ``core3d``: building footprints, volumes and outlines as core3d-metrics prints them (IARPA CORE3D)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError
from refbench.evaluation.footprint import footprint_scores, horizontal_errors, relative_accuracy, volume_scores
from refbench.evaluation.grids import mask_on_grid, on_grid
from refbench.files.typed_config import typed_config
from refbench.formats.raster import open_dsm, open_mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.raster import DSM, Mask


@dataclass(frozen=True)
class Core3DOptions:
    """What the user can say with ``--option``."""

    mask: str | None = None
    dtm: str | None = None
    reference_mask: str = "building"


def assess_core3d(
    evaluated: DSM, reference: DSM | None, masks: Mapping[str, Mask], options: Mapping[str, Any]
) -> dict[str, float]:
    """Return the scores of the record ``core3d``; NaN where one is not defined.

    Parameters
    ----------
    evaluated
        The DSM, NaN where it does not count: such pixels are ignored.
    reference
        The reference DSM on the same grid.
    masks
        One of them is the reference's building mask; its unknown pixels are ignored.
    options
        Those of ``Core3DOptions``: a building mask of the evaluated DSM, and for volumes the reference terrain.

    Raises
    ------
    InputError
        No reference, no building mask on either side, or files that cannot be read.
    """
    # Requests of an older refbench say ``reference``.
    options = {"reference_mask" if key == "truth" else key: value for key, value in options.items()}
    chosen = typed_config(Core3DOptions, options, "--option")
    if reference is None:
        raise InputError("core3d compares with a reference DSM, and there is none; give one with --reference.")
    if chosen.reference_mask not in masks:
        raise InputError(f"core3d needs the reference's buildings: give --mask {chosen.reference_mask}=FILE.")
    if chosen.mask is None:
        raise InputError("core3d needs a building mask of the evaluated DSM; give it with --option core3d.mask=FILE.")
    true, found = masks[chosen.reference_mask], mask_on_grid(open_mask(chosen.mask).read(), evaluated)
    known = evaluated.valid & reference.valid
    for mask in (true, found):
        known &= mask.is_class | mask.is_other
    ignored = ~known
    scores = _named("2d", footprint_scores(found.is_class, true.is_class, ignored))
    errors = (evaluated.heights.astype(np.float64) - reference.heights)[found.is_class & true.is_class & known]
    pixel = evaluated.grid.resolution[::-1]
    outlines = horizontal_errors(found.is_class, true.is_class, ignored, (pixel[0], pixel[1]))
    accuracy = relative_accuracy(errors, outlines)
    scores |= {key: _number(accuracy[key]) for key in ("z50", "zrmse", "z90", "zrmse_explicit", "h50", "hrmse", "h90")}
    if chosen.dtm is not None:
        terrain = on_grid(open_dsm(chosen.dtm).read(), evaluated)
        ignored = ignored | ~terrain.valid
        test, held = (dsm.heights.astype(np.float64) - terrain.heights for dsm in (evaluated, reference))
        cell = abs(evaluated.grid.transform.determinant)
        volumes = volume_scores(test, held, found.is_class, true.is_class, ignored, cell)
        scores |= _named("3d", volumes["3D"])
        scores |= {key: _number(value) for key, value in volumes["volume"].items()}
    return scores


def _named(prefix: str, found: Mapping[str, float | None]) -> dict[str, float]:
    keys = {"completeness": "completeness", "correctness": "correctness", "fscore": "fscore", "jaccardIndex": "jaccard"}
    return {f"{prefix}_{name}": _number(found[key]) for key, name in keys.items()}


def _number(value: float | None) -> float:
    return math.nan if value is None else value
