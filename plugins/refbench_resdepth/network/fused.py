"""The U-Net for inference: fewer passes over memory, the same heights.

Batch normalisation is folded into the convolutions, activations are fused into them where torch's CPU kernels can,
and everything after the last activation, which is linear, becomes two convolutions to one channel.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from refbench_resdepth.network.network import parts

if TYPE_CHECKING:
    from refbench.training.settings import Precision
    from refbench_resdepth.network.network import UNet

DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _fused_kernel() -> Any:  # noqa: ANN401  # an operator of torch
    """Return torch's convolution with a fused activation (CPU), None where this build has none."""
    try:
        backend: Any = torch.backends.mkldnn  # its functions are not typed
        return torch.ops.mkldnn._convolution_pointwise if backend.is_available() else None
    except (AttributeError, RuntimeError):
        return None


class _Block:
    """A 3 x 3 convolution with folded normalisation and its activation as a slope below 0."""

    def __init__(self, block: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
        assert isinstance(block, nn.Sequential)
        conv = block[0]
        assert isinstance(conv, nn.Conv2d)
        if isinstance(block[1], nn.BatchNorm2d):
            conv = fuse_conv_bn_eval(conv, block[1])
        act = block[-1]
        if isinstance(act, nn.PReLU):
            self.slope = float(act.weight)
        else:
            self.slope = float(getattr(act, "negative_slope", 0.0))
        self.weight = _placed(conv.weight, dtype, device)
        assert conv.bias is not None  # that of the normalisation at least
        self.bias = conv.bias.detach().to(device, dtype)
        self._kernel = _fused_kernel() if device.type == "cpu" else None
        self._packed: tuple[torch.Size, Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the activated convolution of [B, C, H, W]."""
        if self._kernel is None:
            y = functional.conv2d(x, self.weight, self.bias, padding=1)
            return functional.leaky_relu_(y, self.slope) if self.slope else functional.relu_(y)
        name, scalars = ("leaky_relu", [self.slope]) if self.slope else ("relu", [])
        one = [1, 1]
        out: Tensor = self._kernel(x, self._packed_for(x), self.bias, one, one, one, 1, name, scalars, "")
        return out

    def _packed_for(self, x: Tensor) -> Tensor:
        """Return the weight in the kernel's own layout for inputs of this shape, so that no call reorders it again."""
        if self._packed is None or self._packed[0] != x.shape:
            one = (1, 1)
            try:
                reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # its stub lacks the input's shape
                packed = reorder(self.weight.to_mkldnn(), one, one, one, 1, x.shape)
            except (AttributeError, RuntimeError):  # a build of torch without it
                packed = self.weight
            self._packed = (x.shape, packed)
        return self._packed[1]


class FusedUNet:
    """A callable that gives what ``UNet`` in evaluation mode gives, within 1e-4 in float32.

    Tensors are channels-last. Raises ``ValueError`` for a network in training mode.
    """

    def __init__(self, net: UNet, precision: Precision = "float32", device: torch.device | None = None) -> None:
        if net.training:
            raise ValueError("Only a network in evaluation mode can be fused.")
        device, dtype = device or torch.device("cpu"), DTYPES[precision]
        self.dtype, self.device, self._outer = dtype, device, net.config.outer_skip
        with torch.no_grad():
            self._encoder = [_Block(parts(stage)[0], dtype, device) for stage in net.encoder]
            self._bottleneck = _Block(net.bottleneck, dtype, device)
            *stages, last = net.decoder
            self._decoder = [
                (_up(rise, dtype, device), _Block(block, dtype, device)) for rise, block in map(parts, stages)
            ]
            self._tail = _Tail(last, net.last_layer, dtype, device)
            self._skip_scale, self._skip_shift = _outer_affine(net.layer_outer_skip)

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        """Return what ``UNet`` gives, float32 [B, 1 or 2, H, W], from inputs [B, C, H, W] float32, both normalised."""
        y = x.to(self.device, self.dtype, memory_format=torch.channels_last)
        skips = []
        for block in self._encoder:
            y = block(y)
            skips.append(y)
            y = functional.max_pool2d(y, 2)
        y = self._bottleneck(y)
        for rise, block in self._decoder:
            y = block(rise(y).add_(skips.pop()))
        out = self._tail(y, skips.pop()).float()
        if not self._outer:
            return out
        # The skip stays in float32: it carries the heights themselves. A second output is no height.
        out[:, :1] += x[:, :1].to(self.device) * self._skip_scale + self._skip_shift
        return out


class _Tail:
    """last_layer(up(y) + skip). For transposed up-sampling the part of y is one convolution at half resolution.

    The four output phases of a 2 x 2 transposed convolution followed by a 3 x 3 convolution see 2 x 2 input pixels
    each: a 3 x 3 convolution to 4 channels holds them all. Bias of the up-sampling passes through the 3 x 3 kernel,
    whose zero padding takes part of it away along the image border.
    """

    def __init__(self, rise: nn.Module, last: nn.Conv2d, dtype: torch.dtype, device: torch.device) -> None:
        self._last_weight = _placed(last.weight, dtype, device)
        self._last_bias = None if last.bias is None else last.bias.detach().to(device, dtype)
        # Phases of one output channel; with a second one the plain way is as fast.
        has_phases = isinstance(rise, nn.ConvTranspose2d) and last.out_channels == 1
        self._rise = None if has_phases else _up(rise, dtype, device)
        if isinstance(rise, nn.ConvTranspose2d) and has_phases:
            assert rise.bias is not None  # the network's always has one
            self._phases = _placed(_phase_kernel(rise.weight, last.weight), dtype, device)
            # [1, C, 3, 3] times the bias per channel: what each tap of the 3 x 3 kernel adds.
            self._taps = torch.einsum("ocij,c->ij", last.weight.double(), rise.bias.double()).to(device)
            self._borders: dict[tuple[int, int], Tensor] = {}

    def __call__(self, y: Tensor, skip: Tensor) -> Tensor:
        if self._rise is not None:
            return functional.conv2d(self._rise(y).add_(skip), self._last_weight, self._last_bias, padding=1)
        out = functional.conv2d(skip, self._last_weight, self._last_bias, padding=1)
        risen = functional.pixel_shuffle(functional.conv2d(y, self._phases, padding=1), 2)
        return out.float() + risen.float() + self._border(out.shape[-2], out.shape[-1])

    def _border(self, rows: int, cols: int) -> Tensor:
        """Return what the bias of the up-sampling adds, [rows, cols]: less along the border."""
        if (rows, cols) not in self._borders:
            ones = torch.ones(1, 1, rows, cols, dtype=torch.float64, device=self._taps.device)
            self._borders[rows, cols] = functional.conv2d(ones, self._taps[None, None], padding=1)[0, 0].float()
        return self._borders[rows, cols]


def _phase_kernel(rise: Tensor, last: Tensor) -> Tensor:
    """Return the kernel [4, C_in, 3, 3] that gives the phases (row, column) of ``last`` after ``rise``.

    ``rise`` [C_in, C, 2, 2], ``last`` [1, C, 3, 3]. Output pixel 2 r + p sees up-sampled pixels 2 r + p + t, t in
    (-1, 0, 1), which are phase (p + t) mod 2 of input pixel r + floor((p + t) / 2).
    """
    rise, last = rise.double(), last.double()
    kernel = rise.new_zeros(4, rise.shape[0], 3, 3)
    for row_phase in range(2):
        for col_phase in range(2):
            for i in range(3):
                for j in range(3):
                    row, col = row_phase + i - 1, col_phase + j - 1
                    kernel[2 * row_phase + col_phase, :, row // 2 + 1, col // 2 + 1] += torch.einsum(
                        "ac,c->a", rise[:, :, row % 2, col % 2], last[0, :, i, j]
                    )
    return kernel


def _up(rise: nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """Return a copy of an up-sampling for inference."""
    placed: nn.Module = copy.deepcopy(rise).to(device, dtype)
    return placed.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's stub


def _outer_affine(layer: nn.Sequential) -> tuple[float, float]:
    """Return scale and shift of the outer skip: those of its batch normalisation, else 1 and 0."""
    if not len(layer):
        return 1.0, 0.0
    norm = layer[0]
    assert isinstance(norm, nn.BatchNorm2d)  # nothing else is ever there
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = float(norm.weight / torch.sqrt(norm.running_var + norm.eps))
    return scale, float(norm.bias - norm.running_mean * scale)


def _placed(tensor: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    return tensor.detach().to(device, dtype, memory_format=torch.channels_last)
