"""The version of refbench."""

__version__ = "0.1.0"
