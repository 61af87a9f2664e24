"""Values of an image at scattered positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


def values_at(image: Tensor, places: Tensor, mode: Literal["nearest", "bilinear"] = "bilinear") -> Tensor:
    """Return the values [N, C] of ``image`` [rows, cols, C] at ``places`` [N, 2]; zero counts outside the image.

    Parameters
    ----------
    image
        Floats.
    places
        (x, y): -1 is the left or top edge of the image (not the centre of its first pixel), 1 the right or bottom one.
    mode
        Of the nearest pixel, or between the centres of four.
    """
    planes = image.movedim(2, 0)[None]
    return functional.grid_sample(planes, places[None, None], mode=mode, align_corners=False)[0, :, 0].T
