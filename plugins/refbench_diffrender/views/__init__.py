"""Posed views: cameras, images, initial depths, neighbours."""
