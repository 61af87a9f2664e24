"""Configurations of the baselines. Standard library only: ``refbench info`` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be greater than 0, got {value:g}")


@dataclass(frozen=True, slots=True)
class MedianConfig:
    """Median of the known heights in a square window."""

    size: int = 5
    """Side of the window in pixels, odd."""

    def __post_init__(self) -> None:
        """Refuse a window without a centre."""
        if self.size < 1 or self.size % 2 == 0:
            raise ValueError(f"size must be an odd number of pixels, got {self.size}")


@dataclass(frozen=True, slots=True)
class BilateralConfig:
    """Gaussian mean over near pixels of near height."""

    radius: int = 5
    """Radius of the disc in pixels."""
    sigma_px: float = 2.5
    """Standard deviation in the plane, in pixels."""
    sigma_m: float = 1.0
    """Standard deviation in height, in metres."""

    def __post_init__(self) -> None:
        """Refuse widths that are not positive."""
        _positive(radius=self.radius, sigma_px=self.sigma_px, sigma_m=self.sigma_m)


@dataclass(frozen=True, slots=True)
class GuidedConfig:
    """Guided filter with the DSM as its own guide."""

    radius: int = 4
    """Half side of the square window in pixels."""
    sigma_m: float = 0.7
    """Height differences below it, in metres, are smoothed; its square is the filter's epsilon."""

    def __post_init__(self) -> None:
        """Refuse widths that are not positive."""
        _positive(radius=self.radius, sigma_m=self.sigma_m)


@dataclass(frozen=True, slots=True)
class TVL1Config:
    """Total variation with an absolute data term."""

    fidelity: float = 0.8
    """Weight of the data term against the total variation, per pixel; lower is smoother."""
    iterations: int = 100
    """Primal-dual steps. One step carries information by one pixel: this is also the halo of a tile."""

    def __post_init__(self) -> None:
        """Refuse weights and counts that are not positive."""
        _positive(fidelity=self.fidelity, iterations=self.iterations)


@dataclass(frozen=True, slots=True)
class FillConfig:
    """Filling of voids; known heights stay as they are."""

    kind: Literal["nearest", "idw", "laplace"] = "laplace"
    """Nearest known height, inverse-distance weighting, or the surface of least curvature (Laplace's equation)."""
    max_distance_m: float | None = None
    """Voids are filled up to this distance from known heights, in metres; None fills all."""
    neighbours: int = 16
    """IDW: how many pixels of the void's rim."""
    power: float = 2.0
    """IDW: the weight is distance to the power of minus this."""

    def __post_init__(self) -> None:
        """Refuse settings that are not positive."""
        _positive(neighbours=self.neighbours, power=self.power)
        if self.max_distance_m is not None:
            _positive(max_distance_m=self.max_distance_m)
