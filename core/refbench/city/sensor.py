"""From rays to images: sampling, blur, noise, gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.city.cameras import Station
    from refbench.city.render import Renderer

    F4 = NDArray[np.float32]

PAN_WEIGHTS = np.array([0.30, 0.30, 0.12, 0.28], np.float32)
"""Fraction of red, green, blue and near infrared in the panchromatic band."""
FAR_M = 5000.0
"""Height above the city from which an eye counts as a satellite."""
FULL_SCALE = 2047
"""Largest digital number of the satellites (11 bits)."""


@dataclass(frozen=True, slots=True)
class SatelliteSensor:
    """What a satellite does to the light: point spread (pixels), gain and offset, noise in digital numbers."""

    gain: float
    offset: float
    blur_px: float = 0.6
    read_noise: float = 22.0
    shot_noise: float = 1.0
    """Noise variance per digital number."""
    full_scale: int = FULL_SCALE

    def pan(self, radiance: F4, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Return the panchromatic image uint16 [rows, cols] of ``radiance`` [rows, cols, 4]."""
        return self._digitise(radiance @ PAN_WEIGHTS, self.blur_px, rng)

    def bands(self, radiance: F4, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Return the four colour bands uint16 [4, rows, cols]."""
        return np.stack([self._digitise(radiance[..., band], self.blur_px, rng) for band in range(4)])

    def _digitise(self, light: F4, blur_px: float, rng: np.random.Generator) -> NDArray[np.uint16]:
        signal = self.offset + self.gain * ndimage.gaussian_filter(light.astype(np.float64), blur_px)
        noise = rng.standard_normal(signal.shape) * np.sqrt(self.read_noise**2 + self.shot_noise * signal)
        return np.asarray(np.clip(np.round(signal + noise), 1, self.full_scale), np.uint16)


@dataclass(frozen=True, slots=True)
class Optics:
    """A sensor as its product shows it, to be scaled to the light of an image.

    ``snr`` is the median signal over the noise there, ``shot_fraction`` the part of the noise variance that grows with
    the signal, ``fill_fraction`` of images a and b how much of the range of ``bits`` the brightest hundredth uses.
    """

    snr: float
    shot_fraction: float
    blur_px: float
    bits: int
    fill_fraction: tuple[float, float]

    def sensor(self, radiance: F4, which: int, rng: np.random.Generator) -> SatelliteSensor:
        """Return the sensor of image ``which`` (0 or 1, further ones alternate) for its ``radiance``."""
        light = radiance @ PAN_WEIGHTS
        middle, bright = (float(v) for v in np.quantile(light, (0.5, 0.99)))
        full = 2**self.bits - 1
        offset = float(rng.uniform(0.01, 0.08)) * full
        gain = (self.fill_fraction[which % 2] * full - offset) / max(bright, 1e-6)
        signal = gain * middle
        variance = (signal / self.snr) ** 2
        return SatelliteSensor(
            gain,
            offset,
            self.blur_px,
            read_noise=float(np.sqrt((1 - self.shot_fraction) * variance)),
            shot_noise=self.shot_fraction * variance / max(signal + offset, 1e-6),
            full_scale=full,
        )


def sample_rays(
    station: Station, origin: NDArray[np.float64], samples: int, ceiling: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rays of an image, ``samples`` x ``samples`` in each pixel, as local float64 [n, 3] pairs.

    ``origin`` float64 [3] is what local metres are relative to. Rays start at the eye; those of a satellite start at
    local height ``ceiling``, because float32 rays from orbit would be metres off. Directions have unit depth along
    the axis, so the distance from an eye is the depth.
    """
    rows, cols = station.shape
    within = (np.arange(samples) + 0.5) / samples - 0.5
    row = (np.arange(rows)[:, None] + within).ravel()
    col = (np.arange(cols)[:, None] + within).ravel()
    col_grid, row_grid = np.meshgrid(col, row)
    pixels = np.stack([col_grid.ravel(), row_grid.ravel(), np.ones(col_grid.size)], axis=-1)
    direction = pixels @ station.rays_from.T
    eye = station.eye - origin
    start = np.broadcast_to(eye, direction.shape)
    if eye[2] - ceiling > FAR_M:
        start = eye + ((ceiling - eye[2]) / direction[:, 2])[:, None] * direction
    return start, direction


def render_station(
    renderer: Renderer, station: Station, origin: NDArray[np.float64], samples: int, ceiling: float
) -> F4:
    """Return the light that falls on every pixel, float32 [rows, cols, 4]."""
    start, direction = sample_rays(station, origin, samples, ceiling)
    radiance = renderer.render(start, direction).radiance
    rows, cols = station.shape
    return np.asarray(radiance.reshape(rows, samples, cols, samples, 4).mean(axis=(1, 3)), np.float32)


def exposed_image(radiance: F4, exposure: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return an aerial photo uint8 [3, rows, cols] of ``radiance`` [rows, cols, 4]: gamma 2.2, a little noise."""
    light = ndimage.gaussian_filter(radiance[..., :3].astype(np.float64), (0.5, 0.5, 0.0)) * exposure
    grey = 255 * np.clip(light, 0, 1) ** (1 / 2.2) + rng.normal(0.0, 1.2, light.shape)
    return np.asarray(np.clip(np.round(grey), 0, 255), np.uint8).transpose(2, 0, 1)
