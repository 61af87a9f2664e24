"""Sweeps: suites of cells, run apart from each other and compared on common ground."""
