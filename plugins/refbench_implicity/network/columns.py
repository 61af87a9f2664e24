"""Highest occupied point of vertical columns: what depends on x and y only is computed once per column.

Letters: H hidden width, n columns. Tensors are [H, n], so that biases are scalars of a row.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refbench_implicity.network.decoder import LEAK
from refbench_implicity.network.point_encoder import ResBlock

if TYPE_CHECKING:
    from refbench_implicity.config import SurfaceConfig
    from refbench_implicity.network.decoder import Decoder
    from refbench_implicity.network.network import Planes

QUANTUM_OFFSET = 1000.0
"""Heights pass through ``float32(z + 1000) - 1000``, as published: the quantum is 2 ** -14 units."""
REPACK_BELOW = 0.85
"""Finished columns are dropped once fewer than this fraction of a block still search."""


class ColumnDecoder:
    """The decoder, rearranged for many heights of the same columns.

    The inner biases are folded away: ``relu(y + b) = max(y, -b) + b``, and the constant ``b`` travels through the
    next linear layer into the terms of the column.
    """

    def __init__(self, decoder: Decoder, threshold: float) -> None:
        self.decoder = decoder
        weight = decoder.fc_p.weight
        self.from_xy, self.from_z = weight[:, :2], weight[:, 2:].contiguous()
        blocks = [block for block in decoder.blocks if isinstance(block, ResBlock)]
        contexts = [layer for layer in decoder.fc_c if isinstance(layer, nn.Linear)]
        self.inner = [(b.fc_0.weight, -b.fc_0.bias[:, None], b.fc_1.weight) for b in blocks]
        carried = [b.fc_1.bias + b.fc_1.weight @ b.fc_0.bias for b in blocks]
        self.last = carried.pop()[:, None]
        self.context = torch.cat([layer.weight for layer in contexts])
        bias = [layer.bias for layer in contexts]
        self.context_bias = torch.cat([bias[0] + decoder.fc_p.bias, *map(torch.add, bias[1:], carried)])[:, None]
        self.out = decoder.fc_out.weight
        self.out_bias = decoder.fc_out.bias[:, None]
        if not decoder.leaky:
            self.out_bias = self.out_bias + self.out @ self.last
        self.limit = math.log(threshold / (1 - threshold))
        self.width = weight.shape[0]

    def terms(self, planes: Planes, xy: Tensor) -> Tensor:
        """Return what the columns at ``xy`` [n, 2] add before each block, [blocks * H, n].

        Features; ``xy`` is normalised to the patch.
        """
        feature = self.decoder.features(planes.held, xy[None])[0].T
        terms = torch.addmm(self.context_bias, self.context, feature)
        terms[: self.width] += self.from_xy @ xy.T
        return terms

    def is_occupied(self, terms: Tensor, z: Tensor, scratch: Tensor) -> Tensor:
        """Return whether height ``z`` [n] of each column is occupied, bool [n]; ``scratch`` holds 3 x H x n values."""
        width, count = self.width, z.shape[0]
        net, hidden, inner = scratch[: 3 * width * count].view(3, width, count)
        torch.addcmul(terms[:width], self.from_z, z[None], out=net)
        for index, (first, floor, second) in enumerate(self.inner):
            if index:
                net += terms[index * width : (index + 1) * width]
            torch.clamp_min(net, 0, out=hidden)
            torch.mm(first, hidden, out=inner)
            torch.maximum(inner, floor, out=inner)
            net.addmm_(second, inner)
        if self.decoder.leaky:
            hidden = F.leaky_relu(net.add_(self.last), LEAK)
        else:
            torch.maximum(net, -self.last, out=hidden)
        logits = torch.addmm(self.out_bias, self.out, hidden)
        if logits.shape[0] == 1:
            return logits[0] >= self.limit
        return logits[1:].amax(dim=0) > logits[0]


class HeightSearch:
    """Order in which a column's heights are tried: coarse levels from the top, then 3/4, 2/4, 1/4 of each step.

    A column walks through a table: position -> offset from its base height, next position after a hit and a miss.
    A hit becomes the base and leads to the next finer step; the height below a hit is never needed.
    """

    def __init__(self, config: SurfaceConfig, z_std: float, device: torch.device) -> None:
        low, high = config.h_range
        levels = torch.arange(low, high, config.h_resolution_0) / z_std
        self.levels = levels.to(device)
        count, step = len(levels), config.h_resolution_0 / z_std
        offsets = levels.flip(0).tolist()
        after_hit = [count] * count
        for finer in range(config.h_upsampling_steps):
            step /= 4
            offsets += [3 * step, 2 * step, step]
            after_hit += [count + 3 * (finer + 1)] * 3
        self.end = len(offsets)
        self.empty = self.end + 1
        after_miss = list(range(1, self.end + 1))
        after_miss[count - 1] = self.empty
        states = [self.end, self.empty]
        self.offsets = torch.tensor([*offsets, 0.0, 0.0], device=device)
        self.after_hit = torch.tensor([*after_hit, *states], device=device)
        self.after_miss = torch.tensor([*after_miss, *states], device=device)

    def below(self, ceiling: Tensor) -> Tensor:
        """Return the position int64 [n] of the highest level that is not above ``ceiling`` [n]; NaN is no ceiling."""
        above = len(self.levels) - torch.searchsorted(self.levels, ceiling, right=True)
        return above.clamp(0, len(self.levels) - 1).masked_fill(ceiling.isnan(), 0)

    def run(self, decoder: ColumnDecoder, terms: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Search the columns of ``terms`` from the positions ``start`` int64 [n].

        Returns normalised height float32 [n] (0 where none) and whether the column is empty, bool [n].
        """
        count = terms.shape[1]
        height, state = terms.new_zeros(count), start
        result, final = torch.zeros_like(height), torch.full_like(state, self.empty)
        place = torch.arange(count, device=terms.device)
        scratch = terms.new_empty(3 * decoder.width * count)
        while len(place):
            z = height + self.offsets[state]
            hit = decoder.is_occupied(terms, z, scratch)
            torch.where(hit, (z + QUANTUM_OFFSET) - QUANTUM_OFFSET, height, out=height)
            state = torch.where(hit, self.after_hit[state], self.after_miss[state])
            searching = state < self.end
            left = int(searching.sum())
            if left < REPACK_BELOW * len(place):
                result[place], final[place] = height, state
                keep = searching.nonzero()[:, 0]
                terms, height = terms.index_select(1, keep), height[keep]
                state, place = state[keep], place[keep]
        return result, final == self.empty


def column_heights(
    decoder: ColumnDecoder, planes: Planes, xy: Tensor, search: HeightSearch, first: Tensor, block: int
) -> tuple[Tensor, Tensor]:
    """Return height (normalised, float32 [n]) and emptiness (bool [n]) of the columns at ``xy`` [n, 2].

    ``first`` int64 [n] is each column's first position in ``search``; ``block`` columns are searched at once.
    """
    heights, empty = xy.new_zeros(len(xy)), torch.zeros(len(xy), dtype=torch.bool, device=xy.device)
    for start in range(0, len(xy), block):
        part = slice(start, start + block)
        heights[part], empty[part] = search.run(decoder, decoder.terms(planes, xy[part]), first[part])
    return heights, empty
