"""Shipped benchmark suites (package data)."""
