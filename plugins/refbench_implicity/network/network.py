"""The ImpliCity network: planes from points and images, logits from planes. State-dict keys are the published ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from refbench_implicity.network.decoder import Decoder
from refbench_implicity.network.image_encoder import ImageEncoder
from refbench_implicity.network.point_encoder import PointEncoder

if TYPE_CHECKING:
    from refbench_implicity.config import ModelConfig


class Planes(NamedTuple):
    """Feature planes [B, C, R, R] in the patch frame, row 0 in the south; ``image`` is None without images."""

    xy: Tensor
    image: Tensor | None = None

    @property
    def held(self) -> tuple[Tensor, ...]:
        """The planes that are there. Each [B, C, R, R], features."""
        return (self.xy,) if self.image is None else (self.xy, self.image)


class ImpliCityNet(nn.Module):
    """Occupancy field of a patch. The point encoder is called ``encoder`` in -0, ``point_encoder`` otherwise."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        points = PointEncoder(config.point_encoder)
        if config.image_encoder is None:
            self.encoder = points
        else:
            self.point_encoder = points
            self.image_encoder = ImageEncoder(config.image_encoder)
        self.decoder = Decoder(config.decoder, config.out_dim)

    @property
    def points_module(self) -> PointEncoder:
        """The point encoder, whatever its key."""
        return self.encoder if self.config.image_encoder is None else self.point_encoder

    def encode(self, points: Tensor, image: Tensor | None = None) -> Planes:
        """Return the planes of a patch.

        Parameters
        ----------
        points
            [B, N, 3] in the normalised patch frame, x and y strictly inside (0, 1).
        image
            [B, n, H, W] north-up, normalised; None for -0.
        """
        plane = self.points_module(points)
        if self.config.image_encoder is None:
            return Planes(plane)
        if image is None:
            raise ValueError("This network needs an image; the one without images is ImpliCity-0.")
        return Planes(plane, self.image_encoder(image).flip(-2))

    def decode(self, planes: Planes, query: Tensor) -> Tensor:
        """Return logits [B, M, out_dim] at ``query`` [B, M, 3]."""
        found: Tensor = self.decoder(planes.held, query)
        return found

    def forward(self, points: Tensor, query: Tensor, image: Tensor | None = None) -> Tensor:
        """Return logits [B, M, out_dim] at ``query`` [B, M, 3]."""
        return self.decode(self.encode(points, image), query)


def build_model(config: ModelConfig) -> ImpliCityNet:
    """Return the network of ``config`` with freshly initialised weights."""
    return ImpliCityNet(config)


def occupancy(logits: Tensor, threshold: float = 0.5) -> Tensor:
    """Return what a network says of its queries.

    Parameters
    ----------
    logits
        [B, M, 1] or, for three classes, [B, M, 3].
    threshold
        Probability from which a point is occupied, inclusive; unused for three classes.

    Returns
    -------
    Tensor
        float 0 or 1 [B, M, 1], or labels int64 [B, M] (0 air, 1 building, 2 terrain).
    """
    if logits.shape[-1] > 1:
        return logits.argmax(dim=-1)
    return (torch.sigmoid(logits) >= threshold).to(logits.dtype)
