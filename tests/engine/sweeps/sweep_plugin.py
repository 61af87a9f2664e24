"""A plugin whose methods misbehave in every way that a sweep must survive; used through REFBENCH_PLUGINS."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from refbench import DSM, Gives, MethodRecord, Need, Prediction, TileMethod, hookimpl


@dataclass(frozen=True)
class ShiftConfig:
    metres: float = 1.0
    steps: int = 1


class _Plain:
    def __init__(self, config, weights):
        self.config = config


class Shift(_Plain):
    def refine(self, scene, context):
        dsm = scene.dsm.read()
        return Prediction(DSM(dsm.heights + np.float32(self.config.metres * self.config.steps), dsm.grid))


class Noisy(_Plain):
    """Takes a moment, and depends on the seed."""

    def refine(self, scene, context):
        dsm = scene.dsm.read()
        for step in range(5):
            context.report(step / 5, "working")
            time.sleep(0.05)
        noise = context.rng("noise").normal(0, 0.5, dsm.heights.shape).astype(np.float32)
        return Prediction(DSM(dsm.heights + noise, dsm.grid))


class Raising(_Plain):
    def refine(self, scene, context):
        raise RuntimeError("the roof <b>is</b> on fire")


class Hanging(_Plain):
    def refine(self, scene, context):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)


class Killing(_Plain):
    def refine(self, scene, context):
        os.kill(os.getpid(), signal.SIGKILL)


class Exiting(_Plain):
    def refine(self, scene, context):
        os._exit(7)


class Growing(_Plain):
    """Asks for a little more memory, without end."""

    def refine(self, scene, context):
        held = []
        while True:
            held.append(bytearray(1 << 20))


class Arrays(_Plain):
    def refine(self, scene, context):
        held = []
        while True:
            held.append(np.ones(1 << 22))


class WrongGrid(_Plain):
    def refine(self, scene, context):
        dsm = scene.dsm.read()
        grid = replace(dsm.grid, transform=dsm.grid.transform @ dsm.grid.transform.translation(3, 0))
        return Prediction(DSM(dsm.heights, grid))


class AllNaN(_Plain):
    def refine(self, scene, context):
        grid = scene.require_grid()
        return Prediction(DSM(np.full(grid.shape, np.nan, np.float32), grid))


class Integers(_Plain):
    def refine(self, scene, context):
        dsm = scene.dsm.read()
        return Prediction(DSM(np.nan_to_num(dsm.heights).astype(np.int32), dsm.grid))


class IntegerTiles(TileMethod):
    def __init__(self, config, weights):
        pass

    def refine_tiles(self, batch, context):
        return np.nan_to_num(batch.dsm).astype(np.int64)


class Forking(_Plain):
    """Leaves children behind, one started by a fork and one by a shell, and then waits or ends."""

    wait = False

    def refine(self, scene, context):
        dsm = scene.dsm.read()
        pid = os.fork()
        if pid == 0:
            time.sleep(600)
            os._exit(0)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["REFBENCH_TEST_PIDS"]).write_text(f"{os.getpid()} {pid} {child.pid}")
        if self.wait:
            time.sleep(600)
        return Prediction(dsm)


class Spinning(Forking):
    wait = True


class Lying(_Plain):
    """Spoils what the engine reads back."""

    def refine(self, scene, context):
        os.write(int(os.environ["REFBENCH_PROGRESS_FD"]), b'no json\n{"phase": []}\n')
        (context.scratch.parent / "draft.json").write_text('{"ending": {"status": "splendid"}}')
        os._exit(0)


def _record(target, **options):
    name = "".join(f"-{c.lower()}" if c.isupper() else c for c in target).strip("-").replace("-na-n", "-nan")
    return MethodRecord(name, f"sweep_plugin:{target}", name, (Need.DSM,), (Gives.DSM,), **options)


@hookimpl
def refbench_methods():
    targets = ("Raising", "Hanging", "Killing", "Exiting", "Growing", "Arrays", "WrongGrid", "AllNaN", "Integers")
    return [
        *(_record(target) for target in (*targets, "IntegerTiles", "Forking", "Spinning", "Lying")),
        _record("Shift", config="sweep_plugin:ShiftConfig"),
        _record("Noisy", stochastic=True),
        MethodRecord("weightless", "sweep_plugin:Shift", "none", (Need.DSM,), (Gives.DSM,), needs_weights=True),
        MethodRecord("lonely", "sweep_plugin:Shift", "x", (Need.DSM,), (Gives.DSM,), packages=("no_such_module",)),
        MethodRecord("viewing", "sweep_plugin:Noisy", "views", (Need.VIEWS,), (Gives.DSM,)),
    ]
