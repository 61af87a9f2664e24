"""ResDepth as a plugin of refbench: a residual U-Net on a DSM and ortho images."""
