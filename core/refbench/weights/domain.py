"""The domain of weights: what they were trained and judged on, as their ``model.yaml`` states it under ``domain``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from refbench.contracts.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "domain"
SAME_GSD = 0.1
"""Relative difference to the one pixel size of a training up to which another is still its domain."""
Range: TypeAlias = tuple[float | None, float | None]
"""Smallest and largest value, None where there is no such bound."""


@dataclass(frozen=True, slots=True)
class Domain:
    """Ranges that weights are good for, each optional: what is None is not looked at."""

    gsd: Range | None = None
    """Pixel size of the DSM, metres."""
    noise: Range | None = None
    """Noise of one pixel of the initial DSM, metres; see ``refbench.engine.inputs.domain.pixel_noise``."""
    contrast: Range | None = None
    """Contrast of the ortho images, in [0, 1]; see ``refbench.engine.inputs.domain.contrast``."""
    density: Range | None = None
    """Points of the cloud per square metre."""
    images: int | None = None
    """How many ortho images the weights take."""
    ndvi: bool | None = None
    """Whether they take an NDVI."""
    views: Range | None = None
    """How many views with cameras a scene has."""

    def __post_init__(self) -> None:
        """Refuse empty and negative ranges."""
        for name in ("gsd", "noise", "contrast", "density", "views"):
            low, high = bounds(getattr(self, name))
            if not 0 <= low <= high:
                raise ValueError(f"{name} must be [lowest, highest], none of them negative")
        if self.images is not None and self.images < 0:
            raise ValueError("images must not be negative")


def bounds(limits: Range | None) -> tuple[float, float]:
    """Return a range with 0 and infinity where it has no bound."""
    low, high = (None, None) if limits is None else limits
    return 0.0 if low is None else low, math.inf if high is None else high


def read_domain(meta: Mapping[str, Any], where: object) -> Domain:
    """Return the domain that the content of a ``model.yaml`` states; without one, 10 % about its ``gsd``.

    Parameters
    ----------
    meta
        The content.
    where
        The file, for the message.

    Raises
    ------
    WeightsError
        A key is unknown or ill-typed; the message names it.
    """
    stated = meta.get(KEY)
    if stated is None:
        gsd = meta.get("gsd")
        if not isinstance(gsd, (int, float)) or isinstance(gsd, bool) or gsd <= 0:
            return Domain()
        return Domain(gsd=(gsd * (1 - SAME_GSD), gsd * (1 + SAME_GSD)))
    from refbench.files.typed_config import typed_config  # pydantic, only where there is something to check

    if not isinstance(stated, dict):
        raise WeightsError(f"{where}: {KEY} must hold keys and values, got a {type(stated).__name__}.")
    try:
        return typed_config(Domain, stated, f"{where}: {KEY}")
    except ConfigError as error:
        raise WeightsError(str(error)) from error
