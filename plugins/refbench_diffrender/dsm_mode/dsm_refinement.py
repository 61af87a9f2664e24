"""The optimisation of a height field by the images that see it: each is carried by the surface into others.

A step renders the surface into a few views (targets). Every triangle carries the images of other views (sources)
along; where both see the surface, carried and own image must agree. Cells are what the surface moves by, see
``height_field``.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench.training.per_scene import digest_of
from refbench_diffrender.dsm_mode.height_field import HeightField
from refbench_diffrender.losses.robust_loss import charbonnier, patch_loss, penalty_loss
from refbench_diffrender.running.steps import StepReport, cosine_fraction, descend
from refbench_diffrender.views.ground_view import GroundView, RenderedView
from refbench_diffrender.views.image_sampling import values_at
from refbench_diffrender.views.view_pairs import sampled, sources_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from refbench import Grid
    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.rasteriser.rasteriser import Rasteriser

Batch = list[tuple[int, list[int]]]
"""Targets of a step, each with its sources."""


class DsmRefinement:
    """The refinement of one block.

    Parameters
    ----------
    heights
        Initial ones, metres [rows, cols], without holes.
    known
        Where they were given, bool [rows, cols].
    grid
        Of the block.
    views
        That see it, cut to it.
    """

    def __init__(
        self,
        heights: NDArray[np.floating],
        known: NDArray[np.bool_],
        grid: Grid,
        views: Sequence[GroundView],
        config: DiffrenderConfig,
        renderer: Rasteriser,
        device: str = "cpu",
    ) -> None:
        self.config, self.renderer, self.at = config, renderer, config.dsm
        self.grid, self.gsd = grid, grid.gsd
        self.surface = HeightField(heights, grid, self.at.reach, device)
        self.known = torch.from_numpy(known).to(device)
        self.views = [RenderedView(view, self.surface.vertices, device) for view in views]
        points = sampled(self.surface.vertices, heights.shape)
        self.sources = sources_of(views, points, self.at.neighbours, config.min_overlap, config.best_angle_deg)
        self.triangles = [self._renderable(view.placed) for view in self.views]
        self.topologies = [renderer.topology(triangles) for triangles in self.triangles]
        # Every view that a cell is compared in is further evidence; the mean over them does not grow with it.
        compared = sum(bool(sources) for sources in self.sources)
        self._smooth_weight = self.at.smooth * math.sqrt(2 / max(2, compared))
        self.optimizer = torch.optim.Adam([self.surface.field], lr=self.at.lr * self.gsd)
        self.steps = 0

    def _renderable(self, placed: NDArray[np.bool_]) -> Tensor:
        """Return the triangles whose corners a view can place."""
        triangles = self.surface.triangles
        if placed.all():
            return triangles
        kept = torch.from_numpy(placed).to(triangles.device)[triangles.long()].all(dim=1)
        return triangles[kept].contiguous()

    def show_known_only(self) -> None:
        """Leave what spans holes of the initial DSM out of all images."""
        kept = self.known.reshape(-1)
        self.triangles = [each[kept[each.long()].all(dim=1)].contiguous() for each in self.triangles]
        self.topologies = [self.renderer.topology(each) for each in self.triangles]

    @property
    def has_pairs(self) -> bool:
        """Whether any view can be compared with another."""
        return any(self.sources)

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield what every step looks at: all targets in turn and their sources in turn, in an order of ``rng``."""
        able = [number for number, sources in enumerate(self.sources) if sources]
        turns = {
            number: [self.sources[number][n] for n in rng.permutation(len(self.sources[number]))] for number in able
        }
        order: list[int] = []
        for _ in range(self.at.steps):
            step: Batch = []
            for _ in range(min(self.at.targets, len(able))):
                if not order:
                    order = [able[n] for n in rng.permutation(len(able))]
                target = order.pop()
                number = min(self.at.sources, len(turns[target]))
                step.append((target, turns[target][:number]))
                turns[target] = turns[target][number:] + turns[target][:number]
            yield step

    def run(self, batches: Sequence[Batch]) -> Iterator[StepReport]:
        """Take a step for each of the last batches of all."""
        for number, batch in enumerate(batches):
            self._schedule(len(batches) - number)
            self.optimizer.zero_grad(set_to_none=True)
            terms = self.losses(batch)
            report = descend(self.optimizer, terms, self.steps, 2)
            self.steps += 1
            yield report

    def _schedule(self, left: int) -> None:
        """Set the learning rate of a step; ``left`` counts it and those after it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.at.lr * self.gsd * cosine_fraction(left, self.at.steps)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms of a step. Scalars by the name of their loss."""
        at, heights = self.at, self.surface.heights()
        points = self.surface.points(heights)
        used = sorted({number for target, sources in batch for number in (target, *sources)})
        projected = {number: self.views[number].project(points) for number in used}
        z_buffers = {number: self.z_buffer(number, projected[number]) for _, sources in batch for number in sources}
        found: dict[str, list[Tensor]] = {}
        for target, sources in batch:
            seen, wanted, visible = self.compared(target, sources, projected, z_buffers)
            if at.patch:
                dissimilarity = self._dissimilarity(target, sources, seen, wanted, visible)
                found.setdefault("patch", []).append(at.patch * dissimilarity)
            if at.colour:
                found.setdefault("colour", []).append(at.colour * penalty_loss(seen, wanted, visible))
        terms = {name: torch.stack(values).mean() for name, values in found.items()}
        # Slopes and shifts in cells: one configuration suits every GSD.
        cells = heights / self.gsd
        if at.smooth:
            slopes = [cells[:, 1:] - cells[:, :-1], cells[1:] - cells[:-1]]
            rough = torch.stack([charbonnier(slope, at.smooth_from).mean() for slope in slopes]).sum()
            terms["smooth"] = self._smooth_weight * rough.float()
        if at.prior:
            moved = charbonnier(cells - self.surface.initial / self.gsd, at.prior_from)
            terms["prior"] = at.prior * (moved * self.known).mean().float()
        return terms

    def _dissimilarity(
        self, target: int, sources: Sequence[int], seen: Tensor, wanted: Tensor, visible: Tensor
    ) -> Tensor:
        """Return how dissimilar patches are, the mean over the sources."""
        kinds = [self._kind(target, source) for source in sources]
        total = seen.new_zeros(())
        for kind in ("ssim", "ncc"):
            chosen = [number for number, one in enumerate(kinds) if one == kind]
            if chosen:
                images = (part[chosen].contiguous() for part in (seen, wanted, visible))
                loss = patch_loss(*images, patch=kind, size=self.at.patch_size)
                total = total + loss * (len(chosen) / len(kinds))
        return total

    def _kind(self, target: int, source: int) -> str:
        """Return by what a pair's patches are compared: two kinds of cameras see light in two ways."""
        if self.at.patch_kind != "auto":
            return self.at.patch_kind
        one, other = (self.views[number].view.is_perspective for number in (target, source))
        return "ssim" if one == other else "ncc"

    def compared(
        self, target: int, sources: Sequence[int], projected: dict[int, Tensor], z_buffers: dict[int, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return carried images, the target's image and what both see, [sources, rows, cols, 1] each.

        Colours are in [0, 1], z-buffers in metres.
        """
        view = self.views[target]
        clip, triangles = view.clip(projected[target]), self.triangles[target]
        attributes = torch.cat([self.views[n].carried(projected[n]) for n in sources], dim=1)[None]
        rast, found = self.renderer.render(clip, triangles, attributes, view.view.shape)
        rendered = (rast[0, ..., 3:] > 0) & view.known[..., None]
        images, visible = [], []
        for number, source in enumerate(sources):
            carried = found[..., 4 * number : 4 * number + 4]
            # What is carried is affine in clip space: divided by w it is perspective-correct.
            w = torch.where(rendered[None], carried[..., 2:3], torch.ones_like(carried[..., 2:3]))
            uv = carried[..., :2] / w
            images.append(self.renderer.texture(self.views[source].image, uv.contiguous()))
            visible.append(self.visible(uv.detach(), carried[0, ..., 3].detach(), z_buffers[source]) & rendered[..., 0])
        blended = self.renderer.antialias(torch.cat(images, dim=3), rast, clip, triangles, self.topologies[target])
        seen = blended[0].permute(2, 0, 1)[..., None].contiguous()
        return seen, view.image.expand_as(seen).contiguous(), torch.stack(visible)[..., None].to(seen)

    def visible(self, uv: Tensor, depth: Tensor, z_buffer: Tensor) -> Tensor:
        """Return which pixels [rows, cols] a source sees at ``uv`` [1, rows, cols, 2], and ``depth`` [rows, cols].

        ``z_buffer`` is what the method of that name returns for the source; depths count as its do.
        """
        inside = ((uv > 0) & (uv < 1)).all(dim=3)[0]
        # As shadow mapping: a point is seen unless the z-buffer holds something clearly nearer.
        nearest = values_at(z_buffer, 2 * uv[0] - 1)
        return inside & (depth <= nearest + self.at.hidden * self.gsd)

    @torch.no_grad()
    def z_buffer(self, number: int, projected: Tensor) -> Tensor:
        """Return the depths [rows, cols] of what a view sees of the surface; minus infinity where it knows nothing."""
        view = self.views[number]
        depth = view.carried(projected)[None, :, 3:].contiguous()
        rast, found = self.renderer.render(view.clip(projected), self.triangles[number], depth, view.view.shape)
        seen = (rast[0, ..., 3] > 0) & view.known
        return torch.where(seen, found[0, ..., 0], torch.full_like(found[0, ..., 0], -torch.inf))

    @torch.no_grad()
    def heights(self) -> NDArray[np.float32]:
        """Return the heights as they are now, float32 [rows, cols] in metres."""
        return self.surface.heights().cpu().numpy().astype(np.float32)

    # --- state ------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return all that the next steps depend on, as tensors and plain data."""
        return {
            "steps": self.steps,
            "field": self.surface.field.detach(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Bring the refinement to a state; one of another kind raises ``KeyError``, ``TypeError`` or ``ValueError``."""
        with torch.no_grad():
            self.surface.field.copy_(state["field"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = int(state["steps"])

    def digest(self, seed: int) -> str:
        """Return the SHA-256 of all that the numbers depend on."""
        facts = {
            "dsm": asdict(self.at), "overlap": self.config.min_overlap, "angle": self.config.best_angle_deg,
            "seed": seed, "backend": self.renderer.name, "sources": self.sources,
        }  # fmt: skip
        return digest_of(facts, (self.surface.vertices, self.known, *self._images()))

    def _images(self) -> Iterator[NDArray[np.generic]]:
        for rendered in self.views:
            yield from (rendered.view.brightness, rendered.view.known)
            yield np.stack(rendered.view.project(self.surface.vertices[:: max(1, len(self.surface.vertices) // 99)]))
