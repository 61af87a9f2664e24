"""A plugin whose methods break their contract, or use its corners; used through REFBENCH_PLUGINS."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from refbench import DSM, Gives, MethodRecord, Need, Prediction, TileMethod, hookimpl


class _Scene:
    def __init__(self, config, weights):
        pass

    def refine(self, scene, context):
        dsm = scene.dsm.read()
        return self.given(dsm, dsm.heights.copy())


class Layered(_Scene):
    """Fills every hole, raises all by 3 m, and gives a standard deviation and a layer."""

    def given(self, dsm, heights):
        filled = np.nan_to_num(heights, nan=50.0) + np.float32(3)
        sigma, count = np.full_like(heights, 0.5), np.full(heights.shape, 7, np.uint8)
        return Prediction(DSM(filled, dsm.grid), confidence=sigma, layers={"view_count": count})


class Torn(_Scene):
    """Loses one row of heights."""

    def given(self, dsm, heights):
        heights[5] = np.nan
        return Prediction(DSM(heights, dsm.grid))


class Empty(_Scene):
    def given(self, dsm, heights):
        return Prediction(DSM(np.full_like(heights, np.nan), dsm.grid))


class Infinite(_Scene):
    def given(self, dsm, heights):
        return Prediction(DSM(np.full_like(heights, np.inf), dsm.grid))


class Cropped(_Scene):
    def given(self, dsm, heights):
        return Prediction(DSM(heights[:-1], dsm.grid))


class Moved(_Scene):
    def given(self, dsm, heights):
        return Prediction(DSM(heights, replace(dsm.grid, transform=dsm.grid.transform @ dsm.grid.transform.scale(2))))


class Spread(_Scene):
    def given(self, dsm, heights):
        return Prediction(dsm, confidence=np.zeros((3, 3), np.float32))


class Climbing(_Scene):
    def given(self, dsm, heights):
        return Prediction(dsm, layers={"../../up": np.zeros_like(heights)})


class Array(_Scene):
    def given(self, dsm, heights):
        return heights


class _Tiles(TileMethod):
    def __init__(self, config, weights):
        pass


class Wide(_Tiles):
    def refine_tiles(self, batch, context):
        return np.zeros((len(batch), 3, 3), np.float32)


class Blank(_Tiles):
    def refine_tiles(self, batch, context):
        return np.full_like(batch.dsm, np.inf)


class Fallback(_Tiles):
    """Runs with other weights than those it was given."""

    def prepare(self, scene, context):
        self.weights_used = Path(os.environ["REFBENCH_TEST_WEIGHTS"])
        return {}

    def refine_tiles(self, batch, context):
        return batch.dsm


def _record(name, **options):
    target = f"contract_plugin:{name.capitalize()}"
    return MethodRecord(name, target, name, (Need.DSM,), (Gives.DSM,), **options)


BROKEN = ("empty", "infinite", "cropped", "moved", "spread", "climbing", "array", "wide", "blank")


@hookimpl
def refbench_methods():
    return [
        *(_record(name) for name in (*BROKEN, "layered", "torn", "fallback")),
        MethodRecord("filling", "contract_plugin:Layered", "x", (Need.DSM,), (Gives.DSM,), fills=True),
    ]
