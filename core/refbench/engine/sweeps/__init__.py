"""Sweeps: suites of jobs, run apart from each other and compared on common ground."""
