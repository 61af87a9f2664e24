"""The fast surface search against the plain one, and the stride mode against exact heights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from refbench_implicity.config import DecoderConfig, ModelConfig, PointEncoderConfig, SurfaceConfig
from refbench_implicity.network.network import Planes, build_model, occupancy
from refbench_implicity.surface import _adaptive, extract_surface

Z_STD, SHAPE = 20.0, (24, 20)


def model(**decoder):
    multi = decoder.pop("multi_label", False)
    config = ModelConfig(
        PointEncoderConfig(hidden_dim=8, feature_dim=8, plane_resolution=16, unet=None),
        decoder=DecoderConfig(feature_dim=8, hidden_size=16, n_blocks=3, **decoder),
        multi_label=multi,
    )
    torch.manual_seed(3)
    net = build_model(config).eval()
    with torch.no_grad():
        for parameter in net.decoder.parameters():
            parameter.normal_(0, 0.35)
        net.decoder.fc_p.weight[:, 2].mul_(3)
        # Half of the columns get a surface.
        z = torch.linspace(-1.5, 1.5, 40)
        query = torch.rand(1, 300, 1, 3, generator=torch.Generator().manual_seed(1)).repeat(1, 1, 40, 1)
        query[..., 2] = z
        logits = net.decode(planes(), query.reshape(1, -1, 3)).reshape(300, 40, -1)
        height = logits[..., 0] if not multi else logits[..., 1:].amax(-1) - logits[..., 0]
        net.decoder.fc_out.bias[0] += (1 if multi else -1) * height.amax(1).median()
    return net


def planes():
    return Planes(torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(5)))


def plain(net, field, config, threshold):
    """Every height of every pixel, as published."""
    xs, ys = torch.linspace(0, 1, SHAPE[1]), torch.linspace(1, 0, SHAPE[0])
    y, x = (axis.reshape(-1, 1) for axis in torch.meshgrid(ys, xs, indexing="ij"))
    step = config.h_resolution_0 / Z_STD
    z = (torch.arange(*config.h_range, config.h_resolution_0) / Z_STD).expand(len(x), -1)
    empty = torch.zeros(len(x), dtype=torch.bool)
    for _ in range(config.h_upsampling_steps + 1):
        points = torch.stack((x.expand(z.shape), y.expand(z.shape), z), dim=-1).reshape(1, -1, 3)
        occupied = (occupancy(net.decode(field, points), threshold).reshape(z.shape) > 0).float()
        height = ((z + 1000) * occupied - 1000).amax(dim=1)
        empty |= ~occupied.bool().any(dim=1)
        height[empty] = 0
        step /= 4
        z = height[:, None] + step * torch.arange(-1, 4)
    return torch.where(empty, torch.nan, height).reshape(SHAPE).numpy()


@pytest.mark.parametrize("options", [{}, {"leaky": True}, {"multi_label": True}, {"sample_mode": "nearest"}])
@pytest.mark.parametrize("threshold", [0.5, 0.3])
@pytest.mark.parametrize("steps", [0, 3])
@torch.no_grad()
def test_search_finds_what_the_plain_decoder_finds(options, threshold, steps):
    net, field = model(**options), planes()
    config = SurfaceConfig(h_range=(-30.0, 30.0), h_resolution_0=4.0, h_upsampling_steps=steps, block=77)
    found = extract_surface(net, field, SHAPE, config, z_std=Z_STD, threshold=threshold).z
    expected = plain(net, field, config, threshold)
    assert 0.1 < np.isnan(expected).mean() < 0.95
    same = np.isclose(found, expected, rtol=0, atol=1e-6, equal_nan=True)
    assert same.mean() > 0.99


@torch.no_grad()
def test_result_does_not_depend_on_the_block():
    net, field = model(), planes()
    one, other = (
        extract_surface(net, field, SHAPE, SurfaceConfig(block=block), z_std=Z_STD, threshold=0.5).z
        for block in (7, 10_000)
    )
    assert np.isclose(one, other, atol=1e-3, equal_nan=True).mean() > 0.995


@torch.no_grad()
def test_empty_columns_take_the_shift_or_stay_unknown():
    net, field = model(), planes()
    surface = extract_surface(net, field, SHAPE, SurfaceConfig(), z_std=Z_STD, threshold=0.5)
    nothing = dataclasses.replace(surface, z=np.full(SHAPE, np.nan, np.float32))
    assert (nothing.metres(Z_STD, 12.5, fill_empty=True) == 12.5).all()
    assert np.isnan(nothing.metres(Z_STD, 12.5, fill_empty=False)).all()


def house(rows, cols):
    """A sloping ground with a flat roof, a gable roof and a hole; heights in metres [rows, cols]."""
    row, col = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
    z = 0.02 * row
    z = np.where((row > 10) & (row < 31) & (col > 8) & (col < 25), 12.0, z)
    z = np.where((row > 40) & (row < 57) & (col > 30) & (col < 55), 8 - 0.3 * np.abs(row - 48), z)
    return np.where((row - 20) ** 2 + (col - 50) ** 2 < 30, np.nan, z).astype(np.float32)


@pytest.mark.parametrize("stride", [2, 3, 4, 8])
def test_stride_reads_few_columns_and_keeps_edges(stride):
    reference = house(64, 70)
    asked = []

    def read(row, col, ceiling):
        asked.append(len(row))
        known = np.isfinite(reference[row, col]) & np.isfinite(ceiling)
        assert (reference[row, col][known] <= ceiling[known]).all()
        return reference[row, col]

    found = _adaptive(read, reference.shape, stride, 1.0, 16.0)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(reference))
    off = np.abs(found - reference)[np.isfinite(reference)]
    assert (off > 0.6).mean() < 0.002
    assert off.mean() < 0.01
    assert sum(asked) < {2: 0.55, 3: 0.45, 4: 0.4, 8: 0.4}[stride] * reference.size


def test_stride_of_a_plane_is_exact():
    row, col = np.meshgrid(np.arange(33), np.arange(30), indexing="ij")
    reference = (0.5 * row - 0.25 * col).astype(np.float32)
    asked = []

    def read(rows, cols, ceiling):
        asked.append(len(rows))
        return reference[rows, cols]

    found = _adaptive(read, reference.shape, 4, 0.4, 1.0)
    np.testing.assert_allclose(found, reference, atol=1e-5)
    assert asked == [9 * 9]
