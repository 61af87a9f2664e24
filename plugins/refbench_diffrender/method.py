"""Differentiable rendering as a method of refbench: every view's depth map is refined, then all are fused to a DSM."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from refbench import DSM, InputError, Prediction
from refbench.geometry.fuse import agreeing_views, depth_to_points
from refbench.geometry.rasterise import rasterise
from refbench_diffrender.config import DiffrenderConfig
from refbench_diffrender.depth_image import from_rendered
from refbench_diffrender.filters import median_filter
from refbench_diffrender.rasteriser import rasteriser
from refbench_diffrender.refinement import Photograph, StepReport, ViewRefinement
from refbench_diffrender.views import SceneView, clip_planes, nearest_views, scene_views, tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from refbench import Context, Grid, Scene

REPORT_S = 1.0
MEDIAN = 5
LEAST_RELIEF = 0.01
"""Share of the distance that counts as the relief of a flat start."""


class Diffrender:
    """Analysis by synthesis; nothing is learnt beforehand."""

    def __init__(self, config: DiffrenderConfig | None = None, weights: Path | None = None) -> None:
        del weights
        self.config = config or DiffrenderConfig()

    def refine(self, scene: Scene, context: Context) -> Prediction:
        """Refine the depth maps of a scene's views and fuse them where the scene has a grid.

        Raises
        ------
        UnsupportedError
            Fewer than two pinhole views, or no initial depth.
        InputError
            A view that the configuration names is not there.
        """
        if self.config.official is not None:
            return self._official(context)
        views = scene_views(scene, self.config.most_pixels)
        names = [view.name for view in views]
        if missing := [name for name in self.config.views if name not in names]:
            raise InputError(f"views names {missing[0]}, but the scene has {', '.join(names)}.")
        chosen = [view for view in views if not self.config.views or view.name in self.config.views]
        planes = clip_planes(views)
        draw = rasteriser(self.config.backend, context.device)
        depths, notes = {}, {}
        for number, view in enumerate(chosen):
            run = self._refinement(view, views, planes, draw)
            before, share = number / len(chosen), 1 / len(chosen)
            notes[view.name] = follow(run, self.config, context, (before, share), view.name)
            depths[view.name] = np.where(run.depth().numpy() > 0, run.depth().numpy(), np.float32(np.nan))
        dsm = count = None
        if scene.grid is not None:
            dsm, count = self._fused(chosen, depths, scene.grid)
        return Prediction(
            dsm=dsm,
            confidence=count,
            depths={view.name: _resized(depths[view.name], view.original) for view in chosen},
            notes={"backend": draw.name, "views": notes},
        )

    def _official(self, context: Context) -> Prediction:
        """Refine the view that an official configuration names."""
        from refbench_diffrender.official_config import read_official
        from refbench_diffrender.official_view import prepared

        official = read_official(Path(str(self.config.official)))
        torch.manual_seed(context.seed)
        run = prepared(official, self.config)
        notes = follow(run, self.config, context, (0.0, 1.0), run.own.name)
        depth = run.depth().numpy()
        name = Path(run.own.name).stem
        return Prediction(depths={name: np.where(depth > 0, depth, np.float32(np.nan))}, notes={"views": {name: notes}})

    def _refinement(
        self,
        own: SceneView,
        views: Sequence[SceneView],
        planes: tuple[float, float],
        draw: Any,  # noqa: ANN401
    ) -> ViewRefinement:
        near_by = nearest_views(own, views, self.config.neighbours)
        photographs = [self._photograph(view, planes) for view in (own, *near_by)]
        nearest, farthest = float(own.depth.min()), float(own.depth.max())
        initial = from_rendered(tensor(own.depth), nearest, max(farthest - nearest, LEAST_RELIEF * farthest))
        source = median_filter(initial.relative, MEDIAN)
        source = torch.where(tensor(own.known.astype(np.float32)) > 0, source, torch.zeros_like(source))
        return ViewRefinement(
            photographs[0], photographs, own.intrinsics, initial, source, None, planes, self.config, draw
        )

    def _photograph(self, view: SceneView, planes: tuple[float, float]) -> Photograph:
        projection = torch.from_numpy(view.intrinsics.projection(*planes))
        return Photograph(view.name, tensor(view.image), torch.from_numpy(view.model_view), projection)

    def _fused(
        self, views: Sequence[SceneView], depths: dict[str, NDArray[np.float32]], grid: Grid
    ) -> tuple[DSM, NDArray[np.float32]]:
        """Return the DSM of all refined depth maps, and how many points stand behind every cell."""
        maps = [depths[view.name] for view in views]
        cameras = [view.camera for view in views]
        agreed = agreeing_views(maps, cameras, relative=0.0, absolute=self.config.agree_m)
        least = min(self.config.min_views, len(maps))
        parts = [depth_to_points(d, c, a >= least) for d, c, a in zip(maps, cameras, agreed, strict=True)]
        points = np.concatenate(parts)
        heights = rasterise(points, grid, "median")
        return DSM(heights.astype(np.float32), grid), rasterise(points, grid, "count").astype(np.float32)


def follow(
    run: ViewRefinement, config: DiffrenderConfig, context: Context, span: tuple[float, float], name: str
) -> dict[str, Any]:
    """Run both stages of a view, tell how far it is, and return what was seen of it.

    ``span``: where the view's share of the progress bar begins and how long it is. A stage ends early where the mean
    loss of ``patience`` steps is no better than that of so many before.
    """
    total = config.init_steps + config.steps
    done, told, started = 0, 0.0, time.monotonic()
    notes: dict[str, Any] = {}
    for stage, steps in ((1, config.init_steps), (2, config.steps)):
        if stage == 1 and steps == 0:
            continue
        losses: list[float] = []
        for report in run.run(stage, list(batches(run, steps, config.batch, context, stage))):  # type: ignore[arg-type]
            context.check_cancelled()
            losses.append(report.total)
            done += 1
            if time.monotonic() - told >= REPORT_S:
                told = time.monotonic()
                context.report(span[0] + span[1] * done / max(1, total), _line(report, name, total, done, started))
            if _has_settled(losses, config.patience):
                break
        if losses:
            notes[f"stage_{stage}"] = {"steps": len(losses), "first": losses[0], "last": losses[-1]}
    if config.steps == 0:
        run.begin(2)
    return notes


def batches(run: ViewRefinement, steps: int, size: int, context: Context, stage: int) -> Iterator[list[int]]:
    """Yield the numbers of the views of every step: all views in turn, in an order of the seed."""
    rng = context.rng("batches", run.own.name, stage)
    number = len(run.targets)
    order = rng.permutation(steps * size)
    for step in range(steps):
        yield [int(item % number) for item in order[step * size : (step + 1) * size]]


def _has_settled(losses: Sequence[float], patience: int) -> bool:
    if patience == 0 or len(losses) < 2 * patience:
        return False
    return float(np.mean(losses[-patience:])) >= float(np.mean(losses[-2 * patience : -patience]))


def _line(report: StepReport, name: str, total: int, done: int, started: float) -> str:
    rate = done / max(time.monotonic() - started, 1e-9)
    terms = ", ".join(f"{key} {value:.2g}" for key, value in report.terms.items())
    return f"{name}: step {done}/{total}, loss {report.total:.4g} ({terms}), {(total - done) / rate:.0f} s left"


def _resized(depth: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    if depth.shape == shape:
        return depth.astype(np.float32)
    return np.asarray(cv2.resize(depth.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
