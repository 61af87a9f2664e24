"""Configuration of ResDepth: the network, the scales, inference and training. Data only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from refbench.training.settings import Precision, TrainPrecision  # noqa: TC001  # types of fields, read at run time

Inputs = Literal["geom", "geom-mono", "geom-stereo", "geom-multiview", "stereo"]
Activation = Literal["relu", "lrelu", "prelu"]
UpMode = Literal["transpose", "bilinear"]
VIEWS = {"3-view": 3, "4-view": 4, "5-view": 5}


@dataclass(frozen=True)
class ModelConfig:
    """The U-Net. Defaults are those of the published configurations, not those of the official class.

    ``n_views`` counts the images of ``geom-multiview`` (3 to 5). ``max_filter_depth`` caps the filters per level.

    What the published networks have not: ``optional_images``, the network was trained with images left out, whose
    channels are 0; ``hole_channel``, a last channel that is 1 where the DSM was unknown and is filled; ``uncertainty``,
    a second output, the logarithm of the scale of a Laplace distribution about the refined height.
    """

    input_channels: Inputs = "geom-stereo"
    """DSM alone, with one, two or several images, or two images alone."""
    n_views: int = 3
    depth: int = 5
    """Levels of the encoder; rows and columns of a tile are multiples of 2 to this power."""
    start_kernel: int = 64
    """Filters of the first level; every further level has twice as many."""
    max_filter_depth: int = 512
    act_fn_encoder: Activation = "relu"
    """Activation in the encoder."""
    act_fn_decoder: Activation = "relu"
    """Activation in the decoder."""
    act_fn_bottleneck: Activation = "relu"
    """Activation at the coarsest level."""
    up_mode: UpMode = "transpose"
    """How the decoder doubles the size: transposed convolution, or bilinear and a 1 x 1 convolution."""
    do_BN: bool = True
    """Whether convolutions are followed by batch normalisation."""
    bias_conv_layer: bool = True
    """Whether the last convolution has a bias."""
    outer_skip: bool = True
    """Whether the DSM channel is added to the output, so that a correction is learnt."""
    outer_skip_BN: bool = False
    """Whether the DSM channel is normalised before it is added."""
    optional_images: bool = False
    """Whether it was trained with images left out, whose channels are 0; no published one was."""
    hole_channel: bool = False
    """Whether a last channel is 1 where the DSM was unknown and is filled."""
    uncertainty: bool = False
    """Whether a second output is the logarithm of the Laplace scale about the refined height."""

    def __post_init__(self) -> None:
        """Refuse a network that cannot be built."""
        if self.depth < 1 or self.start_kernel < 1 or self.max_filter_depth < 1:
            raise ValueError("depth, start_kernel and max_filter_depth must be at least 1")
        if self.input_channels == "stereo" and self.outer_skip:
            raise ValueError("input_channels stereo has no DSM channel, so outer_skip must be false")
        if self.input_channels == "geom-multiview" and not 3 <= self.n_views <= 5:
            raise ValueError("geom-multiview takes 3 to 5 views")

    @property
    def n_images(self) -> int:
        """How many ortho images one forward pass takes."""
        fixed = {"geom": 0, "geom-mono": 1, "geom-stereo": 2, "stereo": 2}
        return fixed.get(self.input_channels, self.n_views)

    @property
    def has_dsm(self) -> bool:
        """Whether the initial DSM is an input channel."""
        return self.input_channels != "stereo"

    @property
    def n_input_channels(self) -> int:
        """Channels of the network's input."""
        return self.n_images + self.has_dsm + self.hole_channel

    @property
    def filters(self) -> tuple[int, ...]:
        """Filters of the encoder's levels."""
        return tuple(min(self.start_kernel * 2**level, self.max_filter_depth) for level in range(self.depth))

    @property
    def multiple(self) -> int:
        """What rows and columns of the input must be a multiple of."""
        return int(2**self.depth)


@dataclass(frozen=True)
class NormalisationConfig:
    """How heights and images become network values. None takes what the weights carry.

    ``dsm_std`` metres, under the ``height_rule`` ``gsd`` pixels; heights are centred on the mean of the tile.
    ``image_rule`` ``fixed``: ``image_mean`` and
    ``image_std`` for all images (a mean of None or 0: the joint mean of the tile's views); ``robust``: each image's
    own median and interquartile range.
    """

    dsm_std: float | None = None
    height_rule: Literal["fixed", "gsd"] | None = None
    image_rule: Literal["fixed", "robust"] | None = None
    image_mean: float | None = None
    """Mean of the training's images, for rule fixed."""
    image_std: float | None = None
    """Standard deviation of the training's images, for rule fixed."""


@dataclass(frozen=True)
class InferenceConfig:
    """How a raster is refined. ``overlap`` is the fraction of a tile that it shares with the next, officially 0.5.

    ``tile_size`` None takes that of the training. ``average_orders`` and ``average_flips`` run all orders of the
    images and the 8 flips and rotations, and give the spread of the results as ``confidence`` in metres.

    ``shrink`` k multiplies a correction c of standard deviation s by c^4 / (c^4 + (k s)^4), so that the input stays
    where the network does not know; 0 applies corrections in full, None takes what the weights carry.
    """

    tile_size: int | None = None
    """Side of a tile in pixels; null: that of the training."""
    overlap: float = 0.5
    precision: Precision = "float32"
    """Of the network's arithmetic; bfloat16 costs half and moves heights by centimetres."""
    average_orders: bool = False
    """Whether all orders of the images run; their spread becomes the confidence, metres."""
    average_flips: bool = False
    """Whether the 8 mirrors and turns run; their spread becomes the confidence, metres."""
    shrink: float | None = None

    def __post_init__(self) -> None:
        """Refuse tiles that do not advance."""
        if not 0 <= self.overlap <= 0.5:
            raise ValueError("overlap must lie between 0 and 0.5")
        if self.tile_size is not None and self.tile_size < 2:
            raise ValueError("tile_size must be at least 2")

    def stride(self, tile: int) -> int:
        """Pixels from one tile of ``tile`` px to the next."""
        return max(1, tile - round(tile * self.overlap))


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam or plain SGD."""

    name: Literal["Adam", "SGD"] = "Adam"
    """The optimiser."""
    learning_rate: float = 2e-4
    """Its first step size."""
    weight_decay: float = 1e-5
    """Its pull of all weights towards 0."""


@dataclass(frozen=True)
class SchedulerConfig:
    """A schedule of torch by name with its keyword arguments; it steps in the epochs that are validated."""

    enabled: bool = True
    """Whether the learning rate changes at all."""
    name: Literal["ReduceLROnPlateau", "StepLR", "ExponentialLR"] = "StepLR"
    """The schedule."""
    settings: dict[str, Any] = field(default_factory=lambda: {"step_size": 200, "gamma": 0.1})
    """Keyword arguments of the schedule."""


@dataclass(frozen=True)
class TrainingConfig:
    """Training as published. ``n_training_samples`` patches are drawn per data set; ``*_rate`` count epochs."""

    n_training_samples: int = 20000
    tile_size: int = 256
    """Side of a training patch in pixels."""
    augment: bool = True
    """Whether patches are turned and mirrored at random."""
    batch_size: int = 20
    """Patches per step."""
    n_epochs: int = 2000
    """Passes over the drawn patches."""
    loss: Literal["L1"] = "L1"
    """The mean absolute height difference; the only published choice."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    use_all_stereo_pairs: bool = True
    """Whether every patch is taken with every pair of images, or with one drawn pair."""
    permute_images_within_pair: bool = True
    """Whether the images of a pair change places at random."""
    workers: int = 0
    """Processes that read patches; results do not depend on it."""
    save_model_rate: int = 20
    """Epochs between two kept checkpoints."""
    evaluate_rate: int = 1
    """Epochs between two validations."""
    precision: TrainPrecision = "float32"
    """Of the training's arithmetic."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if min(self.n_training_samples, self.batch_size, self.n_epochs, self.save_model_rate, self.evaluate_rate) < 1:
            raise ValueError("counts of samples, epochs and rates must be at least 1")
        if not math.isfinite(self.optimizer.learning_rate) or self.optimizer.learning_rate <= 0:
            raise ValueError("learning_rate must be positive")


@dataclass(frozen=True)
class WildConfig:
    """A training on the cached cities and surfaces of ``refbench.training.wild``.

    ``cache`` is the folder of the samples (empty: ``cache`` beside the run), ``surfaces`` the files of
    real surfaces, ``seeds`` the first and the last.
    ``image_odds`` are the odds of 0, 1 and 2 images. Pixels whose input is within ``keep_m`` metres (at 0.5 m pixels)
    weigh ``keep_weight`` times as much, so that good heights are kept. ``batch_size`` patches of ``tile_size``.
    """

    cache: str = ""
    """Folder of the samples; empty: cache beside the run."""
    surfaces: tuple[str, ...] = ()
    """Files of real surfaces that take part."""
    seeds: tuple[int, int] = (1, 999)
    """Seeds of the cities, the first and the last."""
    image_odds: tuple[float, float, float] = (0.3, 0.2, 0.5)
    keep_m: float = 0.5
    keep_weight: float = 2.0
    tile_size: int = 128
    """Side of a training patch in pixels."""
    batch_size: int = 8
    """Patches per step."""
    learning_rate: float = 3e-4
    """First step size of Adam."""
    weight_decay: float = 1e-5
    """Pull of all weights towards 0."""
    average: float = 0.999
    """Decay of the running average of the weights, which is what is kept."""
    precision: TrainPrecision = "mixed"
    """Of the training's arithmetic."""
    checkpoint_steps: int = 250
    """Steps between two checkpoints."""
    validate_steps: int = 1000
    """Steps between two validations."""


@dataclass(frozen=True)
class ResDepthConfig:
    """Everything that a run or a training can be told. ``model`` None takes the architecture of the weights.

    ``official`` is the path of an official configuration file, whose data sets and output folder are then used too.
    """

    model: ModelConfig | None = None
    normalisation: NormalisationConfig = field(default_factory=NormalisationConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    wild: WildConfig | None = None
    weights: str | None = None
    """Name, folder or file of the weights, where the command line names none."""
    official: str | None = None
