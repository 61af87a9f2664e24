"""Meshes over a view or a grid: building, decimating, visibility."""
