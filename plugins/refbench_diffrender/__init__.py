"""Depth maps and DSMs refined by differentiable rendering (ref_depth's analysis by synthesis)."""
