"""Values and sizes of images: the sRGB curve, values at places, and resizing as the working resolution needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

ENCODED_KNEE, LINEAR_KNEE = 0.04045, 0.0031308
"""Below these the sRGB curve is a straight line."""


def linear_of(encoded: Tensor) -> Tensor:
    """Return linear light of sRGB values in [0, 1], any shape."""
    curve = ((encoded.clamp(min=ENCODED_KNEE) + 0.055) / 1.055) ** 2.4
    return torch.where(encoded <= ENCODED_KNEE, encoded / 12.92, curve)


def encoded_of(linear: Tensor) -> Tensor:
    """Return sRGB values of linear light, any shape."""
    curve = 1.055 * linear.clamp(min=LINEAR_KNEE) ** (1 / 2.4) - 0.055
    return torch.where(linear <= LINEAR_KNEE, linear * 12.92, curve)


def values_at(image: Tensor, places: Tensor, mode: Literal["nearest", "bilinear"] = "nearest") -> Tensor:
    """Return the values of an image at places, [...]; beyond its border it is 0.

    Parameters
    ----------
    image
        Floats [rows, cols].
    places
        (x, y) [..., 2]: -1 is the left or top edge of the image (not the centre of its first pixel), 1 the right or
        bottom one.
    mode
        Of the nearest pixel, or between the centres of four.
    """
    flat = places.reshape(1, 1, -1, 2)
    found = functional.grid_sample(image[None, None], flat, mode=mode, align_corners=False)
    return found.reshape(places.shape[:-1])


def resize_image(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return colours or features [B, C, rows, cols] in another size.

    Averaged over areas where both axes shrink, else bilinear between the centres of the corner pixels.
    """
    if tuple(image.shape[-2:]) == shape:
        return image
    if shape[0] < image.shape[-2] and shape[1] < image.shape[-1]:
        return functional.interpolate(image, shape, mode="area")
    return functional.interpolate(image, shape, mode="bilinear", align_corners=True)


def resize_map(values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a depth map, mask or normal map [rows, cols] or [B, C, rows, cols] in another size, values unmixed."""
    planes = values[None, None] if values.dim() == 2 else values
    found = functional.interpolate(planes, shape, mode="nearest-exact")
    return found[0, 0] if values.dim() == 2 else found
