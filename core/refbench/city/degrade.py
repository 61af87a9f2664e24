"""An initial DSM from a surface alone, without images: what matching and its post-processing do to heights.

Edges melt or grow, small things vanish, correlated noise, outliers and holes are added: far cheaper than rendering
and matching, and of a wider range. Any surface serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from refbench.city.finish import completed
from refbench.city.variation import draw_making

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F4 = NDArray[np.float32]
    Rng = np.random.Generator


def degraded(surface: F4, gsd: float, rng: Rng) -> F4:
    """Return an initial DSM float32 [rows, cols] of ``surface`` [rows, cols] without holes, NaN where it has holes."""
    z = _without_small_things(surface.astype(np.float32), gsd, rng)
    z = _moved_edges(z, gsd, rng)
    z = _melted_or_grown(z, gsd, rng)
    z = z + _noise(z, gsd, rng)
    if rng.random() < 0.15:  # whole disparities
        step = float(np.exp(rng.uniform(np.log(0.2), np.log(1.5))))
        z = np.where(_blobs(z.shape, 30 / gsd, 0.7, rng), np.round(z / step) * step, z)
    z = z + _outliers(z.shape, gsd, rng)
    holes = _holes(z, gsd, rng)
    return completed(np.where(holes, np.float32(np.nan), z).astype(np.float32), draw_making(rng))


def smooth_noise(shape: tuple[int, ...], sigma_px: float, rng: Rng) -> F4:
    """Return noise of mean 0 and deviation 1 [rows, cols] with a Gaussian correlation of ``sigma_px``."""
    white = rng.standard_normal(shape).astype(np.float32)
    smooth = ndimage.gaussian_filter(white, max(sigma_px, 0.01), mode="wrap")
    return np.asarray((smooth - smooth.mean()) / max(float(smooth.std()), 1e-9), np.float32)


def _blobs(shape: tuple[int, ...], size_px: float, fraction: float, rng: Rng) -> NDArray[np.bool_]:
    """Return patches of about ``size_px`` that cover a fraction of the raster."""
    noise = smooth_noise(shape, size_px / 3, rng)
    return np.asarray(noise < np.quantile(noise, np.clip(fraction, 0, 1)), np.bool_)


def _without_small_things(z: F4, gsd: float, rng: Rng) -> F4:
    """Open the surface in patches: cars, walls, hedges, poles and single trees are missed."""
    if rng.random() < 0.25:
        return z
    side = max(3, 2 * round(float(rng.uniform(0.6, 5.0)) / gsd / 2) + 1)
    opened = ndimage.grey_opening(z, size=side)
    missed = _blobs(z.shape, float(rng.uniform(4, 25)) / gsd, float(rng.uniform(0.2, 1.0)), rng)
    if rng.random() < 0.35:  # what is rough is missed, too: trees without leaves
        tall = max(side, 2 * round(float(rng.uniform(6, 12)) / gsd / 2) + 1)
        rough = ndimage.uniform_filter(np.abs(z - ndimage.uniform_filter(z, 3)), 9) > 0.35
        ground = ndimage.grey_opening(z, size=tall)
        z = np.where(rough & _blobs(z.shape, 8 / gsd, float(rng.uniform(0.3, 1.0)), rng), ground, z)
        opened = np.minimum(opened, z)
    return np.where(missed, opened, z).astype(np.float32)


def _moved_edges(z: F4, gsd: float, rng: Rng) -> F4:
    """Displace the surface by a smooth random field: ragged edges."""
    size = float(rng.exponential(0.5)) / gsd
    scale = float(rng.uniform(0.8, 5.0)) / gsd
    row, col = np.indices(z.shape, dtype=np.float32)
    shift = [np.clip(size * smooth_noise(z.shape, scale, rng), -4 / gsd, 4 / gsd) for _ in range(2)]
    order = int(rng.integers(0, 2))
    return np.asarray(ndimage.map_coordinates(z, [row + shift[0], col + shift[1]], order=order, mode="nearest"))


def _melted_or_grown(z: F4, gsd: float, rng: Rng) -> F4:
    """Shrink, grow or blur what stands out, as a window that sees foreground and background does."""
    kind = rng.choice(["melt", "grow", "blur", "both", "none"], p=[0.38, 0.2, 0.2, 0.14, 0.08])
    out = z
    side = max(3, 2 * round(float(rng.uniform(1.0, 5.0)) / gsd / 2) + 1)
    if kind in ("melt", "both"):
        low = ndimage.minimum_filter(z, max(3, round(side * float(rng.uniform(0.25, 0.8)))))
        out = np.where(_blobs(z.shape, 20 / gsd, float(rng.uniform(0.4, 1.0)), rng), low, out)
    if kind in ("grow", "both"):
        high = ndimage.maximum_filter(z, max(3, round(side * float(rng.uniform(0.25, 0.8)))))
        out = np.where(_blobs(z.shape, 20 / gsd, float(rng.uniform(0.4, 1.0)), rng), high, out)
    if kind in ("blur", "melt", "grow") and rng.random() < 0.7:
        out = ndimage.gaussian_filter(out, float(np.exp(rng.uniform(np.log(0.25), np.log(2.5)))) / gsd)
    return np.asarray(out, np.float32)


def _noise(z: F4, gsd: float, rng: Rng) -> F4:
    """Return correlated noise, stronger at steps and in patches of weak texture."""
    level = float(np.exp(rng.uniform(np.log(0.03), np.log(0.8))))
    wide, fine = float(rng.uniform(0.8, 6.0)) / gsd, float(rng.uniform(0.2, 0.8)) / gsd
    part = float(rng.beta(1.5, 1.5))
    noise = np.sqrt(part) * smooth_noise(z.shape, wide, rng) + np.sqrt(1 - part) * smooth_noise(z.shape, fine, rng)
    weak = np.exp(float(rng.uniform(0.0, 0.8)) * smooth_noise(z.shape, 12 / gsd, rng))
    steep = ndimage.gaussian_filter(np.hypot(*np.gradient(z)), 1.0) / gsd
    return np.asarray(level * weak * (1 + float(rng.uniform(0, 2)) * np.minimum(steep, 2)) * noise, np.float32)


def _outliers(shape: tuple[int, ...], gsd: float, rng: Rng) -> F4:
    """Return blunders: compact patches that lie metres too high or too low."""
    if rng.random() < 0.5:
        return np.zeros(shape, np.float32)
    fraction = float(np.exp(rng.uniform(np.log(1e-3), np.log(0.04))))
    where = _blobs(shape, float(rng.uniform(1.0, 8.0)) / gsd, fraction, rng)
    height = float(np.exp(rng.uniform(np.log(1.0), np.log(10.0)))) * smooth_noise(shape, 6 / gsd, rng)
    return np.where(where, height, 0).astype(np.float32)


def _holes(z: F4, gsd: float, rng: Rng) -> NDArray[np.bool_]:
    """Return holes: occlusions on one side of steps, and patches without texture."""
    holes = np.zeros(z.shape, np.bool_)
    if rng.random() < 0.6:
        reach = max(1, round(float(rng.uniform(0.5, 4.0)) / gsd))
        towards = rng.uniform(0, 2 * np.pi)
        shift = round(reach * np.sin(towards)), round(reach * np.cos(towards))
        beside = np.roll(z, shift, (0, 1))
        holes |= (beside - z > 2.5) & (ndimage.uniform_filter(rng.random(z.shape), 3) < 0.62)
    if rng.random() < 0.6:
        holes |= _blobs(z.shape, float(rng.uniform(1, 12)) / gsd, float(rng.uniform(0, 0.15)), rng)
    return holes
