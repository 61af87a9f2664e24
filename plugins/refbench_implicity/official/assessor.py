"""The official evaluation as an assessor: a DSM against its reference by ImpliCity's own definitions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError
from refbench_implicity.official.names import LAND_TYPES, STATISTICS
from refbench_implicity.official.report import BUILDING_DILATION, evaluate_official

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench import DSM, Mask

MASKS = ("building", "forest", "water")


def assess_official(
    evaluated: DSM, reference: DSM | None, masks: Mapping[str, Mask], options: Mapping[str, Any]
) -> dict[str, float]:
    """Return the official statistics in metres by land type, ``overall_MAE`` and so on; NaN where there are none.

    Parameters
    ----------
    evaluated, reference
        Heights [rows, cols] in metres on one grid, NaN where unknown: only pixels that both know are compared.
    masks
        ``building``, ``forest``, ``water`` where the scene has them; ``gt``, else all pixels of the reference count.
    options
        ``dilation``: steps by which buildings grow, officially 2.

    Raises
    ------
    InputError
        There is no reference, or an option is wrong.
    """
    if reference is None:
        raise InputError("The official evaluation of ImpliCity needs a reference DSM.")
    dilation = options.get("dilation", BUILDING_DILATION)
    if set(options) - {"dilation"} or not isinstance(dilation, int) or dilation < 0:
        raise InputError(f"--option must be dilation=N with N of at least 0, got {dict(options)}.")
    known = np.isfinite(reference.heights)
    if "gt" in masks:
        known &= masks["gt"].is_class
    classes = {name: masks[name].is_class for name in MASKS if name in masks}
    grid = evaluated.grid
    found = evaluate_official(evaluated.heights, grid, reference.heights, {"gt": known, **classes}, grid, dilation)
    scores = dict.fromkeys((f"{land}_{key}" for land in LAND_TYPES for key in STATISTICS), math.nan)
    for land, statistics in found.statistics.items():
        scores |= {f"{land}_{key}": math.nan if value is None else float(value) for key, value in statistics.items()}
    return scores
