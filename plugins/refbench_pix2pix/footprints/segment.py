"""Building masks of 8-bit DSM tiles by ESFPNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from refbench_pix2pix.footprints.esfpnet import EsfpNet

TILE = 256
"""The side that the published network sees."""
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def to_input(tile: NDArray[np.uint8]) -> Tensor:
    """Return the network's input [1, 3, 256, 256] of an 8-bit tile [rows, cols] or [rows, cols, 3] of any size.

    Normalised as the encoder was trained.
    """
    rgb = np.repeat(tile[..., None], 3, axis=2) if tile.ndim == 2 else tile
    if rgb.shape[:2] != (TILE, TILE):
        rgb = np.asarray(Image.fromarray(rgb).resize((TILE, TILE), Image.Resampling.BILINEAR))
    values = torch.from_numpy(rgb.transpose(2, 0, 1).astype(np.float32)) / 255
    mean, deviation = (torch.tensor(constants).view(3, 1, 1) for constants in (MEAN, DEVIATION))
    return ((values - mean) / deviation)[None]


def to_mask(logits: NDArray[np.floating[Any]], *, compat: bool = False) -> NDArray[np.uint8]:
    """Return 255 where the logit says building, else 0; of one tile's logits [rows, cols].

    ``compat`` keeps the published stretch to the tile's own range, which empties a tile that is all building.
    """
    chosen = np.asarray(logits) > 0
    if compat and chosen.all():
        # Stretching a constant mask to its own range makes it 0; any other mask stays as it is.
        chosen = ~chosen
    return np.where(chosen, np.uint8(255), np.uint8(0))


def segment_tile(net: EsfpNet, tile: NDArray[np.uint8], *, compat: bool = False) -> NDArray[np.uint8]:
    """Return the building mask, 0 or 255, of an 8-bit tile; of 256 x 256 pixels whatever the tile's size.

    ``tile`` is uint8 [rows, cols] or [rows, cols, 3].
    """
    with torch.inference_mode():
        logits = net(to_input(tile))[0, 0].cpu().numpy()
    return to_mask(logits, compat=compat)
