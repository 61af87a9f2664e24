"""A given surface, such as a LiDAR survey, as the world of a city: its lattice as a mesh, materials by its shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from refbench.city.build import World
from refbench.city.mesh import Kind, Mesh
from refbench.city.palette import crown_colour, flat_roof_colour, tile_roof_colour, wall_colour
from refbench.city.plan import Cover, CoverMap, make_street_frame
from refbench.city.terrain import APRON, Terrain, spectral_noise
from refbench.contracts.errors import InputError
from refbench.contracts.method import derived_rng
from refbench.geometry.nodata_fill import filled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.raster import DSM

    F8 = NDArray[np.float64]

LATTICE_M = 0.5
"""Nodes of the mesh are at most this far apart, so that walls stand steeper than on the surface's own pixels."""
OPENING_M = 40.0
"""What is narrower than this stands on the ground."""
STANDS_M = 2.0
ROUGH_M = 0.3
"""Mean departure from the neighbours' mean above which what stands is a crown."""
WALL_SLOPE = 2.0
STEP_M = 1.5
FEWEST_KNOWN = 0.3


def surface_world(seed: int, half: float, surface: DSM) -> World:
    """Return a random part of ``surface``, turned by quarters, over the square [-half, half]^2 of local metres.

    Small surfaces are continued by reflection; what they do not know is filled from its surroundings.

    Raises
    ------
    InputError
        Less than a third of the surface is known.
    """
    rng = derived_rng(seed, "city 2", "surface")
    heights, step = _lattice(surface, half, rng)
    standing = heights - _ground(heights, step)
    # Roofs follow their neighbours, crowns do not.
    rough = ndimage.uniform_filter(np.abs(heights - ndimage.uniform_filter(heights, 3)), 7)
    stands = standing > STANDS_M
    building = ndimage.binary_opening(stands & (rough < ROUGH_M), iterations=2)
    crown = stands & ~ndimage.binary_dilation(building, iterations=2)
    cover = _cover(half, rng)
    mesh, counts = _mesh(heights, step, (building, crown), rng)
    return World(mesh, cover, Terrain(heights, step * (len(heights) - 1) / 2, step), "surface", *counts)


def _lattice(surface: DSM, half: float, rng: np.random.Generator) -> tuple[F8, float]:
    """Return heights [n, n], rows from south to north, centred on the origin, and their step in metres."""
    heights = surface.heights.astype(np.float64)
    if np.isfinite(heights).mean() < FEWEST_KNOWN:
        raise InputError(f"Only {100 * np.isfinite(heights).mean():.0f} % of the surface is known; 30 % are needed.")
    heights = np.rot90(filled(heights), int(rng.integers(4)))
    heights = heights[:, ::-1] if rng.random() < 0.5 else heights
    step = surface.grid.gsd
    count = int(np.ceil(2 * half / step)) + 2
    # A small surface is mirrored until it is large enough.
    short = [max(0, count - side) for side in heights.shape]
    heights = np.pad(heights, [(0, short[0]), (0, short[1])], mode="symmetric")
    row, col = (int(rng.integers(0, side - count + 1)) for side in heights.shape)
    part = heights[row : row + count, col : col + count]
    times = int(np.ceil(step / LATTICE_M - 1e-6))
    if times > 1:
        near = np.repeat(np.repeat(part, times, axis=0), times, axis=1)
        at = (np.arange(count * times) + 0.5) / times - 0.5
        smooth = ndimage.map_coordinates(part, np.meshgrid(at, at, indexing="ij"), order=1, mode="nearest")
        span = ndimage.maximum_filter(part, 3) - ndimage.minimum_filter(part, 3)
        is_step = np.repeat(np.repeat(span > STEP_M, times, axis=0), times, axis=1)
        part = np.where(is_step, near, smooth)
    return part, step / times


def _ground(heights: F8, step: float) -> F8:
    """Return the ground by a morphological opening, found on a coarse lattice."""
    coarse = max(1, round(2.0 / step))
    low = ndimage.minimum_filter(heights, coarse)[::coarse, ::coarse]
    reach = max(3, round(OPENING_M / (coarse * step)))
    opened = ndimage.gaussian_filter(ndimage.maximum_filter(ndimage.minimum_filter(low, reach), reach), reach / 4)
    at = np.arange(len(heights)) / coarse
    return np.asarray(
        ndimage.map_coordinates(opened, np.meshgrid(at, at, indexing="ij"), order=1, mode="nearest"), np.float64
    )


def _cover(half: float, rng: np.random.Generator) -> CoverMap:
    """Return a cover of patches: two fields of noise choose between lawns, soil, gravel and sealed ground."""
    cover = CoverMap(half, make_street_frame(rng))
    size = len(cover.values)
    first, second = (_stretched(spectral_noise(rng, 256, 1.4), size) for _ in range(2))
    choices = np.array([Cover.ASPHALT, Cover.PAVING, Cover.GRAVEL, Cover.SOIL, Cover.GRASS, Cover.MEADOW])
    order = rng.permutation(choices)
    level = np.digitize(first + 0.3 * second, [-1.0, -0.3, 0.3, 0.8, 1.3])
    cover.values[:] = order[level]
    return cover


def _stretched(noise: F8, size: int) -> F8:
    at = np.linspace(0, len(noise) - 1, size)
    return np.asarray(ndimage.map_coordinates(noise, np.meshgrid(at, at, indexing="ij"), order=1))


def _mesh(
    heights: F8, step: float, classes: tuple[NDArray[np.bool_], NDArray[np.bool_]], rng: np.random.Generator
) -> tuple[Mesh, tuple[int, int]]:
    """Return the mesh with an apron of level ground, and the numbers of buildings and of groups of trees."""
    building, crown = classes
    houses, n_houses = ndimage.label(building)
    groves, n_groves = ndimage.label(crown)
    half = step * (len(heights) - 1) / 2
    axis = np.arange(len(heights)) * step - half
    apron = np.array(APRON)
    full = np.concatenate([-half - apron[::-1], axis, half + apron])
    pad = len(apron)
    z = np.pad(heights, pad, mode="edge")
    x, y = np.meshgrid(full, full)
    index = np.arange(x.size).reshape(x.shape)
    sw, se, nw, ne = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate([np.stack(c, axis=-1).reshape(-1, 3) for c in ((sw, se, ne), (sw, ne, nw))])
    # Rows of the surface table: ground, then wall and roof of every house, then the groves.
    house, grove = (np.pad(labels, pad).ravel()[triangles].max(axis=1) for labels in (houses, groves))
    corner = z.ravel()[triangles]
    steep = (corner.max(axis=1) - corner.min(axis=1)) > WALL_SLOPE * step
    surface = np.where(grove > 0, 2 * n_houses + grove, 0)
    surface = np.where(house > 0, 2 * house - steep, surface)
    kinds, colours = [Kind.GROUND], [(1.0, 1.0, 1.0, 1.0)]
    for _ in range(n_houses):
        is_flat = rng.random() < 0.5
        kinds += [Kind.WALL, Kind.ROOF_FLAT if is_flat else Kind.ROOF_TILE]
        colours += [wall_colour(rng, "house"), flat_roof_colour(rng) if is_flat else tile_roof_colour(rng)]
    kinds += [Kind.CROWN] * n_groves
    colours += [crown_colour(rng) for _ in range(n_groves)]
    phase = rng.uniform(0.0, 40.0, (len(kinds), 2)).astype(np.float32)
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    table = np.array(kinds, np.uint8), np.array(colours, np.float32), phase
    return Mesh(vertices, triangles, surface.astype(np.int64), *table), (n_houses, n_groves)
