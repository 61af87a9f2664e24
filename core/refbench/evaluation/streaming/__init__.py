"""Scoring rasters of any size: states are filled tile by tile and merged, so memory does not grow with the area."""
