"""Procedural reflectance of a point on a surface: leaf clumps, tile courses, stains, windows, ripples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from refbench.city.mesh import Kind
from refbench.city.palette import cover_table
from refbench.city.plan import Cover
from refbench.city.terrain import spectral_noise
from refbench.contracts.method import derived_rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.city.mesh import Mesh
    from refbench.city.plan import CoverMap

    F4 = NDArray[np.float32]

TILE = 1024
"""Side of the periodic noise tiles in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Where rays met the mesh: ``xyz`` float64 [n, 3] local metres, ``normal`` float32 [n, 3] unit, facing the
    camera, ``surface`` int64 [n] rows of the surface table.
    """

    xyz: NDArray[np.float64]
    normal: F4
    surface: NDArray[np.int64]


class Texture:
    """The materials of one city."""

    def __init__(self, seed: int, mesh: Mesh, cover: CoverMap) -> None:
        """Draw the noise tiles of the city."""
        rng = derived_rng(seed, "city", "texture")
        self._mesh, self._cover = mesh, cover
        self._fine = spectral_noise(rng, TILE, 0.35).astype(np.float32)
        self._rough = spectral_noise(rng, TILE, 0.9).astype(np.float32)
        self._smooth = spectral_noise(rng, TILE, 1.6).astype(np.float32)
        self._colours = cover_table()

    def reflectance(self, hits: Hits) -> F4:
        """Return the reflectance float32 [n, 4] in [0, 1] of every hit."""
        kind = self._mesh.kind[hits.surface]
        out = self._mesh.colour[hits.surface].copy()
        painters = {
            Kind.GROUND: self._ground,
            Kind.ROOF_TILE: self._tiles,
            Kind.ROOF_FLAT: self._flat,
            Kind.ROOF_METAL: self._metal,
            Kind.WALL: self._wall,
            Kind.CROWN: self._crown,
            Kind.DECK: self._deck,
        }
        for which, paint in painters.items():
            index = np.nonzero(kind == which)[0]
            if index.size:
                part = Hits(hits.xyz[index], hits.normal[index], hits.surface[index])
                out[index] = paint(part, out[index])
        return np.clip(out, 0.0, 1.0)

    def bump(self, hits: Hits) -> F4:
        """Return the shading normals: crowns are broken up by leaf clumps, everything else is smooth."""
        normal = hits.normal
        crown = np.nonzero(self._mesh.kind[hits.surface] == Kind.CROWN)[0]
        if not crown.size:
            return normal
        x, y, z = (hits.xyz[crown] + self._shift(hits.surface[crown])).astype(np.float32).T
        rough = np.stack(
            [_lookup(self._rough, x + 0.7 * z, y, 0.16), _lookup(self._rough, y, z + 0.6 * x, 0.16)], axis=1
        )
        bumped = normal.copy()
        bumped[crown, :2] += 0.35 * rough
        bumped[crown, 2] += 0.25
        return np.asarray(bumped / np.linalg.norm(bumped, axis=1, keepdims=True), np.float32)

    def _shift(self, surface: NDArray[np.int64]) -> NDArray[np.float64]:
        phase = self._mesh.phase[surface].astype(np.float64)
        return np.column_stack([phase, np.zeros(len(phase))])

    def _ground(self, hits: Hits, colour: F4) -> F4:
        del colour
        xy = hits.xyz[:, :2]
        cover = self._cover.cover_at(xy)
        x, y = xy.astype(np.float32).T
        fine, rough, smooth = (
            _lookup(self._fine, x, y, 0.2),
            _lookup(self._rough, x, y, 0.35),
            _lookup(self._smooth, x, y, 0.8),
        )
        amplitude = np.full(len(Cover), 0.1, np.float32)
        stains = np.full(len(Cover), 0.12, np.float32)
        amplitude[[Cover.GRASS, Cover.MEADOW, Cover.GRAVEL, Cover.SOIL]] = 0.2
        amplitude[[Cover.WATER, Cover.MARKING]] = 0.03
        stains[[Cover.GRASS, Cover.MEADOW, Cover.SOIL]] = 0.22
        stains[[Cover.WATER]] = 0.06
        factor = 1 + amplitude[cover] * (0.8 * fine + 0.7 * rough) + stains[cover] * smooth
        out = self._colours[cover] * np.maximum(factor, 0.25)[:, None]
        # Dry patches turn lawns towards straw.
        dry = np.where(np.isin(cover, (Cover.GRASS, Cover.MEADOW)), np.clip(0.22 * smooth + 0.1 * rough, 0, 0.6), 0)
        straw = np.array([0.20, 0.17, 0.10, 0.33], np.float32)
        return np.asarray(out + dry[:, None] * (straw - out), np.float32)

    def _plane(self, hits: Hits) -> tuple[F4, F4]:
        """Return coordinates on a sloping plane in metres: across the slope, and up along it."""
        nx, ny, nz = hits.normal.T
        level = np.maximum(np.hypot(nx, ny), 1e-6)
        x, y, z = hits.xyz.astype(np.float32).T
        phase = self._mesh.phase[hits.surface]
        across = (-ny * x + nx * y) / level + phase[:, 0]
        # Up the slope: height over the sine of the slope; on level planes fall back on the plan.
        up = np.where(level > 0.02, z / level, x + nz * y) + phase[:, 1]
        return across, up

    def _tiles(self, hits: Hits, colour: F4) -> F4:
        across, up = self._plane(hits)
        x, y = (hits.xyz[:, :2] + self._mesh.phase[hits.surface]).astype(np.float32).T
        course = (np.mod(up, 0.36) < 0.1).astype(np.float32)
        single = _lookup(self._fine, np.floor(across / 0.3) * 0.9, np.floor(up / 0.36) * 0.9, 0.3)
        factor = 1 - 0.22 * course + 0.13 * single + 0.12 * _lookup(self._smooth, x, y, 0.5)
        factor += 0.10 * _lookup(self._rough, across, up * 0.3, 0.25)
        return np.asarray(colour * np.maximum(factor, 0.3)[:, None], np.float32)

    def _flat(self, hits: Hits, colour: F4) -> F4:
        x, y = (hits.xyz[:, :2] + self._mesh.phase[hits.surface]).astype(np.float32).T
        seam = (np.mod(x, 4.1) < 0.14) | (np.mod(y, 9.7) < 0.14)
        factor = 1 + 0.13 * _lookup(self._fine, x, y, 0.2) + 0.12 * _lookup(self._rough, x, y, 0.5)
        factor += 0.16 * _lookup(self._smooth, x, y, 0.5) - 0.18 * seam
        return np.asarray(colour * np.maximum(factor, 0.3)[:, None], np.float32)

    def _metal(self, hits: Hits, colour: F4) -> F4:
        across, up = self._plane(hits)
        rib = (np.mod(across, 1.1) < 0.16).astype(np.float32)
        rust = _lookup(self._smooth, across, up * 0.4, 0.4)
        factor = 1 - 0.2 * rib + 0.1 * rust + 0.06 * _lookup(self._fine, across, up, 0.3)
        return np.asarray(colour * np.maximum(factor, 0.3)[:, None], np.float32)

    def _wall(self, hits: Hits, colour: F4) -> F4:
        across, up = self._plane(hits)
        window = (np.mod(across, 2.9) < 1.3) & (np.mod(up, 3.0) > 1.1) & (np.mod(up, 3.0) < 2.6)
        plain = np.abs(hits.normal[:, 2]) > 0.3
        factor = 1 + 0.07 * _lookup(self._rough, across, up, 0.3) + 0.06 * _lookup(self._smooth, across, up, 0.4)
        out = colour * factor[:, None]
        glass = np.array([0.05, 0.055, 0.065, 0.06], np.float32)
        return np.asarray(np.where((window & ~plain)[:, None], glass, out), np.float32)

    def _crown(self, hits: Hits, colour: F4) -> F4:
        x, y, z = (hits.xyz + self._shift(hits.surface)).astype(np.float32).T
        leaves = _lookup(self._fine, x + 0.7 * z, y - 0.5 * z, 0.22)
        clumps = _lookup(self._rough, y + 0.4 * z, x, 0.3)
        return np.asarray(colour * np.maximum(1 + 0.28 * leaves + 0.25 * clumps, 0.2)[:, None], np.float32)

    def _deck(self, hits: Hits, colour: F4) -> F4:
        x, y = hits.xyz[:, :2].astype(np.float32).T
        factor = 1 + 0.12 * _lookup(self._fine, x, y, 0.2) + 0.1 * _lookup(self._smooth, x, y, 0.4)
        return np.asarray(colour * factor[:, None], np.float32)


def _lookup(tile: F4, u: F4, v: F4, step: float) -> F4:
    """Return the periodic ``tile`` at (u, v) in metres, bilinear; ``step`` is the size of its pixels."""
    # OpenCV takes maps of at most 32,767 pixels a side, so the list of points is folded.
    count = len(u)
    width = 4096
    rows = -(-count // width)
    maps = np.zeros((2, rows * width), np.float32)
    np.mod(u / step, TILE, out=maps[0, :count])
    np.mod(v / step, TILE, out=maps[1, :count])
    out = np.empty(rows * width, np.float32)
    for start in range(0, rows, 16384):
        part = slice(start * width, min(start + 16384, rows) * width)
        shape = (-1, width)
        out[part] = cv2.remap(
            tile,
            maps[0, part].reshape(shape),
            maps[1, part].reshape(shape),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        ).ravel()
    return out[:count]
