"""The residual U-Net, as published and fused."""
