"""A whole run of an official configuration: its view is refined, judged and written under the official names."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench import Prediction
from refbench.training.step_log import kept_log
from refbench_diffrender.depth_mode.loop import follow
from refbench_diffrender.official.config import read_official
from refbench_diffrender.official.outputs import OfficialOutputs
from refbench_diffrender.official.source import read_source
from refbench_diffrender.official.view import prepared
from refbench_diffrender.official.view_folder import view_names
from refbench_diffrender.outputs.metrics import BestSoFar, cloud_metrics, depth_metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench import Context
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.depth_mode.refinement import ViewRefinement
    from refbench_diffrender.official.source import OfficialSource
    from refbench_diffrender.running.steps import StepReport
    from refbench_diffrender.views.gl_cameras import Intrinsics

FOLDER = "official"


def run_official(config: DiffrenderConfig, context: Context) -> Prediction:
    """Refine the view that the official configuration ``config.official`` names.

    With a scratch folder, the files of the official program are written to the folder ``official`` there. Where the
    reference map of the view is there, ``notes["official_metrics"]`` holds the official metrics of the ``initial`` and
    of the ``final`` depth map, and ``best``, the smallest over the logged ones; None where a metric has no value.

    Raises
    ------
    InputError
        A missing or broken file, a configuration that cannot run.
    """
    official = read_official(Path(str(config.official)))
    torch.manual_seed(context.seed)
    source = read_source(official, config, context.rng("points"))
    run = prepared(official, config, source=source, device=context.device)
    watcher = Watcher(run, source, context.scratch)
    name = view_names(source.folder)[source.number]
    notes = follow(run, config, context, (0.0, 1.0), name, watcher)
    metrics = watcher.finish()
    depth = run.depth().cpu().numpy()
    return Prediction(
        depths={name: np.where(depth > 0, depth, np.float32(np.nan))},
        files={**kept_log(context), **({} if watcher.outputs is None else {FOLDER: watcher.outputs.folder})},
        notes={"views": {name: notes}, **({"official_metrics": metrics} if metrics else {})},
    )


class Watcher:
    """Looks at every ``log_interval``-th step of a run: metrics of its depth map, a line of the log."""

    def __init__(self, run: ViewRefinement, source: OfficialSource, scratch: Path | None) -> None:
        self.run, self.source = run, source
        self.outputs = None if scratch is None else OfficialOutputs(scratch / FOLDER, source, run)
        self.best = BestSoFar()
        self.last: StepReport | None = None
        self._every = int(source.official.values["log_interval"])
        self._initial = self._whole(self._depth())
        if self.outputs is not None:
            self.outputs.start()

    def __call__(self, report: StepReport) -> None:
        """Take a step in; its metrics are those of the depth map that its losses were computed on."""
        self.last = report
        if report.step % self._every or self.run.compared is None:
            return
        metrics = self._of_map(self.run.compared)
        self.best.update(metrics)
        if self.outputs is not None:
            self.outputs.log(report, metrics)

    def finish(self) -> dict[str, Any]:
        """Write the final state and return the metrics; empty without a reference."""
        final = self._whole(self._depth())
        smallest = self.best.update(final)
        found = {"initial": self._initial, "final": final, "best": smallest} if final else {}
        metrics = {kind: {name: _json(value) for name, value in of.items()} for kind, of in found.items()}
        if self.outputs is not None:
            if self.last is not None and self.last.step % self._every:
                self.outputs.log(self.last, final)
            self.outputs.finish(0 if self.last is None else self.last.step, metrics)
        return metrics

    def _depth(self) -> torch.Tensor:
        """Return the depth map as metrics see it: as published, nothing is nearer than the alignment's offset."""
        return self.run.depth_image(self.run.depth()).absolute

    def _of_map(self, depth: torch.Tensor) -> dict[str, float]:
        """Return the metrics of a depth map [rows, cols] in metres; none without a reference."""
        if self.source.reference is None:
            return {}
        reference = self.source.reference.astype(np.float32)
        return depth_metrics(depth.cpu().numpy(), reference, (reference > 0).astype(np.float32))

    def _whole(self, depth: torch.Tensor) -> dict[str, float]:
        """Return the metrics of a depth map and of its points."""
        if self.source.reference is None or not (self.source.reference > 0).any():
            return {}
        clouds = [_points(each, self.source.intrinsics) for each in (depth.cpu().numpy(), self.source.reference)]
        return {**self._of_map(depth), **cloud_metrics(*clouds)}


def _points(depth: NDArray[np.floating], intrinsics: Intrinsics) -> NDArray[np.float64]:
    """Return the points [N, 3] in view space (OpenGL axes) of the known pixels of a depth map."""
    at = intrinsics.scaled(depth.shape[1], depth.shape[0])
    row, col = np.nonzero(depth > 0)
    z = depth[row, col].astype(np.float64)
    return np.stack([(col + 0.5 - at.cx) * z / at.fx, -(row + 0.5 - at.cy) * z / at.fy, -z], axis=1)


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None
