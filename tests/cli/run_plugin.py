"""A plugin whose methods end in every way that a job can end; used through REFBENCH_PLUGINS."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from refbench import Gives, MethodRecord, Need, TileMethod, hookimpl


class _Local(TileMethod):
    def __init__(self, config, weights):
        pass

    def refine_tiles(self, batch, context):
        return batch.dsm


class Fine(_Local):
    def prepare(self, scene, context):
        assert scene.reference is None, "a method must not see the reference"
        return {"remarks": ["all is fine"]}


class Failing(_Local):
    def refine_tiles(self, batch, context):
        raise RuntimeError("the roof is on fire")


class Hanging(_Local):
    def refine_tiles(self, batch, context):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(f"grandchild {child.pid}", flush=True)
        time.sleep(600)


class Crashing(_Local):
    def refine_tiles(self, batch, context):
        os.kill(os.getpid(), signal.SIGSEGV)


class Hungry(_Local):
    def refine_tiles(self, batch, context):
        return np.ones((1 << 40,), np.float32)


def _record(name, **options):
    values = {"needs": (Need.DSM,), "gives": (Gives.DSM,), "summary": name, **options}
    return MethodRecord(name=name, target=f"run_plugin:{name.capitalize()}", **values)


@hookimpl
def refbench_methods():
    return [
        *(_record(name) for name in ("fine", "failing", "hanging", "crashing", "hungry")),
        _record("skipped", needs_weights=True),
        _record("unsupported", needs=(Need.NDVI,)),
        _record("missing", packages=("no_such_package",), extras=("nothing",)),
    ]


@hookimpl
def refbench_event(event):
    if "REFBENCH_TEST_EVENTS" in os.environ:
        with Path(os.environ["REFBENCH_TEST_EVENTS"]).open("a") as file:
            file.write(f"{event.kind} {event.phase}\n")
