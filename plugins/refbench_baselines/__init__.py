"""Baselines: what learning must beat."""
