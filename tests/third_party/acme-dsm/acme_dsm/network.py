"""A network that corrects a DSM from its own shape; untrained, it corrects nothing."""

import torch

from acme_dsm.settings import NetworkConfig

WINDOW = 9


class Network(torch.nn.Module):
    """Three convolutions on the heights above their local mean; works for any size, and moves with the datum."""

    def __init__(self, config: NetworkConfig) -> None:
        """Build the layers; the last one begins at zero."""
        super().__init__()
        last = torch.nn.Conv2d(config.width, 1, 3, padding=1)
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)  # type: ignore[arg-type]  # Conv2d has one by default
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(2, config.width, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(config.width, config.width, 3, padding=1),
            torch.nn.ReLU(),
            last,
        )

    def forward(self, dsm: torch.Tensor) -> torch.Tensor:
        """Return corrected heights [N, rows, cols] of heights [N, rows, cols], metres, NaN where unknown in both."""
        known = torch.isfinite(dsm)
        heights, weight = torch.where(known, dsm, 0.0), known.to(dsm.dtype)
        # Mean of the known heights in the window: the sum of heights over the number of known ones.
        total, count = (
            torch.nn.functional.avg_pool2d(values, WINDOW, 1, WINDOW // 2, count_include_pad=False)
            for values in (heights, weight)
        )
        above = torch.where(known, dsm - total / count.clamp(min=1e-6), 0.0)
        correction: torch.Tensor = self.layers(torch.stack([above, weight], dim=1))[:, 0]
        return dsm + correction
