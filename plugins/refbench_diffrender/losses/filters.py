"""Linear and rank filters of images: gradients, Gaussian blur, medians, surface normals.

Images are float tensors [..., rows, cols]; leading axes are independent images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SIGMA = 1.5
"""Of every Gaussian window here, in pixels, whatever the window's size."""
TINY_NORMAL = 1e-5
"""Cross products not longer than this have no direction: their normal points at the camera."""


def gaussian_line(size: int, sigma: float = SIGMA) -> Tensor:
    """Return the weights of a one-dimensional Gaussian window, float32 [size], that sum up to 1."""
    weights = torch.exp(-(torch.arange(size, dtype=torch.float32, device="cpu").sub(size // 2) ** 2) / (2 * sigma**2))
    return weights / weights.sum()


def correlate(image: Tensor, row_taps: Sequence[float], col_taps: Sequence[float], spacing: int = 1) -> Tensor:
    """Return ``image`` [..., rows, cols] correlated with the product of two lines of taps; zeros beyond the border.

    Parameters
    ----------
    image
        Any number of images [..., rows, cols].
    row_taps, col_taps
        Weights of the neighbours in other rows and in other columns; odd in number, the pixel itself in the middle.
    spacing
        Distance of the taps in pixels.
    """
    return _correlate_line(_correlate_line(image, row_taps, spacing, -2), col_taps, spacing, -1)


def _correlate_line(image: Tensor, taps: Sequence[float], spacing: int, axis: int) -> Tensor:
    """Sum up shifted views: for so few taps faster than a convolution of one channel, forward and backward."""
    half, length = len(taps) // 2 * spacing, image.shape[axis]
    padded = functional.pad(image, (half, half) if axis == -1 else (0, 0, half, half))
    total = padded.narrow(axis, half, length) * taps[len(taps) // 2]
    for place, tap in enumerate(taps):
        if tap and place != len(taps) // 2:
            total.add_(padded.narrow(axis, place * spacing, length), alpha=tap)
    return total


def gradients(image: Tensor, size: int = 3) -> tuple[Tensor, Tensor]:
    """Return the derivatives along columns and rows, each in the shape of ``image``.

    Prewitt-type windows of ``size`` pixels, not normalised: one axis sums up, the other weighs by its distance.
    """
    ones, steps = [1.0] * size, [float(place - size // 2) for place in range(size)]
    return correlate(image, ones, steps), correlate(image, steps, ones)


def gaussian_blur(image: Tensor, size: int, sigma: float = SIGMA) -> Tensor:
    """Return the blurred image in the same shape; zeros beyond the border darken it.

    ``image`` is [..., rows, cols] of any unit; ``size`` and ``sigma`` are pixels.
    """
    line = gaussian_line(size, sigma).tolist()
    return correlate(image, line, line)


def forward_differences(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences to the next column and the next row; 0 in the last one.

    ``image`` and both results are [..., rows, cols], in the image's unit a pixel.
    """
    along_cols = functional.pad(image[..., :, 1:] - image[..., :, :-1], (0, 1))
    along_rows = functional.pad(image[..., 1:, :] - image[..., :-1, :], (0, 0, 0, 1))
    return along_cols, along_rows


def median_filter(image: Tensor, size: int, fill_holes: bool = False) -> Tensor:
    """Return the median of every window, in the shape of ``image``; the border is mirrored.

    Parameters
    ----------
    image
        [..., rows, cols], more than ``size`` // 2 pixels either way.
    size
        Odd width of the window in pixels.
    fill_holes
        Where the median is 0 (unknown), take the window's maximum.
    """
    half = size // 2
    planes = functional.pad(image.reshape(-1, 1, *image.shape[-2:]), (half,) * 4, mode="reflect")
    windows = planes.unfold(2, size, 1).unfold(3, size, 1).flatten(-2)
    middle = windows.median(dim=-1).values
    if fill_holes:
        middle = torch.where(middle == 0, windows.amax(dim=-1), middle)
    return middle.reshape(image.shape)


def normals_of(positions: Tensor, size: int = 5) -> Tensor:
    """Return unit surface normals of an image of positions.

    Parameters
    ----------
    positions
        Points in view space (OpenGL), [B, 3, rows, cols].
    size
        Width of the derivative's window in pixels; zeros beyond the border spoil the outer ``size`` // 2 pixels.

    Returns
    -------
    [B, 3, rows, cols], x pointing left as the official maps store it.
    """
    steps = torch.arange(size, device=positions.device).to(positions).sub(size // 2).repeat(size, 1)
    kernels = torch.stack([steps, -steps.T])[:, None].repeat(3, 1, 1, 1)
    found = functional.conv2d(positions, kernels, padding=size // 2, groups=3)
    cross = torch.cross(found[:, 0::2], found[:, 1::2], dim=1)
    length = cross.norm(dim=1, keepdim=True)
    facing = cross.new_tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    found = torch.where(length <= TINY_NORMAL, facing, cross / (length + TINY_NORMAL))
    return found * cross.new_tensor([-1.0, 1.0, 1.0]).reshape(1, 3, 1, 1)
