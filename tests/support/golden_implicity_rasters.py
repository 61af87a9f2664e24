"""Golden rasters and networks of ImpliCity, for the parity tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from golden_implicity import (
    golden_folder,
)

from refbench.contracts.grid import Grid
from refbench.contracts.method import Context
from refbench.contracts.need import Need
from refbench.engine.tiles.stream import ArrayWriter, run_tiles
from refbench_implicity.official.scene import official_scene

GOLDEN = golden_folder()
NODATA = -9999.0
HERE = Path("case.yaml")


def close(found, expected, tolerance):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance)


def generate(method, config):
    """Heights float32 of the whole test split through the engine, NaN where there is none, and their scene."""
    scene = official_scene(config.dataset)
    assert scene.grid is not None
    method.prepare(scene, Context())
    writer = ArrayWriter(np.full(scene.grid.shape, np.nan, np.float32))
    plan = run_tiles(method, scene, Context(), writer, needs=(Need.POINTS,), fills=True)
    return writer.heights, scene, plan


def check_statistics(found, expected, tolerance):
    assert set(found) == set(expected)
    for kind, values in expected.items():
        for key, value in values.items():
            if value is None:
                assert found[kind][key] is None, (kind, key)
            else:
                assert found[kind][key] == pytest.approx(value, rel=0, abs=tolerance), (kind, key)


def golden_rasters(scene):
    """Reference, masks and their grid."""
    with rasterio.open(GOLDEN / scene / "raster" / "gt_dsm.tif") as file:
        reference, grid = file.read(1).astype(np.float64), Grid(file.width, file.height, file.transform)
    masks = {}
    for name in ("gt", "building", "forest", "water"):
        with rasterio.open(GOLDEN / scene / "raster" / f"mask_{name}.tif") as file:
            masks[name] = file.read(1)
    return reference, masks, grid
