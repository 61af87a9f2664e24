"""Configuration of ImpliCity: typed, with the published values as defaults.

A value of ``None`` means "as the weights say, else the published value"; ``published`` holds the latter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Variant = Literal["0", "mono", "stereo"]
VARIANTS: tuple[Variant, ...] = ("0", "mono", "stereo")
ZShift = Literal["median", "mean", "20quantile"]


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """2-D U-Net over the feature plane; the plane's resolution must be a multiple of ``2 ** (depth - 1)``."""

    depth: int = 5
    """Levels of the U-Net."""
    merge_mode: Literal["concat", "add"] = "concat"
    """How skips join: appended or added."""
    start_filts: int = 32
    """Filters of the first level; every further level has twice as many."""
    up_mode: Literal["transpose", "upsample"] = "transpose"
    """How size is doubled: transposed convolution, or bilinear and a 1 x 1 convolution."""

    def __post_init__(self) -> None:
        """Refuse what the network has no definition for."""
        if self.depth < 1 or self.start_filts < 1:
            raise ValueError("depth and start_filts must be at least 1")
        if self.up_mode == "upsample" and self.merge_mode == "add":
            raise ValueError("up_mode upsample needs merge_mode concat")


@dataclass(frozen=True, slots=True)
class PointEncoderConfig:
    """Local PointNet that pools point features into a plane of ``plane_resolution`` cells a side."""

    hidden_dim: int = 32
    """Width of the layers on points."""
    feature_dim: int = 32
    """Channels of the feature plane; one number for encoders and decoder."""
    n_blocks: int = 5
    """Residual blocks on points."""
    plane_resolution: int = 128
    scatter_type: Literal["max", "mean"] = "max"
    """How the points of a cell are pooled between blocks."""
    unet: UNetConfig | None = field(default_factory=UNetConfig)

    def __post_init__(self) -> None:
        """Check that the U-Net fits the plane."""
        if self.unet is not None and self.plane_resolution % 2 ** (self.unet.depth - 1):
            raise ValueError(f"plane_resolution must be a multiple of {2 ** (self.unet.depth - 1)} for this U-Net")


@dataclass(frozen=True, slots=True)
class ImageEncoderConfig:
    """Stacked hourglass. Published names: ``num_hourglass`` is the depth of each, ``num_stack`` their number."""

    in_channel: int = 1
    """Images stacked as channels: 1 is -mono, 2 is -stereo."""
    feature_dim: int = 32
    """Channels of the feature plane; one number for encoders and decoder."""
    num_hourglass: int = 2
    num_stack: int = 4
    norm: Literal["group", "batch"] = "group"
    """Normalisation of its blocks."""
    hg_down: Literal["ave_pool", "conv64", "conv128"] = "ave_pool"
    """How the stem halves the size: averaging, or a convolution of so many channels."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.hg_down == "conv64" and self.norm == "group":
            raise ValueError("hg_down conv64 has 16 channels where group norm needs 32: use norm batch")
        if self.num_stack < 1 or self.num_hourglass < 1:
            raise ValueError("num_stack and num_hourglass must be at least 1")

    @property
    def image_multiple(self) -> int:
        """What the image's rows and columns must be multiples of."""
        return int(4 * 2**self.num_hourglass)


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Occupancy decoder: a small residual MLP fed by the planes."""

    feature_dim: int = 32
    """Channels of the feature plane; one number for encoders and decoder."""
    hidden_size: int = 32
    """Width of its layers."""
    n_blocks: int = 5
    """Residual blocks; the plane's features enter before each."""
    sample_mode: Literal["bilinear", "nearest"] = "bilinear"
    """How the planes are read between cells."""
    leaky: bool = False
    """Whether the last activation is a leaky ReLU."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The network. Without ``image_encoder`` it is ImpliCity-0; ``in_channel`` tells mono from stereo."""

    point_encoder: PointEncoderConfig = field(default_factory=PointEncoderConfig)
    image_encoder: ImageEncoderConfig | None = None
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    multi_label: bool = False
    """Three classes (air, building, ground) instead of occupied or not."""

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        widths = {self.point_encoder.feature_dim, self.decoder.feature_dim}
        if self.image_encoder is not None:
            widths.add(self.image_encoder.feature_dim)
        if len(widths) > 1:
            raise ValueError("feature_dim of encoders and decoder must be one number")

    @property
    def n_images(self) -> int:
        """How many images the network sees: 0, 1 or 2."""
        return 0 if self.image_encoder is None else self.image_encoder.in_channel

    @property
    def variant(self) -> Variant:
        """The published name of the number of images."""
        return VARIANTS[min(self.n_images, 2)]

    @property
    def out_dim(self) -> int:
        """Logits per query: 1 (occupancy) or 3 (air, building, terrain)."""
        return 3 if self.multi_label else 1

    @classmethod
    def of_variant(cls, variant: Variant) -> ModelConfig:
        """Return the published network of a variant."""
        count = VARIANTS.index(variant)
        return cls(image_encoder=ImageEncoderConfig(in_channel=count) if count else None)


@dataclass(frozen=True, slots=True)
class NormalisationConfig:
    """How heights and images become network inputs. ``None`` takes the value stored with the weights."""

    z_std: float | None = None
    """Metres per unit of normalised height."""
    z_shift: ZShift | None = None
    """Statistic of a patch's points that becomes height 0."""
    image_rule: Literal["fixed", "robust"] | None = None
    """``fixed``: (v - mean) / std with the two constants; ``robust``: each image's own median and IQR."""
    image_mean: float | None = None
    """Mean of the training's images, for rule fixed."""
    image_std: float | None = None
    """Standard deviation of the training's images, for rule fixed."""
    bands: Literal["first", "mean"] | None = None
    """What several bands become: the first one, or their mean."""


@dataclass(frozen=True, slots=True)
class SurfaceConfig:
    """How a DSM is read out of the occupancy field."""

    h_range: tuple[float, float] = (-100.0, 80.0)
    """Searched heights in metres around the patch's shift, half-open."""
    h_resolution_0: float = 16.0
    """First step in metres; each refinement divides it by 4."""
    h_upsampling_steps: int = 4
    """How often the step is divided by 4."""
    half_blend: tuple[float, float] = (0.5, 0.5)
    """Fraction of a patch under the rising ramp, along columns and rows."""
    fill_empty: bool = True
    """A column without surface gets the patch's shift (as published); False leaves it NoData."""
    fill_patches: bool = False
    """A patch without points is filled from the scene's median height; False leaves it NoData."""
    column_stride: int = 1
    """1 decodes every column; n > 1 every n-th, then those near height steps, and interpolates the rest."""
    step_threshold: float = 2.0
    """With ``column_stride`` > 1: metres between neighbours from which the columns between them are decoded."""
    block: int = 4096
    """Columns decoded at once; sized so that intermediates stay in the cache."""

    def __post_init__(self) -> None:
        """Refuse an empty search and steps that cannot be."""
        if not self.h_range[0] < self.h_range[1] or self.h_resolution_0 <= 0 or self.h_upsampling_steps < 0:
            raise ValueError("h_range must rise, h_resolution_0 be positive and h_upsampling_steps not negative")
        if self.column_stride < 1 or self.block < 1:
            raise ValueError("column_stride and block must be at least 1")
        if not all(0 <= fraction <= 0.5 for fraction in self.half_blend):
            raise ValueError("half_blend must lie between 0 and 0.5")


@dataclass(frozen=True, slots=True)
class LandWeights:
    """Loss weight of a query outside and inside the masks of ``building``, ``forest`` and ``water``."""

    building: tuple[float, float] = (1.0, 1.0)
    forest: tuple[float, float] = (1.0, 0.5)
    water: tuple[float, float] = (1.0, 0.5)


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Loss weight of a query outside and inside the reference mask, and per land type."""

    gt: tuple[float, float] = (0.0, 1.0)
    """Weight outside and inside the reference's mask."""
    land: LandWeights = field(default_factory=LandWeights)
    balance_building_weight: bool = False
    """Whether buildings and the rest weigh the same in every patch."""


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """Learning-rate schedule: CyclicLR (published) or MultiStepLR (``gamma`` and ``milestones``)."""

    type: Literal["CyclicLR", "MultiStepLR"] | None = "CyclicLR"
    """The schedule; null keeps the rate."""
    base_lr: float = 5e-5
    """Lowest rate of a cycle."""
    max_lr: float = 1e-3
    """Highest rate of the first cycle."""
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular2"
    """How the amplitude changes from cycle to cycle."""
    gamma: float = 0.9999178
    step_size_up: int = 1000
    """Iterations from the lowest to the highest rate."""
    step_size_down: int = 2500
    """Iterations back."""
    milestones: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random mirror and quarter turns of a training patch."""

    flip: bool = True
    """Whether patches are mirrored at random."""
    rotate: bool = True
    """Whether patches take quarter turns at random."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Training as published. Lengths are iterations of ``optimize_every`` patches; 0 or less means never."""

    iterations: int = 10_000
    """The published loop never ends by itself; here it ends after so many iterations."""
    run_name: str = "train_base"
    """Name of the official run folder."""
    out_dir: str = "out"
    """Where official run folders are made."""
    resume_from: str | None = None
    """Official checkpoint that a training is resumed from."""
    resume_scheduler: bool = True
    """Whether the state of the learning rate is taken from it."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    random_dataset_length: int = 6400
    """Random patches that make one pass."""
    batch_size: int = 1
    """Patches per forward pass."""
    val_batch_size: int = 1
    """Patches per forward pass of the validation."""
    lock_seed: bool = True
    """Whether the published seed 0 is used; refbench takes the run's seed."""
    optimize_every: int = 64
    """Patches whose gradients are summed before a step."""
    learning_rate: float = 1e-3
    """First step size of Adam."""
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    model_selection_metric: str = "iou"
    """Score that chooses the best checkpoint."""
    model_selection_mode: Literal["maximize", "minimize"] = "maximize"
    """Whether the largest or the smallest is best."""
    print_every: int = 1
    """Between lines of the log."""
    visualize_every: int = 1000
    """Between figures of the official program; refbench draws none."""
    validate_every: int = 100
    """Between validations."""
    checkpoint_every: int = 50
    """Between writings of the checkpoint."""
    backup_every: int = 2000
    """Between checkpoints that are kept under their number."""
    loss_weights: LossWeights = field(default_factory=LossWeights)


@dataclass(frozen=True, slots=True)
class SatelliteImages:
    """Ortho images of an official data set: files of ``folder``, stacked as channels."""

    folder: str
    """Where the images lie."""
    pairs: tuple[str, ...]
    """Their file names, in the order of the channels."""


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """Rasters of 0 and 1: ``gt``, where the reference counts; land masks ``building``, ``forest``, ``water``."""

    gt: str | None = None
    building: str | None = None
    forest: str | None = None
    water: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetConfig:
    """An official data set: a folder of chunks and its rasters. Paths are absolute, or start in the working folder."""

    path: str | None = None
    """Folder with chunk_info.yaml."""
    name: str = ""
    """A label."""
    dsm_gt_path: str | None = None
    """Raster of the reference heights."""
    mask_files: MaskFiles = field(default_factory=MaskFiles)
    satellite_image: SatelliteImages | None = None
    train_chunks: tuple[int, ...] = (0,)
    """Numbers of the chunks that train."""
    val_chunks: tuple[int, ...] = (0,)
    """Numbers of the chunks that validate."""
    test_chunks: tuple[int, ...] = (0,)
    """Numbers of the chunks that are refined."""
    vis_chunks: tuple[int, ...] = (0,)
    """Numbers of the chunks that the official program draws figures of."""
    n_input_points: int | None = None
    """Points drawn per patch, with replacement; null takes all."""
    n_query_points: int | None = None
    """Queries drawn per patch, with replacement; null takes all."""
    subsample_val: bool = False
    """Whether validation draws queries, too."""
    use_surface: tuple[str, ...] | None = ("roof", "facade", "terrain")
    """Query files read beside the uniform ones; null reads those alone."""
    val_strip: tuple[float, float] = (32.0, 32.0)
    """Distance of validation patches in metres, x and y."""
    vis_strip: tuple[float, float] = (16.0, 16.0)
    """Distance of the figures' patches in metres, x and y."""
    test_strip: tuple[float, float] = (16.0, 16.0)
    """Distance of test patches in metres, x and y."""
    n_workers: int = 5
    """Processes that load patches."""
    crs_epsg: int = 32632
    """EPSG code of the coordinates, which chunks do not carry."""
    dsm_pixel_size: tuple[float, float] = (0.25, 0.25)
    """Pixel of the generated DSM in metres, x and y."""


@dataclass(frozen=True, slots=True)
class ImpliCityConfig:
    """All of ImpliCity. ``variant`` None is that of the weights, ``model`` None the architecture of the weights."""

    variant: Variant | Literal[0] | None = None
    """Published name by the number of images; null: that of the weights."""
    weights: str | None = None
    """Name, folder or file of the weights, where the command line names none."""
    model: ModelConfig | None = None
    normalisation: NormalisationConfig = field(default_factory=NormalisationConfig)
    patch_size: float | None = None
    """Side of a patch in metres."""
    patch_stride: float | tuple[float, float] | None = None
    """Distance of neighbouring patches in metres, or one for x and one for y; None is half a patch."""
    pixel_size: float | None = None
    """Pixel of the images that the network sees, in metres."""
    threshold: float | None = None
    """Probability from which a point is occupied, inclusive."""
    surface: SurfaceConfig = field(default_factory=SurfaceConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Refuse lengths and shares that cannot be; YAML's bare 0 is the variant "0"."""
        if self.variant == 0:
            object.__setattr__(self, "variant", "0")
        for name in ("patch_size", "patch_stride", "pixel_size"):
            value = getattr(self, name)
            if value is not None and not min(value if isinstance(value, tuple) else (value,)) > 0:
                raise ValueError(f"{name} must be a positive number of metres")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ValueError("threshold must lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class Published:
    """The constants of the published training, for weights that carry none."""

    z_std: float = 29.83779098
    z_shift: ZShift = "median"
    image_rule: Literal["fixed", "robust"] = "fixed"
    image_mean: float = 1132.664
    image_std: float = 487.496
    bands: Literal["first", "mean"] = "first"
    patch_size: float = 64.0
    pixel_size: float = 0.25
    threshold: float = 0.5


published = Published()
