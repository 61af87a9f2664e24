"""Multiplane images: placing, warping and rendering planes."""
