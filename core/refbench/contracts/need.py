"""What a method can ask of a scene and what it can give back. Imports nothing heavy: records are made of these."""

from __future__ import annotations

from enum import Enum


class Need(str, Enum):
    """One thing that a method needs of a scene."""

    GRID = "grid"
    DSM = "dsm"
    POINTS = "points"
    ORTHO = "ortho"
    ORTHO_PAIR = "ortho_pair"
    NDVI = "ndvi"
    VIEWS = "views"
    DEPTHS = "depths"


class Gives(str, Enum):
    """One thing that a method returns in its ``Prediction``."""

    DSM = "dsm"
    DEPTHS = "depths"
    VIEWS = "views"
    CONFIDENCE = "confidence"
