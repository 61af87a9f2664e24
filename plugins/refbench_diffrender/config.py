"""Configuration of the refinement by differentiable rendering. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses. ``init_colour`` is that of the photographs in stage 1, ``colour`` in stage 2.

    ``poisson`` suits pictures of 720 x 1280; unless ``compat`` it is scaled to the number of pixels.
    """

    init_colour: float = 0.0
    colour: float = 1.0
    poisson: float = 400.0
    point: float = 0.1
    transfer: float = 1.0
    edge_map: float = 0.1
    uv_edginess: float = 0.1
    feature: float = 0.0
    median: float = 0.0
    smooth: float = 0.0


@dataclass(frozen=True)
class DiffrenderConfig:
    """Everything. Steps are counts, depths metres, offsets clip units.

    ``compat`` reproduces the published program with its defects. ``stride``: pixels between vertices. ``neighbours``:
    how many other views a view is compared with; 0 stands for all. ``views``: which are refined; empty: all.
    """

    steps: int = 6000
    init_steps: int = 400
    lr: float = 1e-3
    init_lr: float = 3e-3
    batch: int = 4
    stride: int = 4
    neighbours: int = 4
    views: tuple[str, ...] = ()
    most_pixels: int | None = None
    near: float | None = None
    far: float | None = None
    percentile: float = 0.001
    align: Literal["none", "median", "max", "least_squares", "ransac"] = "none"
    hidden: tuple[int, ...] = (16, 16)
    frequencies: tuple[int, int] = (3, 5)
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    init_std: float = 0.1
    tonemapper: bool = False
    features: str | None = None
    """A checkpoint of IBRNet, for the feature loss."""
    init_ratio: float = 1.0
    ratio: float = 1.0
    """Share of the triangles that are kept before stage 1 and before stage 2."""
    patience: int = 0
    """Steps without a better mean loss of so many steps after which a stage ends; 0 takes all steps."""
    backend: Literal["auto", "nvdiffrast", "numba", "torch"] = "auto"
    compat: bool = False
    loss: LossConfig = field(default_factory=LossConfig)
    official: str | None = None
    """An official configuration whose own view is refined."""
    min_views: int = 2
    agree_m: float = 1.0
    """Depth maps agree on a point where they differ by at most so much."""

    def __post_init__(self) -> None:
        """Refuse counts below what makes sense."""
        if min(self.steps, self.init_steps, self.neighbours, self.patience) < 0 or min(self.batch, self.stride) < 1:
            raise ValueError("steps and neighbours must not be negative, batch and stride at least 1")
        if not 0 < self.init_ratio <= 1 or not 0 < self.ratio <= 1:
            raise ValueError("init_ratio and ratio must lie in (0, 1]")
        if self.lr <= 0 or self.init_lr <= 0:
            raise ValueError("lr and init_lr must be positive")
