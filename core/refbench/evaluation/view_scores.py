"""Scores of rendered views against the images of the same cameras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.evaluation.metrics import VIEWS
from refbench.evaluation.view_pair import ViewPair

if TYPE_CHECKING:
    from refbench.contracts.raster import Image


def view_scores(rendered: Image, image: Image) -> dict[str, float | int | None]:
    """Return the metrics of a rendered view on the pixels that it covers, and ``n`` pixels.

    Parameters
    ----------
    rendered
        [1 or 3 bands, rows, cols]; where it is invalid nothing is seen.
    image
        Of the same camera and size.

    Raises
    ------
    InputError
        Another size.
    """
    pair = ViewPair(rendered, image)
    return {**{metric.key: metric.compute(pair) for metric in VIEWS}, "n": int(pair.seen.sum())}
