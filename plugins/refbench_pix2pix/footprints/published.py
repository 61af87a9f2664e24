"""The scores that the official notebook prints, and the tiles that they are of. Data only."""

from __future__ import annotations

NOTEBOOK = "notebook of github.com/ldelzott/Pix2pix-based-DSM-Enhancer"
NOTEBOOK_TILES = "pix2pix_inputs"
"""The scene of these tiles: their folder in the official repository."""
TILE_NAMES = frozenset(f"256-12288-{row}" for row in range(6656, 9729, 256))
"""Names of the 13 tiles without suffix: one column of the official mosaic."""
NOTEBOOK_SCORES = {
    "mae": 0.063786,
    "dice": 0.892803,
    "iou": 0.808307,
    "sod_iou": 0.806456,
    "sod_f1": 0.896664,
    "sod_sm": 0.853871,
    "sod_em": 0.932046,
}
"""Key of the assessor's score -> mean over the tiles."""
