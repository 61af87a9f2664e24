"""Configuration of ImMPI: network, planes, optimisation, training. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Encoder = Literal["resnet18", "resnet50"]
Encoding = Literal["scrambled", "sane"]
Norms = Literal["batch", "running"]
Precision = Literal["float32", "mixed"]


@dataclass(frozen=True)
class NetworkConfig:
    """Widths of both networks; the defaults are the published ones.

    ``encoding``: ``scrambled`` is what published weights were trained with, ``sane`` tells each plane its own place.
    ``classes`` is the width of the unused classifier.
    """

    encoder: Encoder = "resnet18"
    encoder_widths: tuple[int, int, int, int, int] = (64, 64, 128, 256, 512)
    bottleneck_widths: tuple[int, int, int] = (512, 256, 256)
    decoder_widths: tuple[int, int, int, int, int] = (16, 32, 64, 128, 256)
    classes: int = 1000
    encoding: Encoding = "sane"

    def __post_init__(self) -> None:
        """Refuse widths below 1."""
        if min(*self.encoder_widths, *self.bottleneck_widths, *self.decoder_widths, self.classes) < 1:
            raise ValueError("widths must be at least 1")
