"""Training of the residual U-Net."""
