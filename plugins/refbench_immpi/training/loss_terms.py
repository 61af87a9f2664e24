"""Planes of one view against the image of another: rendering at four scales and the losses between them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from refbench_immpi.losses.losses import Losses, LossWeights, scale_targets, view_losses
from refbench_immpi.losses.lpips import load_lpips
from refbench_immpi.network.encoding import inverse_depth_planes
from refbench_immpi.planes.homography import check_planes, pyramid_intrinsics
from refbench_immpi.planes.render import Rendered, render
from refbench_immpi.views.posed import relative_pose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from refbench_immpi.config import LossConfig, PlanesConfig
    from refbench_immpi.losses.losses import ScaleTarget
    from refbench_immpi.losses.lpips import Lpips
    from refbench_immpi.views.posed import Posed


def plane_depths(view: Posed, config: PlanesConfig) -> Tensor:
    """Return the depths of a view's planes, float32 [D]: as configured, or the view's own range."""
    near = view.near if config.near is None else config.near
    far = view.far if config.far is None else config.far
    return inverse_depth_planes(torch.tensor([near]), torch.tensor([far]), config.number)[0]


def lpips_of(config: LossConfig, device: str) -> Lpips | None:
    """Return the network of LPIPS where the configuration names its files."""
    paths = [Path(path) for path in (config.lpips_weights or "").split(",") if path]
    return load_lpips(*paths).to(device) if paths else None


def loss_weights(config: LossConfig) -> LossWeights:
    """Return the weights of the losses; without weights of LPIPS its own is 0."""
    lpips = config.lpips if config.lpips_weights else 0.0
    return LossWeights(l1=config.rgb, ssim=config.ssim, lpips=lpips, l2=config.l2, edge=config.smooth)


@dataclass(slots=True, eq=False)
class Comparer:
    """Renders planes into other views and compares; what stays of a target is computed once per pair of views.

    ``half_pixel``: intrinsics of smaller scales keep pixel centres in place; the published ones do not.
    """

    weights: LossWeights
    planes: PlanesConfig
    half_pixel: bool = False
    lpips: Lpips | None = None
    kept: bool = True
    _targets: dict[tuple[str, str], list[ScaleTarget]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, loss: LossConfig, planes: PlanesConfig, *, half_pixel: bool, kept: bool = True, device: str = "cpu"
    ) -> Comparer:
        """Return the comparer of a configuration; the file of LPIPS is read here."""
        return cls(loss_weights(loss), planes, half_pixel, lpips_of(loss, device) if loss.lpips else None, kept)

    @property
    def terms(self) -> list[str]:
        """Names of the losses that have a weight."""
        return [name for name, weight in asdict(self.weights).items() if weight]

    def rendered(self, mpi: Mapping[int, Tensor], reference: Posed, target: Posed) -> list[Rendered]:
        """Return the target view at every scale of ``mpi`` (scale -> [1, D, 4, h, w]).

        Colours in [0, 1], depths in metres.
        """
        depths = plane_depths(reference, self.planes)
        pose = relative_pose(reference, target)
        check_planes(depths, pose, target.name)
        T = torch.from_numpy(pose)[None]
        found = []
        for scale, images in sorted(mpi.items()):
            rows, cols = (side // 2**scale for side in reference.shape)
            planes = images[:, :, :, :rows, :cols]
            K = [
                pyramid_intrinsics(torch.from_numpy(v.K)[None].clone(), scale, half_pixel=self.half_pixel)
                for v in (reference, target)
            ]
            shape = target.shape[0] // 2**scale, target.shape[1] // 2**scale
            found.append(render(planes[:, :, :3], planes[:, :, 3:], depths[None].to(planes), T, K[0], K[1], shape))
        return found

    def losses(self, mpi: Mapping[int, Tensor], reference: Posed, target: Posed) -> Losses:
        """Return the losses of a target view over all scales of ``mpi``, with gradients to it.

        Its planes are [1, D, 4, h, w]; the losses scalars.

        Raises
        ------
        InputError
            A plane passes through the target camera, or the target sees none.
        """
        views = self.rendered(mpi, reference, target)
        key = reference.name, target.name
        known = self._targets.get(key)
        if known is None:
            image = torch.from_numpy(target.image)[None].to(views[0].rgb)
            known = scale_targets(image, [view.mask for view in views], self.lpips)
            if self.kept:
                self._targets[key] = known
        span = (torch.tensor([target.near]), torch.tensor([target.far])) if self.weights.edge else None
        return view_losses(views, known, self.weights, lpips=self.lpips, depth_range=span)
