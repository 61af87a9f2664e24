"""The discriminators. State-dict keys are the published ones."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from refbench_pix2pix.config import DiscriminatorConfig, Norm

LEAK = 0.2
CUSTOM_WIDTHS = (32, 64, 128, 256)
N_LAYERS = 3


def norm_layer(norm: Norm) -> Callable[[int], nn.Module]:
    """Return what makes a normalisation of so many channels; instance normalisation has no parameters."""
    if norm == "batch":
        return nn.BatchNorm2d
    return nn.InstanceNorm2d if norm == "instance" else lambda channels: nn.Identity()


class PatchDiscriminator(nn.Module):
    """Convolutions of kernel 4 to one logit per patch, [B, C, H, W] to [B, 1, H', W'] (docs/methods/pix2pix.md)."""

    def __init__(self, input_nc: int, widths: tuple[int, ...], norm: Norm, *, bias: bool) -> None:
        super().__init__()
        make = norm_layer(norm)
        layers: list[nn.Module] = [nn.Conv2d(input_nc, widths[0], 4, 2, 1), nn.LeakyReLU(LEAK)]
        for index, width in enumerate(widths[1:], 1):
            stride = 1 if index == len(widths) - 1 else 2
            conv = nn.Conv2d(widths[index - 1], width, 4, stride, 1, bias=bias)
            layers += [conv, make(width), nn.LeakyReLU(LEAK)]
        layers.append(nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits. ``x`` is [B, C, H, W], the logits [B, 1, h, w]."""
        out: Tensor = self.model(x)
        return out


class PixelDiscriminator(nn.Module):
    """1 x 1 convolutions: a logit per pixel."""

    def __init__(self, input_nc: int, ndf: int, norm: Norm) -> None:
        super().__init__()
        bias = norm == "instance"
        self.net = nn.Sequential(
            nn.Conv2d(input_nc, ndf, 1),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(ndf, 2 * ndf, 1, bias=bias),
            norm_layer(norm)(2 * ndf),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(2 * ndf, 1, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, 1, H, W]."""
        out: Tensor = self.net(x)
        return out


def build_discriminator(config: DiscriminatorConfig, input_nc: int) -> nn.Module:
    """Return the discriminator of candidates with their inputs, ``input_nc`` channels together.

    Raises
    ------
    ValueError
        An unknown kind.
    """
    widths = functools.partial(_widths, config.ndf)
    if config.netD == "pixel":
        return PixelDiscriminator(input_nc, config.ndf, config.norm)
    if config.netD == "basic_rewritten":
        return PatchDiscriminator(input_nc, widths(N_LAYERS), config.norm, bias=False)
    if config.netD == "custom":
        return PatchDiscriminator(input_nc, CUSTOM_WIDTHS, config.norm, bias=False)
    if config.netD in ("basic", "n_layers"):
        count = N_LAYERS if config.netD == "basic" else config.n_layers_D
        return PatchDiscriminator(input_nc, widths(count), config.norm, bias=config.norm == "instance")
    raise ValueError(f"Unknown discriminator {config.netD!r}.")


def _widths(ndf: int, layers: int) -> tuple[int, ...]:
    return tuple(ndf * min(2**level, 8) for level in range(layers + 1))
