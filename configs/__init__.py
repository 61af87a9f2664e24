"""Shipped method configurations and scenes, one folder per method (package data)."""
