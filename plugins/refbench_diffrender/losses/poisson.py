"""The gradient-domain regulariser: relative depth keeps the gradients that the initial map had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from refbench_diffrender.losses.atrous import TINY, inverse_weight, masked_atrous, spread
from refbench_diffrender.losses.filters import forward_differences
from refbench_diffrender.losses.fused_loss import FusedLoss, require_sizes, runs_compiled
from refbench_diffrender.losses.poisson_axis import PoissonAxis
from refbench_diffrender.rasteriser.autograd import applied

if TYPE_CHECKING:
    from torch import Tensor

SCALE = 10.0
"""How fast a pixel's weight falls with the relative gradient of the source."""
OFFICIAL_PIXELS = 720 * 1280
"""The size for which the published weight of 400 was chosen."""


def weight_at(weight: float, shape: tuple[int, int]) -> float:
    """Return the term's weight for a smaller or larger map, so that slopes of the surface count the same."""
    return weight * shape[0] * shape[1] / OFFICIAL_PIXELS


class PoissonTerm:
    """The loss of a relative depth map against the gradients of ``source``.

    Parameters
    ----------
    source
        Relative depth to follow [rows, cols]; 0 is unknown.
    scale
        How fast weights fall with the relative gradient of the source.
    blur
        Whether both gradient fields pass the masked à-trous filter first.
    """

    def __init__(self, source: Tensor, *, scale: float = SCALE, blur: bool = True) -> None:
        self.source, self.scale, self.blur = source.detach(), scale, blur
        self._valid: Tensor | None = None
        self._memory: Any = None
        self._axes: tuple[PoissonAxis, PoissonAxis]

    def __call__(self, target: Tensor, valid: Tensor) -> Tensor:
        """Return the weighted mean squared difference of gradients.

        Parameters
        ----------
        target
            Relative depth now [rows, cols].
        valid
            1 where it is known, else 0, [rows, cols].
        """
        require_sizes(tuple(self.source.shape), target, valid)
        axes = self.axes(valid)
        if runs_compiled(target, self.source, valid):
            from refbench_diffrender.losses.kernels_poisson import poisson_loss, workspace

            if self._memory is None:
                self._memory = workspace(*target.shape)
            return applied(FusedLoss, poisson_loss, target, axes, self.blur, self._memory)
        terms = [
            (axis.weight * (field - axis.source)) ** 2
            for axis, field in zip(axes, self.fields(target, valid), strict=True)
        ]
        return terms[0].mean() + terms[1].mean()

    def fields(self, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient fields of ``target`` as they are compared, along columns and along rows.

        All are [rows, cols]: relative depth without a unit, ``valid`` 1 where it is known, else 0.
        """
        found = [
            spread(step * axis.counted) * axis.inverse if self.blur else step * axis.counted
            for axis, step in zip(self.axes(valid), forward_differences(target), strict=True)
        ]
        return found[0], found[1]

    def axes(self, valid: Tensor) -> tuple[PoissonAxis, PoissonAxis]:
        """Return weights and source gradients, along columns and along rows, for a validity mask [rows, cols].

        They are good until the next call: vertices that move change a few pixels of the mask in most steps, and on
        the CPU only what lies near these is made anew.
        """
        if self._valid is None or not torch.equal(valid, self._valid):
            before, self._valid = self._valid, valid.detach().clone()
            if runs_compiled(valid, self.source):
                self._update(before, self._valid)
            else:
                self._axes = self._prepared(self._valid)
        return self._axes

    def _update(self, before: Tensor | None, valid: Tensor) -> None:
        from refbench_diffrender.losses.kernels_poisson import update_axes

        if before is None:
            columns, rows = ([torch.ones_like(valid) for _ in range(4)] for _ in range(2))
            self._axes = PoissonAxis(*columns), PoissonAxis(*rows)
        update_axes(self.source, before, valid, self.scale, self.blur, self._axes)

    def _prepared(self, valid: Tensor) -> tuple[PoissonAxis, PoissonAxis]:
        known = self.source != 0
        mask = valid * known
        masked = self.source * mask
        inner = _inner(mask)
        steps = forward_differences(masked)
        return self._axis(steps[0], masked, mask, inner), self._axis(steps[1], masked, mask, inner)

    def _axis(self, step: Tensor, masked: Tensor, mask: Tensor, inner: Tensor) -> PoissonAxis:
        # Steps of the source say where slopes may change: there the target is free.
        weight = mask * torch.exp(-self.scale * (step / (masked + 1e-5)).abs())
        if not self.blur:
            return PoissonAxis(weight, step, inner.to(step), torch.ones_like(step))
        # The source is filtered over what it knows itself, the target over what both know.
        source = masked_atrous(step, weight, (self.source != 0).to(step))
        tap = weight * (mask >= TINY)
        return PoissonAxis(weight, source, tap * inner, inverse_weight(tap))


def _inner(mask: Tensor) -> Tensor:
    """Return where neither the next column nor the next row has another mask; the last ones follow the last but one."""
    along_cols, along_rows = forward_differences(mask)
    # Forward differences end with 0: the last column and row take those of their neighbours.
    along_cols[:, -1], along_rows[-1] = along_cols[:, -2], along_rows[-2]
    return (along_cols == 0) & (along_rows == 0)
