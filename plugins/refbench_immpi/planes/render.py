"""Rendering a multiplane image in a target view: planes are warped and composited near to far, one at a time.

Only colour and density are warped; a running transmittance stands for the planes before, so the memory needed does
not grow with their number. The gradient goes through the planes a second time in the same order: what lies behind a
plane is the whole image less what was composited so far. Poses get no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.autograd.function import once_differentiable
from torch.nn.functional import grid_sample

from refbench.contracts.errors import InputError
from refbench_immpi.planes.homography import target_views

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from refbench_immpi.planes.homography import Layer, TargetView

LEAK = 1e-6
"""Added to what each plane lets through, so that none is perfectly opaque."""
EMPTY = 1e-5
"""Added to the sum of weights before a division."""
_BILINEAR, _BORDER = 0, 1
"""How ``grid_sampler_2d_backward`` names its modes."""


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A target view.

    ``rgb`` [B, 3, h, w]; ``depth`` [B, 1, h, w], z in the target camera, scene units; ``mask`` [B, 1, h, w], 1 where
    any plane covers the pixel, else 0; ``weight_sum`` [B, 1, h, w]: 1 where the planes hide all behind them;
    ``spread`` [B, 1, h, w]: standard deviation of the depth over the weights, scene units, without gradient (None if
    not asked for).
    """

    rgb: torch.Tensor
    depth: torch.Tensor
    mask: torch.Tensor
    weight_sum: torch.Tensor
    spread: torch.Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Composited:
    """One plane in the target view.

    ``layer``: where it lies; ``rgb`` [3, h, w] and ``sigma`` [h, w] as warped, ``sigma`` zero behind the camera;
    ``let_through`` [h, w]; ``before`` [h, w]: transmittance in front of it; ``weight`` [h, w].
    """

    layer: Layer
    rgb: torch.Tensor
    sigma: torch.Tensor
    let_through: torch.Tensor
    before: torch.Tensor
    weight: torch.Tensor


def render(
    rgb: torch.Tensor,
    sigma: torch.Tensor,
    planes: torch.Tensor,
    T_tgt_ref: torch.Tensor,
    K_ref: torch.Tensor,
    K_tgt: torch.Tensor,
    shape: tuple[int, int],
    *,
    normalise: bool = False,
    depth_mode: Literal["mean", "median"] = "mean",
    spread: bool = False,
) -> Rendered:
    """Return the target views of a batch of multiplane images.

    Parameters
    ----------
    rgb, sigma
        [B, D, 3, h, w] colours in [0, 1] and [B, D, 1, h, w] densities per scene unit. Both get gradients.
    planes
        [B, D], near to far, depth in the reference camera.
    T_tgt_ref
        [B, 4, 4], reference camera to target camera.
    K_ref, K_tgt
        [B, 3, 3], pixel centres at integers: of the multiplane image as it is, and of the target view at ``shape``.
    shape
        Rows and columns of the target view.
    normalise
        Divide colours by the sum of weights, so that half-transparent pixels do not darken. Not as published.
    depth_mode
        Weighted mean, as published, or weighted median (without gradient).
    spread
        Whether to return the spread of the depth over the weights.

    Raises
    ------
    InputError
        Shapes that do not belong together.
    """
    size = _checked(rgb, sigma, planes)
    like = rgb if rgb.dtype == torch.float64 else rgb.new_empty((), dtype=torch.float32)
    views = target_views(planes, T_tgt_ref, K_ref, K_tgt, size, shape, like)
    colour, total, weighted, mask = _Composite.apply(rgb, sigma, views, shape)  # type: ignore[no-untyped-call]  # torch's stub
    depth = weighted / (total + EMPTY)
    deviation = None
    with torch.no_grad():
        if spread:
            items = [_spread(sigma[b], view, total[b, 0], depth[b, 0]) for b, view in enumerate(views)]
            deviation = torch.stack(items)[:, None]
        if depth_mode == "median":
            depth = torch.stack([_median(sigma[b], view, total[b, 0]) for b, view in enumerate(views)])[:, None]
    if normalise:
        colour = colour / (total + EMPTY)
    return Rendered(colour, depth, mask, total, deviation)


def _checked(rgb: torch.Tensor, sigma: torch.Tensor, planes: torch.Tensor) -> tuple[int, int]:
    """Return rows and columns of the multiplane image."""
    fits = rgb.ndim == sigma.ndim == 5 and rgb.shape[2] == 3 and sigma.shape[2] == 1
    if not fits or rgb.shape[:2] != planes.shape or sigma.shape[:2] != planes.shape or rgb.shape[3:] != sigma.shape[3:]:
        raise InputError(
            f"A multiplane image has colours [B, D, 3, h, w], densities [B, D, 1, h, w] and depths [B, D], not "
            f"{list(rgb.shape)}, {list(sigma.shape)} and {list(planes.shape)}."
        )
    rows, cols = rgb.shape[3:]
    if min(rows, cols) < 2:
        raise InputError(f"A multiplane image has 2 x 2 pixels at least, not {rows} x {cols}.")
    return rows, cols


def composited(rgb: torch.Tensor | None, sigma: torch.Tensor, view: TargetView) -> Iterator[Composited]:
    """Yield the planes [D, 3, h, w] and [D, 1, h, w] as ``view`` sees them, near to far; none is kept.

    Without colours those yielded are empty [0, h, w].
    """
    before: torch.Tensor | None = None
    for j, layer in enumerate(view.layers()):
        density = _warped(sigma[j], layer)[0]
        colour = density.new_empty((0, *density.shape)) if rgb is None else _warped(rgb[j], layer)
        if layer.behind is not None:
            density = density.masked_fill(layer.behind, 0)
        let_through = torch.exp(-density * layer.distance)
        if before is None:
            before = torch.ones_like(density)
        yield Composited(layer, colour, density, let_through, before, (1 - let_through).mul_(before))
        before = before * (let_through + LEAK)


def _warped(plane: torch.Tensor, layer: Layer) -> torch.Tensor:
    plane = plane.to(layer.z.dtype)
    if layer.grid is None:
        return plane
    return grid_sample(plane[None], layer.grid, "bilinear", "border", align_corners=True)[0]


class _Composite(torch.autograd.Function):
    """Weighted sums over the planes: colour, weight, weight times depth; and the mask."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  # torch's context takes any attribute
        rgb: torch.Tensor,
        sigma: torch.Tensor,
        views: Sequence[TargetView],
        shape: tuple[int, int],
    ) -> tuple[torch.Tensor, ...]:
        """Composite every item; outputs [B, 3, h, w] and three times [B, 1, h, w]."""
        dtype = views[0].dtype
        colour = torch.zeros(len(views), 3, *shape, dtype=dtype, device=rgb.device)
        total, weighted, mask = (torch.zeros_like(colour[:, :1]) for _ in range(3))
        for b, view in enumerate(views):
            covered: torch.Tensor | bool = False
            for plane in composited(rgb[b], sigma[b], view):
                colour[b].addcmul_(plane.rgb, plane.weight)
                total[b, 0] += plane.weight
                weighted[b, 0].addcmul_(plane.weight, plane.layer.z)
                covered = True if plane.layer.valid is None else covered | plane.layer.valid
            mask[b, 0] = covered
        ctx.views = views
        ctx.save_for_backward(rgb, sigma, colour, total, weighted)
        ctx.mark_non_differentiable(mask)
        return colour, total, weighted, mask

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        """Go through the planes once more."""
        rgb, sigma, colour, total, weighted = ctx.saved_tensors
        grad_rgb, grad_sigma = torch.zeros_like(rgb), torch.zeros_like(sigma)
        for b, view in enumerate(ctx.views):
            sums = [values[b] for values in (colour, total, weighted)]
            _gradient(rgb[b], sigma[b], view, sums, [grad[b] for grad in grads[:3]], (grad_rgb[b], grad_sigma[b]))
        return grad_rgb, grad_sigma, None, None


def _gradient(
    rgb: torch.Tensor,
    sigma: torch.Tensor,
    view: TargetView,
    sums: list[torch.Tensor],
    grads: list[torch.Tensor],
    out: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Write the gradients of one item into ``out``."""
    by_colour, by_weight, by_depth = grads[0], grads[1][0], grads[2][0]
    # Sum over the planes that are not composited yet of weight times its gradient.
    behind = (sums[0] * by_colour).sum(0).addcmul_(sums[1][0], by_weight).addcmul_(sums[2][0], by_depth)
    last = len(view.depths) - 1
    for j, plane in enumerate(composited(rgb, sigma, view)):
        worth = (plane.rgb * by_colour).sum(0).add_(by_weight).addcmul_(plane.layer.z, by_depth)
        behind.addcmul_(plane.weight, worth, value=-1)
        by_passing = plane.before * worth
        if j < last:
            by_passing -= behind / (plane.let_through + LEAK)
        by_density = by_passing.mul_(plane.let_through).mul_(plane.layer.distance)
        if plane.layer.behind is not None:
            by_density.masked_fill_(plane.layer.behind, 0)
        _scatter(plane.weight * by_colour, rgb[j], plane.layer, out[0][j])
        _scatter(by_density[None], sigma[j], plane.layer, out[1][j])


def _scatter(grad: torch.Tensor, plane: torch.Tensor, layer: Layer, out: torch.Tensor) -> None:
    """Write the gradient of a warped plane [c, h, w] to the plane itself."""
    if layer.grid is not None:
        source, asked = plane.to(grad.dtype)[None], [True, False]
        backward = torch.ops.aten.grid_sampler_2d_backward
        grad = backward(grad[None].contiguous(), source, layer.grid, _BILINEAR, _BORDER, True, asked)[0][0]
    out.copy_(grad)


def _spread(sigma: torch.Tensor, view: TargetView, total: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation of the depth over the weights [h, w]."""
    squares = torch.zeros_like(total)
    for plane in composited(None, sigma, view):
        squares.addcmul_(plane.weight, (plane.layer.z - mean) ** 2)
    return (squares / (total + EMPTY)).sqrt_()


def _median(sigma: torch.Tensor, view: TargetView, total: torch.Tensor) -> torch.Tensor:
    """Return the depth [h, w] that halves the weights, half of each plane's own weight lying before it."""
    half, reached, found = total / 2, torch.zeros_like(total), torch.zeros_like(total)
    done = torch.zeros_like(total, dtype=torch.bool)
    middle_before = z_before = None
    for plane in composited(None, sigma, view):
        z, middle = plane.layer.z, reached + plane.weight / 2
        crossed = middle >= half
        value = z
        if middle_before is not None and z_before is not None:
            fraction = (half - middle_before) / (middle - middle_before).clamp_(min=torch.finfo(total.dtype).tiny)
            value = torch.where(crossed, z_before + fraction * (z - z_before), z)
        found = torch.where(done, found, value)
        done |= crossed
        reached += plane.weight
        middle_before, z_before = middle, z
    return found
