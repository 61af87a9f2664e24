"""DSM mode: the height field itself is refined by all images that see it, whatever their cameras.

The engine cuts a large DSM into blocks that overlap, each with the parts of the images that show it, and blends them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench import DSM, Prediction, TileMethod, TilePlan
from refbench.contracts.errors import UnsupportedError
from refbench.geometry.nodata_fill import filled, inside
from refbench.training.step_log import kept_log
from refbench_diffrender.dsm_mode.dsm_finish import depths_of, held_out_notes, mesh_files
from refbench_diffrender.dsm_mode.dsm_gate import block_evidence
from refbench_diffrender.dsm_mode.dsm_loop import follow_block
from refbench_diffrender.dsm_mode.dsm_refinement import DsmRefinement
from refbench_diffrender.dsm_mode.dsm_trust import cell_confidence
from refbench_diffrender.dsm_mode.dsm_views import PAIR, DsmViews, dsm_views
from refbench_diffrender.outputs.gate import gate_notes, is_kept
from refbench_diffrender.rasteriser.rasteriser import Rasteriser, rasteriser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from refbench import Context, Grid, Scene, TileBatch
    from refbench.contracts.source import RasterSource
    from refbench.contracts.tiles import TileView
    from refbench_diffrender.config import DiffrenderConfig

MEASURED, INTERPOLATED = 1, 3
CONSISTENCY, PROVENANCE = "photo_consistency", "provenance"


def refines_dsm(scene: Scene, config: DiffrenderConfig) -> bool:
    """Return whether a scene is refined in DSM mode.

    Raises
    ------
    UnsupportedError
        It is asked for, but the scene has no initial DSM.
    """
    if config.mode == "dsm" and scene.dsm is None:
        raise UnsupportedError(f"Scene {scene.id} has no initial DSM, which mode: dsm refines; take mode: depth.")
    if config.mode != "auto":
        return config.mode == "dsm"
    pinholes = sum(view.camera.pinhole is not None for view in scene.views.values())
    return scene.dsm is not None and pinholes < PAIR <= len(scene.views)


class DsmMode(TileMethod):
    """DSM mode on one scene; tiles are the blocks."""

    def __init__(self, config: DiffrenderConfig) -> None:
        self.config = config
        self._blocks: dict[str, dict[str, Any]] = {}

    def prepare(self, scene: Scene, context: Context) -> Mapping[str, Any]:
        """Choose the views and compensate their RPC bias; return what was found.

        Raises
        ------
        UnsupportedError
            Fewer than two views see the DSM.
        InputError
            A view that the configuration names is not there.
        """
        self._scene, self._blocks = scene, {}
        self._renderer: Rasteriser = rasteriser(self.config.backend, context.device)
        self._views: DsmViews = dsm_views(scene, self.config, self._renderer, context.device)
        facts: dict[str, Any] = {"mode": "dsm", "backend": self._renderer.name, "views": list(self._views.compared)}
        if offsets := self._views.offsets:
            facts["rpc_bias_px"] = {name: [round(shift, 3) for shift in offset] for name, offset in offsets.items()}
        return facts

    def plan(self, grid: Grid) -> TilePlan:
        """Return blocks that overlap by the halo, their weights taper there; one block where the DSM is no larger."""
        size, halo = self.config.dsm.block, self.config.dsm.halo
        return TilePlan.whole(grid) if max(grid.shape) <= size else TilePlan.regular(grid, size, halo)

    def views(self, scene: Scene) -> tuple[str, ...]:
        """Return the views that are compared and those that are held out."""
        del scene
        return self._views.names

    def layers(self) -> tuple[str, ...]:
        """Return the provenance: measured is what was given or two views see."""
        return (PROVENANCE,)

    def quality_layers(self) -> tuple[str, ...]:
        """Return how alike the views show a cell, in [0, 1], where the configuration asks for it."""
        return (CONSISTENCY,) if "confidence" in self.config.outputs else ()

    def refine_tiles(self, batch: TileBatch, context: Context) -> Mapping[str, NDArray[Any]]:
        """Refine blocks one after the other; one without any height stays without.

        Layers are float32 [tiles, rows, cols]; heights are metres.
        """
        assert batch.dsm is not None and batch.views is not None  # the scene has a DSM and views
        shape = batch.dsm.shape
        answer = {name: np.full(shape, np.nan, np.float32) for name in ("dsm", *self.quality_layers())}
        answer[PROVENANCE] = np.zeros(shape, np.uint8)
        for number, window in enumerate(batch.windows):
            name = "dsm" if batch.total == 1 else f"dsm_block_{batch.numbers[number]}"
            # What reaches past the raster is cropped: the surface has no cells there.
            at = inside(window, batch.grid)
            part = window.intersection(batch.grid.full_window)
            assert part is not None  # plans lay no tile beside the grid
            offset = batch.height_offset[number]
            heights = (batch.dsm[number][at].astype(np.float64) + offset).astype(np.float32)
            known = np.isfinite(heights)
            span = len(self._blocks) / batch.total, 1 / batch.total
            if not known.any():
                self._blocks[name] = {"skipped": "the initial DSM has no height in this block"}
                continue
            surface = DSM(filled(heights), batch.grid.window(part))
            run = self._refined(surface, known, batch.views[number], context, span, name)
            consistency, seen = cell_confidence(run)
            answer["dsm"][number][at] = run.heights() - offset
            answer[PROVENANCE][number][at] = np.where(known | (seen >= PAIR), MEASURED, INTERPOLATED)
            if CONSISTENCY in answer:
                answer[CONSISTENCY][number][at] = consistency
        return answer

    def _refined(
        self,
        surface: DSM,
        known: NDArray[np.bool_],
        parts: tuple[TileView, ...],
        context: Context,
        span: tuple[float, float],
        name: str,
    ) -> DsmRefinement:
        """Return a block's refinement, done; as before its first step where evidence contradicts it."""
        views, held = self._views.of_tile(parts, surface)
        config, renderer, device = self.config, self._renderer, context.device
        run = DsmRefinement(surface.heights, known, surface.grid, views, config, renderer, device)
        if not run.has_pairs:
            self._blocks[name] = {
                "skipped": "no two views see this block under an angle: its heights are the initial ones"
            }
            return run
        notes = self._blocks[name] = follow_block(run, context, span, name)
        if not config.gate:
            return run
        points = None if self._scene.points is None else self._scene.points.read(surface.grid.bounds).xyz
        surfaces = surface, DSM(run.heights(), surface.grid)
        evidence = block_evidence(surfaces, views, held, points, config, renderer, device)
        notes["gate"] = gate_notes(evidence)
        if is_kept(evidence):
            return run
        return DsmRefinement(surface.heights, known, surface.grid, views, config, renderer, device)

    def finish(self, refined: RasterSource[DSM], context: Context) -> Prediction:
        """Return depth maps of pinhole views, a mesh and the curves, and what held-out views say of the DSM.

        Raises
        ------
        UnsupportedError
            No two views see the same part of the DSM under an angle.
        """
        if all("skipped" in notes for notes in self._blocks.values()):
            raise UnsupportedError(
                f"Scene {self._scene.id}: no two views see the same part of the DSM under an angle; give images that "
                "overlap, lower min_overlap, or take mode: depth."
            )
        notes: dict[str, Any] = {"blocks": self._blocks}
        if self._views.held:
            notes["held_out"] = held_out_notes(
                self._scene, refined.read(), self._views, self.config, self._renderer, context.device
            )
        files = {}
        if context.scratch is not None and "mesh" in self.config.outputs:
            files = mesh_files(self._scene, refined.read(), self._views, context.scratch)
        return Prediction(depths=depths_of(self._scene, refined), files={**files, **kept_log(context)}, notes=notes)
