"""Analysis by synthesis of one view: its depth map as a mesh, rendered into other views, moved by what is seen there.

Stage 1 moves the mesh by a smooth function of place and depth, stage 2 every vertex by itself; the terms stand in
docs/methods/diffrender.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from refbench_diffrender.depth_mode.tonemapper import Tonemapper
from refbench_diffrender.depth_mode.transfer_mlp import TransferFunction
from refbench_diffrender.losses.colour_loss import blended_loss
from refbench_diffrender.losses.edge_map import EdgeMapTerm, UvEdginess, edge_map
from refbench_diffrender.losses.filters import normals_of
from refbench_diffrender.losses.losses import consistency_loss, feature_loss, median_loss, normal_loss, smooth_loss
from refbench_diffrender.losses.photometric import COLOURS, Seen, photometric_terms
from refbench_diffrender.losses.point_loss import PointTerm, relative_huber
from refbench_diffrender.losses.poisson import PoissonTerm, weight_at
from refbench_diffrender.mesh.decimate import decimated
from refbench_diffrender.mesh.grid_mesh import grid_triangles, inside
from refbench_diffrender.mesh.mesh_state import MeshState
from refbench_diffrender.mesh.visibility import depth_of, solid_triangles, unhidden
from refbench_diffrender.running.steps import cosine_fraction, descend
from refbench_diffrender.views.depth_image import DepthImage, from_rendered
from refbench_diffrender.views.image_sampling import resize_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from refbench_diffrender.config import DiffrenderConfig, Mode
    from refbench_diffrender.depth_mode.encoder import FeatureEncoder
    from refbench_diffrender.rasteriser.rasteriser import Rasteriser
    from refbench_diffrender.running.steps import Stage, StepReport
    from refbench_diffrender.views.gl_cameras import Intrinsics
    from refbench_diffrender.views.view_image import ReferenceNormals, SparsePoints, ViewImage

RIM = 1e-5
"""Vertices so near to the border of the image, in clip units, lie on it."""


class ViewRefinement:
    """The optimisation of one view.

    Parameters
    ----------
    own
        The view that is refined.
    targets
        All views, the own one among them, in the order of their numbers.
    intrinsics
        Of the own view.
    initial
        Its initial depth.
    source
        Relative depth whose gradients are to be kept, [rows, cols]; 0 is unknown.
    points
        Sparse depths, None without.
    planes
        Clip planes, metres.
    encoder
        Of the features that the feature loss compares; None without.
    normals
        That the surface is to have; None without.
    beyond
        Bool [rows, cols]: pixels of the own view whose depth nothing tells; other views are not shown what lies there.
    """

    def __init__(
        self,
        own: ViewImage,
        targets: Sequence[ViewImage],
        intrinsics: Intrinsics,
        initial: DepthImage,
        source: Tensor,
        points: SparsePoints | None,
        planes: tuple[float, float],
        config: DiffrenderConfig,
        renderer: Rasteriser,
        encoder: FeatureEncoder | None = None,
        normals: ReferenceNormals | None = None,
        beyond: Tensor | None = None,
    ) -> None:
        self.own, self.targets, self.config, self.renderer = own, tuple(targets), config, renderer
        self.intrinsics, self.planes, self.points, self.initial = intrinsics, planes, points, initial
        self.device = own.image.device
        self.normals, self.source, self.beyond = normals, source, beyond
        self.shape = (int(own.image.shape[0]), int(own.image.shape[1]))
        absolute = initial.absolute
        self.edges = edge_map(absolute)
        self._texture = torch.cat([own.image, self.edges[..., None]], dim=-1)[None].contiguous()
        self._edge_term, self._uv_term = EdgeMapTerm(self.edges), UvEdginess(self.edges, compat=config.compat)
        self._poisson = PoissonTerm(source, blur=config.loss.blur_poisson)
        self._point_term = None if points is None else PointTerm(points.places, points.depths)
        weight = config.loss.poisson
        self._poisson_weight = weight if config.compat else weight_at(weight, self.shape)
        self.mesh: MeshState
        self.take(decimated(self._grid(absolute), config.init_ratio))
        self.features = None if encoder is None or not config.loss.feature else self._encoded(encoder)
        self._world = torch.linalg.inv(own.model_view.double()).to(own.image)
        self._number = next(n for n, view in enumerate(self.targets) if view.name == own.name)
        self.held = [view.depth for view in self.targets]
        """The depth maps of the targets as they are now; see ``unhidden``."""
        self.partners: frozenset[int] = frozenset()
        """Which targets are refined, too, so that their depth maps are compared with."""
        numbers = range(len(self.targets))
        self.others = [n for n in numbers if config.compat or n != self._number] or list(numbers)
        """Which targets steps compare with: the own image tells nothing of its depth, but was published as one."""
        self.tonemapper: Tonemapper | None = None
        if config.tonemapper:
            self.tonemapper = Tonemapper(len(self.targets), compat=config.compat).to(self.device)
        self.transfer: TransferFunction | None = None
        self.offset: Tensor | None = None
        self.factor: Tensor | None = None
        self.scale: Tensor | None = None
        self.stage_1_depth: Tensor | None = None
        self.compared: Tensor | None = None
        self.has_begun = False
        self._point_depths = None if self._point_term is None else self._point_term.sampled(absolute)
        self.steps = 0

    def _grid(self, depth: Tensor) -> MeshState:
        """Return the grid mesh of a depth map [rows, cols] in metres; its vertices are the same on all devices."""
        rows, cols = self.shape
        stride, at, device, depth = self.config.stride, self.intrinsics, depth.device, depth.cpu()
        down = torch.arange(rows // stride, device="cpu") * stride
        across = torch.arange(cols // stride, device="cpu") * stride
        if not self.config.compat:  # the rim of the image is covered, too
            down, across = _to_rim(down.float(), rows), _to_rim(across.float(), cols)
        d = depth[down.clamp(max=rows - 1).long()][:, across.clamp(max=cols - 1).long()]
        x = (across[None] + 0.5 - at.cx) * d / at.fx
        y = -(down[:, None] + 0.5 - at.cy) * d / at.fy
        view = torch.stack([x, y, -d], dim=-1).reshape(-1, 3).float()
        triangles = torch.from_numpy(grid_triangles(len(down), len(across), valid=inside(view.numpy(), *self.planes)))
        clip = self.own.projection
        return MeshState.of_view(view.to(device), triangles.to(device), clip, self.planes, stride, self.shape)

    # --- what moves the mesh ----------------------------------------------------------------------------------------

    def view_points(self, stage: Stage) -> Tensor:
        """Return the vertices [V, 4] in the own view as they are now, moved by what a stage optimises.

        Metres, OpenGL axes of the view.
        """
        mode = self._mode(stage)
        return self.mesh.view(
            offset=self.offset if "uv" in mode else None,
            factor=self.factor if "depth" in mode else None,
            transfer=self.transfer if "transfer_func" in mode else None,
            scale=self.scale if mode == "scale" else None,
        )

    def begin(self, stage: Stage) -> torch.optim.Optimizer:
        """Make what a stage optimises; stage 2 starts from the vertices of stage 1, if there was one."""
        config = self.config
        if stage == 2:
            if config.compat and not self.has_begun:  # as published: what was never trained is baked, too
                self._variables(1)
            elif self.has_begun:
                self.stage_1_depth = self.depth(1)
            if self.has_begun:
                self.mesh = self.mesh.baked(self.view_points(1).detach())
            self.take(decimated(self.mesh, config.ratio))
        return self.optimise(stage)

    def take(self, mesh: MeshState) -> None:
        """Put a mesh in the place of the one that is optimised."""
        self.mesh = mesh
        self.shown = mesh.triangles
        if not self.config.compat:
            self.shown = solid_triangles(mesh, self.config.cut_deg, self.beyond)
        self._topology = self.renderer.topology(self.shown)

    def optimise(self, stage: Stage) -> torch.optim.Optimizer:
        """Make the variables of a stage for the mesh as it is, and what optimises them; see ``begin``."""
        self.stage: Stage = stage
        config, parameters = self.config, self._variables(stage)
        groups = [{"params": parameters}] + ([] if self.tonemapper is None else self.tonemapper.groups())
        self.optimizer = torch.optim.Adam(groups, lr=config.init_lr if stage == 1 else config.lr)
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        return self.optimizer

    def _schedule(self, stage: Stage, left: int) -> None:
        """Set the learning rates for a step of a stage; ``left`` counts it and those after it."""
        if self.config.schedule == "cosine":
            steps = self.config.init_steps if stage == 1 else self.config.steps
            for group in self.optimizer.param_groups:
                group["lr"] = cosine_fraction(left, steps) * group["initial_lr"]

    def _mode(self, stage: Stage) -> Mode:
        return self.config.init_train_mode if stage == 1 else self.config.train_mode

    def _variables(self, stage: Stage) -> list[Tensor]:
        """Make the variables of a stage, at rest but for the noise of the transfer function; return them."""
        config, mode, vertices, device = self.config, self._mode(stage), len(self.mesh.position), self.device
        self.factor = torch.ones(vertices, 1, device=device, requires_grad=True) if "depth" in mode else None
        self.offset = torch.zeros(vertices, 2, device=device, requires_grad=True) if "uv" in mode else None
        if self.offset is not None and not config.compat:  # two stages could pull the rim off the outer pixels
            inner = (self.mesh.position[:, :2].abs() < 1 - RIM).float()
            self.offset.register_hook(lambda grad: grad * inner)  # type: ignore[no-untyped-call]  # torch's stub
        self.scale = torch.tensor([0.0, 1.0], device=device, requires_grad=True) if mode == "scale" else None
        self.transfer = None
        if "transfer_func" in mode:
            self.transfer = TransferFunction(
                config.hidden,
                config.frequencies,
                config.activation,
                init_std=config.init_std,
                span=self.planes,
                compat=config.compat,
            ).to(device)
        self.has_begun = True
        single = [each for each in (self.factor, self.offset, self.scale) if each is not None]
        return [*single, *(() if self.transfer is None else self.transfer.parameters())]

    # --- rendering --------------------------------------------------------------------------------------------------

    def own_depth(self, view: Tensor) -> Tensor:
        """Return the depth [rows, cols] of the mesh in its own view; 0 where it is not."""
        clip = (view @ self.own.projection.to(view).T)[None]
        _, depth = self.renderer.render(clip, self.mesh.triangles, -view[None, :, 2:3].contiguous(), self.shape)
        return depth[0, ..., 0]

    def depth_image(self, depth: Tensor) -> DepthImage:
        """Return the state that losses compare of a rendered depth map [rows, cols] in metres."""
        return from_rendered(depth, self.initial.offset, self.initial.scale, compat=self.config.compat)

    def seen(self, view: Tensor, numbers: Sequence[int]) -> Seen:
        """Return the mesh as target views see it.

        ``view`` is [V, 4], metres, OpenGL axes; images are [B, rows, cols, C].
        """
        clip = self._clip(view, numbers)
        attributes = self.mesh.uv(self.offset)[None]
        if self._compares_depths:
            attributes = torch.cat([attributes.expand(len(clip), -1, -1), clip[..., 3:]], dim=2)
        rast, found, looked = self.renderer.shade(
            clip, self.shown, attributes, self._texture, self.shape, masked=COLOURS
        )
        visible = (rast[..., 3:] > 0).to(view.dtype)
        held = [self.held[n] for n in numbers]
        if self.config.hidden_fraction is not None and not self.config.compat and any(one is not None for one in held):
            depth = depth_of(rast, self.own.projection)
            visible = visible * unhidden(depth, held, self.config.hidden_fraction)
        blended = self.renderer.antialias(looked, rast, clip, self.shown, self._topology, channels=COLOURS)
        depths = found[..., 2] if self._compares_depths else None
        return Seen(visible, blended, depths)

    @property
    def _compares_depths(self) -> bool:
        return bool(self.partners and self.config.loss.consistency)

    def _clip(self, view: Tensor, numbers: Sequence[int]) -> Tensor:
        """Return the clip positions [B, V, 4] of the vertices in target views."""
        world = view @ self._world.T
        seen = (self.targets[n] for n in numbers)
        matrices = [(target.projection.double() @ target.model_view.double()).to(view) for target in seen]
        return torch.stack([world @ matrix.T for matrix in matrices])

    # --- losses -----------------------------------------------------------------------------------------------------

    def losses(self, stage: Stage, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Return the weighted losses with the views of these numbers. Scalars by the name of their loss."""
        weights, view = self.config.loss, self.view_points(stage)
        found: dict[str, Tensor] = {}
        state = self.depth_image(self.own_depth(view))
        absolute = state.absolute
        self.compared = absolute.detach()
        images = (weights.init_colour, weights.init_patch) if stage == 1 else (weights.colour, weights.patch)
        if any(images):
            found |= self._photometric(view, numbers, images)
        if self.features is not None:
            found["feature"] = weights.feature * self._feature_loss(view, numbers)
        if weights.poisson:
            found["poisson"] = self._poisson_weight * self._poisson(state.relative, state.valid)
        if weights.median:
            found["median"] = weights.median * median_loss(absolute)
        if weights.smooth:
            found["smooth"] = weights.smooth * smooth_loss(absolute, state.valid, compat=self.config.compat)
        if self._point_term is not None and weights.point:
            found["point"] = weights.point * self._point_term(absolute)
        if stage == 1 and self.points is not None and self.transfer is not None and weights.transfer:
            found["transfer"] = weights.transfer * self._transfer_loss()
        if weights.edge_map:
            found["edge_map"] = weights.edge_map * self._edge_term(absolute)
        if weights.uv_edginess:
            found["uv_edginess"] = weights.uv_edginess * self._uv_term(self.mesh.uv(self.offset))
        if self.normals is not None and weights.normal:
            found["normal"] = weights.normal * self._normal_loss(view, self.normals)
        return found

    def own_normals(self, view: Tensor) -> Tensor:
        """Return the normals [1, 3, rows, cols] of the mesh in its own view, x to the left, y up.

        ``view`` is [V, 4], metres; normals have no unit.
        """
        clip = (view @ self.own.projection.to(view).T)[None]
        _, places = self.renderer.render(clip, self.mesh.triangles, view[None, :, :3].contiguous(), self.shape)
        return normals_of(places.permute(0, 3, 1, 2))

    def _normal_loss(self, view: Tensor, wanted: ReferenceNormals) -> Tensor:
        edges = self.edges.clamp(0, 1)[None, None]
        return normal_loss(self.own_normals(view), wanted.directions, wanted.certainty, edges)

    def _photometric(self, view: Tensor, numbers: Sequence[int], weights: tuple[float, float]) -> dict[str, Tensor]:
        seen, weighed = self.seen(view, numbers), self.config.loss
        images = [self.targets[n].image for n in numbers]
        if self.tonemapper is None and weighed.photometric == "squared" and not weights[1]:
            loss = blended_loss(seen.blended, images, seen.visible, compat=self.config.compat)
            terms = {"colour": weights[0] * loss}
        else:
            colour, wanted = self._toned(seen.colour, numbers), torch.stack(images)
            terms = photometric_terms(
                colour, wanted, seen.visible, seen.edges, weights, weighed, compat=self.config.compat
            )
        if seen.depth is not None:
            held = [self.held[n] if n in self.partners else None for n in numbers]
            terms["consistency"] = weighed.consistency * consistency_loss(seen.depth, held, seen.visible)
        return terms

    def _toned(self, colour: Tensor, numbers: Sequence[int]) -> Tensor:
        """Return colours [B, rows, cols, 3] as the cameras of target views would show them."""
        if self.tonemapper is None:
            return colour
        return torch.stack([self.tonemapper(image, self._number, n) for image, n in zip(colour, numbers, strict=True)])

    def _encoded(self, encoder: FeatureEncoder) -> list[Tensor]:
        """Return the features of every view, [1, rows, cols, C] at the encoder's size."""
        found = []
        for view in self.targets:
            maps = torch.cat(encoder(view.image.permute(2, 0, 1)[None]), dim=1)
            found.append(maps.permute(0, 2, 3, 1).contiguous())
        return found

    def _feature_loss(self, view: Tensor, numbers: Sequence[int]) -> Tensor:
        """Compare the own view's features, carried by the mesh, with those of target views."""
        assert self.features is not None  # the caller looked
        clip = self._clip(view, numbers)
        uv = self.mesh.uv(self.offset)[None]
        rast, places = self.renderer.render(clip, self.shown, uv, self.shape)
        mask = (rast[..., 3:] > 0).to(view.dtype)
        seen = self.renderer.texture(self.features[self._number], places) * mask
        wanted = torch.cat([self.features[n] for n in numbers])
        size = (int(wanted.shape[1]), int(wanted.shape[2]))
        small, covered = (resize_image(x.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1) for x in (seen, mask))
        return feature_loss(small, wanted, covered)

    def _transfer_loss(self) -> Tensor:
        assert self.points is not None and self.transfer is not None and self._point_depths is not None
        found = self.transfer.depth(0.5 * self.points.places + 0.5, self._point_depths[:, None])
        return relative_huber(found[:, 0], self.points.depths)

    def run(
        self, stage: Stage, batches: Sequence[Sequence[int]], resumed: torch.optim.Optimizer | None = None
    ) -> Iterator[StepReport]:
        """Take a step for each batch of view numbers; negative numbers fill up the last batch and are left out.

        ``resumed`` is the optimiser of a stage that has begun before; see ``refinement_state``.
        """
        optimizer = self.begin(stage) if resumed is None else resumed
        for number, batch in enumerate(batches):
            self._schedule(stage, len(batches) - number)
            optimizer.zero_grad(set_to_none=True)
            terms = self.losses(stage, [number for number in batch if number >= 0])
            report = descend(optimizer, terms, self.steps, stage)
            self.steps += 1
            yield report

    @torch.no_grad()
    def depth(self, stage: Stage = 2) -> Tensor:
        """Return the depth map [rows, cols] of the mesh as it is now, metres; 0 where it is not."""
        return self.own_depth(self.view_points(stage))


def _to_rim(places: Tensor, length: int) -> Tensor:
    """Return vertex places that reach half a pixel beyond both sides of an image."""
    return torch.cat([places.new_tensor([-0.5]), places[1:], places.new_tensor([length - 0.5])])
