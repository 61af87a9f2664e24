"""The history of fakes that a discriminator is shown (Shrivastava et al. 2017); size 0, as published, keeps none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from refbench.contracts.method import derived_rng

if TYPE_CHECKING:
    from torch import Tensor


class FakePool:
    """Keeps up to ``size`` fakes; half of the answers are old ones, which the new ones replace."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self._held: list[Tensor] = []
        self._rng = derived_rng(seed, "fake pool")

    def draw(self, fakes: Tensor) -> Tensor:
        """Return as many fakes [B, C, H, W] as were given, new or old. Normalised heights in [-1, 1]."""
        if not self.size:
            return fakes
        return torch.stack([self._one(fake) for fake in fakes.detach()])

    def _one(self, fake: Tensor) -> Tensor:
        if len(self._held) < self.size:
            self._held.append(fake)
            return fake
        if self._rng.random() < 0.5:
            return fake
        place = int(self._rng.integers(self.size))
        old, self._held[place] = self._held[place], fake
        return old
