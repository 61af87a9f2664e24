"""The files that the official program leaves, under its names, in one folder (docs/methods/diffrender.md)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from torch import Tensor

from refbench_diffrender.depth_mode.tonemapper import save_tonemapper
from refbench_diffrender.official.images import byte_codes, coloured, mesh_images, scatter
from refbench_diffrender.views.depth_png import codes_of_normals, write_depth, write_pixels
from refbench_diffrender.views.image_sampling import values_at

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from refbench_diffrender.depth_mode.refinement import ViewRefinement
    from refbench_diffrender.official.source import OfficialSource
    from refbench_diffrender.running.steps import StepReport

MAPS = "dm"


class OfficialOutputs:
    """Writes into ``folder``: at the start, at every logged step and at the end.

    Depth maps are 16-bit PNG in units of ``depth_image_depth_scale``, TIFF in metres where a depth does not fit; with
    ``compat`` always PNG, cut off instead of rounded and starting from 0 again beyond the last code.
    """

    def __init__(self, folder: Path, source: OfficialSource, run: ViewRefinement) -> None:
        self.folder, self.source, self.run = folder, source, run
        (folder / MAPS).mkdir(parents=True, exist_ok=True)
        self._log = folder / "log.txt"
        self._log.write_text("", encoding="utf-8")

    def start(self) -> None:
        """Write the arguments and what is known before the first step."""
        write_json(self.folder / "config.json", dict(self.source.official.values))
        self._depth("depth_init", self.run.depth())
        self._image("edge_map", byte_codes(self.run.edges.cpu().numpy()))
        if self.source.reference is not None:
            self._depth("depth_ref", self.source.reference)
        if self.run.normals is not None:
            self._image("normals_ref", codes_of_normals(self.run.normals.directions[0].cpu().numpy()))
        if self.run.points is not None:
            initial, points = self.run.initial, self.run.points
            title = f"offset {initial.offset:.4g} m, scale {initial.scale:.4g} m"
            under = values_at(initial.absolute, points.places)
            scatter(self.folder / "pcd_aligned.png", points.depths.cpu().numpy(), under.cpu().numpy(), title)

    def log(self, report: StepReport, metrics: Mapping[str, float]) -> None:
        """Add a line for a step: its iteration, stage, loss, terms and the metrics of its depth map."""
        values = {"loss": report.total, **report.terms, **metrics}
        line = ", ".join(f"{name} {value:.6g}" for name, value in values.items())
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"iteration {report.step}, stage {report.stage}: {line}\n")

    def finish(self, iteration: int, metrics: Mapping[str, Any]) -> None:
        """Write the final state; ``iteration`` is the number of the last step, ``metrics`` what metrics.json holds."""
        run, depth = self.run, self.run.depth()
        if run.stage_1_depth is not None:
            self._depth("depth_1", run.stage_1_depth)
        for name, each in (("depth", depth), ("depth_2", depth), ("depth_abs", run.depth_image(depth).absolute)):
            self._depth(name, each)
        known = run.initial.absolute[run.initial.valid > 0]
        span = (float(known.min()), float(known.max())) if len(known) else run.planes
        self._image(f"depth_colored_{iteration}", coloured(depth.cpu().numpy(), span))
        self._image("normals", codes_of_normals(run.own_normals(run.view_points(2)).detach()[0].cpu().numpy()))
        for name, image in mesh_images(run).items():
            self._image(name, image)
        if run.tonemapper is not None:
            save_tonemapper(run.tonemapper, self.folder / "exposure.txt", self.folder / "response.txt")
        if metrics:
            write_json(self.folder / "metrics.json", metrics)

    def _depth(self, name: str, depth: Tensor | NDArray[np.floating]) -> None:
        values = depth.cpu().numpy() if isinstance(depth, Tensor) else depth
        unit = float(self.source.official.values["depth_image_depth_scale"])
        write_depth(self.folder / MAPS / f"{name}.png", values, unit, compat=self.run.config.compat)

    def _image(self, name: str, values: NDArray[np.generic]) -> None:
        write_pixels(self.folder / MAPS / f"{name}.png", values)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as indented JSON."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
