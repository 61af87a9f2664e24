"""Configuration of DSM mode: the height field itself is refined. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DsmConfig:
    """Lengths are in cells of the DSM, so that one configuration suits every ground sampling distance.

    Terms of the loss: ``patch``, the dissimilarity of brightness patches; ``colour``, a robust brightness difference;
    ``smooth``, a robust mean slope (1: a cell's height per cell); ``prior``, a robust distance from the initial heights
    where these are known.
    """

    steps: int = 150
    """Steps of every block."""
    lr: float = 0.5
    """Of Adam, cells per step; it falls along a cosine."""
    targets: int = 2
    """Views that a step looks at, all in turn."""
    sources: int = 2
    """Views whose images are carried into each of them by the surface, its best ones in turn."""
    neighbours: int = 4
    """How many best ones these are."""
    patch: float = 1.0
    """Weight of the dissimilarity of brightness patches."""
    colour: float = 0.0
    """Weight of a robust difference of brightness."""
    smooth: float = 0.06
    """With two views; with n it weighs sqrt(2 / n) of that."""
    smooth_from: float = 0.2
    """Slope from which on ``smooth`` grows linearly only, so that steps stay."""
    prior: float = 0.0
    """Weight of a robust distance from the initial heights, where these are known."""
    prior_from: float = 1.0
    """Distance from which on ``prior`` grows linearly only."""
    patch_kind: Literal["auto", "ssim", "ncc"] = "auto"
    """ssim: light, contrast and structure; ncc: structure alone; auto: ssim between two satellites or two aerial
    cameras, ncc between one and the other."""
    patch_size: int = 7
    """Side of a patch in pixels, odd."""
    reach: float = 1.5
    """How far a step at one cell spreads (cells), by diffusion."""
    hidden: float = 2.0
    """A view does not see what lies so far behind the nearest surface on its ray."""
    rpc_bias: bool = True
    """Whether the RPC bias is compensated first: satellite cameras point some pixels beside the place."""
    pixels_per_cell: float = 1.5
    """Images that resolve a cell's side into more pixels are reduced."""
    block: int = 640
    """Side of the blocks that a large DSM is cut into."""
    halo: int = 32
    """Cells by which blocks overlap."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.steps < 0 or min(self.targets, self.sources, self.neighbours) < 1:
            raise ValueError("dsm: steps must not be negative; targets, sources and neighbours are at least 1")
        if min(self.lr, self.smooth_from, self.prior_from, self.hidden, self.pixels_per_cell) <= 0:
            raise ValueError("dsm: lr, smooth_from, prior_from, hidden and pixels_per_cell must be positive")
        if min(self.patch, self.colour, self.smooth, self.prior, self.reach) < 0 or not (self.patch or self.colour):
            raise ValueError("dsm: weights and reach must not be negative, and patch or colour must count")
        if self.patch_size < 3 or self.patch_size % 2 == 0:
            raise ValueError("dsm: patch_size must be odd, 3 or more")
        if not 0 <= 4 * self.halo < self.block:
            raise ValueError("dsm: halo must be less than a quarter of block")
