"""Configuration of ImMPI: network, planes, optimisation, training. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from refbench.training.settings import TrainPrecision  # noqa: TC001  # the type of a field, read at run time

Encoder = Literal["resnet18", "resnet50"]
Encoding = Literal["scrambled", "sane"]
Norms = Literal["batch", "running"]


@dataclass(frozen=True)
class NetworkConfig:
    """Widths of both networks; the defaults are the published ones.

    ``encoding``: ``scrambled`` is what published weights were trained with, ``sane`` tells each plane its own place.
    ``classes`` is the width of the unused classifier.
    """

    encoder: Encoder = "resnet18"
    """Layout of the image encoder."""
    encoder_widths: tuple[int, int, int, int, int] = (64, 64, 128, 256, 512)
    """Channels of its five maps, from fine to coarse."""
    bottleneck_widths: tuple[int, int, int] = (512, 256, 256)
    """Channels between encoder and decoder."""
    decoder_widths: tuple[int, int, int, int, int] = (16, 32, 64, 128, 256)
    """Channels of the decoder, from fine to coarse."""
    classes: int = 1000
    encoding: Encoding = "sane"

    def __post_init__(self) -> None:
        """Refuse widths below 1."""
        if min(*self.encoder_widths, *self.bottleneck_widths, *self.decoder_widths, self.classes) < 1:
            raise ValueError("widths must be at least 1")


@dataclass(frozen=True)
class PlanesConfig:
    """How many planes, and between which depths: given, or the scene's own range widened by ``margin`` of itself."""

    number: int = 32
    """How many planes."""
    margin: float = 0.05
    """By how much of itself the scene's own range of depths is widened."""
    near: float | None = None
    """Depth of the nearest plane in scene units; null: the scene's own range."""
    far: float | None = None
    """Depth of the farthest plane in scene units; null: the scene's own range."""

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        if self.number < 2:
            raise ValueError("planes.number must be at least 2")
        if self.margin < 0:
            raise ValueError("planes.margin must not be negative")
        if (self.near is None) != (self.far is None):
            raise ValueError("planes.near and planes.far go together")
        if self.near is not None and self.far is not None and not 0 < self.near < self.far:
            raise ValueError("planes.near must be above 0 and below planes.far")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses at every scale: absolute (``rgb``) and squared (``l2``) differences, SSIM, LPIPS, slopes.

    ``lpips`` counts only where ``lpips_weights`` names a file of them.
    """

    rgb: float = 2.0
    """Weight of absolute differences of colour."""
    ssim: float = 1.0
    """Weight of 1 - SSIM."""
    lpips: float = 1.0
    smooth: float = 0.0
    """Weight of depth gradients where the image has none."""
    l2: float = 0.0
    """Weight of squared differences of colour."""
    lpips_weights: str | None = None
    """File of LPIPS-VGG weights; null: no such term."""


@dataclass(frozen=True)
class OptimiseConfig:
    """The overfitting to one scene. ``steps`` 0 takes the weights as they are.

    ``references``: how many views get planes of their own, spread over all; 0 stands for all of them. ``neighbours``:
    how many nearest views each is compared with; 0 stands for all. ``milestones`` are fractions of the steps where
    the learning rate is divided by ``divisor``. ``half_pixel`` scales intrinsics so that pixel centres stay in place;
    the published pyramid does not.
    """

    steps: int = 5000
    lr: float = 1e-3
    """Step size of Adam."""
    milestones: tuple[float, ...] = (0.1, 0.2, 0.4, 0.6, 0.8)
    divisor: float = 2.0
    """By what the learning rate is divided at each milestone."""
    views: tuple[str, ...] = ()
    """Names of the views to learn from, the first of them the first reference; all others are held out. Empty: see
    ``holdout``."""
    references: int = 1
    neighbours: int = 0
    supervise_reference: bool = False
    """Whether the view that planes belong to is compared, too."""
    train_encoder: bool = False
    """Whether the encoder learns along."""
    checkpoint_s: float = 60.0
    """Seconds between two checkpoints, where the run has a folder for them."""
    half_pixel: bool = False

    def __post_init__(self) -> None:
        """Refuse counts below nothing."""
        if min(self.steps, self.references, self.neighbours) < 0:
            raise ValueError("optimise.steps, references and neighbours must not be negative")
        if self.lr <= 0 or self.divisor <= 0:
            raise ValueError("optimise.lr and optimise.divisor must be positive")
        if self.checkpoint_s < 0:
            raise ValueError("optimise.checkpoint_s must not be negative")


@dataclass(frozen=True)
class TrainingConfig:
    """The training over many scenes. ``steps`` as configured unless the command line says otherwise."""

    steps: int = 62000
    """Steps in all, unless the command line says otherwise."""
    lr: float = 1e-4
    """Step size of Adam."""
    milestones: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    """Fractions of the steps after which the learning rate is divided."""
    divisor: float = 2.0
    """By what it is divided."""
    folder: str | None = None
    """A folder of WHU-MVS scenes, where the command line names no scenes; ``scenes`` is a list of their names."""
    scenes: str | None = None
    """File with the names of the scenes in the folder, one a line."""
    validate_folder: str | None = None
    """A folder of scenes that validate."""
    validate_scenes: str | None = None
    """File with their names."""
    neighbours: int = 19
    """Of a sample in such folders: 19 or 4."""
    checkpoint: str | None = None
    """Official checkpoint that a training is resumed from."""
    validate_every: int = 500
    """Steps between two validations; 0: never."""
    checkpoint_every: int = 250
    """Steps between two checkpoints."""
    precision: TrainPrecision = "float32"
    """Of the training's arithmetic."""
    devices: int = 1
    """Devices that train together."""


@dataclass(frozen=True)
class FusionConfig:
    """How depth maps become a DSM.

    A depth counts where ``min_views`` maps agree to within ``relative`` of it or ``spacings`` gaps between planes, and
    where the planes hide at least ``opacity`` of what is behind. ``layer``: what a cell takes of its points.
    """

    min_views: int = 2
    """Depth maps that must agree on a point."""
    relative: float = 0.0
    """They agree where they differ by at most this fraction of the depth,"""
    spacings: float = 1.0
    """or by at most so many gaps between planes."""
    opacity: float = 0.5
    """What the planes must hide of what is behind, in [0, 1]."""
    layer: Literal["median", "mean", "max", "p90"] = "median"
    depth: Literal["mean", "median"] = "mean"
    """A pixel's depth: the mean over its planes by weight, or where half of the weight is reached."""


@dataclass(frozen=True)
class ImMPIConfig:
    """Everything.

    ``level``: in a scene with a grid, planes are made of views turned to look straight down, so that they are
    horizontal. ``holdout``: every so manieth view is kept out of the optimisation and scored (0: none); never where
    fewer than that many views are there. ``most_pixels``: larger images are reduced first. ``tile`` and
    ``overlap``: images larger than that are cut into overlapping crops whose planes are blended.
    """

    network: NetworkConfig | None = None
    """None: that of the weights; the published one where a training starts afresh."""
    planes: PlanesConfig = field(default_factory=PlanesConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimise: OptimiseConfig = field(default_factory=OptimiseConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    norms: Norms = "batch"
    """Batch normalisation by the image at hand, as published weights need it, or by stored statistics."""
    level: bool = True
    holdout: int = 0
    most_pixels: int | None = None
    tile: int = 1024
    overlap: int = 128
    """Pixels by which crops overlap."""
    weights: str | None = None
    """Name, folder or file of the weights, where the command line names none."""

    def __post_init__(self) -> None:
        """Refuse tiles that do not overlap sensibly."""
        if self.tile < 256 or self.tile % 128 or not 0 <= self.overlap <= self.tile // 2:
            raise ValueError("tile must be a multiple of 128 of at least 256, overlap at most half of it")
        if self.holdout < 0 or self.holdout == 1:
            raise ValueError("holdout must be 0 (no view is held out) or at least 2")
