"""Configuration of the pix2pix enhancer: networks, values, inference, training. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from refbench.training.settings import Precision, TrainPrecision  # noqa: TC001  # types of fields, read at run time

Norm = Literal["batch", "instance", "none"]
DiscriminatorKind = Literal["basic_rewritten", "basic", "n_layers", "pixel", "custom"]
GanMode = Literal["vanilla", "lsgan", "wgangp"]
InitType = Literal["normal", "xavier", "kaiming", "orthogonal"]
Policy = Literal["linear", "step", "plateau", "cosine"]
TILE = 256
"""What rows and columns of the generator's input must be a multiple of."""


@dataclass(frozen=True)
class GeneratorConfig:
    """The U-Net. ``input_nc`` 1 is the DSM alone, 2 the DSM and the NDVI."""

    input_nc: int = 2
    output_nc: int = 1
    """Channels of the output; 1 is a DSM."""
    ngf: int = 64
    """Filters of the first level."""
    no_dropout: bool = False
    """Whether training does without the three dropout layers."""

    def __post_init__(self) -> None:
        """Refuse a network that cannot be built."""
        if min(self.input_nc, self.output_nc, self.ngf) < 1:
            raise ValueError("input_nc, output_nc and ngf must be at least 1")


@dataclass(frozen=True)
class DiscriminatorConfig:
    """What tells refined from true tiles; only training needs it."""

    netD: DiscriminatorKind = "basic_rewritten"
    """Its architecture, by its official name."""
    ndf: int = 64
    """Filters of its first level."""
    n_layers_D: int = 3
    """Levels, for n_layers."""
    norm: Norm = "batch"
    """Its normalisation."""


@dataclass(frozen=True)
class ValueConfig:
    """How heights become network values.

    ``8bit``: whole levels of ``step`` metres above ``offset``, truncated in and out, as published. ``float``: nothing
    is truncated. ``span`` ``fixed`` maps 255 levels to [-1, 1]; ``tile`` maps each tile's own heights, from their
    middle, ``least_span`` metres at least (float only).
    """

    path: Literal["8bit", "float"] = "float"
    """Whole levels as published, or metres without truncation."""
    offset: float = 0.0
    """Height of level 0 in metres."""
    step: float = 1.0
    """Metres per level."""
    span: Literal["fixed", "tile"] = "fixed"
    least_span: float = 20.0
    """With span tile, the least range of heights that fills [-1, 1], metres."""

    def __post_init__(self) -> None:
        """Refuse scales that divide by nothing, and levels that move."""
        if not self.step > 0 or not self.least_span > 0:
            raise ValueError("step and least_span must be positive")
        if self.path == "8bit" and self.span != "fixed":
            raise ValueError("the 8bit path needs span fixed")


@dataclass(frozen=True)
class InferenceConfig:
    """How a raster is refined. ``overlap`` 0 is the official grid of separate tiles; else tiles blend."""

    tile_size: int = TILE
    """Side of a tile in pixels, a multiple of 256."""
    overlap: float = 0.25
    batch_tiles: int = 4
    """Tiles per forward pass."""
    precision: Precision = "float32"
    """Of the network's arithmetic."""

    def __post_init__(self) -> None:
        """Refuse tiles that the network cannot take."""
        if self.tile_size < TILE or self.tile_size % TILE:
            raise ValueError(f"tile_size must be a multiple of {TILE}")
        if not 0 <= self.overlap <= 0.5 or self.batch_tiles < 1:
            raise ValueError("overlap must lie between 0 and 0.5, batch_tiles must be at least 1")


@dataclass(frozen=True)
class TrainingConfig:
    """Training as the parent system does it; the terms after ``lambda_L1`` are options, off by default.

    ``gradient_penalty`` weighs the penalty of WGAN-GP, which the official step never calls. ``lambda_normals`` weighs
    the angle between surface normals (Bittner et al., Remote Sensing 2019), ``beta_MSE`` the official edge term.
    """

    n_epochs: int = 100
    """Epochs at the full learning rate."""
    n_epochs_decay: int = 100
    """Epochs over which it then falls linearly."""
    epoch_count: int = 1
    """Number of the first epoch, for a training that goes on."""
    batch_size: int = 1
    """Tiles per step."""
    lr: float = 2e-4
    """Step size of Adam, of both networks."""
    beta1: float = 0.5
    """Adam's first decay."""
    lr_policy: Policy = "linear"
    """How the learning rate changes."""
    lr_decay_iters: int = 50
    """Epochs between two steps, for policy step."""
    gan_mode: GanMode = "vanilla"
    """The adversarial loss."""
    lambda_L1: float = 100.0
    """Weight of the mean absolute difference."""
    gradient_penalty: float = 0.0
    lambda_normals: float = 0.0
    beta_MSE: float = 0.0
    """Weight of the official edge term, which the original leaves out."""
    pool_size: int = 0
    """Older outputs that the discriminator is shown, too; 0: none. The original never uses it."""
    init_type: InitType = "normal"
    """Distribution of fresh weights."""
    init_gain: float = 0.02
    """Its scale."""
    no_flip: bool = False
    """Whether tiles are not mirrored at random."""
    quarter_turns: bool = False
    """Whether tiles take quarter turns at random; the original does not."""
    samples_per_epoch: int = 400
    """Tiles drawn per epoch from scenes."""
    tile_size: int = TILE
    """Side of a training tile in pixels, a multiple of 256."""
    save_epoch_freq: int = 50
    """Epochs between two kept checkpoints."""
    workers: int = 0
    """Processes that cut tiles; results do not depend on it."""
    devices: int = 1
    """Devices that train together."""
    precision: TrainPrecision = "float32"
    """Of the training's arithmetic."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if min(self.n_epochs, self.batch_size, self.samples_per_epoch, self.devices) < 1 or self.n_epochs_decay < 0:
            raise ValueError("counts of epochs, samples and devices must be at least 1")
        if self.tile_size < TILE or self.tile_size % TILE:
            raise ValueError(f"tile_size must be a multiple of {TILE}")


@dataclass(frozen=True)
class Pix2PixConfig:
    """Everything that a run or a training can be told. None takes what the weights carry."""

    generator: GeneratorConfig | None = None
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    values: ValueConfig | None = None
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    weights: str | None = None
    """Name, folder or file of the weights, where the command line names none."""
