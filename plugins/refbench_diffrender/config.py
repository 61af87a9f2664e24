"""Configuration of the refinement by differentiable rendering. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from refbench_diffrender.dsm_config import DsmConfig

Mode = Literal["depth", "depth_uv", "transfer_func_depth", "transfer_func_depth_uv", "transfer_func_uv", "scale"]
"""``depth``: every vertex by a factor; ``transfer_func``: all by a function of place and depth; ``uv``: every vertex in
the image by a fraction of the stride; ``scale``: all by one offset along the ray and one factor.
"""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses. ``init_colour`` is that of the images in stage 1, ``colour`` in stage 2.

    ``patch`` (``init_patch`` in stage 1) weighs how dissimilar patches of brightness are, see ``patch_kind``.

    ``poisson`` suits images of 720 x 1280; unless ``compat`` it is scaled to the number of pixels.
    """

    init_colour: float = 0.0
    """Of the images' colours in stage 1."""
    colour: float = 1.0
    """Of the images' colours in stage 2."""
    init_patch: float = 0.0
    """Of the dissimilarity of brightness patches in stage 1."""
    patch: float = 0.0
    """Of the dissimilarity of brightness patches in stage 2."""
    poisson: float = 400.0
    point: float = 0.1
    """Of the sparse points' depths against rendered ones."""
    transfer: float = 1.0
    """Of the sparse points' depths against the transfer function, in stage 1."""
    edge_map: float = 0.1
    """Of the change of the depth edges since the start."""
    uv_edginess: float = 0.1
    """Of vertices that move onto depth edges."""
    feature: float = 0.0
    """Of the differences of features, where features are given."""
    median: float = 0.0
    """Of the distance to the median-filtered depth map."""
    smooth: float = 0.0
    """Of the distance to the blurred depth map."""
    consistency: float = 6.0
    """Of what depth maps differ by where views see the same, under ``joint``."""
    normal: float = 0.01
    """Of the surface normals, where an official configuration names some."""
    blur_poisson: bool = True
    """Whether gradients are compared after the masked à-trous filter."""
    photometric: Literal["squared", "charbonnier", "huber"] = "squared"
    """What a difference of colours costs: its square, or a penalty that grows linearly from 0.05 on."""
    patch_kind: Literal["ssim", "ncc"] = "ssim"
    """How patches are compared: light, contrast and structure, or structure alone."""


@dataclass(frozen=True)
class DiffrenderConfig:
    """Everything. Steps are counts, depths metres, offsets clip units.

    ``compat`` reproduces the published program with its defects. ``stride``: pixels between vertices. ``neighbours``:
    how many other views a view is compared with; 0 stands for all. ``views``: which are refined; empty: all.
    """

    steps: int = 6000
    """Steps of stage 2, of every view."""
    init_steps: int = 400
    """Steps of stage 1, of every view; 0 leaves it out."""
    lr: float = 1e-3
    """Step size of Adam in stage 2."""
    init_lr: float = 3e-3
    """Step size of Adam in stage 1."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Whether learning rates fall to 0 over the steps of a stage, along half a cosine."""
    batch: int = 4
    """Neighbours that a step compares with."""
    stride: int = 4
    train_mode: Mode = "depth_uv"
    """What moves the vertices in stage 2."""
    init_train_mode: Mode = "transfer_func_uv"
    """What moves the vertices in stage 2 and in stage 1."""
    srgb: bool = False
    """Whether colours are compared as linear light."""
    neighbours: int = 4
    views: tuple[str, ...] = ()
    most_pixels: int | None = None
    """Larger images are reduced to so many pixels first; null keeps them."""
    near: float | None = None
    """Nearest depth in scene units; null: the scene's own range."""
    far: float | None = None
    """Farthest depth in scene units; null: the scene's own range."""
    percentile: float = 0.001
    """Quantile that the alignment by median and by max takes as the lowest depth."""
    initial: Literal["auto", "view", "dsm", "points", "file", "monocular"] = "auto"
    """What depth maps start from; auto: the view's own, else the DSM's, else the sparse points'."""
    initial_depths: str | None = None
    """For file: the folder with a TIFF, NumPy, PFM or 16-bit PNG map of every view, by its name."""
    initial_unit: float = 0.001
    """Metres per code of a PNG."""
    relative: bool = False
    """For file: the maps have no metres and are aligned."""
    relative_kind: Literal["depth", "disparity"] = "disparity"
    """What relative maps are linear in."""
    estimator: str = "depth-anything/Depth-Anything-V2-Small-hf"
    """For monocular: a depth estimator of transformers, by its name on the hub or its folder."""
    align: Literal["auto", "none", "median", "max", "least_squares", "ransac"] = "auto"
    """How initial depths are aligned to sparse points, else the DSM; auto: relative ones by ransac, others not."""
    hold_out_points: float = 0.0
    """Fraction of the sparse points that nothing uses, but depths are evaluated on."""
    held_out_views: tuple[str, ...] = ()
    """Views that are neither refined nor compared with, but depths are evaluated on."""
    gate: bool = False
    """Whether a refined depth map (of a view, or block of a DSM) is kept only where evidence that it never used agrees:
    views named by held_out_views, and sparse points, of which depth mode then holds out a fifth unless hold_out_points
    says how many. Else the input stays."""
    denoise: int = 0
    """Passes of an edge-preserving à-trous filter over the initial depth, taps 1, 2, 4, … pixels apart; 0: none."""
    denoise_m: float = 0.2
    """Difference of depth (m) at which a neighbour counts 1/e in that filter."""
    min_overlap: float = 0.2
    """Fraction of a view's surface that another one must see to be compared with."""
    best_angle_deg: float = 15.0
    """Triangulation angle that views are best compared under."""
    hidden_fraction: float | None = 0.03
    """A pixel does not count where the other view's depth map has something by so large a fraction of the depth before
    it; None: all count."""
    cut_deg: float | None = None
    """Triangles that the own view sees under a larger angle to their normal span a step in depth and are not shown to
    other views; None shows all."""
    joint: bool = False
    """Whether all views are refined in turns, each compared with the current depth maps of the others."""
    turn: int = 5
    """Steps of a view before the next one's, under ``joint``."""
    hidden: tuple[int, ...] = (16, 16)
    """Widths of the depth transfer function's hidden layers."""
    frequencies: tuple[int, int] = (3, 5)
    """Its sines of image position and of depth."""
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    """Its activation."""
    init_std: float = 0.1
    """Standard deviation of its first weights."""
    tonemapper: bool = False
    """Whether an exposure of every view and a response per channel are learnt along."""
    features: str | None = None
    """A checkpoint of IBRNet, for the feature loss."""
    init_ratio: float = 1.0
    """Fraction of the triangles that is kept before stage 1."""
    ratio: float = 1.0
    """Fraction of the triangles that are kept before stage 1 and before stage 2."""
    patience: int = 0
    """Steps without a better mean loss of so many steps after which a stage ends; 0 takes all steps."""
    backend: Literal["auto", "nvdiffrast", "numba", "torch"] = "auto"
    """The rasteriser; auto takes the fastest that works here."""
    compat: bool = False
    loss: LossConfig = field(default_factory=LossConfig)
    mode: Literal["auto", "depth", "dsm"] = "auto"
    """What is refined: depth maps, fused to a DSM, or the DSM itself by cameras of all kinds; auto: depth maps where
    the scene has two pinhole views, else the DSM."""
    dsm: DsmConfig = field(default_factory=DsmConfig)
    official: str | None = None
    """An official configuration: its own view is refined where the scene is the one that it names; another scene runs
    with its settings alone."""
    min_views: int = 2
    """Depth maps that must agree on a point."""
    agree_m: float = 1.0
    """Depth maps agree on a point where they differ by at most so much."""
    outputs: tuple[Literal["points", "mesh", "confidence"], ...] = ("points", "mesh", "confidence")
    """What is written beside depth maps and DSM: PLY files, and the confidence of every pixel."""
    tensorboard: bool = True
    """Whether curves go to TensorBoard, where it is installed; they go to CSV files always."""
    checkpoint_s: float = 60.0
    """Seconds between two checkpoints, where the run has a folder for them."""

    def __post_init__(self) -> None:
        """Refuse counts below what makes sense."""
        if min(self.steps, self.init_steps, self.neighbours, self.patience) < 0 or min(self.batch, self.stride) < 1:
            raise ValueError("steps and neighbours must not be negative, batch and stride at least 1")
        if not 0 < self.init_ratio <= 1 or not 0 < self.ratio <= 1:
            raise ValueError("init_ratio and ratio must lie in (0, 1]")
        if not 0 <= self.hold_out_points < 1 or not 0 <= self.min_overlap <= 1:
            raise ValueError("hold_out_points must lie in [0, 1), min_overlap in [0, 1]")
        if self.best_angle_deg <= 0 or self.initial_unit <= 0:
            raise ValueError("best_angle_deg and initial_unit must be positive")
        if self.lr <= 0 or self.init_lr <= 0:
            raise ValueError("lr and init_lr must be positive")
        if self.denoise < 0 or self.denoise_m <= 0:
            raise ValueError("denoise must not be negative, denoise_m must be positive")
        if self.compat and (self.gate or self.denoise):
            raise ValueError("compat keeps what it refines and filters nothing else: take gate: false and denoise: 0")
        if self.turn < 1:
            raise ValueError("turn must be at least 1")
        if self.compat and self.joint:
            raise ValueError("compat refines one view at a time: take joint: false")
        if self.hidden_fraction is not None and self.hidden_fraction < 0:
            raise ValueError("hidden_fraction must not be negative; null switches the test off")
        if self.cut_deg is not None and not 0 < self.cut_deg <= 90:
            raise ValueError("cut_deg must lie in (0, 90]; null cuts nothing")
        if self.compat and (self.loss.photometric != "squared" or self.loss.patch or self.loss.init_patch):
            raise ValueError("compat knows squared colour differences only: take photometric: squared and no patch")
        if self.checkpoint_s < 0:
            raise ValueError("checkpoint_s must not be negative")
