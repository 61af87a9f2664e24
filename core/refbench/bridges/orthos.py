"""Bridge from a DSM and images to orthos: the best pair of views, laid on each other, rectified over the DSM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from affine import Affine

from refbench.bridges.bridge import Bridge
from refbench.bridges.pair_choice import ranked_pairs, sees
from refbench.bridges.rpc_bias import compensated
from refbench.bridges.views import known_dsm
from refbench.contracts.errors import UnsupportedError
from refbench.contracts.estimate import Estimate
from refbench.contracts.grid import Window
from refbench.contracts.need import Need
from refbench.contracts.raster import DSM
from refbench.formats.raster import ArraySource
from refbench.geometry.nodata_fill import filled
from refbench.geometry.ortho import orthorectify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.camera import Camera
    from refbench.contracts.raster import Image
    from refbench.contracts.scene import Scene, View
    from refbench.contracts.source import RasterSource

SAMPLES = 24
"""Cells a side whose surface points tell what views see."""
HALF = 0.5
MIDDLE = 512
"""Pixels a side in the middle of a DSM whose median height tells where the ground is."""


@dataclass(frozen=True)
class DSMToOrtho(Bridge):
    """Rectifies one or two images over the DSM, its holes filled from the nearest pixel.

    ``least_overlap`` is the fraction [0, 1] of the DSM that all of them must show.
    """

    least_overlap: float = 0.0
    name: ClassVar[str] = "images-to-orthos"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DSM})
    serves_optional = True

    def as_optional(self) -> DSMToOrtho:
        """Return the bridge for images that show at least half of the DSM: fewer would help a method little."""
        return replace(self, least_overlap=HALF)

    def makes(self, scene: Scene) -> frozenset[Need]:
        """Return an ortho, and a pair where there are two views."""
        two = len(scene.views) >= 2
        return frozenset({Need.ORTHO, Need.ORTHO_PAIR} if two else {Need.ORTHO})

    def condition(self, scene: Scene, held: frozenset[Need]) -> str | None:
        """Ask for a view."""
        del held
        return None if scene.views else "an image with a camera"

    def describe(self) -> str:
        """Say over what."""
        return "DSM and images to orthos (bilinear, over the DSM with holes filled from the nearest pixel)"

    def estimate(self, scene: Scene) -> Estimate:
        """Count projections: about a million a second for an RPC."""
        pixels = 0 if scene.grid is None else scene.grid.width * scene.grid.height
        return Estimate(200 * pixels, min(2, len(scene.views)) * pixels / 1e6)

    def outline(self, scene: Scene) -> Scene:
        """Return the scene with orthos whose pixels are nobody's, where its views show enough of the ground.

        The pair is chosen over a level ground at a height of the DSM's middle: which two it is may differ from what
        the surface itself would tell.
        """
        try:
            views, _ = self._chosen(scene, _level(scene))
        except UnsupportedError:
            return scene
        return self._with_orthos(scene, {view.name: view.image for view in views})

    def apply(self, scene: Scene, scratch: Path) -> Scene:
        """Rectify the best views; they become the pair, orthos of the files stay.

        Raises
        ------
        UnsupportedError
            The images show too little of the DSM, or it holds no height.
        """
        del scratch
        dsm = known_dsm(scene)
        surface = DSM(filled(dsm.heights), dsm.grid)
        views, said = self._chosen(scene, surface)
        cameras = [view.camera for view in views]
        if len(views) == 2 and not any(camera.is_perspective for camera in cameras):
            cameras[1], bias = _without_bias(views, surface, dsm.valid)
            said = f"{said}; {bias}"
        made = {
            view.name: ArraySource(orthorectify(view.image.read(), camera, surface))
            for view, camera in zip(views, cameras, strict=True)
        }
        return self._with_orthos(scene, made, said)

    def _with_orthos(self, scene: Scene, made: Mapping[str, RasterSource[Image]], said: str = "") -> Scene:
        """Return the scene with the orthos beside its own; two are a pair where it has none."""
        named = {f"{name}_rectified" if name in scene.orthos else name: source for name, source in made.items()}
        pairs = scene.pairs or ((tuple(named),) if len(named) == 2 else ())
        return self._extended(scene, said, orthos={**scene.orthos, **named}, pairs=pairs)

    def _chosen(self, scene: Scene, surface: DSM) -> tuple[list[View], str]:
        """Return the best pair, far cameras before perspective ones, or the one view; and a phrase on them."""
        ground = _sampled(surface)
        far = [view for view in scene.views.values() if not view.camera.is_perspective]
        views = far if len(far) >= 2 else list(scene.views.values())
        if len(views) == 1:
            overlap, chosen, said = float(sees(views[0], ground).mean()), views, views[0].name
        else:
            best = ranked_pairs(views, ground)[0]
            overlap, chosen, said = best.overlap, [best.first, best.second], str(best)
        if overlap == 0:
            names = " and ".join(view.name for view in chosen)
            raise UnsupportedError(f"Scene {scene.id}: the image of view {names} does not show the DSM.")
        if overlap < self.least_overlap:
            raise UnsupportedError(
                f"Scene {scene.id}: {said} show {100 * overlap:.0f} % of the DSM; orthos need "
                f"{100 * self.least_overlap:.0f} % or more: check cameras and CRS."
            )
        return chosen, said


def _level(scene: Scene) -> DSM:
    """Return level ground on a few cells of the scene's grid, at the median height in the middle of its DSM or cloud.

    Raises
    ------
    UnsupportedError
        The scene has no grid, or no height is known there.
    """
    grid = scene.grid
    if grid is None:
        raise UnsupportedError(f"Scene {scene.id} has no grid yet.")
    rows, cols = min(MIDDLE, grid.height), min(MIDDLE, grid.width)
    window = Window((grid.width - cols) // 2, (grid.height - rows) // 2, cols, rows)
    heights: NDArray[np.floating[Any]]
    if scene.dsm is not None:
        heights = scene.dsm.read(window).heights
    elif scene.points is not None:
        heights = scene.points.read(grid.window(window).bounds).xyz[:, 2]
    else:
        heights = np.zeros(0)
    known = heights[np.isfinite(heights)]
    ranges = [view.camera.height_range for view in scene.views.values() if view.camera.height_range is not None]
    if not len(known) and not ranges:
        raise UnsupportedError(f"Scene {scene.id}: no height is known in the middle of its DSM.")
    height = float(np.median(known)) if len(known) else float(np.mean(ranges))
    coarse = replace(
        grid,
        width=SAMPLES,
        height=SAMPLES,
        transform=grid.transform @ Affine.scale(grid.width / SAMPLES, grid.height / SAMPLES),
    )
    return DSM(np.full(coarse.shape, height, np.float32), coarse)


def _sampled(surface: DSM) -> NDArray[np.float64]:
    """Return points [N, 3] spread evenly over the surface."""
    rows, cols = (np.unique(np.linspace(0, n - 1, SAMPLES).round().astype(int)) for n in surface.grid.shape)
    x, y = surface.grid.centres()
    at = np.ix_(rows, cols)
    return np.stack([x[at], y[at], surface.heights[at].astype(np.float64)], axis=-1).reshape(-1, 3)


def _without_bias(views: list[View], surface: DSM, known: NDArray[np.bool_]) -> tuple[Camera, str]:
    """Return the second view's camera, its bias against the first taken away, and a phrase on it."""
    first, second = ((view.image.read(), view.camera) for view in views)
    found = compensated(first, second, surface, known)
    if found is None:
        return views[1].camera, "RPC bias not compensated, as the images do not correlate over the DSM"
    camera, (right, down) = found
    return camera, f"RPC bias of {views[1].name} compensated by ({right:.2f}, {down:.2f}) px"
