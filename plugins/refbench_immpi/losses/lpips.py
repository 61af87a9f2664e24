"""LPIPS v0.1 on VGG-16 (Zhang et al., CVPR 2018): distance of deep features. Its weights come from a file of the user.

The names of the parameters are those of the ``lpips`` package, so that the state of its network can be read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import conv2d, max_pool2d, relu

from refbench.contracts.errors import InputError, WeightsError
from refbench.weights.checkpoint import read_checkpoint
from refbench.weights.state_dict import load_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SLICES = {
    "slice1": (("0", 3, 64), ("2", 64, 64)),
    "slice2": (("5", 64, 128), ("7", 128, 128)),
    "slice3": (("10", 128, 256), ("12", 256, 256), ("14", 256, 256)),
    "slice4": (("17", 256, 512), ("19", 512, 512), ("21", 512, 512)),
    "slice5": (("24", 512, 512), ("26", 512, 512), ("28", 512, 512)),
}
"""Convolutions of VGG-16 by their place in it; a 2 x 2 maximum stands before all slices but the first."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
SMALLEST = 1e-10
SMALLEST_SIZE = 2 ** (len(SLICES) - 1)
"""Pixels that an image must have along either axis."""


class _Scaling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(SHIFT)[None, :, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[None, :, None, None])


class Lpips(nn.Module):
    """The distance; frozen. ImMPI gives it images in [0, 1] as they are, not stretched to [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.scaling_layer = _Scaling()
        self.net = nn.ModuleDict(
            {
                name: nn.ModuleDict({place: nn.Conv2d(given, made, 3, padding=1) for place, given, made in convs})
                for name, convs in SLICES.items()
            }
        )
        widths = [convs[-1][2] for convs in SLICES.values()]
        self.lins = nn.ModuleList(
            nn.ModuleDict({"model": nn.ModuleDict({"1": nn.Conv2d(width, 1, 1, bias=False)})}) for width in widths
        )
        self.requires_grad_(False)

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return five maps of unit feature vectors [B, c, h / 2^k, w / 2^k] of an image [B, 3, h, w].

        Raises
        ------
        InputError
            It is smaller than 16 x 16 pixels.
        """
        if min(image.shape[2:]) < SMALLEST_SIZE:
            raise InputError(
                f"LPIPS needs images of {SMALLEST_SIZE} x {SMALLEST_SIZE} pixels at least, not "
                f"{image.shape[2]} x {image.shape[3]}: use larger views or no LPIPS."
            )
        shift, scale = (self.get_buffer(f"scaling_layer.{name}") for name in ("shift", "scale"))
        found = []
        x = (image - shift) / scale
        for number, convs in enumerate(self.net.values()):
            if number:
                x = max_pool2d(x, 2)
            for conv in convs.children():
                x = relu(conv(x))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + SMALLEST))
        return found

    def distance(self, first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the distance [B] of images whose ``features`` are given."""
        weights = [self.get_parameter(f"lins.{number}.model.1.weight") for number in range(len(self.lins))]
        layers = [
            conv2d((a - b).square(), weight).mean((1, 2, 3))
            for a, b, weight in zip(first, second, weights, strict=True)
        ]
        return torch.stack(layers).sum(0)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return the distance [B] of two batches of images [B, 3, h, w]. Colours in [0, 1]."""
        return self.distance(self.features(first), self.features(second))


def load_lpips(*paths: Path) -> Lpips:
    """Return LPIPS with the weights of one file or several.

    Parameters
    ----------
    paths
        The state of the ``lpips`` package's VGG network; or torchvision's VGG-16 and the package's ``vgg.pth``.

    Raises
    ------
    WeightsError
        A file cannot be read, or together they do not make the network.
    """
    state: dict[str, Any] = {}
    for path in paths:
        state |= _named(read_checkpoint(path), path)
    state.setdefault("scaling_layer.shift", torch.tensor(SHIFT)[None, :, None, None])
    state.setdefault("scaling_layer.scale", torch.tensor(SCALE)[None, :, None, None])
    hint = "give the state of LPIPS with VGG, or torchvision's VGG-16 together with LPIPS v0.1's vgg.pth"
    return load_state(Lpips, state, paths[-1], hint).requires_grad_(False).eval()


def _named(found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the tensors of a file under the names of ``Lpips``; what it does not use is left out."""
    content: Mapping[str, Any] = found.get("state_dict", found)
    slices = {place: name for name, convs in SLICES.items() for place, _, _ in convs}
    named = {}
    for key, value in content.items():
        vgg, linear = (
            re.fullmatch(r"features\.(\d+)\.(\w+)", key),
            re.fullmatch(r"lins?\.?(\d)\.(model\.1\.weight)", key),
        )
        if vgg and vgg[1] in slices:
            named[f"net.{slices[vgg[1]]}.{vgg[1]}.{vgg[2]}"] = value
        elif linear:
            named[f"lins.{linear[1]}.{linear[2]}"] = value
        elif key.startswith(("net.", "scaling_layer.")):
            named[key] = value
    if not named:
        raise WeightsError(f"{path} holds no weights of LPIPS or of VGG-16: give the file of LPIPS v0.1 with VGG.")
    return named
