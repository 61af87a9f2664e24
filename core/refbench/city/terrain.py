"""The ground: smooth fractal terrain, cut down to the water level where there is water."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.city.mesh import MeshBuilder

APRON = (25.0, 80.0, 200.0, 500.0, 1500.0)
"""Distances in metres of the rings of level ground around the city, so that no camera looks past the world."""


def spectral_noise(rng: np.random.Generator, size: int, exponent: float) -> NDArray[np.float64]:
    """Return periodic noise float64 [size, size], mean 0 and deviation 1, with amplitude ~ frequency^-exponent."""
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    radius = np.hypot(fx, fy)
    radius[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * radius**-exponent
    spectrum[0, 0] = 0.0
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return np.asarray(noise / noise.std())


@dataclass(frozen=True, slots=True, eq=False)
class Terrain:
    """Heights float64 [n, n] in metres on a square lattice: rows from south to north, columns from west to east.

    The first node lies at (-half, -half); nodes are ``step`` metres apart.
    """

    heights: NDArray[np.float64]
    half: float
    step: float

    def at(self, x: NDArray[np.float64] | float, y: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Return ground heights, bilinear, the edge repeated outside.

        Metres, in the shape of ``x`` and ``y``, which are metres in the city's frame.
        """
        col = (np.asarray(x, np.float64) + self.half) / self.step
        row = (np.asarray(y, np.float64) + self.half) / self.step
        nodes = [np.atleast_1d(row), np.atleast_1d(col)]
        heights = ndimage.map_coordinates(self.heights, nodes, order=1, mode="nearest")
        return np.asarray(heights).reshape(row.shape)

    def add_to(self, builder: MeshBuilder, surface: int) -> None:
        """Add the lattice and its apron as triangles."""
        inner = np.arange(len(self.heights)) * self.step - self.half
        apron = np.array(APRON)
        axis = np.concatenate([-self.half - apron[::-1], inner, self.half + apron])
        x, y = np.meshgrid(axis, axis)
        clamped = np.clip(axis, -self.half, self.half)
        z = self.at(*np.meshgrid(clamped, clamped))
        index = np.arange(x.size).reshape(x.shape)
        sw, se, nw, ne = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
        triangles = np.concatenate(
            [np.stack([sw, se, ne], axis=-1).reshape(-1, 3), np.stack([sw, ne, nw], axis=-1).reshape(-1, 3)]
        )
        builder.add(np.stack([x, y, z], axis=-1).reshape(-1, 3), triangles, surface)


def make_terrain(
    rng: np.random.Generator, half: float, water: NDArray[np.bool_], relief: float, level: float
) -> Terrain:
    """Return terrain over the square [-half, half]^2.

    Parameters
    ----------
    rng
        The terrain's own generator.
    half
        Half the side in metres.
    water
        Where water is, bool [n, n], rows from south to north: it fixes the lattice.
    relief
        Standard deviation of the heights in metres.
    level
        Mean height in metres.
    """
    count = len(water)
    step = 2 * half / (count - 1)
    coarse = spectral_noise(rng, 64, 2.2)[:24, :24]
    nodes = np.linspace(1.0, 22.0, count)
    smooth = ndimage.map_coordinates(coarse, np.meshgrid(nodes, nodes, indexing="ij"), order=3, mode="nearest")
    smooth = (smooth - smooth.mean()) / max(float(smooth.std()), 1e-9)
    heights = level + relief * smooth
    labels, bodies = ndimage.label(water)
    for body in range(1, bodies + 1):
        inside = labels == body
        surface = float(np.quantile(heights[inside], 0.1)) - 1.8
        # Signed and smoothed, because the lattice would draw steps into the bank.
        signed = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
        bank = np.maximum(0.6 * step * ndimage.gaussian_filter(signed, 2.0), 0.0)
        heights = np.clip(heights, surface + np.minimum(bank, 0.8), surface + bank)
    return Terrain(heights, half, step)
