"""DSM mode: the height field itself is refined by all images that see it, whatever their cameras.

A large DSM is cut into blocks that overlap and are blended; every block sees the parts of the images that show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench import DSM, Prediction, TilePlan, Window
from refbench.contracts.errors import UnsupportedError
from refbench.geometry.depth import render_depth
from refbench.geometry.nodata_fill import inside
from refbench.training.step_log import kept_log
from refbench_diffrender.dsm_mode.dsm_gate import block_evidence
from refbench_diffrender.dsm_mode.dsm_loop import follow_block
from refbench_diffrender.dsm_mode.dsm_refinement import DsmRefinement
from refbench_diffrender.dsm_mode.dsm_trust import cell_confidence, held_out_similarity
from refbench_diffrender.dsm_mode.rpc_bias import without_rpc_bias
from refbench_diffrender.mesh.grid_mesh import cell_points
from refbench_diffrender.outputs.gate import gate_notes, is_kept
from refbench_diffrender.outputs.result_files import write_meshes
from refbench_diffrender.outputs.surface_mesh import dsm_mesh
from refbench_diffrender.rasteriser.rasteriser import rasteriser
from refbench_diffrender.views.ground_view import GroundView, ground_view
from refbench_diffrender.views.initial_depth import whole_surface
from refbench_diffrender.views.views import parted_views

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench import Context, Grid, Scene
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.rasteriser.rasteriser import Rasteriser

MEASURED, INTERPOLATED = 1, 3
PAIR = 2


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


@dataclass(eq=False)
class _Blended:
    """The weighted means of blocks, [rows, cols] each."""

    grid: Grid

    def __post_init__(self) -> None:
        self.weight, self.heights, self.confidence = (np.zeros(self.grid.shape) for _ in range(3))
        self.seen = np.zeros(self.grid.shape, np.int64)

    def add(
        self,
        window: Window,
        weight: NDArray[np.float64],
        heights: NDArray[np.float32],
        confidence: NDArray[np.float32],
        seen: NDArray[np.int64],
    ) -> None:
        at = window.slices
        self.weight[at] += weight
        self.heights[at] += weight * heights
        self.confidence[at] += weight * confidence
        self.seen[at] = np.maximum(self.seen[at], np.where(weight > 0, seen, 0))


def refined_dsm(scene: Scene, config: DiffrenderConfig, context: Context) -> Prediction:
    """Refine a scene's DSM by the images of its views.

    Raises
    ------
    UnsupportedError
        Fewer than two views see the DSM, or no two of them the same part under an angle.
    InputError
        A view that the configuration names is not there.
    """
    assert scene.dsm is not None  # ``refines_dsm`` looked
    initial = scene.dsm.read()
    surface, grid = whole_surface(initial), initial.grid
    views, held = _views(scene, surface, config)
    renderer = rasteriser(config.backend, context.device)
    offsets: dict[str, tuple[float, float]] = {}
    if config.dsm.rpc_bias:
        everything, offsets = without_rpc_bias(
            [*views, *held], surface, initial.valid, config, renderer, context.device
        )
        views, held = everything[: len(views)], everything[len(views) :]
    points = None if scene.points is None or not config.gate else scene.points.read().xyz
    blended, notes = _Blended(grid), {}
    blocks = list(_blocks(grid, config))
    for number, (window, weight) in enumerate(blocks):
        name = "dsm" if len(blocks) == 1 else f"dsm_block_{number}"
        run = _block(surface, initial.valid, window, views, config, renderer, context.device)
        if run.has_pairs:
            notes[name] = follow_block(run, context, (number / len(blocks), 1 / len(blocks)), name)
            if config.gate:
                surfaces = _part(surface, window), DSM(run.heights(), run.grid)
                cut = [_cut(each, surfaces[0]) for each in (views, held)]
                evidence = block_evidence(surfaces, cut[0], cut[1], points, config, renderer, context.device)
                notes[name]["gate"] = gate_notes(evidence)
                if not is_kept(evidence):
                    run = _block(surface, initial.valid, window, views, config, renderer, context.device)
        else:
            notes[name] = {"skipped": "no two views see this block under an angle: its heights are the initial ones"}
        blended.add(window, weight, run.heights(), *cell_confidence(run))
    if all("skipped" in note for note in notes.values()):
        raise UnsupportedError(
            f"Scene {scene.id}: no two views see the same part of the DSM under an angle; give images that overlap, "
            "lower min_overlap, or take mode: depth."
        )
    # Blocks overlap by the halo; their weights taper there, so seams do not show.
    heights = (blended.heights / blended.weight).astype(np.float32)
    refined, confidence = DSM(heights, grid), (blended.confidence / blended.weight).astype(np.float32)
    facts: dict[str, Any] = {"mode": "dsm", "backend": renderer.name, "views": [view.name for view in views]}
    if offsets:
        facts["rpc_bias_px"] = {name: [round(shift, 3) for shift in offset] for name, offset in offsets.items()}
    if held:
        facts["held_out"] = _held_out((surface, refined), views, held, config, renderer, context.device)
    return Prediction(
        dsm=refined,
        layers={"photo_consistency": confidence} if "confidence" in config.outputs else {},
        provenance=np.where(initial.valid | (blended.seen >= PAIR), MEASURED, INTERPOLATED).astype(np.uint8),
        depths=_depths(scene, refined),
        files={**_files(refined, views, config, context), **kept_log(context)},
        notes={**facts, "blocks": notes},
    )


def _views(scene: Scene, surface: DSM, config: DiffrenderConfig) -> tuple[list[GroundView], list[GroundView]]:
    """Return the views that are compared and those that are held out, of those that see the surface."""
    vertices = cell_points(surface.heights, surface.grid)
    middle = vertices[len(vertices) // 2]
    found = []
    for _, view in sorted(scene.views.items()):
        whole = ground_view(view)
        if whole.known.any() and whole.sees(vertices).any():
            found.append(whole.reduced(surface.grid.gsd, middle, config.dsm.pixels_per_cell))
    if len(found) < PAIR:
        raise UnsupportedError(
            f"Scene {scene.id}: {len(found)} of {len(scene.views)} views see the DSM; DSM mode compares two or more: "
            "check cameras and CRS."
        )
    chosen, _, held = parted_views(found, config)
    return chosen, held


def _blocks(grid: Grid, config: DiffrenderConfig) -> Iterator[tuple[Window, NDArray[np.float64]]]:
    """Yield the windows of the blocks, cropped to the grid, and their weights [rows, cols]."""
    size, halo = config.dsm.block, config.dsm.halo
    plan = TilePlan.whole(grid) if max(grid.shape) <= size else TilePlan.regular(grid, size, halo)
    for number in range(len(plan)):
        window = plan.window(number)
        part = window.intersection(grid.full_window)
        assert part is not None  # plans lay no tile beside the grid
        yield part, np.outer(*plan.weights_of(number))[inside(window, grid)]


def _block(
    surface: DSM,
    known: NDArray[np.bool_],
    window: Window,
    views: Sequence[GroundView],
    config: DiffrenderConfig,
    renderer: Rasteriser,
    device: str,
) -> DsmRefinement:
    part = _part(surface, window)
    return DsmRefinement(part.heights, known[window.slices], part.grid, _cut(views, part), config, renderer, device)


def _part(surface: DSM, window: Window) -> DSM:
    return DSM(np.ascontiguousarray(surface.heights[window.slices]), surface.grid.window(window))


def _cut(views: Sequence[GroundView], part: DSM) -> list[GroundView]:
    """Return the parts of the views that show a block; views that do not see it are left out."""
    vertices = cell_points(part.heights, part.grid)
    return [view for each in views if (view := each.cut(vertices)) is not None]


def _held_out(
    surfaces: tuple[DSM, DSM],
    views: Sequence[GroundView],
    held: Sequence[GroundView],
    config: DiffrenderConfig,
    renderer: Rasteriser,
    device: str,
) -> dict[str, Any]:
    """Return by held-out view how alike the others, carried into it, are: with the initial and the refined DSM."""
    found = {}
    for view in held:
        before, after = (
            DsmRefinement(dsm.heights, dsm.valid, dsm.grid, [view, *views], config, renderer, device)
            for dsm in surfaces
        )
        found[view.name] = held_out_similarity(before, after, 0)
    return found


def _depths(scene: Scene, refined: DSM) -> dict[str, NDArray[np.float32]]:
    """Return the depth maps of the refined DSM in the pinhole views."""
    found = {}
    for name, view in sorted(scene.views.items()):
        if view.camera.pinhole is not None:
            found[name] = render_depth(refined, view.camera, view.image.shape).astype(np.float32)
    return found


def _files(refined: DSM, views: Sequence[GroundView], config: DiffrenderConfig, context: Context) -> dict[str, Path]:
    """Write the surface as a mesh with the brightness of the view that sees most of it."""
    if context.scratch is None or "mesh" not in config.outputs:
        return {}
    vertices = cell_points(refined.heights, refined.grid)
    best = max(views, key=lambda view: int(view.sees(vertices).sum()))
    grey = 255 * best.brightness_at(vertices).reshape(*refined.heights.shape, 1)
    mesh = dsm_mesh(refined, np.repeat(grey, 3, axis=2))
    return write_meshes(context.scratch, {"mesh": mesh}, refined.grid.crs)
