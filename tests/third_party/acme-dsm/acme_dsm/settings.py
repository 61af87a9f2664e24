"""The configurations of both methods."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class NetworkConfig:
    """The architecture; weights folders keep it in ``model.yaml``."""

    width: int = 8
    """Channels between the layers."""


@dataclass(frozen=True)
class AcmeNetConfig:
    """All of the method."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    steps: int = 500
    """Optimiser steps of a training."""
    batch: int = 8
    """Crops per step."""
    side: int = 64
    """Side of the crops in pixels."""
    rate: float = 1e-3
    """Learning rate of Adam."""


@dataclass(frozen=True)
class AcmeCloudConfig:
    """How points become heights."""

    layer: str = "p90"
    """Layer of ``refbench.geometry.rasterise``: ``max``, ``mean``, ``median``, a percentile such as ``p90``."""
