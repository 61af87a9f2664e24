"""Folders of sweeps for tests: real DSMs with known errors, scored by the real evaluation, without running methods."""

import json
from dataclasses import replace

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from refbench.contracts.grid import Grid
from refbench.contracts.raster import DSM
from refbench.engine.job.request import JobRequest, SceneRequest
from refbench.engine.job.result import Cost, Hashes, Phase, Result, Status, json_ready, write_result
from refbench.evaluation.evaluate import evaluate_pair
from refbench.files.hashing import hash_file
from refbench.formats.raster import write_dsm

SIZE = 192
GRID = Grid(SIZE, SIZE, Affine(1, 0, 500_000, 0, -1, 5_000_000), CRS.from_epsg(32632))


class SweepMaker:
    """Writes scenes and cells below ``out``."""

    def __init__(self, out, *, initial=1.0):
        self.out, self.initial = out, initial
        (out / "jobs").mkdir(parents=True)

    def surface(self, scene, error, holes=None):
        """Return the reference of a scene plus an error."""
        rng = np.random.default_rng(sum(map(ord, scene)))
        heights = (rng.normal(100, 2, (SIZE, SIZE)) + error).astype(np.float32)
        if holes is not None:
            heights[holes] = np.nan
        return DSM(heights, GRID)

    def scene(self, name):
        """Return the files of a scene, written on first use: a reference, and an initial DSM above it."""
        folder = self.out / "scenes" / name
        files = {key: folder / f"{key}.tif" for key in ("dsm", "reference")}
        if not folder.exists():
            folder.mkdir(parents=True)
            write_dsm(files["dsm"], self.surface(name, self.initial))
            write_dsm(files["reference"], self.surface(name, 0.0))
        return files

    def ok(self, label, scene, error, *, seed=0, holes=None, method=None, wall_s=2.0):
        """Add a cell that ended ok with a DSM of a known error."""
        files = self.scene(scene)
        folder = self.folder(label, scene, seed)
        refined = self.surface(scene, error, holes)
        write_dsm(folder / "dsm.tif", refined)
        metrics = evaluate_pair(self.surface(scene, self.initial), refined, self.surface(scene, 0.0), bootstrap=False)
        inputs = {key: hash_file(path) for key, path in files.items()}
        self.write(
            folder,
            files,
            method or label,
            Result(
                refbench_version="0",
                method=method or label,
                scene=scene,
                seed=seed,
                status=Status.OK,
                metrics=json_ready(metrics),
                phases=[Phase(name="refine", wall_s=wall_s / 2, cpu_s=wall_s / 2)],
                cost=Cost(wall_s=wall_s, cpu_s=wall_s, peak_memory_bytes=64 << 20),
                hashes=Hashes(inputs=inputs, outputs={"dsm.tif": hash_file(folder / "dsm.tif")}),
                outputs={"dsm": "dsm.tif"},
            ),
        )

    def ended(self, label, scene, status, reason, *, seed=0, log=()):
        """Add a cell that ended otherwise."""
        folder = self.folder(label, scene, seed)
        values = {"status": status, "reason": reason, "log_tail": list(log), "metrics_reason": "Nothing was scored."}
        result = Result(refbench_version="0", method=label, scene=scene, seed=seed, **values)
        self.write(folder, self.scene(scene), label, result)

    def folder(self, label, scene, seed):
        """Return the new folder of a cell."""
        folder = self.out / "jobs" / f"{label}--{scene}--seed{seed}"
        folder.mkdir(exist_ok=True)
        return folder

    def write(self, folder, files, method, result):
        """Write what a sweep keeps of a cell."""
        scene = SceneRequest(files={key: str(path) for key, path in files.items()})
        request = replace(JobRequest(method, scene, str(folder)), seed=result.seed)
        (folder / "request.json").write_text(request.to_json())
        write_result(folder, result)


def table(document, name):
    """Return a table of ``table_json`` text or of a document by name."""
    tables = json.loads(document)["tables"] if isinstance(document, str) else document.tables
    return next(t for t in tables if (t["name"] if isinstance(t, dict) else t.name) == name)
