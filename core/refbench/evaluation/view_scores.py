"""Scores of rendered views against photographs, both scaled to [0, 1] by their type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from refbench.contracts.errors import InputError
from refbench.evaluation.image_scores import WINDOW_PX, ssim_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.raster import Image

COLOURS = 3


def view_scores(rendered: Image, photograph: Image) -> dict[str, float | int | None]:
    """Return the scores of a rendered view on the pixels that it covers.

    Parameters
    ----------
    rendered
        [1 or 3 bands, rows, cols]; where it is invalid nothing is seen.
    photograph
        Of the same camera and size.

    Returns
    -------
    dict
        ``psnr_db``; ``ssim``: mean of the windows of 11 x 11 px (Gaussian, sigma 1.5) that are covered throughout,
        per band, data range 1; ``colour_mae`` in [0, 1]; ``coverage``: share of the photograph; ``n`` pixels.

    Raises
    ------
    InputError
        Another size.
    """
    if rendered.shape != photograph.shape:
        raise InputError(f"A view rendered in {rendered.shape} pixels cannot be scored against {photograph.shape}.")
    seen = _seen(rendered) & _seen(photograph)
    keys = ("psnr_db", "ssim", "colour_mae")
    counts: dict[str, float | int | None] = {"coverage": float(seen.mean()), "n": int(seen.sum())}
    if not seen.any():
        return {**dict.fromkeys(keys), **counts}
    first, second = _unit(rendered), _unit(photograph)
    error = (first - second)[:, seen]
    mse = float(np.mean(error**2))
    whole = ndimage.minimum_filter(seen.astype(np.uint8), WINDOW_PX, mode="constant", cval=0).astype(bool)
    similar = [ssim_map(a, b, 1.0)[whole].mean() for a, b in zip(first, second, strict=True)] if whole.any() else []
    return {
        "psnr_db": None if mse == 0 else -10 * float(np.log10(mse)),
        "ssim": float(np.mean(similar)) if similar else None,
        "colour_mae": float(np.mean(np.abs(error))),
        **counts,
    }


def _seen(image: Image) -> NDArray[np.bool_]:
    return np.ones(image.shape, np.bool_) if image.valid is None else image.valid


def _unit(image: Image) -> NDArray[np.float64]:
    """Return three bands in [0, 1], those of a grey image alike."""
    pixels: NDArray[Any] = image.pixels[:COLOURS] if image.pixels.shape[0] >= COLOURS else image.pixels[:1]
    levels = pixels.astype(np.float64) / (np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1.0)
    return np.asarray(np.broadcast_to(levels, (COLOURS, *levels.shape[1:])))
