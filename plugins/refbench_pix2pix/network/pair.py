"""Generator and discriminator as one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from refbench_pix2pix.network.network import Generator


class Pair(nn.Module):
    """Generator and discriminator as one module, so that devices and precision reach both."""

    def __init__(self, generator: Generator, discriminator: nn.Module) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
