"""Methods each of which breaks one behaviour: the name of its check stands beside its class. Loaded as a plugin."""

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

from refbench import DSM, Gives, Grid, InputError, MethodRecord, Need, Prediction, TileMethod, hookimpl

STEM = "broken_methods"


class Good(TileMethod):
    def __init__(self, config, weights):
        self.config = config

    def refine_tiles(self, batch, context):
        return batch.dsm


class GoodWhole:
    def __init__(self, config, weights):
        pass

    def refine(self, scene, context):
        dsm = scene.dsm.read()
        return Prediction(dsm=DSM(dsm.heights.copy(), dsm.grid))


class NoMethod:
    def __init__(self, config, weights):
        pass


class Raises(Good):
    def refine_tiles(self, batch, context):
        raise RuntimeError("the roof is on fire")


class WrongShape(Good):
    def refine_tiles(self, batch, context):
        return batch.dsm[:, 1:]


class Shifted(GoodWhole):
    def refine(self, scene, context):
        dsm = scene.dsm.read()
        moved = dsm.grid.transform.translation(1, 0) @ dsm.grid.transform
        return Prediction(dsm=DSM(dsm.heights, Grid(dsm.grid.width, dsm.grid.height, moved, dsm.grid.crs)))


class ForgetsCRS(GoodWhole):
    def refine(self, scene, context):
        dsm = scene.dsm.read()
        return Prediction(dsm=DSM(dsm.heights, Grid(dsm.grid.width, dsm.grid.height, dsm.grid.transform)))


class Doubles(Good):
    def refine_tiles(self, batch, context):
        return batch.dsm.astype(np.float64)


class Infinite(Good):
    def refine_tiles(self, batch, context):
        return np.where(np.isnan(batch.dsm), np.float32(np.inf), batch.dsm)


class Promises(Good):
    pass


class OddNotes(Good):
    def prepare(self, scene, context):
        return {"when": SimpleNamespace(now=1)}


class Percent(GoodWhole):
    def refine(self, scene, context):
        context.report(50, "half")
        return super().refine(scene, context)


class NegativeSigma(Good):
    def layers(self):
        return ("confidence",)

    def refine_tiles(self, batch, context):
        return {"dsm": batch.dsm, "confidence": np.full_like(batch.dsm, -1)}


class WritesOnInput(Good):
    def refine_tiles(self, batch, context):
        batch.dsm[np.isnan(batch.dsm)] = 0
        return batch.dsm


class ReadsMore(GoodWhole):
    def refine(self, scene, context):
        if scene.ndvi is not None:
            scene.ndvi.read()
        return super().refine(scene, context)


class WantsOption(GoodWhole):
    def refine(self, scene, context):
        scene.ndvi.read()
        return super().refine(scene, context)


class Peeks(GoodWhole):
    def refine(self, scene, context):
        from refbench.formats.raster import open_dsm

        if scene.folder is not None and (scene.folder / "reference.tif").is_file():
            dsm = open_dsm(scene.folder / "reference.tif").read()
            return Prediction(dsm=DSM(dsm.heights, scene.grid))
        return super().refine(scene, context)


class Centimetres(Good):
    def refine_tiles(self, batch, context):
        offset = batch.height_offset[:, None, None].astype(np.float32)
        return (batch.dsm + offset) * 100 - offset


class Absolute(Good):
    """Adds a tenth of the absolute height: near enough at 100 m, and wrong."""

    def refine_tiles(self, batch, context):
        return batch.dsm + 0.05 * batch.height_offset[:, None, None].astype(np.float32)


class EatsHeights(Good):
    def refine_tiles(self, batch, context):
        heights = batch.dsm.copy()
        for row, col in np.ndindex(3, 3):
            heights += 0 * np.roll(batch.dsm, (5 * (row - 1), 5 * (col - 1)), (1, 2))
        return heights


class LeaksCode(Good):
    def refine_tiles(self, batch, context):
        heights = batch.dsm.copy()
        for tile, window, offset in zip(heights, batch.windows, batch.height_offset, strict=True):
            tile[:, (window.col_off + np.arange(window.width)) % 7 == 0] = -9999 - offset
        return heights


class SaysFills(Good):
    pass


class Draws(Good):
    def refine_tiles(self, batch, context):
        return batch.dsm + np.random.default_rng().normal(0, 0.1, batch.dsm.shape).astype(np.float32)


class FollowsSeed(Good):
    def refine_tiles(self, batch, context):
        return batch.dsm + np.float32(context.seed % 7 + 1) / 10


class SeedsAll(Good):
    def refine_tiles(self, batch, context):
        np.random.seed(0)
        return batch.dsm


class MixesBatch(Good):
    def refine_tiles(self, batch, context):
        return batch.dsm + np.float32(0.01 * len(batch))


class KnowsTile(Good):
    def refine_tiles(self, batch, context):
        ramp = np.linspace(0, 2, batch.dsm.shape[2], dtype=np.float32)
        return batch.dsm + ramp


class SquareOnly(GoodWhole):
    def refine(self, scene, context):
        dsm = scene.dsm.read()
        side = max(dsm.grid.shape)
        if min(dsm.grid.shape) > 16 and dsm.heights.size != side * side:
            raise ValueError("cannot reshape")
        return super().refine(scene, context)


class NeedsRoom(GoodWhole):
    def refine(self, scene, context):
        scene.dsm.read().heights[8, 8]  # an IndexError on less
        return super().refine(scene, context)


class NorthUp(GoodWhole):
    def refine(self, scene, context):
        dsm = scene.dsm.read()
        grid = Grid.snap(scene.grid.bounds, scene.grid.gsd, scene.grid.crs)
        heights = dsm.heights if grid.shape == dsm.grid.shape else np.zeros(grid.shape, np.float32)
        return Prediction(dsm=DSM(heights, grid))


class NeedsHeights(GoodWhole):
    def refine(self, scene, context):
        np.nanargmin(scene.dsm.read().heights)
        return super().refine(scene, context)


class Stubborn(GoodWhole):
    def refine(self, scene, context):
        for step in range(10):
            context.report(step / 10, "on and on")
        return super().refine(scene, context)


class CallsHome(Good):
    def prepare(self, scene, context):
        with socket.socket() as line:
            line.settimeout(0.2)
            _try(line)
        return {}


def _try(line):
    with contextlib.suppress(OSError):
        line.connect(("127.0.0.1", 9))


class Litters(Good):
    def prepare(self, scene, context):
        folder = Path(os.environ["BROKEN_LITTER"])
        (folder / "litter.txt").write_text("here")
        return {}


class OtherInProcess(Good):
    def refine_tiles(self, batch, context):
        in_job = "REFBENCH_PROGRESS_FD" in os.environ
        return batch.dsm + np.float32(in_job)


@dataclass(frozen=True)
class Drifting:
    size: int = 3

    def __post_init__(self):
        object.__setattr__(self, "size", self.size + 1)


@checked_dataclass(frozen=True, config=ConfigDict(extra="allow"))
class Loose:
    size: int = 3


class HasFit(Good):
    def fit(self, scenes, context, *, steps=None, folder=None, resume=False):
        raise InputError("not today")


class _Learnt:
    def __init__(self, name):
        self.name = name
        self.provenance = {}

    def save(self, folder):
        from refbench.weights.weights_folder import write_weights

        write_weights(folder, {"bias": np.ones(1, np.float32)}, {"method": self.name}, "")


class LosesWeights(Good):
    """Loads something else each time."""

    def __init__(self, config, weights):
        self.bias = 0.0 if weights is None else time.perf_counter() % 1

    def refine_tiles(self, batch, context):
        return batch.dsm + np.float32(self.bias)

    def fit(self, scenes, context, *, steps=None, folder=None, resume=False):
        return _Learnt("loses-weights")


class ChangesItself(Good):
    bias = 0.0

    def refine_tiles(self, batch, context):
        return batch.dsm + np.float32(self.bias)

    def fit(self, scenes, context, *, steps=None, folder=None, resume=False):
        self.bias += 1
        return _Learnt("changes-itself")


BREAKS = {
    "good": (Good, None, {}),
    "good-whole": (GoodWhole, None, {}),
    "two-lines": (Good, "record", {"summary": "one\ntwo"}),
    "no-such-weights": (Good, "weights-named", {"weights": ("big",), "weights_in": "refbench:contracts"}),
    "no-method": (NoMethod, "loads", {}),
    "loose": (Good, "unknown-key", {"config": f"{STEM}:Loose"}),
    "drifting": (Good, "config-repeats", {"config": f"{STEM}:Drifting"}),
    "raises": (Raises, "runs", {}),
    "wrong-shape": (WrongShape, "shape", {}),
    "shifted": (Shifted, "grid", {}),
    "forgets-crs": (ForgetsCRS, "crs", {}),
    "doubles": (Doubles, "dtype", {}),
    "infinite": (Infinite, "finite", {}),
    "promises": (Promises, "gives", {"gives": (Gives.DSM, Gives.CONFIDENCE)}),
    "odd-notes": (OddNotes, "notes", {}),
    "percent": (Percent, "progress", {}),
    "negative-sigma": (NegativeSigma, "sigma", {"gives": (Gives.DSM, Gives.CONFIDENCE)}),
    "writes-on-input": (WritesOnInput, "inputs-unchanged", {}),
    "reads-more": (ReadsMore, "needs-declared", {}),
    "wants-option": (WantsOption, "optional-absent", {"optional": (Need.NDVI,)}),
    "peeks": (Peeks, "reference-untouched", {}),
    "centimetres": (Centimetres, "units", {}),
    "absolute": (Absolute, "datum", {}),
    "eats-heights": (EatsHeights, "nodata-kept", {}),
    "leaks-code": (LeaksCode, "nodata-code", {}),
    "says-fills": (SaysFills, "fills", {"fills": True}),
    "draws": (Draws, "deterministic", {"stochastic": True}),
    "follows-seed": (FollowsSeed, "seed", {}),
    "seeds-all": (SeedsAll, "surroundings", {}),
    "mixes-batch": (MixesBatch, "batching", {}),
    "knows-tile": (KnowsTile, "tiling", {}),
    "square-only": (SquareOnly, "not-square", {}),
    "needs-room": (NeedsRoom, "small", {}),
    "north-up": (NorthUp, "rotated", {}),
    "needs-heights": (NeedsHeights, "all-nodata", {}),
    "stubborn": (Stubborn, "cancel", {}),
    "calls-home": (CallsHome, "no-network", {}),
    "litters": (Litters, "writes-inside", {}),
    "other-in-process": (OtherInProcess, "subprocess", {}),
    "has-fit": (HasFit, "fit", {}),
    "loses-weights": (LosesWeights, "save-load", {"trainable": True}),
    "changes-itself": (ChangesItself, "fit-leaves", {"trainable": True}),
}
"""Method -> its class, the one check that it fails, and what its record says beside the usual."""


def _record(name, kind, said):
    values = {"summary": name, "needs": (Need.DSM,), "gives": (Gives.DSM,), "official_licence": "", **said}
    return MethodRecord(name=name, target=f"{STEM}:{kind.__name__}", **values)


@hookimpl
def refbench_methods():
    return [_record(name, kind, said) for name, (kind, _, said) in BREAKS.items()]
