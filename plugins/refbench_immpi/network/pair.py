"""Encoder and generator as one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from refbench_immpi.network.network import MPIGenerator
from refbench_immpi.network.resnet import FeatureGenerator

if TYPE_CHECKING:
    from refbench_immpi.config import NetworkConfig


class Pair(nn.Module):
    """Encoder and generator as one module, so that devices and precision reach both."""

    def __init__(self, encoder: FeatureGenerator, generator: MPIGenerator) -> None:
        super().__init__()
        self.encoder, self.generator = encoder, generator

    @classmethod
    def fresh(cls, config: NetworkConfig) -> Pair:
        """Return fresh networks of a configuration."""
        return cls(FeatureGenerator(config), MPIGenerator(config))
