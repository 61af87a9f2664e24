"""Scoring rasters of any size: states that are filled tile by tile and merged, so that memory does not grow with them."""
