"""A packed scene with one block and a tiny network, for the tests of ImpliCity's training."""

import numpy as np
from makers import grid_of

from refbench import DSM, Image, PointCloud, Scene
from refbench.contracts.scene import Reference
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import ArraySource
from refbench_implicity.config import (
    DecoderConfig,
    ModelConfig,
    PointEncoderConfig,
    UNetConfig,
)
from refbench_implicity.training.city_items import PackedScene

WEST, NORTH, GSD, SIDE = 700_000.0, 5_000_096.0, 0.5, 192
TINY = ModelConfig(
    PointEncoderConfig(hidden_dim=4, feature_dim=4, n_blocks=2, plane_resolution=16, unet=UNetConfig(2, start_filts=4)),
    None,
    DecoderConfig(feature_dim=4, hidden_size=4, n_blocks=2),
)


def block(seed=0):
    """A packed scene: sloping ground with one block of 10 m, noisy points, two scaled images."""
    rng = np.random.default_rng(seed)
    heights = np.full((SIDE, SIDE), 400, np.float32) + np.linspace(0, 2, SIDE, dtype=np.float32)
    heights[60:120, 50:130] += 10
    row, col = rng.integers(SIDE, size=(2, 20_000))
    x, y = WEST + (col + rng.random(20_000)) * GSD, NORTH - (row + rng.random(20_000)) * GSD
    points = np.stack([x, y, heights[row, col] + rng.normal(0, 0.5, 20_000)], axis=1)
    orthos = np.stack([heights - 405, rng.normal(size=heights.shape)]).astype(np.float32)
    return PackedScene(f"block-{seed}", points, orthos, heights, (WEST, NORTH), GSD, heights + np.float32(1))


def real_scene(**changes):
    packed = block()
    grid = grid_of(SIDE, SIDE, GSD, WEST, NORTH, None)
    counts = np.stack([(packed.orthos[0] * 40 + 900), (packed.orthos[0] * 20 + 300)]).astype(np.uint16)
    images = {"a": Image(counts, grid), "b": Image(counts[:1], grid)}
    parts = {
        "id": "real",
        "grid": grid,
        "points": HeldPoints(PointCloud(packed.points)),
        "orthos": {name: ArraySource(image) for name, image in images.items()},
        "reference": Reference(dsm=ArraySource(DSM(packed.dsm, grid))),
    }
    return Scene(**{**parts, **changes}), counts
