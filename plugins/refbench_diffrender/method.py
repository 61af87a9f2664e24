"""Differentiable rendering as a method of refbench: every view's depth map is refined, then all are fused to a DSM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from refbench import Prediction
from refbench.contracts.estimate import Estimate
from refbench.training.step_log import kept_log
from refbench_diffrender.config import DiffrenderConfig
from refbench_diffrender.depth_mode.joint import refined_jointly
from refbench_diffrender.depth_mode.loop import follow
from refbench_diffrender.depth_mode.refinement import ViewRefinement
from refbench_diffrender.dsm_mode.dsm_mode import DsmMode, refines_dsm
from refbench_diffrender.losses.filters import median_filter
from refbench_diffrender.official.run import run_official
from refbench_diffrender.official.scene import is_own_scene
from refbench_diffrender.outputs.confidence import DepthView
from refbench_diffrender.outputs.fusion import Fused, fused, fused_dsm
from refbench_diffrender.outputs.gate import gate_notes, is_kept
from refbench_diffrender.outputs.held_out import depth_evidence, held_out_notes
from refbench_diffrender.outputs.result_files import write_confidences, write_meshes, write_points
from refbench_diffrender.outputs.surface_mesh import SurfaceMesh, cell_colours, dsm_mesh, scene_from_view, view_mesh
from refbench_diffrender.rasteriser.rasteriser import rasteriser
from refbench_diffrender.views.depth_image import from_rendered
from refbench_diffrender.views.image_sampling import linear_of
from refbench_diffrender.views.view_image import SparsePoints, ViewImage
from refbench_diffrender.views.view_selection import chosen_neighbours
from refbench_diffrender.views.views import SceneView, clip_planes, parted_views, pinhole_views, scene_views, tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench import DSM, Context, Scene, TileMethod

MEDIAN = 5
SPEED = 0.53
"""CPU seconds for a megapixel rendered and compared, with gradients."""
PIXEL_BYTES = 1200
"""Memory for a pixel of a view."""
VIEW_BYTES = 12
"""Memory for a pixel of a view that is only looked at, and of a finished depth map."""
LEAST_RELIEF = 0.01
"""Fraction of the distance that counts as the relief of a flat start."""


class Diffrender:
    """Analysis by synthesis; nothing is learnt beforehand."""

    def __init__(self, config: DiffrenderConfig | None = None, weights: Path | None = None) -> None:
        del weights
        self.config = config or DiffrenderConfig()

    def tile_method(self, scene: Scene) -> TileMethod | None:
        """Return DSM mode where that is what refines the scene: the engine cuts its blocks."""
        if self.config.official is not None and is_own_scene(scene, self.config.official):
            return None
        return DsmMode(self.config) if refines_dsm(scene, self.config) else None

    def refine(self, scene: Scene, context: Context) -> Prediction:
        """Refine the depth maps of a scene's views and fuse them where the scene has a grid.

        Raises
        ------
        UnsupportedError
            Fewer than two pinhole views, or no initial depth.
        InputError
            A view that the configuration names is not there.
        """
        if self.config.official is not None and is_own_scene(scene, self.config.official):
            return run_official(self.config, context)
        chosen, views, held = parted_views(scene_views(scene, self.config, context), self.config)
        planes = clip_planes(views)
        renderer = rasteriser(self.config.backend, context.device)
        depths, notes, meshes = {}, {}, {}
        for view, run, seen in self._runs(chosen, views, planes, renderer, context):
            notes[view.name] = seen
            depth = run.depth().cpu().numpy()
            found = np.where((depth > 0) & ~view.beyond, depth, np.float32(np.nan))
            if self.config.gate:
                evidence = depth_evidence(view, found, held, self.config, renderer, context.device)
                seen["gate"] = gate_notes(evidence)
                if not is_kept(evidence):
                    found = np.where(view.beyond, np.float32(np.nan), view.depth)
                    run = self._refinement(view, views, planes, renderer, context.device)  # as before its first step
            depths[view.name] = found
            if scene.grid is None and "mesh" in self.config.outputs:
                meshes[f"mesh_{view.name}"] = view_mesh(run, scene_from_view(view.camera))
        kept_apart = held_out_notes(chosen, held, depths, self.config, renderer, context.device)
        result = self._fused(chosen, views, depths)
        dsm, confidence = (None, None) if scene.grid is None else fused_dsm(result.points, scene.grid)
        files = {} if context.scratch is None else self._outputs(result, meshes, dsm, chosen, context.scratch)
        return Prediction(
            dsm=dsm,
            layers={} if confidence is None else {"photo_consistency": confidence},
            depths={view.name: _resized(depths[view.name], view.original) for view in chosen},
            files={**files, **kept_log(context)},
            notes={"backend": renderer.name, "views": notes, **kept_apart},
        )

    def estimate(self, scene: Scene) -> Estimate:
        """Return the cost of all steps: the pixels that they render and compare.

        Raises
        ------
        UnsupportedError
            Fewer than two pinhole views, and no DSM that others refine.
        """
        if refines_dsm(scene, self.config):
            return self._estimate_dsm(scene)
        config = self.config
        shapes = [view.image.shape for view, _ in pinhole_views(scene)]
        sizes = [min(rows * cols, config.most_pixels or rows * cols) for rows, cols in shapes]
        refined = len(config.views) / max(len(sizes), 1) if config.views else 1.0
        work = refined * sum(sizes) * (config.steps + config.init_steps) * (1 + config.batch)
        # One view is refined after the other; jointly, all of them live at once.
        refined_pixels = sum(sizes) if config.joint else max(sizes)
        return Estimate(PIXEL_BYTES * refined_pixels + VIEW_BYTES * sum(sizes), SPEED * work / 1e6)

    def _estimate_dsm(self, scene: Scene) -> Estimate:
        dsm, grid = self.config.dsm, scene.require_grid()
        pixels = grid.width * grid.height * dsm.pixels_per_cell**2
        block = min(grid.width * grid.height, dsm.block**2) * dsm.pixels_per_cell**2
        views = min(len(scene.views), 1 + dsm.neighbours)
        work = pixels * dsm.steps * dsm.targets * (1 + dsm.sources)
        return Estimate(int(PIXEL_BYTES * block * views), SPEED * work / 1e6)

    def _runs(
        self,
        chosen: Sequence[SceneView],
        views: Sequence[SceneView],
        planes: tuple[float, float],
        renderer: Any,  # noqa: ANN401
        context: Context,
    ) -> Iterator[tuple[SceneView, ViewRefinement, dict[str, Any]]]:
        """Yield every view with its refinement, done, and what was observed of it."""

        def seed(name: str) -> None:
            torch.manual_seed(int(context.rng("torch", name).integers(2**31)))

        shared = {view.name: self._view_image(view, planes, context.device) for view in views}
        if self.config.joint:
            runs = [self._refinement(view, views, planes, renderer, context.device, shared) for view in chosen]
            notes = refined_jointly(runs, self.config, context, seed)
            yield from ((view, run, notes[view.name]) for view, run in zip(chosen, runs, strict=True))
            return
        for number, view in enumerate(chosen):
            seed(view.name)
            run = self._refinement(view, views, planes, renderer, context.device, shared)
            span = number / len(chosen), 1 / len(chosen)
            yield view, run, follow(run, self.config, context, span, view.name)

    def _refinement(
        self,
        own: SceneView,
        views: Sequence[SceneView],
        planes: tuple[float, float],
        renderer: Any,  # noqa: ANN401
        device: str,
        shared: Mapping[str, ViewImage] | None = None,
    ) -> ViewRefinement:
        """Return the refinement of a view; ``shared`` are all views' images on the device, for memory's sake."""
        at = self.config
        near_by = chosen_neighbours(own, views, at.neighbours, at.min_overlap, at.best_angle_deg)
        view_images = [(shared or {}).get(v.name) or self._view_image(v, planes, device) for v in (own, *near_by)]
        nearest, farthest = float(own.depth.min()), float(own.depth.max())
        initial = from_rendered(tensor(own.depth, device), nearest, max(farthest - nearest, LEAST_RELIEF * farthest))
        source = median_filter(initial.relative, MEDIAN)
        source = torch.where(torch.from_numpy(own.known).to(device), source, torch.zeros_like(source))
        points = None
        if own.points is not None and len(own.points):
            places = own.points.places(own.depth.shape)
            points = SparsePoints(tensor(places, device), tensor(own.points.depth, device))
        beyond = torch.from_numpy(own.beyond).to(device)
        return ViewRefinement(
            view_images[0], view_images, own.intrinsics, initial, source, points, planes, at, renderer, beyond=beyond
        )

    def _view_image(self, view: SceneView, planes: tuple[float, float], device: str) -> ViewImage:
        image, model_view = tensor(view.image, device), torch.from_numpy(view.model_view).to(device)
        image = linear_of(image) if self.config.srgb else image
        projection = torch.from_numpy(view.intrinsics.projection(*planes)).to(device)
        known = tensor(np.where(view.known, view.depth, 0), device)
        return ViewImage(view.name, image, model_view, projection, known)

    def _fused(
        self, chosen: Sequence[SceneView], views: Sequence[SceneView], depths: dict[str, NDArray[np.float32]]
    ) -> Fused:
        """Return the points of the refined depth maps; the images of all views tell how sure they are."""
        return fused(
            [DepthView(view.name, view.image, view.camera, depths[view.name]) for view in chosen],
            [DepthView(view.name, view.image, view.camera) for view in views if view.name not in depths],
            min_views=self.config.min_views,
            absolute=self.config.agree_m,
            with_confidence="confidence" in self.config.outputs,
        )

    def _outputs(
        self, result: Fused, meshes: dict[str, SurfaceMesh], dsm: DSM | None, chosen: Sequence[SceneView], folder: Path
    ) -> dict[str, Path]:
        """Write the files that the configuration asks for."""
        files: dict[str, Path] = {}
        crs = None if dsm is None else dsm.grid.crs
        if "points" in self.config.outputs:
            files |= write_points(folder, result.points, crs)
        if "mesh" in self.config.outputs:
            if dsm is not None and len(result.points.xyz):
                meshes = {"mesh": dsm_mesh(dsm, cell_colours(result.points, dsm.grid))}
            files |= write_meshes(folder, meshes, crs)
        originals = {view.name: view.original for view in chosen}
        maps = {name: _resized(values, originals[name]) for name, values in result.confidence.items()}
        return files | write_confidences(folder, maps)


def _resized(depth: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    if depth.shape == shape:
        return depth.astype(np.float32)
    return np.asarray(cv2.resize(depth.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
