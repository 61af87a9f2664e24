"""Images of any size -> multiplane images: padding, overlapping crops, blending. Letters: D planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from refbench_immpi.network.fused import fast_planes
from refbench_immpi.network.network import SIDE
from refbench_immpi.planes.render import Rendered, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench_immpi.network.network import MPIGenerator
    from refbench_immpi.network.resnet import FeatureGenerator
    from refbench_immpi.views.posed import Posed

LEAST_RAMP = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """Encoder and generator, on one device; ``batch_norms``: norms take the statistics of what they see."""

    encoder: FeatureGenerator
    generator: MPIGenerator
    batch_norms: bool = True

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return next(self.generator.parameters()).device

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the encoder's maps without gradients and without touching its running statistics.

        ``image`` is [B, 3, h, w]; a map is [B, C, h', w'].
        """
        with torch.no_grad(), KeptStatistics(self.encoder, self.batch_norms):
            features: list[Tensor] = self.encoder(image)
        return features


class KeptStatistics:
    """Runs norms on statistics of the batch, or on running ones, and leaves the running ones and the mode alone."""

    def __init__(self, net: torch.nn.Module, batch_norms: bool) -> None:
        self.net, self.batch_norms, self.was_training = net, batch_norms, net.training
        self.norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        self.momenta = [norm.momentum for norm in self.norms]
        self.counts = [norm.num_batches_tracked for norm in self.norms]

    def __enter__(self) -> None:
        self.net.train(self.batch_norms)
        for norm in self.norms:
            norm.momentum = 0.0
            norm.num_batches_tracked = None

    def __exit__(self, *_: object) -> None:
        self.net.train(self.was_training)
        for norm, momentum, count in zip(self.norms, self.momenta, self.counts, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


@dataclass(frozen=True, slots=True, eq=False)
class MultiplaneImage:
    """Planes of one view: ``rgb`` [D, 3, h, w], ``sigma`` [D, 1, h, w], ``depths`` [D] near to far, scene units."""

    view: Posed
    rgb: Tensor
    sigma: Tensor
    depths: Tensor

    @torch.no_grad()
    def seen_from(self, target: Posed, *, depth: Literal["mean", "median"] = "mean", spread: bool = False) -> Rendered:
        """Return the view of another camera, or its own."""
        pose = torch.from_numpy(target.E @ np.linalg.inv(self.view.E))
        K = [torch.from_numpy(view.K)[None] for view in (self.view, target)]
        return render(
            self.rgb[None],
            self.sigma[None],
            self.depths[None],
            pose[None],
            K[0],
            K[1],
            target.shape,
            depth_mode=depth,
            spread=spread,
        )

    @property
    def spacing(self) -> float:
        """The gap between planes in the middle of their range, scene units."""
        middle = len(self.depths) // 2
        return float(self.depths[middle] - self.depths[middle - 1])


def padded(image: Tensor) -> Tensor:
    """Return [B, 3, h, w] continued to the right and downwards to multiples of 128: mirrored, or its rim repeated.

    The result has 128 x 256 pixels at least: norms that take the statistics of what they see need two in their
    smallest map.
    """
    rows, cols = image.shape[-2:]
    more = (-cols % SIDE, -rows % SIDE)
    if rows <= SIDE and cols <= SIDE:
        more = (2 * SIDE - cols, SIDE - rows)
    if not any(more):
        return image
    mirrors = more[0] < cols and more[1] < rows
    return functional.pad(image, (0, more[0], 0, more[1]), mode="reflect" if mirrors else "replicate")


def crops(length: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Return where crops of a side begin and end: all of ``tile`` pixels, the last moved back to end with the side."""
    if length <= tile:
        return [(0, length)]
    starts = list(range(0, length - tile, tile - overlap))
    return [(start, start + tile) for start in (*starts, length - tile)]


def ramp(places: Sequence[tuple[int, int]], number: int) -> Tensor:
    """Return the weight of a crop along a side, one number per pixel: linear where it overlaps its neighbours."""
    first, last = places[number]
    weight = torch.ones(last - first)
    if number and (shared := places[number - 1][1] - first) > 0:
        weight[:shared] = torch.linspace(LEAST_RAMP, 1, shared)
    if number + 1 < len(places) and (shared := last - places[number + 1][0]) > 0:
        weight[-shared:] = torch.minimum(weight[-shared:], torch.linspace(1, LEAST_RAMP, shared))
    return weight


def multiplane_image(networks: Networks, view: Posed, depths: Tensor, *, tile: int, overlap: int) -> MultiplaneImage:
    """Return the planes of an image of any size.

    Parameters
    ----------
    networks
        Encoder and generator.
    view
        The image and its camera.
    depths
        [D], near to far, scene units.
    tile, overlap
        A side longer than ``tile`` is cut into crops that overlap by so many pixels and are blended linearly.
    """
    image = torch.from_numpy(view.image)[None].to(networks.device)
    rows, cols = view.shape
    down, across = crops(rows, tile, overlap), crops(cols, tile, overlap)
    if len(down) == len(across) == 1:
        planes = _planes(networks, image, len(depths))
        return MultiplaneImage(view, planes[:, :3], planes[:, 3:], depths.to(planes))
    total = torch.zeros(len(depths), 4, rows, cols, device=image.device)
    weights = torch.zeros(rows, cols, device=image.device)
    for i, (top, bottom) in enumerate(down):
        for j, (left, right) in enumerate(across):
            weight = (ramp(down, i)[:, None] * ramp(across, j)[None]).to(image)
            total[:, :, top:bottom, left:right] += weight * _planes(
                networks, image[:, :, top:bottom, left:right], len(depths)
            )
            weights[top:bottom, left:right] += weight
    total /= weights
    return MultiplaneImage(view, total[:, :3], total[:, 3:], depths.to(total))


def _planes(networks: Networks, image: Tensor, number: int) -> Tensor:
    """Return [D, 4, h, w] of an image [1, 3, h, w]."""
    rows, cols = image.shape[-2:]
    features = networks.features(padded(image))
    found = fast_planes(networks.generator, features, number, (0,), batch_norms=networks.batch_norms)[0][0]
    return found[:, :, :rows, :cols].clone()
